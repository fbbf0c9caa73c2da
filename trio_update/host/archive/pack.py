"""Make a zip file of a folder, such that it can be read back under the strict rules."""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from trio_update.host.archive.end import MAX_DIRECTORY
from trio_update.host.archive.format import (
    CENTRAL,
    CENTRAL_SIGNATURE,
    DOS_DIRECTORY,
    END,
    END64,
    END64_SIGNATURE,
    END_SIGNATURE,
    EXTRA_TIMES,
    EXTRA_ZIP64,
    IS_UTF8,
    LOCAL,
    LOCAL_SIGNATURE,
    LOCATOR64,
    LOCATOR64_SIGNATURE,
    MASK16,
    MASK32,
    STORED,
)
from trio_update.host.archive.names import MAX_ENTRIES, BadArchive, NameTree, fault_of
from trio_update.host.files.durable import translated, trouble

# Tests make these small.  A value equal to the mask would be read as "see the zip64 field".
LIMIT16, LIMIT32 = MASK16 - 1, MASK32 - 1
_UNIX = 3 << 8 | 30  # 4.4.2: the attributes hold a Unix mode
_PLAIN, _ZIP64 = 20, 45  # 4.4.3: the version of the format that a reader must know
_PIECE = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO that took the place of a file would wait for a writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def pack(
    folder: Path, target: Path, *, leave_out: Callable[[bytes], bool], check: Callable[[], None] = lambda: None
) -> tuple[bytes, ...]:
    """Make the zip file ``target``, which must not exist, of the files and folders below ``folder``.

    Stored, not deflated; the same tree gives the same bytes.  Permissions and times (whole seconds) are kept.  A path
    for which ``leave_out`` is true is left out, with everything below.  ``check`` is called for every entry and every
    MiB, and may raise to end it all; after any exception there is no ``target``.  Nothing is synced.

    Returns the paths that could not be packed: links, FIFOs, sockets, devices, and names that ``read_archive`` would
    refuse, each standing for everything below it.  All paths are relative to ``folder``.

    Raises:
        BadArchive: more entries than an archive may have.
        FileTrouble: something cannot be read or written, or is changed while it is read.
    """
    with translated("write", target):
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        packer = _Packer(folder, target, descriptor, leave_out, check)
        with translated("read", folder):
            root = os.open(folder, _DIRECTORY)
        try:
            packer.walk(root, b"")
        finally:
            os.close(root)
        packer.finish()
    except BaseException:
        with contextlib.suppress(OSError):
            target.unlink()
        raise
    finally:
        os.close(descriptor)
    return tuple(packer.not_packed)


class _Packer:
    def __init__(
        self,
        folder: Path,
        target: Path,
        descriptor: int,
        leave_out: Callable[[bytes], bool],
        check: Callable[[], None],
    ) -> None:
        self.not_packed: list[bytes] = []
        self._folder = os.fsencode(folder) + b"/"
        self._target = target
        self._descriptor = descriptor
        self._leave_out = leave_out
        self._check = check
        self._tree = NameTree()
        self._at = 0
        self._directory = bytearray()
        self._count = 0

    def walk(self, parent: int, prefix: bytes) -> None:
        """Pack everything in the folder ``parent``, by name; the depth is bounded by the rules for names."""
        with translated("read", self._folder + prefix):
            names = sorted(os.fsencode(name) for name in os.listdir(parent))
        for name in names:
            path = prefix + name
            if self._leave_out(path):
                continue
            self._check()
            with translated("read", self._folder + path):
                mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
            if not self._may_be_packed(path, mode):
                self.not_packed.append(path)
            elif stat.S_ISDIR(mode):
                self._pack_folder(parent, name, path)
            else:
                self._pack_file(parent, name, path)

    def _may_be_packed(self, path: bytes, mode: int) -> bool:
        is_dir = stat.S_ISDIR(mode)
        if not (is_dir or stat.S_ISREG(mode)) or fault_of(path + b"/" * is_dir) is not None:
            return False
        return self._tree.add(path.decode(), is_dir=is_dir) is None

    def _pack_folder(self, parent: int, name: bytes, path: bytes) -> None:
        with translated("read", self._folder + path):
            descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            entry = _Entry(path + b"/", os.fstat(descriptor), self._at)
            self._write(entry.local(crc=0, size=0))
            self._add(entry, crc=0, size=0)
            self.walk(descriptor, entry.name)
        finally:
            os.close(descriptor)

    def _pack_file(self, parent: int, name: bytes, path: bytes) -> None:
        whole = self._folder + path
        with translated("read", whole):
            descriptor = os.open(name, _FILE, dir_fd=parent)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise trouble("read", whole, OSError(None, "it was replaced while it was being packed"))
            entry = _Entry(path, found, self._at)
            header_at = self._at
            self._write(entry.local(crc=0, size=0))
            crc = size = 0
            while size < found.st_size:
                with translated("read", whole):
                    data = os.read(descriptor, min(_PIECE, found.st_size - size))
                if not data:
                    raise trouble("read", whole, OSError(None, "it became shorter while it was being packed"))
                crc = zlib.crc32(data, crc)
                size += len(data)
                self._write(data)
                self._check()
        finally:
            os.close(descriptor)
        with translated("write", self._target):
            os.pwrite(self._descriptor, entry.local(crc=crc, size=size), header_at)
        self._add(entry, crc=crc, size=size)

    def _add(self, entry: _Entry, *, crc: int, size: int) -> None:
        self._count += 1
        self._directory += entry.central(crc=crc, size=size)
        if self._count > MAX_ENTRIES or len(self._directory) > MAX_DIRECTORY:
            raise BadArchive(self._target, "", f"{self._count:,} files and folders are more than an archive may have")

    def finish(self) -> None:
        offset, size, count = self._at, len(self._directory), self._count
        self._write(bytes(self._directory))
        if count > LIMIT16 or size > LIMIT32 or offset > LIMIT32:
            at = self._at
            # 4.3.14.1: the size leaves out the signature and itself.
            numbers = (END64.size - 12, _UNIX, _ZIP64, 0, 0, count, count, size, offset)
            self._write(END64.pack(END64_SIGNATURE, *numbers) + LOCATOR64.pack(LOCATOR64_SIGNATURE, 0, at, 1))
        count = count if count <= LIMIT16 else MASK16
        self._write(END.pack(END_SIGNATURE, 0, 0, count, count, _narrow(size), _narrow(offset), 0))

    def _write(self, data: bytes) -> None:
        with translated("write", self._target):
            done = 0
            while done < len(data):
                done += os.write(self._descriptor, memoryview(data)[done:])
        self._at += len(data)


class _Entry:
    """The headers of one entry; crc and size come later, but never change the length of the local header."""

    def __init__(self, name: bytes, found: os.stat_result, offset: int) -> None:
        self.name = name
        self._offset = offset
        self._is_wide = stat.S_ISREG(found.st_mode) and found.st_size > LIMIT32
        self._attributes = (stat.S_IFMT(found.st_mode) | stat.S_IMODE(found.st_mode) & 0o777) << 16
        if name.endswith(b"/"):
            self._attributes |= DOS_DIRECTORY
        seconds = found.st_mtime_ns // 10**9
        self._when = _dos_time(seconds)
        # Beyond 2038 the field has no room, and the DOS time must do.
        fits = -(1 << 31) <= seconds < 1 << 31
        self._times = struct.pack("<HHBl", EXTRA_TIMES, 5, 1, seconds) if fits else b""

    def local(self, *, crc: int, size: int) -> bytes:
        extra = self._times
        if self._is_wide:
            extra += struct.pack("<HHQQ", EXTRA_ZIP64, 16, size, size)
        version, narrow = (_ZIP64, MASK32) if self._is_wide else (_PLAIN, size)
        numbers = (version, IS_UTF8, STORED, *self._when, crc, narrow, narrow, len(self.name), len(extra))
        return LOCAL.pack(LOCAL_SIGNATURE, *numbers) + self.name + extra

    def central(self, *, crc: int, size: int) -> bytes:
        wide = [size, size] if self._is_wide else []
        if self._offset > LIMIT32:
            wide.append(self._offset)
        extra = self._times
        if wide:
            extra += struct.pack(f"<HH{len(wide)}Q", EXTRA_ZIP64, 8 * len(wide), *wide)
        narrow = MASK32 if self._is_wide else size
        version = _ZIP64 if wide else _PLAIN
        sizes = (crc, narrow, narrow, len(self.name), len(extra))
        rest = (0, 0, 0, self._attributes, _narrow(self._offset))
        header = CENTRAL.pack(CENTRAL_SIGNATURE, _UNIX, version, IS_UTF8, STORED, *self._when, *sizes, *rest)
        return header + self.name + extra


def _narrow(value: int) -> int:
    return value if value <= LIMIT32 else MASK32


def _dos_time(seconds: int) -> tuple[int, int]:
    """4.4.6, in UTC, of the years 1980 to 2107."""
    first, last = datetime(1980, 1, 1, tzinfo=UTC), datetime(2107, 12, 31, 23, 59, 58, tzinfo=UTC)
    when = datetime.fromtimestamp(min(max(seconds, first.timestamp()), last.timestamp()), UTC)
    return when.hour << 11 | when.minute << 5 | when.second // 2, (when.year - 1980) << 9 | when.month << 5 | when.day
