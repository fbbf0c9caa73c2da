"""Durable file operations for the event loop: what an updater of one's own needs, each in a thread."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import trio

from trio_update.host.files import durable
from trio_update.host.threads import in_thread

# Effects keep their paths as text.
AnyPath = str | os.PathLike[str]


class Files:
    """Operations on files after which a power cut, or a kill in their middle, leaves the old state or the new one.

    All raise :class:`~trio_update.errors.FileTrouble`, whose ``errno`` says what could not be done.
    """

    async def read(self, path: AnyPath, *, limit: int = 64 << 20) -> bytes:
        """The content of a file; one of more than ``limit`` bytes is refused."""
        return await in_thread(_read, Path(path), limit)

    async def names(self, folder: AnyPath) -> tuple[str, ...]:
        """The names in a folder, sorted; none when there is no folder."""
        return await in_thread(_names, Path(folder))

    async def make_folder(self, path: AnyPath) -> None:
        """Make a folder, and those that lead to it; one that is there is fine."""

        def make() -> None:
            with durable.translated("make", Path(path)):
                Path(path).mkdir(parents=True, exist_ok=True)

        await in_thread(make)

    async def write(self, path: AnyPath, data: bytes, *, mode: int = 0o644) -> int:
        """Replace or create a file, durably; it gets ``mode`` exactly, whatever the umask.  Returns its inode."""
        return await in_thread(_write, Path(path), data, mode)

    async def exchange(self, one: AnyPath, other: AnyPath) -> None:
        """Let two files or folders of one file system change places at one instant, durably."""
        await in_thread(durable.exchange, Path(one), Path(other))

    async def rename(self, source: AnyPath, target: AnyPath) -> None:
        """Move a file or folder within its file system to ``target``, which must not exist, durably."""
        await in_thread(durable.rename, Path(source), Path(target))

    async def put(self, live: AnyPath, staged: AnyPath, *, new: int, replaces: bool, forward: bool) -> None:
        """Bring what has inode ``new`` to ``live`` (``forward``), or back to ``staged``, from any state of a kill.

        ``replaces``: something stood at ``live`` before, and takes the other place.  With the inode in an effect, the
        effect's ``apply`` and ``settle`` are one call each.
        """

        def swap() -> None:
            durable.swap(Path(live), Path(staged), new=new, replaces=replaces, forward=forward)

        await in_thread(swap)

    async def remove(self, path: AnyPath) -> None:
        """Remove a file, or a folder and everything in it; a missing one is fine, a mount in it is refused."""
        await in_thread(durable.remove_tree, Path(path))

    async def digest(self, path: AnyPath) -> str:
        """The SHA-256 of a file's content, in hexadecimal.  An abort ends it early."""
        return await in_thread(durable.sha256_of, Path(path), trio.from_thread.check_cancelled)

    async def inode(self, path: AnyPath) -> int | None:
        """What tells a file or folder from another one that takes its name; ``None`` when there is none."""
        return await in_thread(durable.inode, Path(path))

    async def free_bytes(self, path: AnyPath) -> int:
        """Bytes that this user can still write to the file system of ``path``."""
        return await in_thread(durable.free_bytes, Path(path))

    async def sync(self, path: AnyPath) -> None:
        """Make everything durable that was written to the file system of ``path``, in one go."""
        await in_thread(durable.sync_filesystem, Path(path))


def _names(folder: Path) -> tuple[str, ...]:
    with durable.translated("read", folder):
        try:
            return tuple(sorted(os.listdir(folder)))
        except FileNotFoundError:
            return ()


def _read(path: Path, limit: int) -> bytes:
    with durable.translated("read", path):
        # Without O_NONBLOCK a pipe in the file's place would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.ENOTSUP, "it is not a file")
            data = file.read(limit + 1)
        if len(data) > limit:
            raise OSError(errno.EFBIG, f"it is larger than {limit} bytes")
        return data


def _write(path: Path, data: bytes, mode: int) -> int:
    durable.write_atomically(path, data, mode)
    with durable.translated("look at", path):
        return path.lstat().st_ino
