"""Zip files built byte by byte, so that each field can lie on its own."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

DEFLATED = 8
DESCRIPTOR = 1 << 3
UTF8 = 1 << 11
MASK = 0xFFFFFFFF
MASK16 = 0xFFFF


def deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def extra(kind: int, data: bytes) -> bytes:
    return struct.pack("<HH", kind, len(data)) + data


def zip64(*values: int) -> bytes:
    return extra(1, struct.pack(f"<{len(values)}Q", *values))


@dataclass
class Item:
    """One entry; ``central`` and ``local`` replace fields of one header, ``raw`` the packed bytes.

    The fields that can be replaced: name flags method crc packed size extra, and of the central header also disk
    attributes offset system needed.
    """

    name: bytes
    data: bytes = b""
    method: int = 0
    flags: int = UTF8
    attributes: int = 0o100644 << 16
    extra: bytes = b""
    raw: bytes | None = None
    before: bytes = b""
    after: bytes = b""
    signature: bytes = b"PK\x03\x04"
    central: dict[str, int | bytes] = field(default_factory=dict)
    local: dict[str, int | bytes] = field(default_factory=dict)

    @property
    def packed(self) -> bytes:
        if self.raw is not None:
            return self.raw
        return deflate(self.data) if self.method == DEFLATED else self.data

    def fields(self) -> dict[str, int | bytes]:
        return {
            "name": self.name,
            "flags": self.flags,
            "method": self.method,
            "crc": zlib.crc32(self.data),
            "packed": len(self.packed),
            "size": len(self.data),
            "extra": self.extra,
        }

    def local_header(self) -> bytes:
        f = self.fields() | self.local
        name, more = f["name"], f["extra"]
        assert isinstance(name, bytes)
        assert isinstance(more, bytes)
        numbers = (f["flags"], f["method"], 0, 33, f["crc"], f["packed"], f["size"], len(name), len(more))
        return struct.pack("<4s5H3L2H", self.signature, 20, *numbers) + name + more

    def central_header(self, offset: int) -> bytes:
        f = (
            self.fields()
            | {"offset": offset, "disk": 0, "attributes": self.attributes, "system": 3, "needed": 20}
            | self.central
        )
        name, more, system = f["name"], f["extra"], f["system"]
        assert isinstance(name, bytes)
        assert isinstance(more, bytes)
        assert isinstance(system, int)
        numbers = (f["flags"], f["method"], 0, 33, f["crc"], f["packed"], f["size"], len(name), len(more), 0)
        rest = (f["disk"], 0, f["attributes"], f["offset"])
        return struct.pack("<4s6H3L5H2L", b"PK\x01\x02", system << 8 | 30, f["needed"], *numbers, *rest) + name + more


def end(entries: int, size: int, offset: int, /, comment: bytes = b"", **lies: int) -> bytes:
    f = {"disk": 0, "first": 0, "here": entries, "entries": entries, "size": size, "offset": offset}
    f |= {"comment": len(comment)} | lies
    return struct.pack("<4s4H2LH", b"PK\x05\x06", *f.values()) + comment


def end64(entries: int, size: int, offset: int, /, **lies: int) -> bytes:
    """The zip64 record and its locator, which stand at ``offset + size``."""
    f = {"length": 44, "made": 45, "needed": 45, "disk": 0, "first": 0, "here": entries, "entries": entries}
    f |= {"size": size, "offset": offset, "locator_disk": 0, "at": offset + size, "disks": 1} | lies
    values = list(f.values())
    return struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", *values[:9]) + struct.pack("<4sLQL", b"PK\x06\x07", *values[9:])


def body(*items: Item) -> tuple[bytes, bytes]:
    """The entries, and the directory that belongs to them."""
    content = directory = b""
    for item in items:
        content += item.before
        directory += item.central_header(len(content))
        content += item.local_header() + item.packed + item.after
    return content, directory


def build(*items: Item, comment: bytes = b"", **lies: int) -> bytes:
    content, directory = body(*items)
    return content + directory + end(len(items), len(directory), len(content), comment, **lies)


def build64(*items: Item, narrow: dict[str, int] | None = None, **lies: int) -> bytes:
    """With zip64 records, which ``lies`` replace; the old record is masked but for what ``narrow`` says."""
    content, directory = body(*items)
    masks = {"here": MASK16, "entries": MASK16, "size": MASK, "offset": MASK} | (narrow or {})
    return content + directory + end64(len(items), len(directory), len(content), **lies) + end(0, 0, 0, b"", **masks)
