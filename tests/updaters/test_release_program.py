"""What may take the place of a program, and what would be lost of the one that was there."""

from __future__ import annotations

import io
import os
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.releases import PROGRAM, ReleaseSite, program_of
from trio_update.demo.github.server import SimAsset
from trio_update.updaters.release.content import Form, Machine, read_content
from trio_update.updaters.release.program import judge_installed, judge_program, keep_capabilities

OWN = Path(os.path.realpath("/proc/self/exe"))
PAGE = b"<!DOCTYPE html><html><title>Sign in</title></html>"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do that")


def elf(cpu: int, width: int = 64, order: str = "<", *, interpreter: str = "", kind: int = 2, cut: int = 0) -> bytes:
    """A program of a header and, if it is dynamic, one segment."""
    ident = b"\x7fELF" + bytes([width // 32, "<>".index(order) + 1, 1]) + bytes(9)
    path = interpreter.encode() + b"\0" if interpreter else b""
    count = 1 if path else 0
    if width == 64:
        head = struct.pack(f"{order}HHLQQQLHHHHHH", kind, cpu, 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0)
        segment = struct.pack(f"{order}LLQQQQQQ", 3, 4, 120, 0, 0, len(path), len(path), 1)
    else:
        head = struct.pack(f"{order}HHLLLLLHHHHHH", kind, cpu, 1, 0, 52, 0, 0, 52, 32, count, 0, 0, 0)
        segment = struct.pack(f"{order}LLLLLLLL", 3, 84, 0, 0, len(path), len(path), 4, 1)
    whole = ident + head + (segment + path if path else b"")
    return whole[: len(whole) - cut]


def own_machine() -> Machine:
    content = read_content(OWN)
    assert content is not None
    assert content.machine is not None
    return content.machine


def own_elf(**options: object) -> bytes:
    mine = own_machine()
    return elf(mine.cpu, mine.width, mine.order, **options)  # type: ignore[arg-type]


def refusal(tmp_path: Path, new: bytes, old: bytes | None = None, kernel: str = "x86_64") -> str:
    asset, installed = tmp_path / "asset", tmp_path / "installed"
    asset.write_bytes(new)
    if old is not None:
        installed.write_bytes(old)
    return judge_program(asset, installed, kernel=kernel).refusal


def warnings(tmp_path: Path, new: bytes, old: bytes | None = None) -> tuple[str, ...]:
    (tmp_path / "asset").write_bytes(new)
    if old is not None:
        (tmp_path / "installed").write_bytes(old)
    judged = judge_program(tmp_path / "asset", tmp_path / "installed")
    assert judged.refusal == ""
    return judged.warnings


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("tool", b"x")
    return buffer.getvalue()


def tarred(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{mode}") as archive:  # type: ignore[call-overload]
        archive.addfile(tarfile.TarInfo("tool"), io.BytesIO())
    return buffer.getvalue()


NO_PROGRAMS = {
    "empty": (b"", "is empty"),
    "page": (PAGE, "is a web page"),
    "page with blanks and a mark": (b"\xef\xbb\xbf\r\n  <HTML>", "is a web page"),
    "error of a store": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is a web page"),
    "zip": (zipped(), "a zip archive"),
    "empty zip": (b"PK\5\6" + bytes(18), "a zip archive"),
    "tar": (tarred(""), "a tar archive"),
    "tar.gz": (tarred("gz"), "a gzip archive"),
    "tar.xz": (tarred("xz"), "an xz archive"),
    "tar.bz2": (tarred("bz2"), "a bzip2 archive"),
    "deb": (b"!<arch>\ndebian-binary", "a Debian package"),
    "exe": (b"MZ\x90\0", "a program for Windows"),
    "Mach-O": (b"\xcf\xfa\xed\xfe\x07\0\0\1", "a program for macOS"),
    "text": (b"Not Found", "is a text, and the installed one is a program"),
    "JSON": (b'{"message": "Not Found"}', "is a text"),
    "data": (b"\0\1\2\3" * 40, "data of an unknown kind"),
    "script that cannot be started": (b"\xef\xbb\xbf#!/bin/sh\n", "byte order mark"),
    "header cut": (b"\x7fELF\2\1\1" + bytes(20), "damaged header"),
    "of no width": (b"\x7fELF\7\1\1" + bytes(80), "damaged header"),
    "object file": (own_elf(kind=1), "a part of one"),
    "core dump": (own_elf(kind=4), "a part of one"),
    "segments cut": (own_elf(interpreter="/x", cut=20), "cut short"),
}


@pytest.mark.parametrize("case", NO_PROGRAMS)
def test_what_is_no_program_is_refused(tmp_path: Path, case: str) -> None:
    new, why = NO_PROGRAMS[case]
    assert why in refusal(tmp_path, new, OWN.read_bytes()[: 1 << 20])


@pytest.mark.parametrize("case", [case for case in NO_PROGRAMS if case not in {"text", "JSON", "data"}])
def test_what_is_no_program_is_refused_where_there_was_none(tmp_path: Path, case: str) -> None:
    new, _ = NO_PROGRAMS[case]
    if not case.startswith("script"):
        assert refusal(tmp_path, new)


OTHERS = {"ARM": (40, 32, "<"), "ARM 64": (183, 64, "<"), "x86-64": (62, 64, "<"), "x86": (3, 32, "<"),
          "MIPS": (8, 32, ">"), "RISC-V": (243, 64, "<"), "unknown": (4711, 64, "<")}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
def test_a_program_for_another_cpu_is_refused(tmp_path: Path, case: str) -> None:
    cpu, width, order = OTHERS[case]
    told = refusal(tmp_path, elf(cpu, width, order), own_elf())
    if Machine(width, order, cpu) == own_machine():
        assert told == ""
    else:
        assert f"is a program for {Machine(width, order, cpu)}" in told
        assert f"this system is {own_machine()}" in told


def test_the_width_and_the_order_of_the_own_cpu_count(tmp_path: Path) -> None:
    mine = own_machine()
    assert "is a program for" in refusal(tmp_path, elf(mine.cpu, 96 - mine.width, mine.order))
    assert "big endian" in refusal(tmp_path, elf(mine.cpu, mine.width, ">"))


def test_what_the_user_starts_by_an_emulator_goes_on(tmp_path: Path) -> None:
    cpu, width, order = next(one for one in OTHERS.values() if Machine(one[1], one[2], one[0]) != own_machine())
    assert refusal(tmp_path, elf(cpu, width, order), elf(cpu, width, order) + b"older") == ""
    assert refusal(tmp_path, zipped(), zipped()) == "", "a jar"
    assert refusal(tmp_path, b"a text", b"another text") == ""


@pytest.mark.parametrize("own", [(40, 32), (183, 64)], ids=["32-bit system", "64-bit system"])
@pytest.mark.parametrize("new", [(40, 32), (183, 64), (62, 64)], ids=["32 bit", "64 bit", "x86"])
@pytest.mark.parametrize("linked", ["static", "dynamic"])
def test_a_64_bit_arm_kernel_starts_both_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: tuple[int, int], new: tuple[int, int], linked: str
) -> None:
    (tmp_path / "self").write_bytes(elf(*own))
    monkeypatch.setattr("trio_update.updaters.release.program._OWN", tmp_path / "self")
    program = elf(*new, interpreter="/lib/ld-of-nobody.so" if linked == "dynamic" else "")
    starts = new == own or (new != (62, 64) and linked == "static")
    assert (refusal(tmp_path, program, kernel="aarch64") == "") is starts
    assert (refusal(tmp_path, program, kernel="armv7l") == "") is (new == own)


def test_this_systems_own_programs_are_right(tmp_path: Path) -> None:
    for program in (OWN, Path(shutil.which("ls") or sys.executable)):
        assert warnings(tmp_path, Path(os.path.realpath(program)).read_bytes()) == ()


def test_what_a_program_is_started_by_has_to_be_there(tmp_path: Path) -> None:
    assert warnings(tmp_path, own_elf(interpreter="/lib/ld-musl-of-nobody.so.1")) == (
        "The program is started by /lib/ld-musl-of-nobody.so.1, which does not exist here",
    )
    assert warnings(tmp_path, own_elf(interpreter="/bin/sh")) == warnings(tmp_path, own_elf()) == ()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"#!/bin/sh", ""),
        (b"#! /bin/sh -e", ""),
        (b"#!/usr/bin/env python3", ""),
        (b"#!/opt/of/nobody/python3 -I", "/opt/of/nobody/python3"),
        (b"#!/bin/sh\r", "/bin/sh\\r"),
    ],
)
def test_a_script_may_take_the_place_of_a_program(tmp_path: Path, line: bytes, told: str) -> None:
    found = warnings(tmp_path, line + b"\necho\n", own_elf())
    assert (f"is started by {told}," in "".join(found)) if told else found == ()


def test_an_application_of_python_in_one_file_is_a_script(tmp_path: Path) -> None:
    assert warnings(tmp_path, b"#!/usr/bin/env python3\n" + zipped(), own_elf()) == ()


def test_a_text_where_nothing_was_is_told(tmp_path: Path) -> None:
    assert "does not say what it is started by" in warnings(tmp_path, b"echo\n")[0]


def test_what_is_no_file_has_no_content(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert [read_content(tmp_path / name) for name in ("", "fifo", "missing")] == [None] * 3
    (tmp_path / "link").symlink_to(OWN)
    linked = read_content(tmp_path / "link")
    assert linked is not None
    assert linked.form is Form.ELF


def test_a_link_is_refused_with_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "tool-1.2").write_bytes(b"x")
    (tmp_path / "tool").symlink_to("tool-1.2")
    assert f"is a symbolic link to {tmp_path / 'tool-1.2'}" in judge_installed(tmp_path / "tool").refusal
    (tmp_path / "dangling").symlink_to("nowhere")
    assert "is a symbolic link" in judge_installed(tmp_path / "dangling").refusal
    assert "is no file" in judge_installed(tmp_path).refusal
    assert judge_installed(tmp_path / "missing").refusal == judge_installed(tmp_path / "tool-1.2").refusal == ""


def test_what_would_be_lost_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "tool"
    tool.write_bytes(b"x")
    assert judge_installed(tool).warnings == ()
    tool.chmod(0o4755)
    (tmp_path / "other").hardlink_to(tool)
    told = judge_installed(tool).warnings
    assert ["setuid" in told[0], "hard links" in told[1], len(told)] == [True, True, 2]
    monkeypatch.setattr(os, "geteuid", lambda: tool.stat().st_uid + 1)
    assert any("belongs to another user" in line for line in judge_installed(tool).warnings)


@needs_root
def test_capabilities_are_kept_or_their_loss_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for path in (old, new):
        path.write_bytes(b"x")
    # cap_net_bind_service=ep, as setcap writes it (linux/capability.h, version 2).
    value = struct.pack("<5L", 0x02000001, 1 << 10, 0, 0, 0)
    try:
        os.setxattr(old, "security.capability", value)
    except OSError:
        pytest.skip("no capabilities on this file system")
    assert judge_installed(old).warnings == ()
    keep_capabilities(old, new)
    assert os.getxattr(new, "security.capability") == value
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    assert any("setcap" in line for line in judge_installed(old).warnings)


@needs_root
@pytest.mark.parametrize("flag", ["i", "a"])
def test_what_cannot_be_replaced_is_refused_before(tmp_path: Path, flag: str) -> None:
    tool = tmp_path / "tool"
    tool.write_bytes(b"x")
    chattr = shutil.which("chattr")
    if chattr is None or subprocess.run([chattr, f"+{flag}", tool], check=False, capture_output=True).returncode:
        pytest.skip("no such flags on this file system")
    try:
        assert f"sudo chattr -{flag} {tool}" in judge_installed(tool).refusal
    finally:
        subprocess.run(["chattr", f"-{flag}", tool], check=True)


def asset_of(content: bytes) -> SimAsset:
    """Of the time before digests."""
    return SimAsset(name=PROGRAM, content=content, digest=None, content_type="application/octet-stream")


@pytest.mark.parametrize("case", ["empty", "page", "tar.gz", "object file"])
async def test_an_upgrade_leaves_the_program_as_it_is(executable: ReleaseSite, case: str) -> None:
    content, why = NO_PROGRAMS[case]
    executable.publish("v3.0.0", asset_of(content))
    async with executable.manager() as (manager, _):
        await executable.expect_failure(manager, PROGRAM, "was not installed", why)


async def test_a_program_behind_a_link_is_left_alone(executable: ReleaseSite, tmp_path: Path) -> None:
    program, target = executable.path / PROGRAM, tmp_path / "apps" / "elsewhere"
    program.rename(target)
    program.symlink_to(target)
    async with executable.manager() as (manager, _):
        await executable.expect_failure(manager, f"{program} is a symbolic link to {target}")
    assert target.read_bytes() == program_of("v1.0.0")


@needs_root
async def test_an_upgrade_keeps_capabilities_and_owner(executable: ReleaseSite) -> None:
    program = executable.path / PROGRAM
    value = struct.pack("<5L", 0x02000001, 1 << 10, 0, 0, 0)
    os.chown(program, 1234, 1234)
    try:
        os.setxattr(program, "security.capability", value)
    except OSError:
        pytest.skip("no capabilities on this file system")
    async with executable.manager() as (manager, _):
        await manager.upgrade("app", who="test")
    seen = program.stat()
    assert (program.read_bytes(), seen.st_uid) == (program_of("v2.0.0"), 1234)
    assert stat.S_IMODE(seen.st_mode) == 0o755
    assert os.getxattr(program, "security.capability") == value
