"""The one place that commits or reverts.

Whatever happens to :func:`carry_out` (an error, an abort, the server's stop), the app ends as the old version or
as the new one; whatever happens to the process, :func:`settle` makes it so at the next start.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import trio
from msgspec.structs import replace

from trio_update.engine.journal import Entry, Journal, Phase
from trio_update.errors import OperationFailed
from trio_update.host.files import durable
from trio_update.host.threads import in_thread
from trio_update.model import AppStatus, JobId
from trio_update.updaters.base import Prepared, Report, Request, Tools, Updater

_log = logging.getLogger(__name__)

# A reset of a large clone on a slow SD card, with the syncfs after it, was seen to take the better part of a minute.
REVERT_SECONDS = 300.0
COMMIT_SECONDS = 300.0
MAX_ATTEMPTS = 3


class NotPutBack(OperationFailed):
    """An app could not be brought to a whole state: its journal entry stays open, the next start tries again."""


class NotTidied(OperationFailed):
    """An update is final, and what it replaced could not be removed: the next start tries again."""


class Conduct:
    """How a transaction tells its job where it is; the job overrides what it wants to know."""

    def report(self, message: str) -> None: ...

    def applying(self) -> None:
        """From here on the app changes."""

    def must_not_be_cut(self, why: str | None) -> None:
        """An abort is refused with ``why`` until this is called with ``None``."""


@dataclass
class Ledger:
    """An entry and the journal that holds it; serves the updater as its workshop.

    ``untidy``: why the entry of a committed update could not be closed, for a person.
    """

    journal: Journal
    entry: Entry
    saved_folder: Path
    untidy: str = ""

    @property
    def job(self) -> JobId:
        return self.entry.job

    async def begin(self) -> None:
        """Make the entry durable for the first time; raises FileTrouble, and there is none then."""
        try:
            await self.journal.write(self.entry)
        except OperationFailed:
            with contextlib.suppress(OperationFailed):
                await self.journal.close(self.entry)
            raise

    async def write(self, **changes: object) -> None:
        """Make the changed entry durable; raises FileTrouble, and the entry is the former one then."""
        entry = replace(self.entry, **changes)
        try:
            await self.journal.write(entry)
        except OperationFailed:
            # It may be in place all the same, and only its durability unknown: the disk must say what we go on with.
            with contextlib.suppress(OperationFailed):
                await self.journal.write(self.entry)
            raise
        self.entry = entry

    async def stage(self, beside: Path) -> Path:
        path = beside.with_name(f".{beside.name}.trio-update.{self.entry.job}")
        # Recorded before it exists: whoever comes after a kill knows that it may be removed.
        await self.write(stages=(*self.entry.stages, str(path)))
        await in_thread(durable.remove_tree, path)
        return path

    async def saved(self) -> Path:
        folder = self.saved_folder
        with durable.translated("make", folder):
            await trio.Path(folder).mkdir(parents=True, exist_ok=True)
        return folder


async def carry_out(
    ledger: Ledger,
    updater: Updater,
    request: Request,
    known: AppStatus,
    tools: Tools,
    conduct: Conduct,
    *,
    activate: Callable[[Prepared], Awaitable[None]],
    committed: Callable[[Prepared], Awaitable[None]],
) -> Prepared:
    """Update one app: prepare, switch, check, commit; or everything back.

    ``activate`` restarts services and checks the app's health after the switch, ``committed`` records the success.
    Raises what went wrong, after the app has been put back; :class:`NotPutBack` when that failed too.
    """
    await ledger.begin()
    try:
        for done in await updater.tidy():
            conduct.report(f"Removed what a killed command had left: {done}")
        decision = await updater.decide(request, known, fetch=conduct.report)
        decision.raise_refused()
        prepared = await updater.prepare(decision, ledger, conduct.report)
        if prepared.effects:
            await ledger.write(phase=Phase.OPEN, effects=prepared.effects, old=prepared.old, new=prepared.new)
            conduct.applying()
            await _apply(prepared, tools, conduct)
            await activate(prepared)
            await _commit(ledger, prepared, tools, conduct, committed)
            return prepared
    except BaseException as error:
        await _put_back(ledger, updater, tools, conduct, error)
        raise
    await _put_back(ledger, updater, tools, conduct, None)
    return prepared


async def _apply(prepared: Prepared, tools: Tools, conduct: Conduct) -> None:
    for effect in prepared.effects:
        if effect.reversible:
            await effect.apply(tools, conduct.report)
            continue
        # For good: what follows (the health check) can fail, but an abort could promise nothing any more.
        conduct.must_not_be_cut("it has changed something that can only be finished, not undone")
        with trio.CancelScope(shield=True, deadline=trio.current_time() + COMMIT_SECONDS) as scope:
            await effect.apply(tools, conduct.report)
        if scope.cancelled_caught:
            raise OperationFailed(f"the switch did not end within {COMMIT_SECONDS:g} s")


async def _commit(
    ledger: Ledger,
    prepared: Prepared,
    tools: Tools,
    conduct: Conduct,
    committed: Callable[[Prepared], Awaitable[None]],
) -> None:
    conduct.must_not_be_cut("the update is being made final")
    with trio.CancelScope(shield=True, deadline=trio.current_time() + COMMIT_SECONDS):
        await ledger.write(phase=Phase.COMMITTED)
        try:
            await committed(prepared)
            await _finish(ledger.journal, ledger.entry, tools, conduct.report)
        except OperationFailed as error:
            # The update itself stands.  What is left to remove is left to the next start.
            trouble = str(_not_tidied(ledger.entry, str(error)))
            _log.error("%s: %s", ledger.entry.app, trouble)
            conduct.report(trouble)
            if await ledger.journal.holds(ledger.entry):
                ledger.untidy = trouble
    if ledger.entry.phase is not Phase.COMMITTED:
        raise OperationFailed(f"the journal could not be written within {COMMIT_SECONDS:g} s")


async def _finish(journal: Journal, entry: Entry, tools: Tools, report: Report) -> None:
    for effect in entry.effects:
        await effect.discard(tools, report)
    await journal.close(entry)


async def _put_back(
    ledger: Ledger, updater: Updater, tools: Tools, conduct: Conduct, cause: BaseException | None
) -> None:
    """Undo whatever was done; does nothing to an update that is committed."""
    if ledger.entry.phase is Phase.COMMITTED:
        return
    conduct.must_not_be_cut("the app is being put back")
    with trio.CancelScope(shield=True, deadline=trio.current_time() + REVERT_SECONDS) as scope:
        if ledger.entry.phase is Phase.OPEN:
            conduct.report(f"{ledger.entry.app}: putting back what was changed")
        try:
            await undo(ledger.journal, ledger.entry, updater, tools, conduct.report)
        except OperationFailed as error:
            raise NotPutBack(_not_put_back(ledger.entry, str(error), cause)) from cause
    if scope.cancelled_caught:
        raise NotPutBack(_not_put_back(ledger.entry, f"it took longer than {REVERT_SECONDS:g} s", cause)) from cause


def _not_put_back(entry: Entry, why: str, cause: BaseException | None) -> str:
    first = f"{cause}. Then " if isinstance(cause, OperationFailed) else ""
    return (
        f"{first}{entry.app} could not be put back: {why}. Mend what is named here, then recover the app or restart "
        "the server: both try again."
    )


def _not_tidied(entry: Entry, why: str) -> NotTidied:
    return NotTidied(f"Cleaning up after job {entry.job} failed, the next start tries again: {why}")


async def undo(journal: Journal, entry: Entry, updater: Updater, tools: Tools, report: Report) -> None:
    """Bring an app whose update was not committed to a whole state, and forget the entry.  Idempotent.

    Raises: OperationFailed; the entry stays.
    """
    if entry.phase is Phase.OPEN:
        for effect in reversed(entry.effects):
            await effect.settle(tools, report)
    for stage in entry.stages:
        await in_thread(durable.remove_tree, Path(stage))
    try:
        await updater.tidy()
    except OperationFailed as error:
        # The user's own git at work, say: the app is whole all the same, and every job tidies before it begins.
        _log.warning("%s: %s", entry.app, error)
    await journal.close(entry)


async def settle(journal: Journal, entry: Entry, updater: Updater, tools: Tools, report: Report) -> Entry:
    """Settle what a former server left open.  Returns the entry as it was settled.

    Counts the attempt before it begins, so that an entry that kills its server cannot do so for ever.

    Raises:
        NotPutBack: the app may be in no whole state.
        NotTidied: the app is well.
    """
    before, entry = entry, replace(entry, attempts=entry.attempts + 1)
    try:
        await journal.write(entry)
        with trio.fail_after(REVERT_SECONDS):
            if entry.phase is Phase.COMMITTED:
                await _finish(journal, entry, tools, report)
            else:
                await undo(journal, entry, updater, tools, report)
    except (OperationFailed, trio.TooSlowError) as error:
        why = str(error) or f"it took longer than {REVERT_SECONDS:g} s"
        if entry.phase is Phase.COMMITTED:
            # This one did not kill anybody, and costs the app nothing: it may try as often as it likes.
            with contextlib.suppress(OperationFailed):
                await journal.write(before)
            raise _not_tidied(entry, why) from error
        raise NotPutBack(_not_put_back(entry, why, None)) from error
    return entry
