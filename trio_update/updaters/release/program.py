"""Is what was downloaded a program for this machine, and what would be lost of the one that it replaces?

Blocking functions, which change nothing but what they say; they raise
:class:`~trio_update.errors.FileTrouble` besides what they tell.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from trio_update.host.files.durable import translated
from trio_update.updaters.release.content import Content, Form, Machine, read_content

_ARM, _AARCH64 = 40, 183
_OWN = Path("/proc/self/exe")
# linux/fs.h: FS_IOC_GETFLAGS, whose size is that of a long, and two of the flags.
_GET_FLAGS = 0x80086601 if struct.calcsize("l") == 8 else 0x80046601
_IMMUTABLE, _APPEND_ONLY = 0x10, 0x20
_CAPABILITIES = "security.capability"


@dataclass(frozen=True)
class Judgement:
    """``refusal``: why it must not be installed, to go on after its name; empty if it may.  ``warnings``: sentences."""

    refusal: str = ""
    warnings: tuple[str, ...] = ()


def judge_program(asset: Path, installed: Path, *, kernel: str | None = None) -> Judgement:
    """Whether the downloaded ``asset`` may take the place of the program ``installed``, which may not exist.

    What the kernel would not start, or what is certainly no program, is refused: nothing but a digest would tell an
    answer of a hotel's network from a release, and older releases have none.  But what is of the very kind that is
    installed is right, for then the user starts it by something else (an emulator, Java).  ``kernel``: its machine, as
    ``uname -m`` says.
    """
    new, old = read_content(asset), read_content(installed)
    if new is None or new.form is Form.EMPTY:
        return Judgement("is empty")
    if new.form is Form.ELF:
        return _judge_elf(new, old, os.uname().machine if kernel is None else kernel)
    if new.form is Form.SCRIPT:
        return Judgement(warnings=_missing_interpreter(new))
    return _judge_other(new, old)


def _judge_other(new: Content, old: Content | None) -> Judgement:
    if new.form is Form.PAGE:
        return Judgement(
            "is a web page and no program: a sign-in page of the network, or an error of the server. Open a page in a "
            "browser on this network, then try again"
        )
    if old is not None and (old.form, old.what) == (new.form, new.what):
        return Judgement()
    if new.form is Form.FOREIGN:
        return Judgement(f"is {new.what}, and no program for this machine: correct 'asset_name' in release_info.json")
    if old is not None and old.form in {Form.ELF, Form.SCRIPT}:
        return Judgement(f"is {new.what}, and the installed one is {old.what}: the release may be broken")
    return Judgement(warnings=(f"The program is {new.what} and does not say what it is started by (`#!`)",))


def judge_installed(program: Path) -> Judgement:
    """What an update would break or lose of the installed ``program``, to be told before it is tried.

    A symbolic link is refused.  To replace the link would leave what it leads to as it is, for whoever else uses that;
    to replace its target would write into a folder that nobody named, on another disk perhaps, where a name like
    ``tool-1.2`` would lie from then on.
    """
    with translated("look at", program):
        try:
            found = os.lstat(program)
        except (FileNotFoundError, NotADirectoryError):
            return Judgement()
    if stat.S_ISLNK(found.st_mode):
        return Judgement(
            f"is a symbolic link to {os.path.realpath(program)}, which would stay what it is: put the program itself "
            "in the place of the link, or let 'path' name the folder where it is"
        )
    if not stat.S_ISREG(found.st_mode):
        return Judgement("is no file: move it away, the program belongs there")
    if why := _unchangeable(program):
        return Judgement(f"is {why[0]}, so that it cannot be replaced: sudo chattr -{why[1]} {program}")
    return Judgement(warnings=tuple(_losses(program, found)))


def _losses(program: Path, found: os.stat_result) -> list[str]:
    told = []
    root = os.geteuid() == 0
    if _has_capabilities(program) and not root:
        told.append(
            f"{program} has capabilities, which only root can give to the new version: run setcap again after an update"
        )
    if found.st_mode & (stat.S_ISUID | stat.S_ISGID):
        told.append(
            f"{program} runs with the rights of its owner or group (setuid, setgid), which no new version is trusted "
            "with: set the mode again after an update"
        )
    if found.st_uid != os.geteuid() and not root:
        told.append(
            f"{program} belongs to another user (number {found.st_uid}), and would belong to the one that trio-update "
            "runs as after an update"
        )
    if found.st_nlink > 1:
        told.append(f"{program} has other names (hard links), which stay with the old version in an update")
    return told


def keep_capabilities(installed: Path, program: Path) -> None:
    """Give the new ``program`` the capabilities of the ``installed`` one; nothing happens unless we are root.

    To be called last: a change of the owner takes them away.
    """
    if os.geteuid() != 0 or not _has_capabilities(installed):
        return
    with translated("give its capabilities to", program):
        os.setxattr(program, _CAPABILITIES, os.getxattr(installed, _CAPABILITIES, follow_symlinks=False))


def _has_capabilities(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return bool(os.getxattr(path, _CAPABILITIES, follow_symlinks=False))
    return False


def _unchangeable(path: Path) -> tuple[str, str] | None:
    """What `chattr` made of a file, and the letter for it; ``None`` where the file system has no such thing."""
    flags = array.array("i", [0, 0])
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.ioctl(descriptor, _GET_FLAGS, flags)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if flags[0] & _IMMUTABLE:
        return "immutable", "i"
    return ("open for appending alone", "a") if flags[0] & _APPEND_ONLY else None


def _judge_elf(new: Content, old: Content | None, kernel: str) -> Judgement:
    own = read_content(_OWN)
    if new.fault:
        return Judgement(f"{new.fault}: the release or the download is broken")
    assert new.machine is not None, "only a fault leaves it out"
    same = {one.machine for one in (own, old) if one is not None}
    if own is not None and new.machine not in same and not _runs_too(new, kernel):
        return Judgement(
            f"is a program for {new.machine}, and this system is {own.machine}: correct 'asset_name' in "
            "release_info.json"
        )
    return Judgement(warnings=_missing_interpreter(new))


def _runs_too(new: Content, kernel: str) -> bool:
    """Whether a 64-bit ARM kernel starts a program that is not of this process's kind.

    Small boards often run a 32-bit system on such a kernel, and the other way round; what is linked statically, as Go
    does, does not ask for the rest of a system.  On x86 the wrong width is nearly always the wrong file.
    """
    return (
        kernel == "aarch64"
        and new.machine in {Machine(32, "<", _ARM), Machine(64, "<", _AARCH64)}
        and not _missing_interpreter(new)
    )


def _missing_interpreter(content: Content) -> tuple[str, ...]:
    path = content.interpreter
    if not path.startswith("/") or os.path.exists(path):
        return ()
    shown = path.encode("unicode_escape", "backslashreplace").decode()
    return (f"The program is started by {shown}, which does not exist here",)
