"""The journal entry of an update that runs."""

from __future__ import annotations

import contextlib
from pathlib import Path

from msgspec.structs import replace

from trio_update.engine.journal import Entry, Journal, Phase
from trio_update.engine.states import EntryEvent, ImpossibleEvent, next_phase
from trio_update.errors import OperationFailed
from trio_update.host.files import durable
from trio_update.host.threads import in_thread
from trio_update.model import JobId
from trio_update.updaters.base import Prepared


class LiveEntry:
    """The entry of an update under way: each step of it is durable before the next one begins.

    It is the updater's :class:`~trio_update.updaters.base.WorkArea` too, so that the journal knows everything that
    lies beside an app.
    """

    def __init__(self, journal: Journal, entry: Entry, saved_folder: Path) -> None:
        self.journal = journal
        self.entry = entry
        self.saved_folder = saved_folder

    @property
    def job(self) -> JobId:
        """The job that the update belongs to."""
        return self.entry.job

    @property
    def phase(self) -> Phase:
        """How far the update has come, by what is durable."""
        return self.entry.phase

    async def begin(self) -> None:
        """Make the entry durable for the first time.  Raises: FileTrouble; no entry is left then."""
        entry = replace(self.entry, phase=next_phase(None, EntryEvent.BEGIN))
        try:
            await self.journal.write(entry)
        except OperationFailed:
            with contextlib.suppress(OperationFailed):
                await self.journal.close(entry)
            raise
        self.entry = entry

    async def switch(self, prepared: Prepared) -> None:
        """Make durable how to undo what is about to change.  Raises: FileTrouble."""
        await self._write(EntryEvent.SWITCH, effects=prepared.effects, old=prepared.old, new=prepared.new)

    async def commit(self) -> None:
        """Make durable that the update is final.  Raises: FileTrouble."""
        await self._write(EntryEvent.COMMIT)

    async def _write(self, event: EntryEvent, **changes: object) -> None:
        """Make the changed entry durable.  Raises: FileTrouble; the former entry holds then."""
        phase = next_phase(self.entry.phase, event)
        if phase is None:
            raise ImpossibleEvent(f"{event.name} ends an entry and writes none")
        entry = replace(self.entry, phase=phase, **changes)
        try:
            await self.journal.write(entry)
        except OperationFailed:
            # It may be in place all the same, and only its durability unknown: the disk must say what we go on with.
            with contextlib.suppress(OperationFailed):
                await self.journal.write(self.entry)
            raise
        self.entry = entry

    async def stage(self, beside: Path) -> Path:
        """A path beside ``beside``, not existing yet.  Raises: FileTrouble."""
        path = beside.with_name(f".{beside.name}.trio-update.{self.entry.job}")
        # Recorded before it exists: whoever comes after a kill knows that it may be removed.
        await self._write(EntryEvent.STAGE, stages=(*self.entry.stages, str(path)))
        await in_thread(durable.remove_tree, path)
        return path

    async def saved(self) -> Path:
        """The folder for the user's local changes.  Raises: FileTrouble."""
        await in_thread(_make_folder, self.saved_folder)
        return self.saved_folder


def _make_folder(folder: Path) -> None:
    with durable.translated("make", folder):
        folder.mkdir(parents=True, exist_ok=True)
