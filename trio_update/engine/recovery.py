"""What a start does before it serves: every entry that a former server left open is undone or finished."""

from __future__ import annotations

import time
from collections.abc import Mapping

from msgspec.structs import replace

from trio_update.engine.board import Board
from trio_update.engine.history import earlier_after
from trio_update.engine.journal import Entry, Journal, Phase, Unreadable
from trio_update.engine.undo import MAX_ATTEMPTS, NotPutBack, NotTidied, resume
from trio_update.errors import OperationFailed
from trio_update.host.store import Store
from trio_update.logs import get_logger
from trio_update.model import AppName, AppOutcome, JobId, JobKind, JobRecord, Outcome, Release
from trio_update.updaters.base import Tools, Updater

_log = get_logger(__name__)


async def resume_all(
    journal: Journal, updaters: Mapping[AppName, Updater], tools: Tools, store: Store, board: Board
) -> JobId:
    """Undo or finish every entry, one app after another; one that fails makes its app stuck, and the others go on.

    Then removes what killed commands left in the other apps.  Returns the highest job id that was ever given.
    """
    last = await store.last_job()
    contents = await journal.read()
    blocked: set[AppName] = set()
    for bad in contents.unreadable:
        last = max(last, bad.job)
        blocked |= _tell_unreadable(bad, updaters, board)
    for entry in contents.entries:
        last = max(last, entry.job)
        if entry.app not in updaters:
            _tell_waiting(journal, entry, board)
        elif entry.app in blocked:
            # In which order the two changed the app is not known: neither is undone without the other.
            _log.error("the interrupted update of %s (job %d) waits for the other one", entry.app, entry.job)
        elif entry.attempts >= MAX_ATTEMPTS:
            _show(entry, _tried_enough(entry), board)
        else:
            await _resume_one(journal, entry, updaters[entry.app], tools, store, board)
    for app, updater in updaters.items():
        if app in blocked:
            continue
        try:
            for done in await updater.tidy():
                _log.warning("%s: removed what a killed command had left: %s", app, done)
        except OperationFailed as error:
            _log.warning("%s: %s", app, error)
    return last


def _tell_unreadable(bad: Unreadable, updaters: Mapping[AppName, Updater], board: Board) -> set[AppName]:
    """Make the app stuck; every one that it may be about, when the name of the entry leaves that open.

    One that concerns no managed app becomes a notice of the whole status.
    """
    advice = bad.advice()
    concerned = {app for app in updaters if bad.concerns(app)}
    _log.error("%s: %s", ", ".join(sorted(concerned)) or "an app that is not configured", advice)
    if not concerned:
        board.tell(advice)
    for app in concerned:
        board.set_stuck(app, advice)
    return concerned


def _tell_waiting(journal: Journal, entry: Entry, board: Board) -> None:
    """Its section may be disabled, or its kind of app no longer installed: the app may be half changed all the same."""
    notice = (
        f"The interrupted {entry.kind} of {entry.app} (job {entry.job}) waits, because that app is not configured: the "
        "first start that knows it again brings it to a whole state. If it is gone for good, remove "
        f"{journal.place(entry)}"
    )
    _log.warning("%s", notice)
    board.tell(notice)


async def _resume_one(
    journal: Journal, entry: Entry, updater: Updater, tools: Tools, store: Store, board: Board
) -> None:
    log: list[str] = []
    record = await store.job(entry.job)
    # It had ended by itself, and only could not clean up.
    recorded = record is not None and any(
        app.name == entry.app and app.outcome is Outcome.SUCCEEDED for app in record.apps
    )
    _log.warning("%s: undoing or finishing an update that was interrupted (%s)", entry.app, entry.phase)
    if entry.phase is Phase.COMMITTED and not recorded:
        # Durable before the entry is closed: a kill right behind that would lose the way back.
        board.set_earlier(entry.app, _earlier(board, entry))
        await _record(entry, record or _new_record(entry), True, log, store, board)
    try:
        await resume(journal, entry, updater, tools, log.append)
    except (NotPutBack, NotTidied) as error:
        _log.error("%s", error)
        _show(entry, str(error), board)
        if isinstance(error, NotPutBack):
            return
    finished = entry.phase is Phase.COMMITTED or _only_forward(entry)
    for line in log:
        _log.warning("%s: %s", entry.app, line)
    if not recorded:
        await _record(entry, record or _new_record(entry), finished, log, store, board)


def _only_forward(entry: Entry) -> bool:
    return entry.phase is Phase.OPEN and all(not effect.reversible for effect in entry.effects)


def _tried_enough(entry: Entry) -> str:
    tried = f"{entry.attempts} starts have tried"
    if entry.phase is not Phase.COMMITTED:
        return tried
    return f"Cleaning up after job {entry.job} is given up, {tried}: remove {', '.join(entry.stages)} by hand"


def _show(entry: Entry, why: str, board: Board) -> None:
    """Put on the board why an entry could not be closed."""
    if entry.phase is Phase.COMMITTED:
        board.set_untidy(entry.app, why)
        return
    why = why.rstrip(".")
    board.set_stuck(
        entry.app, f"An interrupted {entry.kind} (job {entry.job}) could not be undone: {why}. Recover the app."
    )


def _earlier(board: Board, entry: Entry) -> tuple[Release, ...]:
    old = Release(version=entry.old.version, hash=entry.old.hash)
    new = Release(version=entry.new.version, hash=entry.new.hash)
    return earlier_after(entry.kind, board.earlier(entry.app), old, new)


async def _record(entry: Entry, record: JobRecord, finished: bool, log: list[str], store: Store, board: Board) -> None:
    """Add what became of the app to the history; the job may have been written in part before the kill."""
    outcome = AppOutcome(
        name=entry.app,
        outcome=Outcome.SUCCEEDED if finished else Outcome.INTERRUPTED,
        from_version=entry.old.version,
        to_version=entry.new.version if finished else entry.old.version,
        from_hash=entry.old.hash,
        to_hash=entry.new.hash if finished else entry.old.hash,
        digest=entry.new.digest if finished else "",
        message="The server was stopped in the middle; the next start "
        + ("finished the update" if finished else "put the app back"),
    )
    try:
        others = tuple(app for app in record.apps if app.name != entry.app)
        ended = Outcome.SUCCEEDED if finished and not entry.full else Outcome.INTERRUPTED
        record = replace(
            record, apps=(*others, outcome), outcome=ended, message=outcome.message, log=(*record.log, *log)
        )
        await store.save_job(record, {entry.app: board.earlier(entry.app)})
    except OperationFailed as error:
        _log.error("job %d was not written to the history: %s", entry.job, error)


def _new_record(entry: Entry) -> JobRecord:
    return JobRecord(
        proc_id=entry.job,
        kind=JobKind.FULL if entry.full else entry.kind,
        name=None if entry.full else entry.app,
        requested_by=entry.requested_by,
        started=entry.started,
        duration=max(time.time() - entry.started, 0.0),
        outcome=Outcome.INTERRUPTED,
    )
