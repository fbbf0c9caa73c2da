"""The structures of a zip file: PKWARE's APPNOTE 6.3.10, whose section numbers are given."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

END = struct.Struct("<4s4H2LH")  # 4.3.16
END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
LOCATOR64 = struct.Struct("<4sLQL")  # 4.3.15
CENTRAL = struct.Struct("<4s6H3L5H2L")  # 4.3.12
LOCAL = struct.Struct("<4s5H3L2H")  # 4.3.7
END_SIGNATURE = b"PK\x05\x06"
END64_SIGNATURE = b"PK\x06\x06"
LOCATOR64_SIGNATURE = b"PK\x06\x07"
CENTRAL_SIGNATURE = b"PK\x01\x02"
LOCAL_SIGNATURE = b"PK\x03\x04"
DESCRIPTOR_SIGNATURE = b"PK\x07\x08"

STORED, DEFLATED = 0, 8
NEWEST_VERSION = 63  # 4.4.3: of the format, that of the edition above
HAS_DESCRIPTOR, IS_UTF8 = 1 << 3, 1 << 11
ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13  # the entry, strongly, and its local header masked
DEFLATE_HINTS = 0b110  # 4.4.4: how hard the compressor tried; says nothing to a reader
DOS_DIRECTORY = 0x10
EXTRA_ZIP64, EXTRA_TIMES, EXTRA_UNICODE_PATH = 0x0001, 0x5455, 0x7075
MASK16, MASK32 = 0xFFFF, 0xFFFFFFFF
# Deflate streams of nothing.  Java writes the first for each folder, Go the second for one without its slash.
EMPTY_DEFLATED = (b"\x03\x00", b"\x01\x00\x00\xff\xff")


class Faulty(Exception):
    """Why something cannot be what it says it is, to go on after the name of the entry; becomes a BadArchive."""


class Extras(NamedTuple):
    """The extra fields (4.5) that change what an entry is."""

    zip64: bytes | None = None
    unicode_path: bytes | None = None
    unicode_crc: int = 0
    modified: int | None = None


def read_extras(data: bytes) -> Extras:
    """Raises: Faulty, when the blocks do not fit their space, or one that counts is there twice."""
    found: dict[int, bytes] = {}
    at = 0
    # Up to three odd bytes at the end are left by alignment tools, and cannot hold a block for anybody.
    while len(data) - at >= 4:
        kind, length = struct.unpack_from("<HH", data, at)
        at += 4
        if length > len(data) - at:
            raise Faulty("has an extra field that is longer than the space for it")
        if kind in found and kind in (EXTRA_ZIP64, EXTRA_UNICODE_PATH):
            raise Faulty(f"has two extra fields of kind {kind:#06x}")
        found[kind] = data[at : at + length]
        at += length
    times = found.get(EXTRA_TIMES, b"")
    modified = struct.unpack_from("<l", times, 1)[0] if len(times) >= 5 and times[0] & 1 else None
    # 4.6.9: a version and a CRC of the name in the header stand before this other one.
    block = found.get(EXTRA_UNICODE_PATH)
    path, crc = (None, 0) if block is None else (block[5:], int.from_bytes(block[1:5], "little"))
    return Extras(found.get(EXTRA_ZIP64), path, crc, modified)


def widen(values: Sequence[int], block: bytes | None) -> list[int]:
    """The true values of header fields, of which those that are 0xFFFFFFFF stand in the zip64 field (4.5.3).

    Some writers repeat fields there that fit the header.  Readers disagree about the meaning of that, unless the
    repeated ones come last; then they only have to be equal.

    Raises: Faulty.
    """
    if block is None:
        if MASK32 in values:
            raise Faulty("refers to a zip64 field that is not there")
        return list(values)
    # A last half word is the number of the disk the entry starts on.
    count, rest = divmod(len(block), 8)
    if count > len(values) or rest not in (0, 4) or (rest == 4 and block[-4:] != bytes(4)):
        raise Faulty("has a zip64 field of the wrong size, or for another disk")
    wide = struct.unpack_from(f"<{count}Q", block)
    masked = [position for position, value in enumerate(values) if value == MASK32]
    true = list(values)
    if len(masked) > count:
        raise Faulty("refers to a zip64 field that is not there")
    for position, value in zip(masked, wide, strict=False):
        true[position] = value
    repeated = wide[len(masked) :]
    if repeated and (masked != list(range(len(masked))) or list(wide) != true[:count]):
        raise Faulty("has a zip64 field that disagrees with its header")
    return true


class Header(NamedTuple):
    """What the central directory says about an entry, the zip64 field resolved.

    ``raw_name`` is what stands in both headers; ``name`` is what it means (see
    :func:`~trio_update.host.archive.names.meant_name`), without a slash at its end; empty for the archive's own root.
    """

    raw_name: bytes
    name: str
    flags: int
    method: int
    crc: int
    packed_size: int
    size: int
    offset: int
    is_dir: bool
    executable: bool
    modified: float


Read = Callable[[int, int], bytes]
"""Reads (offset, length) of the archive, all of it or not at all."""
