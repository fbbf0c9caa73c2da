"""One manager for each DATA_PATH."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from trio_update.errors import DataPathHeld
from trio_update.host.files.durable import translated


class InstanceLock:
    """Held by the one manager that works on a DATA_PATH, for as long as the context lasts.

    flock(2): the kernel lets go of it when the process ends, however it ends; commands do not inherit it.  The file
    stays, as removing it would let two instances hold two files of one name.  Raises: DataPathHeld, FileTrouble.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> Self:
        with translated("lock", self._path), contextlib.ExitStack() as undo:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            undo.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._held(os.pread(descriptor, 32, 0)) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            undo.pop_all()
        self._descriptor = descriptor
        return self

    def _held(self, content: bytes) -> DataPathHeld:
        holder = content.decode("ascii", "replace").strip() or "unknown"
        return DataPathHeld(
            f"{self._path.parent.parent} is in use by another trio-update (process {holder}): stop that one first, "
            "or choose another DATA_PATH"
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Emptied first: a number left in it would one day name a stranger.
        try:
            os.ftruncate(self._descriptor, 0)
        finally:
            os.close(self._descriptor)
