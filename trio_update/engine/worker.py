"""What jobs do: one app's transaction, or a full update of all of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trio_update.engine.board import Board
from trio_update.engine.health import check_health
from trio_update.engine.history import earlier_after
from trio_update.engine.jobs import Job
from trio_update.engine.journal import Entry, Journal
from trio_update.engine.refresh import Refresher
from trio_update.engine.transaction import Ledger, NotPutBack, NotTidied, carry_out, settle
from trio_update.errors import Aborted, OperationFailed, Reason, Refused
from trio_update.host.services import Services
from trio_update.host.store import Store
from trio_update.model import AppName, AppOutcome, JobKind, Outcome, Release
from trio_update.updaters.base import Prepared, Recover, Request, Tools, Updater, Upgrade

_log = logging.getLogger(__name__)


@dataclass
class Worker:
    """Runs the work of jobs on behalf of the manager."""

    updaters: Mapping[AppName, Updater]
    board: Board
    journal: Journal
    store: Store
    refresher: Refresher
    tools: Tools
    services: Services
    folder: Path

    async def one(self, job: Job, app: AppName, request: Request) -> None:
        """Update one app.  Raises what went wrong; the app has been put back then."""
        async with self.refresher.reserved(app):
            await self._refuse_or_mend_stuck(job, app, request)
            outcome = await self._transact(job, app, request)
            # Nothing waits between the commit and this line: an abort that comes now finds a job that has succeeded.
            job.outcome = outcome.outcome
            job.apps.append(outcome)

    async def full(self, job: Job) -> None:
        """Update every app in order; what fails does not stop the others.  Raises OperationFailed at the end."""
        failed: list[str] = []
        for app in self.updaters:
            job.must_not_be_cut(None)
            job.outcome = None
            job.report(f"Updating {app}")
            try:
                await self.one(job, app, Upgrade())
            except (Refused, OperationFailed) as error:
                failed.append(f"{app}: {error}")
                job.report(f"{app} was not updated: {error}")
                job.apps.append(AppOutcome(name=app, outcome=Outcome.FAILED, message=str(error)))
            await self._save(job, provisional=True)
            await self.refresher.refresh([app], network=False)
        if failed:
            raise OperationFailed(f"{len(failed)} of {len(self.updaters)} apps were not updated: {'; '.join(failed)}")
        job.outcome = Outcome.SUCCEEDED

    async def _refuse_or_mend_stuck(self, job: Job, app: AppName, request: Request) -> None:
        """An app with an unsettled journal is settled first; only a recovery asks for that."""
        why = self.board.stuck(app)
        if why is None:
            return
        if not isinstance(request, Recover):
            raise Refused(Reason.STUCK, f"{app} needs a recovery first: {why}")
        contents = await self.journal.read()
        for bad in contents.unreadable:
            if bad.concerns(app):
                raise Refused(Reason.STUCK, bad.advice())
        for entry in contents.entries:
            if entry.app == app:
                job.report(f"Trying again to put {app} back")
                await self._try_settle(job, entry, hard=request.hard)
        self.board.set_stuck(app, None)

    async def _try_settle(self, job: Job, entry: Entry, *, hard: bool) -> None:
        try:
            await settle(self.journal, entry, self.updaters[entry.app], self.tools, job.report)
        except NotTidied as error:
            job.report(str(error))
        except NotPutBack as error:
            if not hard:
                raise
            # A fresh clone replaces whatever state this is; the user's files are carried over from it.
            job.report(f"{error} Going on with a fresh copy.")
            await self.journal.close(entry)

    async def _transact(self, job: Job, app: AppName, request: Request) -> AppOutcome:
        updater = self.updaters[app]
        entry = Entry(
            job=job.id,
            kind=_kind(request, job),
            app=app,
            requested_by=job.who,
            started=job.started,
            full=job.kind is JobKind.FULL,
            services=updater.config.managed_services,
        )
        ledger = Ledger(self.journal, entry, self.folder / "saved" / f"{app}-{job.id}")

        async def activate(prepared: Prepared) -> None:
            await self._activate(job, updater)

        async def committed(prepared: Prepared) -> None:
            self._remember(app, entry.kind, prepared)
            await self._save(job, app, provisional=True)

        known = self.board.snapshot(app)
        try:
            prepared = await carry_out(
                ledger, updater, request, known, self.tools, job, activate=activate, committed=committed
            )
        except NotPutBack as error:
            self.board.set_stuck(app, str(error))
            raise
        except OperationFailed as error:
            if ledger.entry.services and ledger.entry.effects:
                await self._restart(job, updater)
            raise OperationFailed(_with_old_version(error, ledger)) from error
        if ledger.untidy:
            self.board.set_untidy(app, ledger.untidy)
        return _outcome(app, prepared, job)

    def _remember(self, app: AppName, kind: JobKind, prepared: Prepared) -> None:
        old = Release(version=prepared.old.version, hash=prepared.old.hash)
        new = Release(version=prepared.new.version, hash=prepared.new.hash)
        self.board.set_earlier(app, earlier_after(kind, self.board.earlier(app), old, new))

    async def _activate(self, job: Job, updater: Updater) -> None:
        """Restart what belongs to the app, and see that it is well."""
        await self._restart(job, updater)
        health = updater.config.health
        if health.command or health.url or self.services.manages:
            job.report("Checking the app's health")
        await check_health(
            health, self.services, updater.config.managed_services, self.tools.processes, updater.config.path
        )

    async def _restart(self, job: Job, updater: Updater) -> None:
        names = updater.config.managed_services
        if names and not self.services.manages:
            job.report(f"No service provider is configured: restart {', '.join(names)} yourself")
            return
        for name in names:
            job.report(f"Restarting {name}")
            await self.services.restart(name)

    async def ended(self, job: Job) -> None:
        """Show the app as it is now, and tell everyone that the job has ended; never raises."""
        apps = [job.name] if job.name is not None else []
        await self.refresher.refresh(apps, network=False)
        if job.error is not None and not isinstance(job.error, Aborted):
            job.report(f"{'Refused' if isinstance(job.error, Refused) else 'Failed'}: {job.error}")
        if job.name is not None and not job.apps and job.outcome is not None:
            job.apps.append(AppOutcome(name=job.name, outcome=job.outcome, message=str(job.error or "")))
        last = _LAST_WORDS.get(job.outcome or Outcome.FAILED, "ended")
        job.complete(f"{job.application} {last}")
        await self._save(job)

    async def _save(self, job: Job, app: AppName | None = None, *, provisional: bool = False) -> None:
        apps = {app} if app is not None else {outcome.name for outcome in job.apps}
        try:
            await self.store.save_job(
                job.record(provisional=provisional), {name: self.board.earlier(name) for name in apps}
            )
        except OperationFailed as error:
            _log.error("job %d was not written to the history: %s", job.id, error)


_LAST_WORDS = {
    Outcome.SUCCEEDED: "has succeeded",
    Outcome.UNCHANGED: "had nothing to do",
    Outcome.FAILED: "has failed",
    Outcome.ABORTED: "was aborted",
}


def _kind(request: Request, job: Job) -> JobKind:
    return JobKind.UPGRADE if isinstance(request, Upgrade) else job.kind


def _with_old_version(error: OperationFailed, ledger: Ledger) -> str:
    back = f" The app is back at {ledger.entry.old.version}." if ledger.entry.effects else " Nothing was changed."
    return f"{str(error).rstrip('.')}.{back}"


def _outcome(app: AppName, prepared: Prepared, job: Job) -> AppOutcome:
    if prepared.unchanged:
        job.report(prepared.unchanged)
    return AppOutcome(
        name=app,
        outcome=Outcome.UNCHANGED if prepared.unchanged else Outcome.SUCCEEDED,
        from_version=prepared.old.version,
        to_version=prepared.new.version,
        from_hash=prepared.old.hash,
        to_hash=prepared.new.hash,
        digest=prepared.new.digest,
        message=prepared.unchanged or "; ".join(prepared.notes),
    )
