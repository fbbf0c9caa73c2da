"""Find processes by what ``/proc`` tells of them: those a killed server left running, those that use a directory."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import trio

from trio_update.errors import OperationFailed
from trio_update.host.threads import in_thread

OWNER_VARIABLE = "TRIO_UPDATE_OWNER"

_PROC = Path("/proc")
_PATIENCE = 5.0
_PARENT_FIELD = 1  # of /proc/PID/stat, counted from behind the command's name: state, parent, …


async def end_orphans(owner: str) -> int:
    """SIGKILL every process that a :class:`~.runner.Runner` of ``owner`` started, and its children.

    To be called before the first command of that owner, when whatever carries its mark is left over from a server
    that was killed.  This process and its ancestors are spared, and so are other users' processes.

    Returns:
        How many were ended; none is left when this returns.

    Raises:
        OperationFailed: one of them has not gone within 5 s, or ``/proc`` cannot be read.
    """
    ended = 0
    with trio.move_on_after(_PATIENCE):
        # Again until none is found: one that was killed may have had time to start another.
        while killed := await in_thread(_kill_marked, owner):
            ended += len(killed)
            await _wait_gone(killed)
        return ended
    raise OperationFailed(
        f"processes of a former run are still there {_PATIENCE:g} s after SIGKILL; "
        "they wait for a device or network share that does not answer: restore it, or restart this computer"
    )


def processes_in(root: Path, program: str) -> list[int]:
    """Processes whose name starts with ``program`` and that work in ``root`` or name a path in it as an argument.

    One whose working directory cannot be read (another user's) counts, because it may be there.  Blocks for a few
    milliseconds: to be called in a thread.

    Raises:
        OperationFailed: ``/proc`` cannot be read, so that nothing is known.
    """
    roots = {os.path.abspath(os.fsencode(root)), os.path.realpath(os.fsencode(root))}  # noqa: PTH100 - bytes
    return [pid for pid in _pids() if _is_program(pid, program) and _uses(pid, roots)]


def describe_processes(pids: Sequence[int]) -> str:
    """A sentence that tells who they are, for whoever has to wait for them."""
    found = []
    for pid in pids:
        try:
            words = (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            words = ""
        found.append(f"{pid} (`{words[:80]}`)" if words else str(pid))
    return f"It may be held by process {', '.join(found)}: try again when that has ended."


async def _wait_gone(killed: dict[int, int]) -> None:
    try:
        for pidfd in killed.values():
            await trio.lowlevel.wait_readable(pidfd)
        for pid in killed:
            _reap(pid)
    finally:
        for pidfd in killed.values():
            os.close(pidfd)


def _reap(pid: int) -> None:
    # As a subreaper we may have inherited it, now that its parent has ended too, and it would stay a zombie.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _kill_marked(owner: str) -> dict[int, int]:
    """Signal all marked processes; their pids, and descriptors that become readable when they have ended."""
    mark = f"{OWNER_VARIABLE}={owner}".encode()
    spared = _ourselves_and_ancestors()
    killed: dict[int, int] = {}
    for pid in _pids():
        if pid in spared or not _is_marked(pid, mark):
            continue
        with contextlib.suppress(ProcessLookupError, PermissionError):
            pidfd = os.pidfd_open(pid)
            # Looked at again with the descriptor held: should the number have changed hands in between, one of
            # the two looks fails or the descriptor's process is gone, and the signal reaches no other process.
            if _is_marked(pid, mark):
                killed[pid] = pidfd
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            else:
                os.close(pidfd)
    return killed


def _is_marked(pid: int, mark: bytes) -> bool:
    process = _PROC / str(pid)
    try:
        return process.stat().st_uid == os.geteuid() and mark in (process / "environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def _ourselves_and_ancestors() -> set[int]:
    found = {os.getpid()}
    pid = os.getppid()
    while pid > 1 and pid not in found:
        found.add(pid)
        try:
            # The name, in parentheses, may hold anything; no field behind it holds a parenthesis.
            behind_name = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            break
        pid = int(behind_name.split()[_PARENT_FIELD])
    return found


def _pids() -> list[int]:
    try:
        names = [entry.name for entry in _PROC.iterdir()]
    except OSError as error:
        raise OperationFailed(f"cannot list processes in {_PROC}: {error.strerror}; is it mounted?") from error
    return [int(name) for name in names if name.isdigit()]


def _is_program(pid: int, program: str) -> bool:
    try:
        return (_PROC / str(pid) / "comm").read_text(errors="replace").startswith(program)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def _uses(pid: int, roots: set[bytes]) -> bool:
    process = os.fsencode(_PROC / str(pid))
    try:
        directory = os.readlink(process + b"/cwd")  # noqa: PTH115 - bytes: a path need not be text
        arguments = Path(os.fsdecode(process), "cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    # `--git-dir=PATH` names a path as much as `PATH` does; a relative one is relative to the working directory.
    named = (part for argument in arguments for part in (argument, argument.partition(b"=")[2]) if part)
    paths = [directory, *(os.path.normpath(os.path.join(directory, part)) for part in named)]  # noqa: PTH118 - bytes
    return any(path == root or path.startswith(root.rstrip(b"/") + b"/") for path in paths for root in roots)
