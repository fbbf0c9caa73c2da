"""What is kept of updates: where apps can go back to, and the history."""

from __future__ import annotations

from collections.abc import Iterable

from trio_update.engine.board import Board
from trio_update.engine.history import earlier_after
from trio_update.engine.journal import Entry
from trio_update.errors import OperationFailed
from trio_update.host.store import Store
from trio_update.logs import get_logger
from trio_update.model import AppName, JobRecord, Release

_log = get_logger(__name__)


class Records:
    """Writes jobs to the history, with where their apps can go back to.

    Never raises: a database that cannot be used goes to the log, because it costs memories and no update.
    """

    def __init__(self, board: Board, store: Store) -> None:
        self._board = board
        self._store = store

    async def committed(self, entry: Entry, record: JobRecord) -> None:
        """An app has another version now; ``record`` is what its job has come to so far."""
        old = Release(version=entry.old.version, hash=entry.old.hash)
        new = Release(version=entry.new.version, hash=entry.new.hash)
        earlier = earlier_after(entry.kind, self._board.earlier(entry.app), old, new)
        self._board.set_earlier(entry.app, earlier)
        await self._save(record, [entry.app])

    async def job(self, record: JobRecord) -> None:
        """Write a job (again)."""
        await self._save(record, [outcome.name for outcome in record.apps])

    async def _save(self, record: JobRecord, apps: Iterable[AppName]) -> None:
        try:
            await self._store.save_job(record, {app: self._board.earlier(app) for app in apps})
        except OperationFailed as error:
            _log.error("job %d was not written to the history: %s", record.proc_id, error)
