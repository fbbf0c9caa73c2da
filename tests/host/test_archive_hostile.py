"""Archives that must be refused before anything of theirs is anywhere; each rule with one that breaks only that."""

from __future__ import annotations

import os
import stat
import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest

from tests.support.zips import (
    DEFLATED,
    DESCRIPTOR,
    MASK,
    MASK16,
    UTF8,
    Item,
    body,
    build,
    build64,
    deflate,
    end,
    extra,
    zip64,
)
from trio_update.host.archive import end as archive_end
from trio_update.host.archive import names as archive_names
from trio_update.host.archive.extract import BadArchive, extract, read_archive

GOOD = Item(b"good", b"content")
CRC = zlib.crc32(b"content")


def refusal(tmp_path: Path, data: bytes) -> BadArchive:
    """What ``data`` is refused with; nothing may be written, in the target or beside it."""
    (tmp_path / "target").mkdir(parents=True)
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(BadArchive) as caught:
        extract(read_archive(tmp_path / "a.zip"), tmp_path / "target")
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "a.zip", tmp_path / "target"]
    assert str(tmp_path / "a.zip") in str(caught.value)
    assert caught.value.entry in str(caught.value)
    assert str(caught.value).isprintable()
    return caught.value


NAMES = {
    b"/etc/passwd": "absolute",
    b"../x": "`..`",
    b"a/../x": "`..`",
    b"a/..": "`..`",
    b"a/./x": "`.`",
    b"x/.": "`.`",
    b".": "`.`",
    b".//x": "absolute",
    b"./../x": "`..`",
    b"././": "folder with content",
    b"a//x": "empty",
    b"a//": "empty",
    b"": "empty",
    b"/": "absolute",
    b"a\\x": "backslash",
    b"..\\x": "backslash",
    b"C:x": "drive letter",
    b"c:/x": "drive letter",
    b"a\x00b": "control character",
    b"a\nb": "control character",
    b"a\x7fb": "control character",
    "a\u0085b".encode(): "control character",
    b"a\xffb": "not UTF-8",
    b"a\xed\xa0\x80b": "not UTF-8",
    b"a\xc0\xafb": "not UTF-8",
    b"x" * 256: "more than 255 bytes",
    b"d/" + b"x" * 256 + b"/y": "more than 255 bytes",
    b"/".join([b"x" * 200] * 21): "more than 4096 bytes",
    b"d/" * 200 + b"x": "folders deep",
}


@pytest.mark.parametrize("flags", [0, UTF8])
@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:12]))
def test_names_that_could_mean_another_place_or_nothing(tmp_path: Path, name: bytes, flags: int) -> None:
    error = refusal(tmp_path, build(GOOD, Item(name, b"x", flags=flags)))
    assert NAMES[name] in str(error)
    if name.isascii() and name.decode().isprintable() and "\\" not in name.decode() and len(name) < 300:
        assert error.entry == name.decode()


def test_a_path_may_be_as_long_as_the_rules_say() -> None:
    parts = [b"x" * 255] * 16
    assert archive_names.fault_of(b"/".join(parts)) is None
    longest = b"/".join([*parts[:-1], b"x" * 254, b""])
    assert (len(longest), archive_names.fault_of(longest)) == (4095, None)
    assert archive_names.fault_of(b"/".join([*parts, b""])) is None
    assert archive_names.fault_of(b"/".join([*parts, b"x"])) == "has a path of more than 4096 bytes"
    assert archive_names.fault_of(b"/".join([b"d"] * 200)) is None
    assert archive_names.fault_of(b"/".join([b"d"] * 201)) == "lies more than 200 folders deep"


def test_what_does_not_print_is_escaped_in_the_message(tmp_path: Path) -> None:
    assert refusal(tmp_path, build(Item(b"a\x1b[31m\xff\nb"))).entry == "a\\x1b[31m\\xff\\nb"


PAIRS = {
    "twice": (b"a", b"a", "twice"),
    "folder twice": (b"a/", b"a/", "twice"),
    "case": (b"Readme", b"readme", "in case or Unicode"),
    "case folding": ("stra\u00dfe".encode(), b"STRASSE", "in case or Unicode"),
    "normalisation": ("caf\u00e9".encode(), "cafe\u0301".encode(), "in case or Unicode"),
    "order of marks": ("\u03b1\u0345\u0301".encode(), "\u03b1\u0301\u0345".encode(), "in case or Unicode"),
    "both": ("CAF\u00c9".encode(), "cafe\u0301".encode(), "in case or Unicode"),
    "folder that nobody named": (b"Lib/a", b"lib/b", "in case or Unicode"),
    "folder and implied folder": (b"Lib/", b"lib/b", "in case or Unicode"),
    "file, then folder": (b"a", b"a/b", "`a` is a file"),
    "folder, then file": (b"a/b", b"a", "needs a folder"),
    "file and folder": (b"a", b"a/", "needs a folder"),
    "folder and file": (b"a/", b"a", "needs a folder"),
}


def test_a_folder_that_others_need_may_be_named_once(tmp_path: Path) -> None:
    items = [Item(name, attributes=0) for name in (b"a/b", b"a/", b"a/")]
    assert "twice" in str(refusal(tmp_path, build(*items)))


@pytest.mark.parametrize("case", PAIRS)
def test_names_that_cannot_exist_beside_each_other(tmp_path: Path, case: str) -> None:
    one, other, why = PAIRS[case]
    items = [Item(name, attributes=0) for name in (one, b"between", other)]
    error = refusal(tmp_path, build(*items))
    assert error.entry == other.decode()
    assert why in str(error)


def faulty_entries() -> dict[str, tuple[Item, str]]:
    """Entries named ``bad``, each refused for itself, and a part of the reason."""
    link = Item(b"bad", b"/etc/passwd", attributes=(stat.S_IFLNK | 0o777) << 16)
    zeros = bytes(2 << 20)
    stream = deflate(b"content")
    name_extra = extra(0x7075, b"\1" + struct.pack("<L", zlib.crc32(b"bad")) + b"../../etc/passwd")
    kinds = {"device": stat.S_IFBLK, "tty": stat.S_IFCHR, "fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK}
    cases = {
        f"{name} {system}": (Item(b"bad", attributes=(kind | 0o644) << 16, central={"system": system}), "is a ")
        for name, kind in kinds.items()
        for system in (0, 3)
    }
    for field, value, why in (("crc", CRC ^ 1, "checksum"), ("packed", 6, "packed size"), ("size", 8, "size")):
        cases[f"local {field}"] = (Item(b"bad", b"content", local={field: value}), why)
        cases[f"local {field} zero"] = (Item(b"bad", b"content", local={field: 0}), why)
        described = Item(b"bad", b"content", flags=DESCRIPTOR, after=struct.pack("<LLL", CRC, 7, 7))
        described.local = {field: value}
        cases[f"local {field} with descriptor"] = (described, why)
    return cases | {
        "link": (link, "symbolic link"),
        "link of DOS": (
            Item(b"bad", b"x", attributes=(stat.S_IFLNK | 0o777) << 16, central={"system": 0}),
            "symbolic link",
        ),
        "unknown type": (Item(b"bad", attributes=0o150644 << 16), "unknown type"),
        "folder by mode with content": (Item(b"bad", b"content", attributes=0o40755 << 16), "folder with content"),
        "folder by DOS with content": (Item(b"bad", b"content", attributes=0x10), "folder with content"),
        "file by mode with content": (Item(b"bad/", b"content", attributes=0o100755 << 16), "folder with content"),
        "file by mode, folder by DOS": (Item(b"bad", attributes=0o100644 << 16 | 0x10), "file by its mode"),
        "link of a folder's name": (Item(b"bad/", attributes=0o120777 << 16), "symbolic link"),
        "folder with content": (Item(b"bad/", b"content", attributes=0), "folder with content"),
        "folder with packed content": (
            Item(b"bad/", method=DEFLATED, raw=b"\x03\x01", attributes=0),
            "folder with content",
        ),
        "folder with more than an empty stream": (
            Item(b"bad/", method=DEFLATED, raw=b"\1\0\0\xff\xff", attributes=0),
            "folder with content",
        ),
        "folder with a size": (
            Item(b"bad/", method=DEFLATED, raw=b"\3\0", attributes=0, central={"size": 5}, local={"size": 5}),
            "folder with content",
        ),
        "folder with a crc": (Item(b"bad/", attributes=0, central={"crc": 1}, local={"crc": 1}), "folder with content"),
        "encrypted": (Item(b"bad", b"content", flags=1), "encrypted"),
        "strongly encrypted": (Item(b"bad", b"content", flags=1 << 6), "encrypted"),
        "masked": (Item(b"bad", b"content", flags=1 << 13), "encrypted"),
        "patch": (Item(b"bad", b"content", flags=1 << 5), "flags"),
        "bzip2": (Item(b"bad", b"content", method=12), "method 12"),
        "version": (Item(b"bad", b"content", central={"needed": 64}), "newer version"),
        "AES": (Item(b"bad", b"content", method=99), "method 99"),
        "stored in another size": (
            Item(b"bad", b"content", central={"size": 8}, local={"size": 8}),
            "stored, in a size",
        ),
        "bomb": (Item(b"bad", zeros, method=DEFLATED), "over 200 times"),
        "other disk": (Item(b"bad", b"content", central={"disk": 1}), "another disk"),
        "masked disk": (Item(b"bad", b"content", central={"disk": MASK16}), "another disk"),
        "masked disk without a number": (
            Item(b"bad", b"content", extra=zip64(7), central={"size": MASK, "disk": MASK16}),
            "another disk",
        ),
        "local name": (Item(b"bad", b"content", local={"name": b"bat"}), "another name"),
        "longer local name": (Item(b"bad", b"content", local={"name": b"bad2"}), "another name"),
        "local method": (Item(b"bad", b"content", local={"method": 8}), "another way"),
        "local flags": (Item(b"bad", b"content", local={"flags": 0}), "another way"),
        "locally encrypted": (Item(b"bad", b"content", local={"flags": UTF8 | 1}), "another way"),
        "local signature": (Item(b"bad", b"content", signature=b"PK\x03\x05"), "not where"),
        "second name": (Item(b"bad", b"content", extra=name_extra), "a second name, `../../etc/passwd`"),
        "second central name": (Item(b"bad", b"content", central={"extra": name_extra}), "a second name"),
        "second local name": (Item(b"bad", b"content", local={"extra": name_extra}), "a second name"),
        "two second names": (Item(b"bad", b"content", extra=name_extra * 2), "two extra fields"),
        "short second name": (Item(b"bad", b"content", extra=extra(0x7075, b"\1")), "a second name"),
        "extra too long": (Item(b"bad", b"content", extra=b"\1\0\x09\0abc"), "longer than the space"),
        "local extra too long": (Item(b"bad", b"content", local={"extra": b"\1\0\x09\0abc"}), "longer than the space"),
        "no descriptor": (Item(b"bad", b"content", flags=DESCRIPTOR), "descriptor"),
        "descriptor lies": (Item(b"bad", b"content", flags=8, after=struct.pack("<LLL", CRC ^ 1, 7, 7)), "descriptor"),
        "descriptor unsigned": (
            Item(b"bad", b"content", flags=8, after=struct.pack("<LLLL", 1, CRC, 7, 7)),
            "descriptor",
        ),
        "bytes of nobody": (Item(b"bad", b"content", after=b"hidden"), "6 bytes that belong to no entry"),
        "hidden entry": (Item(b"bad", b"content", after=Item(b"h", b"hidden").local_header() + b"hidden"), "no entry"),
        "huge size": (Item(b"bad", method=8, raw=stream, central={"size": MASK - 1}), "over 200 times"),
        "huge packed size": (Item(b"bad", b"", method=8, central={"packed": MASK - 1, "size": MASK - 1}), "overlaps"),
        "zip64 missing": (Item(b"bad", b"content", central={"size": MASK}), "zip64"),
        "zip64 short": (Item(b"bad", b"content", extra=extra(1, b"1234567"), central={"size": MASK}), "zip64"),
        "zip64 incomplete": (
            Item(b"bad", b"content", extra=zip64(7), central={"size": MASK, "packed": MASK}),
            "refers to a zip64",
        ),
        "zip64 disagrees": (Item(b"bad", b"content", extra=zip64(8, 7)), "disagrees"),
        "zip64 out of order": (Item(b"bad", b"content", extra=zip64(7, 7), central={"packed": MASK}), "disagrees"),
        "zip64 too much": (Item(b"bad", b"content", extra=zip64(7, 7, 0, 0)), "wrong size"),
        "zip64 twice": (Item(b"bad", b"content", extra=zip64(7) * 2, central={"size": MASK}), "two extra"),
        "zip64 other disk": (Item(b"bad", b"content", extra=extra(1, b"\1\0\0\0")), "another disk"),
        "zip64 lie": (
            Item(b"bad", b"content", central={"extra": zip64(1 << 40, 1 << 40), "size": MASK, "packed": MASK}),
            "overlaps",
        ),
        "local zip64 lie": (
            Item(b"bad", b"content", local={"extra": zip64(8, 8), "size": MASK, "packed": MASK}),
            "size 8",
        ),
    }


FAULTY = faulty_entries()


@pytest.mark.parametrize("case", FAULTY)
def test_an_entry_that_contradicts_itself_or_the_rules(tmp_path: Path, case: str) -> None:
    item, why = FAULTY[case]
    error = refusal(tmp_path, build(GOOD, item))
    assert error.entry.rstrip("/") == "bad"
    assert why in str(error)


def test_entries_that_share_their_content(tmp_path: Path) -> None:
    """Fifield's bomb: each entry's content is everything that follows, in one stream."""
    kernel = Item(b"b", bytes(900_000), method=DEFLATED)
    inner, _ = body(kernel)
    quoted = struct.pack("<BHH", 0, len(kernel.local_header()), len(kernel.local_header()) ^ MASK16)
    outer = Item(b"a", kernel.local_header() + kernel.data, method=DEFLATED, raw=quoted + inner)
    first = outer.local_header() + quoted
    content = first + inner
    directory = outer.central_header(0) + kernel.central_header(len(first))
    error = refusal(tmp_path, content + directory + end(2, len(directory), len(content)))
    assert (error.entry, "overlaps" in str(error)) == ("a", True)


def test_an_entry_behind_the_end(tmp_path: Path) -> None:
    only = Item(b"only", b"content", central={"offset": MASK - 1})
    assert "before its first entry" in str(refusal(tmp_path / "one", build(only)))
    after = Item(b"after", b"content", central={"offset": 1 << 20})
    stored = refusal(tmp_path / "two", build(GOOD, after))
    assert "good" in stored.entry


def test_an_extra_field_that_reaches_into_the_next_entry(tmp_path: Path) -> None:
    data = bytearray(build(Item(b"bad", b"content"), GOOD))
    struct.pack_into("<H", data, 28, 20)
    error = refusal(tmp_path, bytes(data))
    assert (error.entry, "overlaps" in str(error)) == ("bad", True)


def test_two_entries_at_one_place(tmp_path: Path) -> None:
    content, directory = body(GOOD)
    error = refusal(tmp_path, content + directory * 2 + end(2, 2 * len(directory), len(content)))
    assert error.entry == "good"


def test_an_entry_inside_the_directory(tmp_path: Path) -> None:
    content, directory = body(GOOD)
    inside = Item(b"in", b"").central_header(len(content))
    error = refusal(tmp_path, content + directory + inside + end(2, len(directory + inside), len(content)))
    assert error.entry == "in"


def whole_archives() -> dict[str, tuple[bytes, str]]:
    good = build(GOOD)
    good64 = build64(GOOD)
    content, directory = body(GOOD)
    shape = (1, len(directory), len(content))
    moved = bytearray(good64)
    return {
        "nothing": (b"", "no zip file"),
        "text": (b"<!doctype html><title>Not found</title>", "no zip file"),
        "one byte missing": (good[:-1], "damaged"),
        "half": (good[: len(good) // 2], "no zip file"),
        "something behind": (good + b"x", "added"),
        "something in front": (b"#!/bin/sh\n" + good, "directory is not where"),
        "something in front, counted": (build(Item(b"good", b"content", before=b"#!/bin/sh\n")), "before its first"),
        "between": (content + b"x" + directory + end(*shape), "directory is not where"),
        "between, counted": (
            content + b"x" + directory + end(1, len(directory), len(content) + 1),
            "belong to no entry",
        ),
        "behind the directory": (content + directory + b"x" + end(*shape), "directory is not where"),
        "in the directory": (content + directory + b"x" + end(1, len(directory) + 1, len(content)), "goes on"),
        "comment too long": (
            good[:-2] + b"\5\0",
            "damaged",
        ),
        "second end in the comment": (build(GOOD, comment=end(0, 0, 0)), "more than one"),
        "old end in the comment": (build(GOOD, comment=b"PK\5\6" + bytes(30)), "more than one"),
        "two archives": (good + good, "directory is not where"),
        "count too low": (build(GOOD, Item(b"b"), here=1, entries=1), "goes on"),
        "count too high": (build(GOOD, here=2, entries=2), "cannot be the directory"),
        "count too high by long names": (build(Item(b"x" * 200), here=2, entries=2), "middle of an entry"),
        "directory cut": (content + directory + end(1, len(directory), len(content))[:12], "damaged"),
        "directory damaged": (good.replace(b"PK\1\2", b"PK\1\3"), "damaged at the 1."),
        "disks": (build(GOOD, disk=1), "several disks"),
        "first disk": (build(GOOD, first=1), "several disks"),
        "entries on this disk": (build(GOOD, here=0), "several disks"),
        "huge directory": (build(GOOD, size=MASK - 1), "directory is not where"),
        "huge offset": (build(GOOD, offset=MASK - 1), "directory is not where"),
        "masked without zip64": (build(GOOD, here=MASK16, entries=MASK16), "cannot be the directory"),
        "zip64 locator elsewhere": (build64(GOOD, at=0), "not where the locator"),
        "zip64 locator far away": (build64(GOOD, at=1 << 62), "not where the locator"),
        "zip64 disks": (build64(GOOD, disks=2), "several disks"),
        "zip64 locator disk": (build64(GOOD, locator_disk=1), "several disks"),
        "zip64 disk": (build64(GOOD, disk=1), "several disks"),
        "zip64 counts": (build64(GOOD, here=2), "several disks"),
        "zip64 record longer": (build64(GOOD, length=45), "record is damaged"),
        "zip64 signature": (bytes(moved).replace(b"PK\6\6", b"PK\6\5"), "record is damaged"),
        "zip64 entries": (build64(GOOD, narrow={"entries": 2, "here": 2}), "disagrees"),
        "zip64 size": (build64(GOOD, narrow={"size": len(directory) + 1}), "disagrees"),
        "zip64 offset": (build64(GOOD, narrow={"offset": 0}), "disagrees"),
        "zip64 count": (build64(GOOD, here=1 << 40, entries=1 << 40), "1,099,511,627,776 entries"),
        "zip64 huge size": (build64(GOOD, size=1 << 62), "directory is not where"),
        "ratio": (build(Item(b"zeros", bytes(1 << 20), method=DEFLATED)), "over 200 times"),
        "ratio of many": (
            build(*(Item(b"z%d" % n, bytes(1 << 19), method=DEFLATED) for n in range(9))),
            "over 200 times",
        ),
    }


WHOLE = whole_archives()


@pytest.mark.parametrize("case", WHOLE)
def test_a_file_that_is_not_exactly_one_archive(tmp_path: Path, case: str) -> None:
    data, why = WHOLE[case]
    assert why in str(refusal(tmp_path, data))


def test_too_many_entries_are_counted_not_read(tmp_path: Path) -> None:
    # 100,001 honest entries, but what the first one says would be refused if it were looked at.
    one = Item(b"../x").central_header(0)
    content = bytes(40)
    size = len(one) * 100_001
    tail = build64(GOOD)[-98:]
    record = bytearray(tail)
    struct.pack_into("<4Q", record, 24, 100_001, 100_001, size, len(content))
    struct.pack_into("<Q", record, 56 + 8, len(content) + size)
    error = refusal(tmp_path, content + one * 100_001 + bytes(record))
    assert "100,001 entries" in str(error)


def test_names_that_would_take_too_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [Item(b"%d/a/x" % number) for number in range(6)]
    with monkeypatch.context() as patch:
        patch.setattr(archive_names, "MAX_ENTRIES", 10)
        error = refusal(tmp_path / "one", build(*items))
    assert (error.entry, "needs a folder more" in str(error)) == ("5/a/x", True)
    with monkeypatch.context() as patch:
        patch.setattr(archive_end, "MAX_DIRECTORY", 200)
        assert "cannot be the directory" in str(refusal(tmp_path / "two", build(*items)))
    read_archive(tmp_path / "two/a.zip")


def content_faults() -> dict[str, tuple[Item, str]]:
    data = os.urandom(3000) * 3
    stream = deflate(data)
    lied = {"crc": zlib.crc32(data)}

    def item(raw: bytes, size: int = len(data)) -> Item:
        fields: dict[str, int | bytes] = {**lied, "size": size}
        return Item(b"bad", raw=raw, method=DEFLATED, central=fields, local=fields)

    return {
        "checksum": (Item(b"bad", data, central={"crc": 7}, local={"crc": 7}), "checksum"),
        "deflated checksum": (Item(b"bad", data, method=8, central={"crc": 7}, local={"crc": 7}), "checksum"),
        "longer than told": (item(stream, len(data) - 1), "holds more than"),
        "much longer than told": (item(deflate(bytes(1 << 24)), 100), "holds more than"),
        "told to be empty": (item(stream, 0), "holds more than"),
        "shorter than told": (item(stream, len(data) + 1), "instead of the"),
        "stream cut": (item(stream[:-1]), "does not end where"),
        "no stream": (item(b""), "does not end where"),
        "bytes behind the stream": (item(stream + b"x"), "ends before"),
        "many bytes behind the stream": (item(stream + bytes(1 << 19)), "ends before"),
        "no deflate": (item(b"\xff" * 100), "cannot be unpacked"),
    }


def test_bytes_behind_a_stream_are_not_collected(tmp_path: Path) -> None:
    fields: dict[str, int | bytes] = {"size": 7, "crc": CRC}
    stream = deflate(b"content") + bytes(8 << 20)
    (tmp_path / "a.zip").write_bytes(build(Item(b"bad", raw=stream, method=DEFLATED, central=fields, local=fields)))
    (tmp_path / "target").mkdir()
    tracemalloc.start()
    try:
        with pytest.raises(BadArchive, match="ends before"):
            extract(read_archive(tmp_path / "a.zip"), tmp_path / "target")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


CONTENT = content_faults()


@pytest.mark.parametrize("case", CONTENT)
def test_content_other_than_announced(tmp_path: Path, case: str) -> None:
    item, why = CONTENT[case]
    (tmp_path / "a.zip").write_bytes(build(item))
    (tmp_path / "target").mkdir()
    archive = read_archive(tmp_path / "a.zip")
    with pytest.raises(BadArchive, match=why) as caught:
        extract(archive, tmp_path / "target")
    assert caught.value.entry == "bad"
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(found) == [tmp_path / "a.zip", tmp_path / "target/bad"]
    assert (tmp_path / "target/bad").stat().st_size <= archive.entries[0].size
