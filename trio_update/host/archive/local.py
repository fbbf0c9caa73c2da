"""Hold the local headers of a zip file against its directory, and every byte against both."""

from __future__ import annotations

import struct
from pathlib import Path

from trio_update.host.archive.format import (
    DEFLATE_HINTS,
    DESCRIPTOR_SIGNATURE,
    EMPTY_DEFLATED,
    HAS_DESCRIPTOR,
    LOCAL,
    LOCAL_SIGNATURE,
    Faulty,
    Header,
    Read,
    read_extras,
    widen,
)
from trio_update.host.archive.names import BadArchive, meant_name, shown

# One read for most headers: the extra fields of the usual tools take 9 to 40 bytes.
_GUESSED_EXTRA = 64
# 4.3.9: crc, packed size, size, the sizes narrow or wide; the signature is optional.
_DESCRIPTORS = {
    12: (b"", "<3L"),
    16: (DESCRIPTOR_SIGNATURE, "<3L"),
    20: (b"", "<LQQ"),
    24: (DESCRIPTOR_SIGNATURE, "<LQQ"),
}


def locate(path: Path | str, read: Read, headers: list[Header], end: int) -> list[int]:
    """Where the content of each entry begins, given that the directory begins at ``end``.

    The entries must lie side by side from the first byte of the file to the directory: an overlap is a bomb (many
    entries that share one content), and bytes of nobody are entries to those who read from the front.

    Raises: BadArchive, about ``path``.
    """
    offsets = [0] * len(headers)
    order = sorted(range(len(headers)), key=lambda number: headers[number].offset)
    borders = [*(headers[number].offset for number in order), end]
    if borders[0] != 0:
        raise BadArchive(path, "", "something stands before its first entry")
    for number, border in zip(order, borders[1:], strict=True):
        header = headers[number]
        try:
            offsets[number] = _locate_one(read, header, border)
        except Faulty as fault:
            raise BadArchive(path, shown(header.raw_name), str(fault)) from None
    return offsets


def _locate_one(read: Read, header: Header, border: int) -> int:
    room = border - header.offset
    needed = LOCAL.size + len(header.raw_name)
    if room < needed + header.packed_size:
        raise Faulty("overlaps with what follows it")
    data = read(header.offset, min(room, needed + _GUESSED_EXTRA))
    fixed = LOCAL.unpack_from(data)
    extra_length: int = fixed[10]
    begin = header.offset + needed + extra_length
    after = border - begin - header.packed_size
    if fixed[0] != LOCAL_SIGNATURE:
        raise Faulty("is not where the directory says")
    if fixed[9] != len(header.raw_name) or data[LOCAL.size : needed] != header.raw_name:
        raise Faulty("has another name in front of its content than in the directory")
    if after < 0:
        raise Faulty("overlaps with what follows it")
    extra = data[needed : needed + extra_length]
    if len(extra) < extra_length:
        extra = read(header.offset + needed, extra_length)
    _compare(header, fixed[2:9], extra)
    _judge_rest(header, read(begin + header.packed_size, after) if 0 < after <= max(_DESCRIPTORS) else b"", after)
    if header.is_dir and header.packed_size and read(begin, header.packed_size) not in _empty(header):
        raise Faulty("is a folder with content")
    return begin


def _compare(header: Header, fixed: tuple[int, ...], extra: bytes) -> None:
    flags, method, _, _, crc, packed, size = fixed
    extras = read_extras(extra)
    size, packed = widen((size, packed), extras.zip64)
    # The directory's was judged; a reader from the front would believe this one.
    if extras.unicode_path is not None and extras.unicode_path != header.raw_name:
        try:
            meant = meant_name(header.raw_name, header.flags, extras.unicode_path, extras.unicode_crc)
        except ValueError:
            meant = b""
        if meant.removesuffix(b"/") != header.name.encode():
            raise Faulty(f"has a second name, `{shown(extras.unicode_path)}`")
    if (flags ^ header.flags) & ~DEFLATE_HINTS or method != header.method:
        raise Faulty("is packed another way by the header in front of its content than by the directory")
    for name, here, there in (
        ("checksum", crc, header.crc),
        ("packed size", packed, header.packed_size),
        ("size", size, header.size),
    ):
        if here != there and not (here == 0 and flags & HAS_DESCRIPTOR) and not (name == "size" and header.is_dir):
            raise Faulty(f"has the {name} {here} in front of its content, and {there} in the directory")


def _empty(header: Header) -> tuple[bytes, ...]:
    """What a folder's content may be packed to; Go writes none for a folder that it knows by its slash."""
    return EMPTY_DEFLATED[: 1 if header.raw_name.endswith(b"/") else None]


def _judge_rest(header: Header, rest: bytes, length: int) -> None:
    """What stands between the content and the next entry: nothing, or exactly a data descriptor that agrees."""
    if not header.flags & HAS_DESCRIPTOR:
        if length:
            raise Faulty(f"is followed by {length:,} bytes that belong to no entry")
        return
    if length not in _DESCRIPTORS:
        raise Faulty("is not followed by the data descriptor that its flags announce")
    signature, form = _DESCRIPTORS[length]
    values = struct.unpack_from(form, rest, len(signature))
    if not rest.startswith(signature) or values != (header.crc, header.packed_size, header.size):
        raise Faulty("is followed by a data descriptor that disagrees with the directory")
