"""Zip files from strangers: judged as a whole, then unpacked into an empty folder.

Plain blocking functions, for a worker thread.  :func:`pack` makes archives that :func:`read_archive` accepts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trio_update.host.archive.directory import Entry, judge
from trio_update.host.archive.names import MAX_ENTRIES, BadArchive, shown
from trio_update.host.archive.pack import pack
from trio_update.host.files.durable import translated, trouble

__all__ = ["MAX_ENTRIES", "Archive", "BadArchive", "Entry", "extract", "pack", "read_archive"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE_IN = 128 << 10
_PIECE_OUT = 512 << 10


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that was judged and found good; ``unpacked_size`` is the sum of all content, in bytes.

    ``name``: how messages call it.
    """

    path: Path
    entries: tuple[Entry, ...]
    unpacked_size: int
    name: str


def read_archive(path: Path, *, name: str = "") -> Archive:
    """Judge everything about the zip file at ``path`` that can be judged without unpacking it.

    An archive of no entries is a good one.  Memory does not depend on what the archive claims, only on what is there,
    and is bounded for that too.  Messages call it ``name``, if that is given: the path of a download says nothing to
    those who know the asset.

    Raises:
        BadArchive: with the entry to blame, where there is one.
        FileTrouble: the file cannot be read.
    """
    name = name or str(path)
    with _opened(path, name) as descriptor:
        length = os.fstat(descriptor).st_size

        def read(offset: int, count: int) -> bytes:
            with translated("read", path):
                data = os.pread(descriptor, count, offset)
            if len(data) != count:
                raise BadArchive(name, "", "it was cut short while it was being read")
            return data

        entries = judge(name, read, length)
    return Archive(path, entries, sum(entry.size for entry in entries), name)


def extract(
    archive: Archive, target: Path, *, keep_times: bool = True, check: Callable[[], None] = lambda: None
) -> None:
    """Unpack everything into the existing, empty folder ``target``.

    Folders and files that anybody may execute get mode 0755, other files 0644, whatever the umask.  With
    ``keep_times`` files get the time of their entry (folders do not), else that of their being written.  Nothing
    outside ``target`` is touched even if somebody puts links into it meanwhile.  Never is more written than an entry
    announced.  ``check`` is called before each entry and at least once for every MiB, and may raise to end it all.
    After any exception ``target`` holds a part, for the caller to remove; nothing is synced, which is cheaper for all
    files at once.

    Raises:
        BadArchive: the content is not what the directory announced.
        FileTrouble: with ENOTEMPTY if ``target`` is not empty, ENOSPC if the disk is full, and so on.
    """
    with contextlib.ExitStack() as opened:
        source = opened.enter_context(_opened(archive.path, archive.name))
        with translated("unpack into", target):
            root = os.open(target, _DIRECTORY)
            opened.callback(os.close, root)
            with os.scandir(root) as found:
                if any(found):
                    raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        folders = opened.enter_context(contextlib.closing(_Folders(root)))
        unpacker = _Unpacker(archive, source, keep_times, check)
        for entry in archive.entries:
            check()
            # The entry and not the place, which may be a folder that comes and goes unseen.
            with translated("unpack", f"{shown(entry.name.encode())} of {archive.name}"):
                if entry.is_dir:
                    folders.enter(entry.name)
                else:
                    parent, _, name = entry.name.rpartition("/")
                    unpacker.unpack(entry, name, folders.enter(parent))


def read_entry(archive: Archive, name: str, *, limit: int) -> bytes | None:
    """The content of one file; ``None`` when there is none of that ``name``, or it has more than ``limit`` bytes.

    Raises: BadArchive, FileTrouble.
    """
    entry = next((one for one in archive.entries if one.name == name and not one.is_dir), None)
    if entry is None or entry.size > limit:
        return None
    with _opened(archive.path, archive.name) as source:
        return b"".join(_Unpacker(archive, source, False, lambda: None).pieces(entry))


@contextlib.contextmanager
def _opened(path: Path, name: str) -> Iterator[int]:
    with translated("open", path):
        # O_NONBLOCK: opening a FIFO would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadArchive(name, "", "it is not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


class _Folders:
    """Makes folders below ``root``, step by step from descriptor to descriptor, and keeps the last one open."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._last = ("", root)

    def enter(self, path: str) -> int:
        """A descriptor of the folder ``path``, made if it is missing; valid until the next call."""
        if path == self._last[0]:
            return self._last[1]
        self.close()
        if not path:
            return self._root
        descriptor = os.dup(self._root)
        for component in path.split("/"):
            try:
                below = _enter(component, descriptor)
            finally:
                os.close(descriptor)
            descriptor = below
        self._last = (path, descriptor)
        return descriptor

    def close(self) -> None:
        if self._last[0]:
            os.close(self._last[1])
        self._last = ("", self._root)


def _enter(name: str, parent: int) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        os.mkdir(name, 0o700, dir_fd=parent)
    descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
    os.fchmod(descriptor, 0o755)
    return descriptor


class _Unpacker:
    def __init__(self, archive: Archive, source: int, keep_times: bool, check: Callable[[], None]) -> None:
        self._archive = archive
        self._source = source
        self._keep_times = keep_times
        self._check = check

    def unpack(self, entry: Entry, name: str, parent: int) -> None:
        descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            for piece in self.pieces(entry):
                _write(descriptor, piece)
                self._check()
            os.fchmod(descriptor, 0o755 if entry.executable else 0o644)
            if self._keep_times:
                os.utime(descriptor, (entry.modified, entry.modified))
        finally:
            os.close(descriptor)

    def pieces(self, entry: Entry) -> Iterator[bytes]:
        """The content; raises BadArchive in the end when it is not what the entry announces."""
        crc = size = 0
        for piece in self._inflated(entry) if entry.deflated else self._packed(entry):
            size += len(piece)
            crc = zlib.crc32(piece, crc)
            yield piece
        if size != entry.size:
            raise self._bad(entry, f"holds {size:,} bytes instead of the {entry.size:,} it announces")
        if crc != entry.crc:
            raise self._bad(entry, f"has the checksum {crc:08x} instead of {entry.crc:08x}: it is damaged")

    def _packed(self, entry: Entry, piece: int = _PIECE_OUT) -> Iterator[bytes]:
        at, left = entry.data_offset, entry.packed_size
        while left:
            # Not under translated(): the caller's is about the target, and this read is about the archive.
            try:
                data = os.pread(self._source, min(piece, left), at)
            except OSError as error:
                raise trouble("read", self._archive.path, error) from error
            if not data:
                raise self._bad(entry, "was cut short while it was being read")
            at += len(data)
            left -= len(data)
            yield data

    def _inflated(self, entry: Entry) -> Iterator[bytes]:
        """The content in pieces, never more in all than the entry announces."""
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        left = entry.size
        for packed in self._packed(entry, _PIECE_IN):
            if inflater.eof:
                raise self._bad(entry, "ends before the end of its packed bytes")
            data = packed
            while True:
                try:
                    piece = inflater.decompress(data, _PIECE_OUT)
                except zlib.error as error:
                    raise self._bad(entry, f"cannot be unpacked: {error}") from error
                left -= len(piece)
                if left < 0:
                    raise self._bad(entry, f"holds more than the {entry.size:,} bytes it announces")
                if piece:
                    yield piece
                data = inflater.unconsumed_tail
                # zlib may hold back output for want of space although it took all of the input.
                if not data and len(piece) < _PIECE_OUT:
                    break
        if not inflater.eof:
            raise self._bad(entry, "does not end where its packed bytes end")
        if inflater.unused_data:
            raise self._bad(entry, "ends before the end of its packed bytes")

    def _bad(self, entry: Entry, why: str) -> BadArchive:
        return BadArchive(self._archive.name, shown(entry.name.encode()), why)


def _write(descriptor: int, data: bytes) -> None:
    done = os.write(descriptor, data)
    while done < len(data):
        done += os.write(descriptor, memoryview(data)[done:])
