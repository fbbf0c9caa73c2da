"""Archives as the tools of others write them: odd, with one meaning, and no attack."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from tests.support.zips import DEFLATED, DESCRIPTOR, UTF8, Item, build, build64, extra
from trio_update.host.archive.extract import BadArchive, extract, read_archive

FOLDER, FILE = 0o40755 << 16, 0o100644 << 16
GO_EMPTY = b"\1\0\0\xff\xff"


def second_name(raw: bytes, other: str, crc: int | None = None) -> bytes:
    """Info-ZIP's extra field with the name in Unicode."""
    return extra(0x7075, b"\1" + struct.pack("<L", zlib.crc32(raw) if crc is None else crc) + other.encode())


def unpacked(tmp_path: Path, data: bytes) -> dict[str, bytes | None]:
    """What is there after unpacking; folders as None."""
    (tmp_path / "a.zip").write_bytes(data)
    target = tmp_path / "target"
    target.mkdir()
    extract(read_archive(tmp_path / "a.zip"), target)
    return {
        str(path.relative_to(target)): path.read_bytes() if path.is_file() else None
        for path in sorted(target.rglob("*"))
    }


PLAIN = {"d": None, "d/a": b"x"}
SAME = {
    "leading ./": build(Item(b"./d/", attributes=FOLDER), Item(b"./d/a", b"x")),
    "the root itself": build(Item(b"./", attributes=FOLDER), Item(b"./d/", attributes=FOLDER), Item(b"./d/a", b"x")),
    "the root without a slash": build(Item(b".", attributes=FOLDER), Item(b"d/a", b"x")),
    "leading ././": build(Item(b"././d/a", b"x")),
    "some with ./": build(Item(b"./d/", attributes=FOLDER), Item(b"d/a", b"x")),
    "folder with a file's mode": build(Item(b"d/", attributes=FILE), Item(b"d/a", b"x")),
    "folder with a file's mode and DOS's bit": build(Item(b"d/", attributes=FILE | 0x10), Item(b"d/a", b"x")),
    "folder without a slash": build(Item(b"d", attributes=FOLDER), Item(b"d/a", b"x")),
    "folder without a slash, of DOS": build(Item(b"d", attributes=0x10, central={"system": 0}), Item(b"d/a", b"x")),
    "folder without a slash, after its file": build(Item(b"d/a", b"x"), Item(b"d", attributes=FOLDER)),
    "folder without a slash, as Go writes it": build(
        Item(
            b"d",
            method=DEFLATED,
            raw=GO_EMPTY,
            flags=UTF8 | DESCRIPTOR,
            attributes=FOLDER | 0x10,
            local={"crc": 0, "packed": 0, "size": 0},
            after=b"PK\x07\x08" + struct.pack("<LLL", 0, 5, 0),
        ),
        Item(b"d/a", b"x"),
    ),
    "folder of the size that it has on a disk": build(
        Item(b"d/", attributes=FOLDER, central={"size": 4096}, local={"size": 4096}), Item(b"d/a", b"x")
    ),
    "folder of a size in the directory alone": build(
        Item(b"d/", attributes=FOLDER, central={"size": 4096}), Item(b"d/a", b"x")
    ),
    "no folder entries": build(Item(b"d/a", b"x")),
    "times and owners of macOS": build(
        Item(b"d/a", b"x", extra=extra(0x5855, bytes(12)) + extra(0x7875, b"\1\4\1\2\3\4\4\1\2\3\4"))
    ),
    "times of Windows": build(Item(b"d/a", b"x", extra=extra(0x000A, bytes(32)))),
    "zip64 that is not needed": build64(Item(b"d/a", b"x")),
    "comment": build(Item(b"d/a", b"x"), comment=b"a" * 0xFFFF),
    "comment that ends as padding does": build(Item(b"d/a", b"x"), comment=b"made by me\r\n\0"),
    "zeros behind the end": build(Item(b"d/a", b"x")) + bytes(4096),
    "line end behind the end": build(Item(b"d/a", b"x")) + b"\r\n",
    "zeros behind a comment": build(Item(b"d/a", b"x"), comment=b"made by me") + bytes(512),
}


@pytest.mark.parametrize("case", SAME)
def test_forms_of_one_folder_with_one_file(tmp_path: Path, case: str) -> None:
    assert unpacked(tmp_path, SAME[case]) == PLAIN


@pytest.mark.parametrize("name", ["./{}", "{}"])
def test_what_the_standard_library_writes_when_it_is_given_such_names(tmp_path: Path, name: str) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in ("", "d/"):
            info = zipfile.ZipInfo(name.format(folder) or "./")
            info.external_attr = FOLDER | 0x10
            archive.writestr(info, b"")
        archive.writestr(name.format("d/a"), b"x")
    assert "./" in zipfile.ZipFile(made).namelist()
    assert unpacked(tmp_path, made.getvalue()) == PLAIN


NAMES = {
    "code page of DOS": (Item("grün-é-ß".encode("cp437"), b"x", flags=0), "grün-é-ß"),
    "code page of DOS, in a folder": (Item("Über/Ñandú".encode("cp437"), b"x", flags=0), "Über/Ñandú"),
    "UTF-8 without the flag": (Item("grün".encode(), b"x", flags=0), "grün"),
    "second name": (
        Item("grün".encode("cp437"), b"x", flags=0, extra=second_name("grün".encode("cp437"), "grün")),
        "grün",
    ),
    "second name that the first cannot say": (
        Item(b"\xe0\xe1", b"x", flags=0, extra=second_name(b"\xe0\xe1", "бю")),
        "бю",
    ),
    "second name in the directory alone": (
        Item(b"\xe0\xe1", b"x", flags=0, central={"extra": second_name(b"\xe0\xe1", "бю")}),
        "бю",
    ),
    "second name with ./": (Item(b"./\xe0", b"x", flags=0, extra=second_name(b"./\xe0", "./б")), "б"),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_of_other_code_pages(tmp_path: Path, case: str) -> None:
    item, name = NAMES[case]
    found = unpacked(tmp_path, build(item))
    assert {path: data for path, data in found.items() if data is not None} == {name: b"x"}


REFUSED = {
    "up, behind ./": (Item(b"./../x", b"x"), "`..`"),
    "absolute, behind ./": (Item(b".//etc/x", b"x"), "absolute"),
    "drive, behind ./": (Item(b"./C:/x", b"x"), "drive letter"),
    "backslash, behind ./": (Item(b"./..\\x", b"x"), "backslash"),
    "up by the second name": (
        Item(b"\xe0", b"x", flags=0, extra=second_name(b"\xe0", "../x")),
        "`..`",
    ),
    "second name of another first": (Item(b"\xe0", b"x", flags=0, extra=second_name(b"\xe0", "б", 7)), "second name"),
    "second name in front alone": (
        Item("ü".encode("cp437"), b"x", flags=0, local={"extra": second_name("ü".encode("cp437"), "o")}),
        "second name",
    ),
    "second name of one in UTF-8": (Item("ü".encode(), b"x", flags=0, extra=second_name("ü".encode(), "o")), "second"),
    "what is no letter": (Item(b"a\xb0", b"x", flags=0), "not UTF-8"),
    "code page in spite of the flag": (Item(b"gr\x81n", b"x"), "not UTF-8"),
    "NUL": (Item(b"./a\0b", b"x"), "control character"),
    "link with a folder's name": (Item(b"d/", attributes=0o120777 << 16), "symbolic link"),
    "device with a folder's bit": (Item(b"d", attributes=0o60644 << 16 | 0x10), "device"),
    "the root with content": (Item(b"./", b"x", attributes=FOLDER), "folder with content"),
    "a file called as the root": (Item(b".", b"x"), "`.`"),
    "folder of Go's form, with a slash": (Item(b"d/", method=DEFLATED, raw=GO_EMPTY, attributes=FOLDER), "content"),
    "folder with another stream": (Item(b"d", method=DEFLATED, raw=b"\1\0\0\xff\xfe", attributes=FOLDER), "content"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_same_forms_with_another_meaning_stay_refused(tmp_path: Path, case: str) -> None:
    item, why = REFUSED[case]
    with pytest.raises(BadArchive, match=why):
        unpacked(tmp_path, build(item))
    assert not list((tmp_path / "target").iterdir())


def test_one_name_with_and_without_the_dot_is_there_twice(tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match="twice"):
        unpacked(tmp_path, build(Item(b"./a", b"x"), Item(b"a", b"y")))


@pytest.mark.parametrize("behind", [b"x", b"\0x", b"\0PK\5\6", b"PK\5\6" + bytes(18)])
def test_what_is_no_padding_behind_the_end_is_refused(tmp_path: Path, behind: bytes) -> None:
    with pytest.raises(BadArchive, match=r"added|more than one|directory is not"):
        unpacked(tmp_path, build(Item(b"a", b"x")) + behind)
