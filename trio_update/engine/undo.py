"""The two ways out of a journal entry, for the transaction and for whoever comes after one that was killed.

:func:`undo` brings an app back whose update was not committed, :func:`finish` removes what a committed one left,
:func:`resume` does either at a start, or when the user asks for a recovery.  All are idempotent and may be killed.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import trio
from msgspec.structs import replace

from trio_update.engine.foreign import held_to_promise
from trio_update.engine.journal import Entry, Journal, Phase
from trio_update.engine.states import EntryEvent, next_phase
from trio_update.errors import OperationFailed
from trio_update.host.files import durable
from trio_update.host.threads import in_thread
from trio_update.logs import get_logger
from trio_update.progress import Report
from trio_update.updaters.base import Tools, Updater

_log = get_logger(__name__)

# A reset of a large clone on a slow SD card, with the syncfs after it, was seen to take the better part of a minute.
UNDO_SECONDS = 300.0
MAX_ATTEMPTS = 3


class NotPutBack(OperationFailed):
    """An app could not be brought to a whole state: its journal entry stays open, the next start tries again."""


class NotTidied(OperationFailed):
    """An update is final, and what it replaced could not be removed: the next start tries again."""


def not_put_back(entry: Entry, why: str, cause: BaseException | None) -> NotPutBack:
    """The error for an app that is in no whole state; ``cause`` is what made it necessary to put it back."""
    first = f"{cause}. Then " if isinstance(cause, OperationFailed) else ""
    return NotPutBack(
        f"{first}{entry.app} could not be put back: {why}. Mend what is named here, then recover the app or restart "
        "the server: both try again."
    )


def not_tidied(entry: Entry, why: str) -> NotTidied:
    """The error for an app that is well and has leftovers."""
    return NotTidied(f"Cleaning up after job {entry.job} failed, the next start tries again: {why}")


async def undo(journal: Journal, entry: Entry, updater: Updater, tools: Tools, report: Report) -> None:
    """Bring an app whose update was not committed to a whole state, and forget the entry.

    Raises: OperationFailed; the entry stays.
    """
    next_phase(entry.phase, EntryEvent.UNDONE)
    if entry.phase is Phase.OPEN:
        for effect in reversed(entry.effects):
            with held_to_promise(entry.app):
                await effect.settle(tools, report)
    for stage in entry.stages:
        await in_thread(durable.remove_tree, Path(stage))
    try:
        await updater.tidy()
    except OperationFailed as error:
        # The user's own git at work, say: the app is whole all the same, and every job tidies before it begins.
        _log.warning("%s: %s", entry.app, error)
    await journal.close(entry)


async def finish(journal: Journal, entry: Entry, tools: Tools, report: Report) -> None:
    """Remove what a committed update kept only for the way back, and forget the entry.

    Raises: OperationFailed; the entry stays.
    """
    next_phase(entry.phase, EntryEvent.FINISHED)
    for effect in entry.effects:
        with held_to_promise(entry.app):
            await effect.discard(tools, report)
    await journal.close(entry)


async def resume(journal: Journal, entry: Entry, updater: Updater, tools: Tools, report: Report) -> Entry:
    """Undo or finish what a former attempt left open.  Returns the entry as it was when that was done.

    Counts the attempt before it begins, so that an entry that kills its server cannot do so for ever.

    Raises:
        NotPutBack: the app may be in no whole state.
        NotTidied: the app is well.
    """
    next_phase(entry.phase, EntryEvent.RETRY)
    before, entry = entry, replace(entry, attempts=entry.attempts + 1)
    try:
        await journal.write(entry)
        with trio.fail_after(UNDO_SECONDS):
            if entry.phase is Phase.COMMITTED:
                await finish(journal, entry, tools, report)
            else:
                await undo(journal, entry, updater, tools, report)
    except (OperationFailed, trio.TooSlowError) as error:
        why = str(error) or f"it took longer than {UNDO_SECONDS:g} s"
        if entry.phase is Phase.COMMITTED:
            # The count is for attempts that kill their server.  This one did not, and costs the app nothing.
            with contextlib.suppress(OperationFailed):
                await journal.write(before)
            raise not_tidied(entry, why) from error
        raise not_put_back(entry, why, None) from error
    return entry


async def give_up(journal: Journal, entry: Entry) -> None:
    """Forget an entry whose app is about to be replaced by a fresh copy, whatever state it is in.

    Raises: FileTrouble.
    """
    next_phase(entry.phase, EntryEvent.REPLACED)
    await journal.close(entry)
