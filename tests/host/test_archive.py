"""Good archives, of every maker; packing a folder; and what mutation makes of good ones."""

from __future__ import annotations

import errno
import io
import itertools
import os
import random
import shutil
import socket
import stat
import struct
import subprocess
import tempfile
import threading
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.zips import (
    DEFLATED,
    DESCRIPTOR,
    MASK,
    MASK16,
    Item,
    body,
    build,
    build64,
    end,
    end64,
    extra,
    zip64,
)
from trio_update.errors import FileTrouble
from trio_update.host.archive import names as archive_names
from trio_update.host.archive import pack as archive_pack
from trio_update.host.archive.directory import judge
from trio_update.host.archive.extract import Archive, BadArchive, Entry, extract, pack, read_archive, read_entry

Tree = dict[str, bytes | None]
"""Relative paths; folders are None."""


def tree_of(root: Path) -> Tree:
    return {str(p.relative_to(root)): None if p.is_dir() else p.read_bytes() for p in root.rglob("*")}


def unpacked(folder: Path, data: bytes) -> tuple[Archive, Path]:
    """Judge ``data`` and unpack it to a new folder; hold it against what the standard library sees."""
    path = folder / "a.zip"
    path.write_bytes(data)
    target = folder / "target"
    target.mkdir()
    archive = read_archive(path)
    extract(archive, target)
    with zipfile.ZipFile(path) as other:
        names = [entry.name + "/" * entry.is_dir for entry in archive.entries]
        # It takes names without the flag as cp437; these tests have the flag wherever that matters.
        assert names == other.namelist()
        for name in names:
            assert name.endswith("/") or other.read(name) == (target / name).read_bytes()
        assert archive.unpacked_size == sum(info.file_size for info in other.infolist())
    return archive, target


def no_entry_is_left_out(path: bytes) -> bool:
    return False


CONTENT: Tree = {
    "index.html": b"<title>x</title>",
    "assets": None,
    "assets/app.js": b"let x = 1;\n" * 5000,
    "assets/caf\u00e9 \u65e5\u672c.txt": b"unicode",
    "empty": None,
    "nothing": b"",
    "noise": os.urandom(3 << 20),
    "/".join(["deep"] * 60 + ["file"]): b"down here",
} | {"/".join(["deep"] * depth): None for depth in range(1, 61)}


class Pipe(io.BytesIO):
    """Cannot seek: zipfile then writes data descriptors."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


def by_zipfile(tree: Tree, file: io.BytesIO, compression: int, *, wide: bool = False) -> bytes:
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in tree.items():
            if data is None:
                archive.writestr(zipfile.ZipInfo(name + "/"), b"")
            else:
                info = zipfile.ZipInfo(name)
                info.compress_type = compression
                with archive.open(info, "w", force_zip64=wide) as entry:
                    entry.write(data)
    return file.getvalue()


MAKERS: dict[str, Callable[[], bytes]] = {
    "stored": lambda: by_zipfile(CONTENT, io.BytesIO(), zipfile.ZIP_STORED),
    "deflated": lambda: by_zipfile(CONTENT, io.BytesIO(), zipfile.ZIP_DEFLATED),
    "zip64": lambda: by_zipfile(CONTENT, io.BytesIO(), zipfile.ZIP_DEFLATED, wide=True),
    "descriptors": lambda: by_zipfile(CONTENT, Pipe(), zipfile.ZIP_DEFLATED),
    "stored with descriptors": lambda: by_zipfile(CONTENT, Pipe(), zipfile.ZIP_STORED),
    "zip64 descriptors": lambda: by_zipfile(CONTENT, Pipe(), zipfile.ZIP_DEFLATED, wide=True),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_what_the_standard_library_makes(tmp_path: Path, maker: str) -> None:
    _, target = unpacked(tmp_path, MAKERS[maker]())
    assert tree_of(target) == CONTENT


# Not -fz into a pipe: the record at the end then refers to a zip64 one that zip 3.0 does not write.
@pytest.mark.parametrize(
    ("options", "streamed"),
    [
        *((options, False) for options in (["-r"], ["-r0"], ["-rD"], ["-r", "-X"], ["-r", "-fz"])),
        *((options, True) for options in (["-r"], ["-r0"], ["-rD"], ["-r", "-X"])),
    ],
)
def test_what_info_zip_makes(tmp_path: Path, options: list[str], streamed: bool) -> None:
    program = shutil.which("zip")
    if program is None:  # then the standard library has to stand for other writers
        return
    source = tmp_path / "source"
    for name, data in CONTENT.items():
        path = source / name
        if data is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    os.utime(source / "noise", (1_600_000_001, 1_600_000_001))
    (source / "index.html").chmod(0o755)
    made = tmp_path / "made.zip"
    argv = [program, "-q", *options]
    if streamed:
        # Through a pipe: zip would seek back in a file, even in its standard output.
        made.write_bytes(subprocess.run([*argv, "-", "."], cwd=source, check=True, capture_output=True).stdout)
    else:
        subprocess.run([*argv, str(made), "."], cwd=source, check=True)
    (tmp_path / "target").mkdir()
    extract(read_archive(made), tmp_path / "target")
    expected = {name: data for name, data in CONTENT.items() if options != ["-rD"] or name != "empty"}
    assert tree_of(tmp_path / "target") == expected
    assert stat.S_IMODE((tmp_path / "target/index.html").stat().st_mode) == 0o755
    if options != ["-r", "-X"]:  # leaves out the extended timestamp
        assert (tmp_path / "target/noise").stat().st_mtime == 1_600_000_001


DATA = b"content " * 100
SUM = zlib.crc32(DATA)
PACKED = len(Item(b"", DATA, DEFLATED).packed)
ODD_BUT_GOOD = {
    "no entries": build(),
    "no entries, zip64": build64(),
    "comment": build(Item(b"a", DATA), comment=b"made with care"),
    "zip64 that is not needed": build64(Item(b"a", DATA), narrow={"here": 1, "entries": 1}),
    "zip64 sizes": build(
        Item(
            b"a",
            DATA,
            extra=zip64(800, 800),
            central={"size": MASK, "packed": MASK},
            local={"size": MASK, "packed": MASK},
        )
    ),
    "zip64 offset": build(Item(b"0"), Item(b"a", DATA, central={"offset": MASK, "extra": zip64(31)})),
    "zip64 offset after sizes": build(
        Item(b"0"),
        Item(b"a", DATA, central={"size": MASK, "packed": MASK, "offset": MASK, "extra": zip64(800, 800, 31)}),
    ),
    "zip64 disk": build(
        Item(
            b"a",
            DATA,
            central={"size": MASK, "disk": MASK16, "extra": extra(1, struct.pack("<QL", 800, 0))},
        )
    ),
    "zip64 that repeats": build(Item(b"a", DATA, extra=zip64(800, 800))),
    "unicode path that agrees": build(Item(b"a", DATA, extra=extra(0x7075, b"\1" + bytes(4) + b"a"))),
    "padding": build(Item(b"a", DATA, local={"extra": bytes(3)})),
    "long extra": build(Item(b"a", DATA, local={"extra": extra(0xBEEF, bytes(60_000))})),
    "descriptor": build(
        Item(
            b"a",
            DATA,
            DEFLATED,
            DESCRIPTOR,
            local={"crc": 0, "packed": 0, "size": 0},
            after=struct.pack("<LLL", SUM, PACKED, 800),
        )
    ),
    "descriptor with signature": build(
        Item(b"a", DATA, DEFLATED, DESCRIPTOR, after=b"PK\x07\x08" + struct.pack("<LLL", SUM, PACKED, 800))
    ),
    "wide descriptor": build(Item(b"a", DATA, DEFLATED, DESCRIPTOR, after=struct.pack("<LQQ", SUM, PACKED, 800))),
    "wide descriptor with signature": build(
        Item(b"a", DATA, DEFLATED, DESCRIPTOR, after=b"PK\x07\x08" + struct.pack("<LQQ", SUM, PACKED, 800))
    ),
    "other hints": build(Item(b"a", DATA, local={"flags": 0x806})),
    "folder as Java packs it": build(Item(b"d/", raw=b"\3\0", method=DEFLATED, attributes=0), Item(b"d/a", DATA)),
    "folder after its content": build(Item(b"d/a", DATA), Item(b"d/", attributes=0x10)),
    "same name elsewhere": build(Item(b"d/a", DATA), Item(b"a", DATA), Item(b"e/A", DATA), Item(b"e/d/a")),
    "name that looks like a way up": build(Item(b"..a/...", DATA), Item(b"a..", DATA)),
    "longest component": build(Item(b"x" * 255, DATA)),
    "an archive inside": build(Item(b"a", build(Item(b"b", DATA)))),
}


@pytest.mark.parametrize("case", ODD_BUT_GOOD)
def test_what_is_odd_but_has_one_meaning(tmp_path: Path, case: str) -> None:
    unpacked(tmp_path, ODD_BUT_GOOD[case])


def test_the_order_of_the_directory_is_free(tmp_path: Path) -> None:
    first, second = Item(b"one", b"1"), Item(b"two", b"22")
    content, _ = body(first, second)
    directory = second.central_header(len(body(first)[0])) + first.central_header(0)
    archive, target = unpacked(tmp_path, content + directory + end(2, len(directory), len(content)))
    assert [entry.name for entry in archive.entries] == ["two", "one"]
    assert tree_of(target) == {"one": b"1", "two": b"22"}


def test_names_without_the_flag_are_utf8_too(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(build(Item("caf\u00e9".encode(), b"x", flags=0)))
    assert [entry.name for entry in read_archive(tmp_path / "a.zip").entries] == ["caf\u00e9"]


MODES = {
    0: 0o644,
    0o644: 0o644,
    0o100600: 0o644,
    0o100000: 0o644,
    0o100700: 0o755,
    0o100645: 0o755,
    0o100654: 0o755,
    0o106755: 0o755,
    0o106644: 0o644,
    0o101666: 0o644,
}


@pytest.mark.parametrize("umask", [0, 0o077])
def test_modes_come_from_the_exec_bits_alone(tmp_path: Path, umask: int) -> None:
    items = [Item(b"d/%o" % mode, attributes=mode << 16, central={"system": n % 4}) for n, mode in enumerate(MODES)]
    before = os.umask(umask)
    try:
        archive, target = unpacked(tmp_path, build(Item(b"s/", attributes=0o42700 << 16), *items))
    finally:
        os.umask(before)
    found = {mode: stat.S_IMODE((target / f"d/{mode:o}").stat().st_mode) for mode in MODES}
    assert found == MODES
    assert {e.name: e.executable for e in archive.entries[1:]} == {f"d/{m:o}": MODES[m] == 0o755 for m in MODES}
    assert [stat.S_IMODE((target / name).stat().st_mode) for name in ("d", "s")] == [0o755, 0o755]


def dated(date: int, time: int, more: bytes = b"") -> bytes:
    data = bytearray(build(Item(b"a", b"x", extra=more)))
    at = data.index(b"PK\1\2")
    struct.pack_into("<HH", data, at + 12, time, date)
    return bytes(data)


TIMES = {
    "DOS as UTC": (dated(41 << 9 | 3 << 5 | 4, 5 << 11 | 6 << 5 | 4), 1614834368.0),
    "zeros": (dated(0, 0), 315532800.0),
    "impossible": (dated(41 << 9 | 2 << 5 | 30, 0), 315532800.0),
    "late": (dated(127 << 9 | 12 << 5 | 31, 0), 4354732800.0),
    "extended": (dated(0, 0, extra(0x5455, b"\1" + struct.pack("<l", 1_700_000_001))), 1_700_000_001.0),
    "extended before 1970": (dated(33, 0, extra(0x5455, b"\1" + struct.pack("<l", -7))), -7.0),
    "extended without a time": (dated(33, 0, extra(0x5455, b"\2" + struct.pack("<l", 7))), 315532800.0),
    "extended too short": (dated(33, 0, extra(0x5455, b"\1\0")), 315532800.0),
}


@pytest.mark.parametrize("case", TIMES)
def test_files_get_the_time_of_their_entry(tmp_path: Path, case: str) -> None:
    data, expected = TIMES[case]
    archive, target = unpacked(tmp_path, data)
    assert archive.entries[0].modified == expected
    assert (target / "a").stat().st_mtime == expected


def test_a_hundred_thousand_entries(tmp_path: Path) -> None:
    header = Item(b"12345").local_header()
    names = [b"%05d" % n for n in range(100_000)]
    content = b"".join(header.replace(b"12345", name) for name in names)
    template = Item(b"12345").central_header(0)
    parts = bytearray()
    for n, name in enumerate(names):
        at = len(parts)
        parts += template
        struct.pack_into("<L", parts, at + 42, n * len(header))
        parts[at + 46 :] = name
    tail = end64(100_000, len(parts), len(content)) + end(MASK16, MASK, MASK)
    (tmp_path / "a.zip").write_bytes(content + parts + tail)
    assert [entry.name.encode() for entry in read_archive(tmp_path / "a.zip").entries] == names


def test_memory_stays_small_whatever_the_size(tmp_path: Path) -> None:
    noise = os.urandom(1 << 20)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("stored", noise * 24)
        archive.writestr("deflated", b"".join(bytes(1 << 19) + noise[: 1 << 14] for _ in range(48)), 8)
    (tmp_path / "target").mkdir()
    tracemalloc.start()
    try:
        extract(read_archive(tmp_path / "a.zip"), tmp_path / "target")
        pack(tmp_path / "target", tmp_path / "b.zip", leave_out=no_entry_is_left_out)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 << 20


class Stop(Exception):
    """What a cancelled caller raises from the check."""


def test_the_check_is_called_for_every_mib_and_ends_it(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/big").write_bytes(os.urandom(5 << 20))
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    def stop() -> None:
        count()
        if calls == 3:
            raise Stop

    pack(tmp_path / "source", tmp_path / "a.zip", leave_out=no_entry_is_left_out, check=count)
    assert calls >= 5
    calls = 0
    (tmp_path / "zero").mkdir()
    (tmp_path / "empty.zip").write_bytes(build(*(Item(b"%d" % n) for n in range(50))))
    extract(read_archive(tmp_path / "empty.zip"), tmp_path / "zero", check=count)
    assert calls >= 50
    calls = 0
    archive = read_archive(tmp_path / "a.zip")
    (tmp_path / "one").mkdir()
    extract(archive, tmp_path / "one", check=count)
    assert calls >= 5
    calls = 0
    (tmp_path / "two").mkdir()
    with pytest.raises(Stop):
        extract(archive, tmp_path / "two", check=stop)
    assert (tmp_path / "two/big").stat().st_size < 5 << 20
    calls = 0
    with pytest.raises(Stop):
        pack(tmp_path / "source", tmp_path / "b.zip", leave_out=no_entry_is_left_out, check=stop)
    assert not (tmp_path / "b.zip").exists()


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    archive, target = unpacked(tmp_path, MAKERS["deflated"]())
    with pytest.raises(FileTrouble):
        extract(archive, target)
    with pytest.raises(FileTrouble):
        pack(target, tmp_path / "a.zip", leave_out=no_entry_is_left_out)
    pack(target, tmp_path / "b.zip", leave_out=no_entry_is_left_out)
    assert len(os.listdir("/proc/self/fd")) == before


def test_troubles_keep_their_number(tmp_path: Path) -> None:
    with pytest.raises(FileTrouble) as missing:
        read_archive(tmp_path / "missing.zip")
    assert missing.value.errno == errno.ENOENT
    archive, target = unpacked(tmp_path, build(Item(b"a", b"x")))
    with pytest.raises(FileTrouble) as full:
        extract(archive, target)
    assert full.value.errno == errno.ENOTEMPTY
    assert tree_of(target) == {"a": b"x"}
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileTrouble):
        extract(archive, tmp_path / "link")
    with pytest.raises(FileTrouble) as there:
        pack(target, tmp_path / "a.zip", leave_out=no_entry_is_left_out)
    assert there.value.errno == errno.EEXIST


def test_a_folder_or_fifo_is_no_archive(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(BadArchive, match="not a regular file"):
            read_archive(path)


def test_what_is_put_into_the_target_meanwhile_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(build(Item(b"a", b"x"), Item(b"f", b"bad")))
    (tmp_path / "mine").write_bytes(b"mine")
    target = tmp_path / "target"
    target.mkdir()

    def put() -> None:
        if (target / "a").exists() and not (target / "f").exists():
            (target / "f").hardlink_to(tmp_path / "mine")

    with pytest.raises(FileTrouble):
        extract(read_archive(tmp_path / "a.zip"), target, check=put)
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_links_put_into_the_target_meanwhile_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(build(Item(b"a", b"x"), Item(b"d/x", b"bad"), Item(b"f", b"bad")))
    archive = read_archive(tmp_path / "a.zip")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(b"mine")
    for name, to in (("d", outside), ("f", outside / "f")):
        target = tmp_path / f"target-{name}"
        target.mkdir()

        def put(target: Path = target, name: str = name, to: Path = to) -> None:
            if (target / "a").exists() and not (target / name).is_symlink():
                (target / name).symlink_to(to)

        with pytest.raises(FileTrouble):
            extract(archive, target, check=put)
    assert tree_of(outside) == {"f": b"mine"}


def test_an_archive_replaced_after_it_was_judged(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(build(Item(b"a", b"first")))
    archive = read_archive(tmp_path / "a.zip")
    for number, data in enumerate((build(Item(b"a", b"other")), b"")):
        (tmp_path / "a.zip").write_bytes(data)
        target = tmp_path / str(number)
        target.mkdir()
        with pytest.raises(BadArchive):
            extract(archive, target)


# Packing ------------------------------------------------------------------------------------------------------------


def test_a_packed_folder_comes_back(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "d/empty").mkdir(parents=True)
    (source / "d/tool").write_bytes(b"#!/bin/sh\n")
    (source / "d/tool").chmod(0o4750)
    (source / "d/tool with \u00e9").write_bytes(b"")
    os.utime(source / "d/tool", (1_700_000_001.7, 1_700_000_001.7))
    os.utime(source / "d/tool with \u00e9", (5_000_000_000, 5_000_000_000))
    assert pack(source, tmp_path / "one.zip", leave_out=no_entry_is_left_out) == ()
    _, target = unpacked(tmp_path, (tmp_path / "one.zip").read_bytes())
    assert tree_of(target) == tree_of(source)
    tool = (target / "d/tool").stat()
    assert (stat.S_IMODE(tool.st_mode), tool.st_mtime) == (0o755, 1_700_000_001)
    # Past the last time that the format has.
    assert (target / "d/tool with \u00e9").stat().st_mtime == 4354819198
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.getinfo("d/tool").external_attr >> 16 == 0o100750
        assert archive.testzip() is None
    shutil.copytree(source, tmp_path / "copy")
    pack(source, tmp_path / "two.zip", leave_out=no_entry_is_left_out)
    pack(tmp_path / "copy", tmp_path / "three.zip", leave_out=no_entry_is_left_out)
    assert (tmp_path / "two.zip").read_bytes() == (tmp_path / "three.zip").read_bytes()


def test_what_cannot_be_packed_is_told(tmp_path: Path) -> None:
    source = os.fsencode(tmp_path / "source")
    for folder in (b"", b"/back\\slash", b"/good"):
        os.mkdir(source + folder)
    for name in (b"back\\slash/below", b"good/file", b"not \xff UTF-8", b"README", b"readme", b"new\nline", b"C:x"):
        Path(os.fsdecode(source + b"/" + name)).write_bytes(b"x")
    os.symlink("file", source + b"/good/link")
    os.symlink("good", source + b"/link to folder")
    os.mkfifo(source + b"/fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fsdecode(source) + "/socket")
        missed = pack(tmp_path / "source", tmp_path / "a.zip", leave_out=no_entry_is_left_out)
    expected = {b"back\\slash", b"not \xff UTF-8", b"readme", b"new\nline", b"C:x"}
    assert set(missed) == expected | {b"good/link", b"link to folder", b"fifo", b"socket"}
    _, target = unpacked(tmp_path, (tmp_path / "a.zip").read_bytes())
    assert tree_of(target) == {"README": b"x", "good": None, "good/file": b"x"}


def test_what_is_left_out_is_not_told(tmp_path: Path) -> None:
    for name in ("keep/a", "keep/venv/lib/x", "venv/y"):
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_bytes(b"x")
    (tmp_path / "source/link").symlink_to("keep")
    asked: list[bytes] = []

    def leave_out(path: bytes) -> bool:
        asked.append(path)
        return path in (b"keep/venv", b"link")

    assert pack(tmp_path / "source", tmp_path / "a.zip", leave_out=leave_out) == ()
    assert asked == [b"keep", b"keep/a", b"keep/venv", b"link", b"venv", b"venv/y"]
    _, target = unpacked(tmp_path, (tmp_path / "a.zip").read_bytes())
    assert tree_of(target) == {"keep": None, "keep/a": b"x", "venv": None, "venv/y": b"x"}


def test_large_values_go_to_zip64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_pack, "LIMIT16", 2)
    monkeypatch.setattr(archive_pack, "LIMIT32", 100)
    (tmp_path / "source").mkdir()
    for number in range(5):
        (tmp_path / f"source/{number}").write_bytes(bytes([number]) * (number * 50))
    pack(tmp_path / "source", tmp_path / "a.zip", leave_out=no_entry_is_left_out)
    data = (tmp_path / "a.zip").read_bytes()
    assert zip64(150, 150) in data
    assert (b"PK\6\6" in data, data[-22:]) == (True, end(MASK16, MASK, MASK))
    _, target = unpacked(tmp_path, data)
    assert tree_of(target) == tree_of(tmp_path / "source")


def test_a_directory_that_begins_far_behind_needs_zip64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_pack, "LIMIT32", 300)
    (tmp_path / "source").mkdir()
    for name in "ab":
        (tmp_path / "source" / name).write_bytes(bytes(250))
    pack(tmp_path / "source", tmp_path / "a.zip", leave_out=no_entry_is_left_out)
    data = (tmp_path / "a.zip").read_bytes()
    (size,) = struct.unpack_from("<L", data, len(data) - 10)
    assert size < 300
    assert data.endswith(end(2, size, MASK))
    _, target = unpacked(tmp_path, data)
    assert tree_of(target) == tree_of(tmp_path / "source")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_packing_can_be_ended_at_every_entry(tmp_path: Path, kind: str) -> None:
    for name in "abc":
        path = tmp_path / "source" / name
        path.mkdir(parents=True) if kind == "folder" else path.parent.mkdir(exist_ok=True)
        if kind == "file":
            path.touch()
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(tmp_path / "source", tmp_path / "a.zip", leave_out=no_entry_is_left_out, check=stop)
    assert not (tmp_path / "a.zip").exists()


def test_a_file_that_grows_meanwhile_is_packed_as_long_as_it_was(tmp_path: Path) -> None:
    content = random.Random(1).randbytes(3 << 19)
    file = tmp_path / "source" / "log"
    file.parent.mkdir()
    file.write_bytes(content)

    def grow() -> None:
        with file.open("ab") as log:
            log.write(bytes(1 << 20))

    pack(file.parent, tmp_path / "a.zip", leave_out=no_entry_is_left_out, check=at_the_second_call(grow))
    _, target = unpacked(tmp_path, (tmp_path / "a.zip").read_bytes())
    assert (target / "log").read_bytes() == content


def test_a_file_that_gets_shorter_meanwhile_is_told(tmp_path: Path) -> None:
    file = tmp_path / "source" / "log"
    file.parent.mkdir()
    file.write_bytes(bytes(3 << 20))
    with pytest.raises(FileTrouble, match="log: it became shorter"):
        shorten = at_the_second_call(lambda: os.truncate(file, 3 << 19))
        pack(file.parent, tmp_path / "a.zip", leave_out=no_entry_is_left_out, check=shorten)
    assert not (tmp_path / "a.zip").exists()


def at_the_second_call(do: Callable[[], None]) -> Callable[[], None]:
    """Do it at the second call: the first comes before the file is opened."""
    calls = itertools.count()

    def check() -> None:
        if next(calls) == 1:
            do()

    return check


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "source" / "log"
    file.parent.mkdir()
    file.touch()
    judge_name = archive_names.fault_of

    def replace(name: bytes) -> str | None:
        file.unlink()
        os.mkfifo(file)
        return judge_name(name)

    monkeypatch.setattr(archive_pack, "fault_of", replace)
    # Lets go of who waits for a writer, so that this test fails then and does not hang.
    writer = threading.Timer(10, lambda: os.close(os.open(file, os.O_WRONLY | os.O_NONBLOCK)))
    writer.start()
    with pytest.raises(FileTrouble, match="log: it was replaced"):
        pack(file.parent, tmp_path / "a.zip", leave_out=no_entry_is_left_out)
    assert writer.is_alive()
    writer.cancel()


def test_a_folder_of_too_much_is_not_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").mkdir()
    for number in range(5):
        (tmp_path / f"source/{number}").touch()
    for limit, value in (("MAX_ENTRIES", 4), ("MAX_DIRECTORY", 200)):
        with monkeypatch.context() as patch:
            patch.setattr(archive_pack, limit, value)
            with pytest.raises(BadArchive, match="more than an archive may have"):
                pack(tmp_path / "source", tmp_path / "a.zip", leave_out=no_entry_is_left_out)
        assert not (tmp_path / "a.zip").exists()


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6).filter(
    lambda name: name not in (".", "..") and "/" not in name and "\0" not in name and len(name.encode()) < 256
)
trees = st.dictionaries(
    st.lists(names, min_size=1, max_size=4).map("/".join), st.none() | st.binary(max_size=3000), max_size=8
)
fuzz = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@given(trees)
@fuzz
def test_pack_and_extract_are_inverse(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "source")
        root.mkdir()
        for name, data in tree.items():
            path = root / name
            try:
                if data is None:
                    path.mkdir(parents=True, exist_ok=True)
                else:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                continue
        missed = {os.fsdecode(path) for path in pack(root, Path(folder, "p.zip"), leave_out=no_entry_is_left_out)}
        _, target = unpacked(Path(folder), Path(folder, "p.zip").read_bytes())
        packed = {
            name: data
            for name, data in tree_of(root).items()
            if not any(name == lost or name.startswith(lost + "/") for lost in missed)
        }
        assert tree_of(target) == packed


SEEDS = [
    build(Item(b"d/", attributes=0o40755 << 16), Item(b"d/a", b"hello " * 50, DEFLATED), Item(b"b", b"stored")),
    ODD_BUT_GOOD["wide descriptor with signature"],
    ODD_BUT_GOOD["zip64 offset after sizes"],
    build64(Item(b"a", b"x" * 30, DEFLATED, extra=extra(0x5455, b"\1" + bytes(4)))),
]
changes = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4)


@given(st.sampled_from(SEEDS), changes, st.none() | st.integers(0, 2000), st.binary(max_size=4))
@example(SEEDS[0], [], None, b"")
@settings(fuzz, max_examples=600)
def test_a_changed_archive_is_refused_or_whole(
    seed: bytes, changed: list[tuple[int, int]], cut: int | None, added: bytes
) -> None:
    data = bytearray(seed)
    for position, value in changed:
        data[position % len(data)] = value
    data = data[:cut] + added
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder, "a.zip"), Path(folder, "target")
        path.write_bytes(data)
        target.mkdir()
        try:
            archive = read_archive(path)
            extract(archive, target)
        except BadArchive as error:
            assert data != seed
            assert str(error).isprintable()
        else:
            files = {entry.name: entry for entry in archive.entries if not entry.is_dir}
            found = {name: content for name, content in tree_of(target).items() if content is not None}
            assert {name: zlib.crc32(content) for name, content in found.items()} == {
                name: entry.crc for name, entry in files.items()
            }
            with zipfile.ZipFile(path) as other:
                contents = {i.filename: other.read(i) for i in other.infolist() if not i.is_dir()}
            assert contents == found
        assert sorted(os.listdir(folder)) == ["a.zip", "target"]


@pytest.mark.parametrize("more", [0, 1, 5, 100, 227, 258])
def test_what_the_inflater_holds_back_is_not_lost(tmp_path: Path, more: int) -> None:
    """It may have taken all of its input when the last of the output does not fit the piece."""
    data = bytes((512 << 10) + more)
    filler = Item(b"filler", os.urandom(8192))
    _, target = unpacked(tmp_path, build(Item(b"zeros", data, method=DEFLATED), filler))
    assert (target / "zeros").read_bytes() == data


def test_an_archive_that_becomes_shorter_while_it_is_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(build(Item(b"file", b"content")))

    def judged(about: Path, read: Callable[[int, int], bytes], length: int) -> tuple[Entry, ...]:
        os.truncate(path, length - 30)
        return judge(about, read, length)

    monkeypatch.setattr("trio_update.host.archive.extract.judge", judged)
    with pytest.raises(BadArchive, match="cut short while it was being read"):
        read_archive(path)


@pytest.mark.parametrize("method", [0, DEFLATED])
def test_one_file_is_read_by_its_name(tmp_path: Path, method: int) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(build(Item(b"folder/", attributes=0o40755 << 16), Item(b"folder/file", DATA, method=method)))
    archive = read_archive(path)
    assert read_entry(archive, "folder/file", limit=len(DATA)) == DATA
    assert read_entry(archive, "folder/file", limit=len(DATA) - 1) is None
    assert [read_entry(archive, name, limit=1 << 20) for name in ("folder", "folder/", "file", "")] == [None] * 4
    path.write_bytes(path.read_bytes().replace(b"content ", b"Content ", 1) if method == 0 else bytes(10_000))
    with pytest.raises(BadArchive):
        read_entry(archive, "folder/file", limit=1 << 20)
