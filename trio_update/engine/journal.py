"""The journal: what a killed server's successor needs to put every app back, durable before anything changes.

A file of its own for each app that a job works on, written aside, synced and renamed; not a table of the database,
because then a damaged database would take the undo records with it.  An entry goes through three phases::

    PREPARING ──> OPEN ──> COMMITTED ──> (gone)
        │           └── undone (or, for what only goes forward, finished) ──> (gone)
        └── stages removed ──> (gone)
"""

from __future__ import annotations

import enum
import logging
import os
from pathlib import Path

import msgspec
import trio

from trio_update.host.files import durable
from trio_update.host.threads import in_thread
from trio_update.model import AppName, JobId, JobKind
from trio_update.updaters.base import Target
from trio_update.updaters.effects import AnyEffect

_log = logging.getLogger(__name__)


class Phase(enum.StrEnum):
    """How far an app's update had come."""

    PREPARING = "preparing"
    OPEN = "open"
    COMMITTED = "committed"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One app's part of a job.  ``attempts``: how many starts have tried to settle it."""

    job: JobId
    kind: JobKind
    app: AppName
    requested_by: str
    started: float
    full: bool = False
    phase: Phase = Phase.PREPARING
    stages: tuple[str, ...] = ()
    effects: tuple[AnyEffect, ...] = ()
    old: Target = Target("")
    new: Target = Target("")
    services: tuple[str, ...] = ()
    attempts: int = 0


class Journal:
    """Entries as files in ``folder``, one an app."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, entry: Entry) -> Path:
        return self.folder / f"{entry.job}.{_file_name(entry.app)}.json"

    async def write(self, entry: Entry) -> None:
        """Make ``entry`` durable.  Raises: FileTrouble."""
        await in_thread(durable.write_atomically, self._path(entry), msgspec.json.encode(entry))

    async def close(self, entry: Entry) -> None:
        """Forget ``entry``: its app is whole."""
        await in_thread(_remove_durably, self._path(entry))

    async def holds(self, entry: Entry) -> bool:
        """Whether ``entry`` is not forgotten; closing it may have failed only behind that."""
        return await trio.Path(self._path(entry)).exists()

    async def load(self) -> tuple[Entry, ...]:
        """Everything that is not settled, oldest first.  An entry that cannot be read is set aside, loudly."""
        return await in_thread(self._load)

    def _load(self) -> tuple[Entry, ...]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            found = [entry for path in sorted(self.folder.glob("*.json")) if (entry := _read(path)) is not None]
            for leftover in self.folder.glob(".*.tmp*"):
                leftover.unlink()
        except OSError as error:
            raise durable.trouble("read the journal in", self.folder, error) from error
        return tuple(sorted(found, key=lambda entry: entry.job))


def _read(path: Path) -> Entry | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Entry)
    except msgspec.DecodeError as error:
        aside = path.with_suffix(".unreadable")
        path.rename(aside)
        _log.error(
            "journal entry %s cannot be read (%s): look at the app by hand, the entry is kept as %s", path, error, aside
        )
        return None


def _remove_durably(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise durable.trouble("remove", path, error) from error
    durable.fsync_directory(path.parent)


def _file_name(app: AppName) -> str:
    return "".join(char if char.isalnum() or char in "-_" else "_" for char in app)


def holder_id(data_path: Path) -> str:
    """What marks the processes of every server that works on ``data_path``, so that a successor finds them."""
    return os.path.realpath(data_path)
