"""Read the directory of a zip file and judge it, before a byte of content is looked at.

The format tells most things twice, and readers that believe different copies see different files in one archive.  So
every copy must agree here, and every byte of the file must belong to exactly one structure.  ``zipfile`` of the
standard library is no help: it believes the central directory, and holds all of it before it can be asked for a count.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trio_update.host.archive.end import Directory, find_directory
from trio_update.host.archive.format import (
    CENTRAL,
    CENTRAL_SIGNATURE,
    DEFLATE_HINTS,
    DEFLATED,
    DOS_DIRECTORY,
    EMPTY_DEFLATED,
    ENCRYPTED,
    HAS_DESCRIPTOR,
    IS_UTF8,
    MASK16,
    NEWEST_VERSION,
    STORED,
    Extras,
    Faulty,
    Header,
    Read,
    read_extras,
    widen,
)
from trio_update.host.archive.local import locate
from trio_update.host.archive.names import BadArchive, NameTree, fault_of, meant_name, shown

MAX_RATIO = 200
_RATIO_MATTERS_FROM = 1 << 20
_EMPTY_PACKED = tuple(map(len, EMPTY_DEFLATED))
_CHUNK = 256 << 10
_DOS_EPOCH = 315532800.0  # 1980-01-01


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file or folder in an archive.

    ``name`` is relative, with slashes, without one at its end.  ``modified`` is Unix time in whole seconds: of the
    extended timestamp (extra field 0x5455) when there is one, else the DOS time read as UTC.  The latter is usually
    some local time of an unknown zone; what counts is that every host reads the same number from one archive.  An
    impossible DOS time (many tools write zeros) is 1980-01-01.
    """

    name: str
    is_dir: bool
    size: int
    crc: int
    executable: bool
    modified: float
    deflated: bool
    packed_size: int
    data_offset: int


def judge(path: Path | str, read: Read, length: int) -> tuple[Entry, ...]:
    """The entries of the archive that ``read`` reads, in the order of the directory.

    Raises: BadArchive, about ``path``, which may be any name.
    """
    try:
        directory = find_directory(read, length)
    except Faulty as fault:
        raise BadArchive(path, "", str(fault)) from None
    headers = list(_headers(path, read, directory))
    _refuse_conflicts(path, headers)
    offsets = locate(path, read, headers, directory.offset)
    unpacked = sum(header.size for header in headers)
    if unpacked > MAX_RATIO * length:
        raise BadArchive(path, "", f"its {length:,} bytes would become {unpacked:,}, over {MAX_RATIO} times as many")
    # The folder that is unpacked into is nobody's to make, although some archivers name it.
    return tuple(_entry(header, offset) for header, offset in zip(headers, offsets, strict=True) if header.name)


def _entry(header: Header, data_offset: int) -> Entry:
    return Entry(
        name=header.name,
        is_dir=header.is_dir,
        size=header.size,
        crc=header.crc,
        executable=header.executable,
        modified=header.modified,
        deflated=header.method == DEFLATED,
        packed_size=header.packed_size,
        data_offset=data_offset,
    )


def _refuse_conflicts(path: Path | str, headers: list[Header]) -> None:
    tree = NameTree()
    for header in headers:
        fault = tree.add(header.name, is_dir=header.is_dir) if header.name else None
        if fault is not None:
            raise BadArchive(path, shown(header.raw_name), fault)


def _headers(path: Path | str, read: Read, directory: Directory) -> Iterator[Header]:
    """Exactly as many headers as were announced, filling exactly the space that was."""
    window = _Window(read, directory.offset, directory.size)
    for number in range(1, directory.entries + 1):
        try:
            fixed = CENTRAL.unpack(window.take(CENTRAL.size))
            if fixed[0] != CENTRAL_SIGNATURE:
                raise Faulty(f"its directory is damaged at the {number:,}. entry")  # noqa: TRY301
            name, extra, _ = (window.take(length) for length in fixed[10:13])
        except Faulty as fault:
            raise BadArchive(path, "", str(fault)) from None
        try:
            yield _header(fixed, name, extra)
        except Faulty as fault:
            raise BadArchive(path, shown(name), str(fault)) from None
    if window.left:
        raise BadArchive(path, "", f"its directory goes on after the {directory.entries:,} entries it announces")


class _Window:
    """Takes bytes of the directory one after the other, from a read-ahead of bounded size."""

    def __init__(self, read: Read, offset: int, size: int) -> None:
        self._read = read
        self._offset = offset
        self._ahead = b""
        self._at = 0
        self._unread = size

    @property
    def left(self) -> int:
        return len(self._ahead) - self._at + self._unread

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise Faulty("its directory ends in the middle of an entry")
        if count > len(self._ahead) - self._at:
            length = min(self._unread, max(_CHUNK, count))
            self._ahead = self._ahead[self._at :] + self._read(self._offset, length)
            self._at = 0
            self._offset += length
            self._unread -= length
        taken = self._ahead[self._at : self._at + count]
        self._at += count
        return taken


def _header(fixed: tuple[Any, ...], name: bytes, extra: bytes) -> Header:
    """Raises: Faulty, for every fault of one entry that its central header shows."""
    _, _, version, flags, method, time, date, crc, packed, size, _, _, _, disk, _, attributes, offset = fixed
    extras = read_extras(extra)
    meant = _name(name, flags, extras, attributes)
    size, packed, offset = widen((size, packed, offset), extras.zip64)
    if disk not in ((0, MASK16) if extras.zip64 and len(extras.zip64) % 8 else (0,)):
        raise Faulty("lies on another disk")
    mode = attributes >> 16
    is_dir = _judge_type(name.endswith(b"/"), mode, attributes)
    _judge_packing(version, flags, method)
    size = _judge_sizes(is_dir, method, packed, size, crc)
    modified = _modified(extras, date, time)
    return Header(name, meant, flags, method, crc, packed, size, offset, is_dir, mode & 0o111 != 0, modified)


def _name(raw: bytes, flags: int, extras: Extras, attributes: int) -> str:
    try:
        name = meant_name(raw, flags, extras.unicode_path, extras.unicode_crc)
    except ValueError as error:
        raise Faulty(f"has a second name, `{error}`") from None
    if name == b"." and _is_folder(attributes):
        return ""
    if (name or not raw.startswith(b"./")) and (fault := fault_of(name)) is not None:
        raise Faulty(fault)
    return name.decode().removesuffix("/")


def _is_folder(attributes: int) -> bool:
    """Whether an entry without a slash is a folder: by its mode, or by DOS's bit where there is no mode."""
    kind = stat.S_IFMT(attributes >> 16)
    return kind == stat.S_IFDIR or (not kind and attributes & DOS_DIRECTORY != 0)


def _judge_type(named_dir: bool, mode: int, attributes: int) -> bool:
    """Whether the entry is a folder; a slash says so whatever the mode, and the mode does without a slash.

    Archivers that take either from somewhere else write both.  It has one meaning here because a folder with content
    is refused: who takes it for a file gets an empty one.

    The upper half of the attributes is a Unix mode whatever system is said to have made the entry.  Readers differ in
    whether they believe that statement, so no value of it may hide a link.
    """
    kind = stat.S_IFMT(mode)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        names = {
            stat.S_IFLNK: "symbolic link",
            stat.S_IFCHR: "character device",
            stat.S_IFBLK: "block device",
            stat.S_IFIFO: "FIFO",
            stat.S_IFSOCK: "socket",
        }
        raise Faulty(f"is a {names.get(kind, 'thing of unknown type')}; only files and folders are allowed")
    if not named_dir and kind == stat.S_IFREG and attributes & DOS_DIRECTORY:
        raise Faulty("is a file by its mode and a folder by its attributes")
    return named_dir or _is_folder(attributes)


def _judge_packing(version: int, flags: int, method: int) -> None:
    if flags & ENCRYPTED:
        raise Faulty("is encrypted")
    if version & 0xFF > NEWEST_VERSION:
        raise Faulty("needs a newer version of the zip format than there is")
    if method not in (STORED, DEFLATED):
        raise Faulty(f"is packed by method {method}; only stored and deflated entries can be read")
    unknown = flags & ~(DEFLATE_HINTS | HAS_DESCRIPTOR | IS_UTF8)
    if unknown:
        raise Faulty(f"has flags ({unknown:#06x}) that are unknown here")


def _judge_sizes(is_dir: bool, method: int, packed: int, size: int, crc: int) -> int:
    """The size; that of a folder is none, although some archivers write down what it takes on their disk."""
    if is_dir and method == STORED and not packed and not crc:
        return 0
    if is_dir and (size or crc or packed not in (0, *(_EMPTY_PACKED if method == DEFLATED else ()))):
        raise Faulty("is a folder with content")
    if method == STORED and packed != size:
        raise Faulty("is stored, in a size other than its own")
    if size > _RATIO_MATTERS_FROM and size > MAX_RATIO * packed:
        raise Faulty(f"would grow from {packed:,} to {size:,} bytes, over {MAX_RATIO} times as many")
    return size


def _modified(extras: Extras, date: int, time: int) -> float:
    if extras.modified is not None:
        return float(extras.modified)
    try:
        # 4.4.6: years from 1980, and seconds by two.
        return datetime(
            (date >> 9) + 1980, date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2, tzinfo=UTC
        ).timestamp()
    except ValueError:
        return _DOS_EPOCH
