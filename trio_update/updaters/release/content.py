"""What a file is to the kernel: a program for which machine, a script, or none; by its first bytes."""

from __future__ import annotations

import codecs
import enum
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from trio_update.host.files.durable import translated

_HEAD = 4096
_MAGICS = {
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"BZh": "a bzip2 archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"!<arch>\n": "a Debian package or a library",
    b"\xed\xab\xee\xdb": "an RPM package",
    b"MSCF": "a cabinet archive",
    b"MZ": "a program for Windows",
    b"\xfe\xed\xfa\xce": "a program for macOS",
    b"\xfe\xed\xfa\xcf": "a program for macOS",
    b"\xce\xfa\xed\xfe": "a program for macOS",
    b"\xcf\xfa\xed\xfe": "a program for macOS",
    b"\xca\xfe\xba\xbe": "a program for macOS, or one of Java's",
}
_TAR = slice(257, 262)
_PAGES = (b"<!doctype", b"<html", b"<head", b"<body", b"<script", b"<!--", b"<?xml", b"<error", b"<meta")
_BLANK = b" \t\r\n\f"
# elf(5)
_ELF = b"\x7fELF"
_WIDTHS = {1: 32, 2: 64}
_ORDERS = {1: "<", 2: ">"}
_RUNS = (2, 3)  # ET_EXEC, ET_DYN
_PT_INTERP = 3
_MOST_SEGMENTS = 512
_MACHINES = {
    2: "SPARC",
    3: "x86",
    8: "MIPS",
    20: "PowerPC",
    21: "PowerPC 64",
    22: "S/390",
    40: "ARM (32 bit)",
    62: "x86-64",
    183: "ARM (64 bit)",
    243: "RISC-V",
    258: "LoongArch",
}


class Form(enum.Enum):
    """What a file is to the kernel."""

    EMPTY = enum.auto()
    ELF = enum.auto()
    SCRIPT = enum.auto()
    PAGE = enum.auto()
    FOREIGN = enum.auto()
    """Something with a sign of its own that is no program here: an archive, a program for another system."""
    OTHER = enum.auto()
    """A text, or data that nobody knows."""


@dataclass(frozen=True)
class Machine:
    """What an ELF file is for: the width of its words, their order, and the CPU."""

    width: int
    order: str
    cpu: int

    def __str__(self) -> str:
        name = _MACHINES.get(self.cpu, f"a CPU of the number {self.cpu}")
        of_width = "" if "bit" in name or name.endswith("64") else f" ({self.width} bit)"
        return f"{name}{of_width}{', big endian' if self.order == '>' else ''}"


@dataclass(frozen=True)
class Content:
    """What a file's content is.  ``what`` names the form for a message; ``interpreter``: what it is started by."""

    form: Form
    what: str
    machine: Machine | None = None
    interpreter: str = ""
    fault: str = ""
    """Why an ELF file cannot be started at all."""


def read_content(path: Path) -> Content | None:
    """What the file at ``path`` is, by its first bytes; ``None`` when there is no file."""
    with translated("read", path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            head = os.pread(descriptor, _HEAD, 0)
            return _read_elf(descriptor, head) if head.startswith(_ELF) else _content(head)
        finally:
            os.close(descriptor)


def _content(head: bytes) -> Content:
    if head.startswith(b"#!"):
        line = head[2:].split(b"\n", 1)[0].strip(b" \t")
        return Content(Form.SCRIPT, "a script", interpreter=os.fsdecode(line.split(b" ", 1)[0].split(b"\t", 1)[0]))
    if what := next((what for magic, what in _MAGICS.items() if head.startswith(magic)), ""):
        return Content(Form.FOREIGN, what)
    if head[_TAR] == b"ustar":
        return Content(Form.FOREIGN, "a tar archive")
    return _text(head) if head else Content(Form.EMPTY, "empty")


def _text(head: bytes) -> Content:
    text = head.removeprefix(codecs.BOM_UTF8)
    if text.lstrip(_BLANK).lower().startswith(_PAGES):
        return Content(Form.PAGE, "a web page")
    if text.startswith(b"#!"):
        return Content(Form.OTHER, "a script with a byte order mark, which the kernel does not start")
    return Content(Form.OTHER, "data of an unknown kind" if b"\0" in head else "a text")


def _read_elf(descriptor: int, head: bytes) -> Content:
    width, order = _WIDTHS.get(head[4] if len(head) > 4 else 0), _ORDERS.get(head[5] if len(head) > 5 else 0)
    if width is None or order is None or len(head) < (64 if width == 64 else 52):
        return Content(Form.ELF, "a program", fault="has a damaged header (ELF)")
    kind, cpu = struct.unpack_from(f"{order}HH", head, 16)
    machine = Machine(width, order, cpu)
    if kind not in _RUNS:
        return Content(Form.ELF, "a program", machine, fault="is no program but a part of one (ELF)")
    offset = struct.unpack_from(f"{order}Q" if width == 64 else f"{order}L", head, 32 if width == 64 else 28)[0]
    size, count = struct.unpack_from(f"{order}HH", head, 54 if width == 64 else 42)
    interpreter = ""
    for number in range(min(count, _MOST_SEGMENTS)):
        entry = _at(descriptor, size, offset + number * size)
        if len(entry) < (56 if width == 64 else 32):
            return Content(Form.ELF, "a program", machine, fault="is cut short (ELF)")
        if struct.unpack_from(f"{order}L", entry)[0] == _PT_INTERP:
            form, at = (f"{order}Q16xQ", 8) if width == 64 else (f"{order}L8xL", 4)
            place, length = struct.unpack_from(form, entry, at)
            interpreter = os.fsdecode(_at(descriptor, min(length, _HEAD), place).split(b"\0", 1)[0])
    return Content(Form.ELF, "a program", machine, interpreter)


def _at(descriptor: int, length: int, offset: int) -> bytes:
    return os.pread(descriptor, length, offset) if offset < 1 << 62 else b""
