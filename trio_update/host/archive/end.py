"""Find the directory of a zip file, which is announced at the end of it."""

from __future__ import annotations

from typing import NamedTuple

from trio_update.host.archive.format import (
    CENTRAL,
    END,
    END64,
    END64_SIGNATURE,
    END_SIGNATURE,
    LOCATOR64,
    LOCATOR64_SIGNATURE,
    MASK16,
    MASK32,
    Faulty,
    Read,
)
from trio_update.host.archive.names import MAX_ENTRIES

# 670 bytes for each of 100,000 entries: no honest archive comes near, and it bounds the memory for their names.
MAX_DIRECTORY = 64 << 20


_PADDING = b"\0\r\n"


class Directory(NamedTuple):
    """Where the central directory lies, and how many entries it has; it is the last thing before the end records."""

    offset: int
    size: int
    entries: int


def find_directory(read: Read, length: int) -> Directory:
    """Raises: Faulty, unless one end record fits exactly the end of the file, and what it says fits the file."""
    at = _find_end_record(read, length)
    _, disk, first_disk, here, count, size, offset, _ = END.unpack(read(at, END.size))
    directory = Directory(offset, size, count)
    numbers = [disk, first_disk, here]
    locator_at = at - LOCATOR64.size
    end = at
    if locator_at >= 0 and read(locator_at, 4) == LOCATOR64_SIGNATURE:
        directory, end = _zip64(read, locator_at, numbers, directory)
    elif numbers != [0, 0, count]:
        raise Faulty("it is one part of an archive on several disks")
    if directory.entries > MAX_ENTRIES:
        raise Faulty(f"it has {directory.entries:,} entries, more than the {MAX_ENTRIES:,} that are allowed")
    if directory.offset + directory.size != end:
        raise Faulty("its directory is not where the end of the file says: it is damaged, or something was added to it")
    if directory.size > MAX_DIRECTORY or directory.size < directory.entries * CENTRAL.size:
        raise Faulty(f"{directory.size:,} bytes cannot be the directory of {directory.entries:,} entries")
    return directory


def _find_end_record(read: Read, length: int) -> int:
    """The offset of the one end record (4.3.16): a second one in a comment is what another reader would find.

    Zeros and line ends behind it are what fills a block or comes of a copy as text.  No reader finds anything there.
    """
    start = max(0, length - END.size - MASK16)
    tail = read(start, length - start)
    fitting = []
    last = at = tail.find(END_SIGNATURE)
    while 0 <= at <= len(tail) - END.size:
        last = at
        ends = at + END.size + int.from_bytes(tail[at + 20 : at + 22], "little")
        if ends <= len(tail) and not tail[ends:].strip(_PADDING):
            fitting.append(at)
        at = tail.find(END_SIGNATURE, at + 1)
    if not fitting:
        what = "it is no zip file" if last < 0 else "it is damaged, or something was added to its end"
        raise Faulty(f"{what}: no end of a zip directory is where the file ends")
    if fitting != [last]:
        raise Faulty("it has more than one end of a directory")
    return start + last


def _zip64(read: Read, locator_at: int, numbers: list[int], narrow: Directory) -> tuple[Directory, int]:
    """What the zip64 records say, which must be what the old record says where that has room for it.

    CPython's CVE-2025-8291: the locator was not followed, so that the record could lie where others did not look.
    """
    _, locator_disk, at, disks = LOCATOR64.unpack(read(locator_at, LOCATOR64.size))
    if locator_disk != 0 or disks > 1:
        raise Faulty("it is one part of an archive on several disks")
    if at + END64.size != locator_at:
        raise Faulty("its zip64 record is not where the locator says")
    signature, size, _, _, disk, first_disk, here, count, directory_size, offset = END64.unpack(read(at, END64.size))
    if signature != END64_SIGNATURE or size != END64.size - 12:
        raise Faulty("its zip64 record is damaged")
    if disk or first_disk or here != count:
        raise Faulty("it is one part of an archive on several disks")
    wide = Directory(offset, directory_size, count)
    pairs = zip((*numbers, narrow.entries), (0, 0, count, count), strict=True)
    if any(old not in (new, MASK16) for old, new in pairs) or any(
        old not in (new, MASK32) for old, new in ((narrow.size, wide.size), (narrow.offset, wide.offset))
    ):
        raise Faulty("its zip64 record disagrees with the end of its directory")
    return wide, at
