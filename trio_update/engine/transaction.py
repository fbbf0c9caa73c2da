"""The one place that commits or puts back: an update of one app, from top to bottom.

Whatever happens to :meth:`Update.run` (an error, an abort, the server's stop), the app ends as the old version or as
the new one; whatever happens to the process, :func:`~trio_update.engine.undo.resume` makes it so at the next start.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import trio

from trio_update.engine.entry import LiveEntry
from trio_update.engine.gate import Gate
from trio_update.engine.health import check_health
from trio_update.engine.journal import Journal, Phase
from trio_update.engine.records import Records
from trio_update.engine.states import JobEvent
from trio_update.engine.undo import UNDO_SECONDS, finish, not_put_back, not_tidied, undo
from trio_update.errors import OperationFailed, Refused
from trio_update.host.services import Services
from trio_update.logs import get_logger
from trio_update.model import AppName, AppStatus, JobRecord, Step
from trio_update.updaters.base import Effect, Prepared, Request, Tools, Updater
from trio_update.versions import NOT_INSTALLED

_log = get_logger(__name__)

COMMIT_SECONDS = 300.0


@dataclass(frozen=True)
class Means:
    """What every update works with.  ``saved``: the folder that holds the user's local changes, by job."""

    journal: Journal
    records: Records
    tools: Tools
    services: Services
    gate: Gate
    saved: Path


class JobControl(Protocol):
    """The job that an update is part of, as far as the update knows it."""

    def report(self, message: str) -> None:
        """Tell everyone."""

    def note(self, event: JobEvent) -> None:
        """Take note of how far the update has come, which decides whether it can be aborted."""

    def unfinished_record(self) -> JobRecord:
        """What stays in the history if the process dies now."""


@dataclass(frozen=True)
class Updated:
    """What came of it.  ``untidy``: why its leftovers could not be removed, for a person; the update is final."""

    prepared: Prepared
    untidy: str = ""


class Update:
    """One update of one app.  Read it from :meth:`run` downwards."""

    def __init__(self, means: Means, updater: Updater, entry: LiveEntry, job: JobControl) -> None:
        self._means = means
        self._updater = updater
        self._entry = entry
        self._job = job

    @property
    def _app(self) -> AppName:
        return self._updater.config.name

    async def run(self, request: Request, known: AppStatus) -> Updated:
        """Prepare → journal → switch → check → commit; or everything back.

        Raises what went wrong, after the app has been put back; :class:`~trio_update.engine.undo.NotPutBack` when that
        failed too.
        """
        await self._entry.begin()
        try:
            prepared = await self._prepare(request, known)
            if prepared.effects:
                await self._means.gate.ask(self._app, Step.SWITCH)
                await self._switch(prepared)
                await self._check(first=prepared.old.version == NOT_INSTALLED)
                return Updated(prepared, await self._commit())
        except OperationFailed as error:
            await self._put_back(error)
            raise OperationFailed(await self._with_former_version(error)) from error
        except BaseException as error:
            await self._put_back(error)
            raise
        await self._put_back(None)
        return Updated(prepared)

    async def _prepare(self, request: Request, known: AppStatus) -> Prepared:
        """Bring and verify everything that is needed, aside: nothing visible changes yet."""
        for done in await self._updater.tidy():
            self._job.report(f"Removed what a killed command had left: {done}")
        decision = await self._updater.decide(request, known, fetch=self._job.report)
        decision.raise_refused()
        return await self._updater.prepare(decision, self._entry, self._job.report)

    async def _switch(self, prepared: Prepared) -> None:
        """Change the app, when it is durable how to undo that."""
        await self._entry.switch(prepared)
        self._job.note(JobEvent.SWITCH)
        for effect in prepared.effects:
            if effect.reversible:
                await effect.apply(self._means.tools, self._job.report)
            else:
                await self._apply_for_good(effect)

    async def _apply_for_good(self, effect: Effect) -> None:
        # Irreversible from here: an abort could no longer restore the old state.  The health check may still fail.
        self._job.note(JobEvent.NO_RETURN)
        with trio.CancelScope(shield=True, deadline=trio.current_time() + COMMIT_SECONDS) as scope:
            await effect.apply(self._means.tools, self._job.report)
        if scope.cancelled_caught:
            raise OperationFailed(f"the switch did not end within {COMMIT_SECONDS:g} s")

    async def _check(self, *, first: bool) -> None:
        """Restart what belongs to the app, and see that it is well.  ``first``: it was not installed before."""
        updater, means = self._updater, self._means
        names = await self._start_first() if first else await self._restart()
        health = updater.config.health
        if health.command or health.url or means.services.manages:
            self._job.report("Checking the app's health")
        await check_health(health, means.services, names, means.tools, updater.config.path)

    async def _start_first(self) -> tuple[str, ...]:
        """Start the services of a new app that there are: they are often set up only when its files are there.

        Returns those that were started.
        """
        names, services = self._updater.config.managed_services, self._means.services
        if not names or not services.manages:
            return ()
        await self._means.gate.ask(self._app, Step.RESTART)
        started = []
        for name in names:
            self._job.report(f"Starting {name}")
            try:
                await services.restart(name)
            except OperationFailed as error:
                self._job.report(f"Not started, set up the service if it is not there yet: {error}")
            else:
                started.append(name)
        return tuple(started)

    async def _restart(self) -> tuple[str, ...]:
        """Restart the app's services.  Returns them."""
        names, services = self._updater.config.managed_services, self._means.services
        if names and not services.manages:
            self._job.report(f"No service provider is configured: restart {', '.join(names)} yourself")
        elif names:
            await self._means.gate.ask(self._app, Step.RESTART)
            for name in names:
                self._job.report(f"Restarting {name}")
                await services.restart(name)
        return names

    async def _commit(self) -> str:
        """Make the update final.  Returns what is left to remove, for a person; nothing goes back from here."""
        self._job.note(JobEvent.COMMIT)
        untidy = ""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + COMMIT_SECONDS) as scope:
            await self._entry.commit()
            untidy = await self._record_and_finish()
        if self._entry.phase is not Phase.COMMITTED:
            raise OperationFailed(f"the journal could not be written within {COMMIT_SECONDS:g} s")
        if scope.cancelled_caught:
            untidy = str(not_tidied(self._entry.entry, f"it took longer than {COMMIT_SECONDS:g} s"))
        return untidy

    async def _record_and_finish(self) -> str:
        entry, means = self._entry.entry, self._means
        # Before the entry is forgotten: a kill right behind that would lose the way back.
        await means.records.committed(entry, self._job.unfinished_record())
        try:
            await finish(means.journal, entry, means.tools, self._job.report)
        except OperationFailed as error:
            # The update itself stands.  What is left to remove is left to the next start.
            trouble = str(not_tidied(entry, str(error)))
            _log.error("%s: %s", entry.app, trouble)
            self._job.report(trouble)
            return trouble if await means.journal.holds(entry) else ""
        return ""

    async def _put_back(self, cause: BaseException | None) -> None:
        """Undo whatever was done; leaves an update alone that is committed.  Raises: NotPutBack."""
        if self._entry.phase is Phase.COMMITTED:
            return
        self._job.note(JobEvent.UNDO)
        entry, means = self._entry.entry, self._means
        with trio.CancelScope(shield=True, deadline=trio.current_time() + UNDO_SECONDS) as scope:
            if entry.phase is Phase.OPEN:
                self._job.report(f"{entry.app}: putting back what was changed")
            try:
                await undo(means.journal, entry, self._updater, means.tools, self._job.report)
            except OperationFailed as error:
                raise not_put_back(entry, str(error), cause) from cause
        if scope.cancelled_caught:
            raise not_put_back(entry, f"it took longer than {UNDO_SECONDS:g} s", cause) from cause

    async def _with_former_version(self, error: OperationFailed) -> str:
        """What went wrong and where the app is now; its services run that version again."""
        entry, said = self._entry.entry, str(error).rstrip(".")
        if not entry.effects:
            return f"{said}. Nothing was changed."
        if entry.old.version == NOT_INSTALLED:
            return f"{said}. The app is {NOT_INSTALLED}, as before."
        try:
            await self._restart()
        except (Refused, OperationFailed) as trouble:
            self._job.report(f"Not restarted: {trouble}")
        return f"{said}. The app is back at {entry.old.version}."
