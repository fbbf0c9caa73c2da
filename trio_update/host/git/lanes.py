"""One writer at a time for each store of objects and refs, among the tasks of this process.

Two work trees of one repository may be two apps: side by side their fetches would find each other's locks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from weakref import WeakValueDictionary

import trio

from trio_update.host.threads import in_thread

_Key = tuple[int, int]
_locks: trio.lowlevel.RunVar[WeakValueDictionary[_Key, trio.Lock]] = trio.lowlevel.RunVar("trio_update_git_lanes")


@asynccontextmanager
async def alone(common_dir: Path) -> AsyncIterator[None]:
    """Wait until nobody else here writes to a repository's common directory, whatever path it is known by."""
    key = await in_thread(_identity, common_dir)
    try:
        locks = _locks.get()
    except LookupError:
        locks = WeakValueDictionary()
        _locks.set(locks)
    lock = locks.get(key)
    if lock is None:
        lock = locks[key] = trio.Lock()
    async with lock:
        yield


def _identity(path: Path) -> _Key:
    try:
        found = path.stat()
    except OSError:
        return 0, hash(path)
    return found.st_dev, found.st_ino
