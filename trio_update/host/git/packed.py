"""Giving thousands of refs a second name at once.

git-fetch makes a file for each ref that it creates, so that a clone with ten thousand tags would be busy for minutes
when its remote is first asked by us.  A clone has packed its tags when it was made: the same are packed under our
names, and the fetch that follows corrects what has changed since (see gitrepository-layout(5), "packed-refs").
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from trio_update.host.git.folder import GitFolder

# Fewer are made by git itself, in about a second.
_MANY = 250
_TAGS = b"refs/tags/"


def seed_tags(folder: GitFolder, prefix: str) -> int:
    """Pack the clone's packed tags as ``prefix`` + name too, if they are many and nothing is there yet.

    Holds git's own lock meanwhile.  Returns how many were packed; none where the file cannot be written.
    """
    path, begin = folder.common_dir / "packed-refs", prefix.encode()
    try:
        content = path.read_bytes()
    except OSError:
        return 0
    if (folder.common_dir / prefix).exists() or b" " + begin in content or content.count(b" " + _TAGS) < _MANY:
        return 0
    lock = path.with_name("packed-refs.lock")
    try:
        file = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, path.stat().st_mode & 0o777)
    except OSError:
        return 0
    try:
        with open(file, "wb") as stream:
            # Again, now that nobody else writes it.
            seeded, count = _with_copies(path.read_bytes(), begin)
            stream.write(seeded)
            stream.flush()
            os.fsync(stream.fileno())
        _replace(lock, path)
    except OSError:
        with contextlib.suppress(OSError):
            lock.unlink()
        return 0
    return count


def _replace(lock: Path, path: Path) -> None:
    lock.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _with_copies(content: bytes, prefix: bytes) -> tuple[bytes, int]:
    """The content of packed-refs with a copy of each tag, in the order that git's own searches rely on."""
    lines = content.splitlines(keepends=True)
    header = [line for line in lines[:1] if line.startswith(b"#")]
    entries: list[tuple[bytes, bytes]] = []
    for line in lines[len(header) :]:
        if line.startswith(b"^") and entries:  # what the annotated tag before it leads to
            entries[-1] = entries[-1][0], entries[-1][1] + line
        else:
            entries.append((line.partition(b" ")[2].rstrip(b"\n"), line))
    copies = [
        (prefix + name.removeprefix(_TAGS), entry.replace(b" " + _TAGS, b" " + prefix, 1))
        for name, entry in entries
        if name.startswith(_TAGS)
    ]
    entries = sorted([*entries, *copies])
    return b"".join([*header, *(entry for _, entry in entries)]), len(copies)
