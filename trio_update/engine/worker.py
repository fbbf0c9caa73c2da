"""The work of a job on one app: its transaction, and what is kept and shown of how that ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trio_update.engine.board import Board
from trio_update.engine.entry import LiveEntry
from trio_update.engine.jobs import JobRun, Task
from trio_update.engine.journal import Entry
from trio_update.engine.refresh import Refresher
from trio_update.engine.transaction import Means, Update, Updated
from trio_update.engine.undo import NotPutBack, NotTidied, give_up, resume
from trio_update.engine.upkeep import Upkeep
from trio_update.errors import Reason, Refused
from trio_update.model import AppName, AppOutcome, JobKind, JobRecord, Outcome, Step
from trio_update.updaters.base import Recover, Updater, Upgrade


@dataclass(frozen=True)
class Worker:
    """Does what jobs are made of, on behalf of the job runner."""

    means: Means
    updaters: Mapping[AppName, Updater]
    board: Board
    refresher: Refresher
    upkeep: Upkeep

    async def update(self, task: Task, run: JobRun) -> AppOutcome:
        """Do one task.

        Raises: Refused, OperationFailed; the app has been put back then, or is stuck and shown so.
        """
        async with self.upkeep.paused(), self.refresher.reserved(task.app):
            await self._refuse_or_mend_stuck(task, run)
            try:
                updated = await self._transact(task, run)
            except NotPutBack as error:
                self.board.set_stuck(task.app, str(error))
                raise
            if updated.untidy:
                self.board.set_untidy(task.app, updated.untidy)
            if updated.prepared.unchanged:
                run.report(updated.prepared.unchanged)
            return _outcome(task.app, updated)

    async def update_next(self, task: Task, run: JobRun) -> AppOutcome:
        """Do one of the tasks of a full update, if the host lets it.  Raises as :meth:`update`."""
        await self.means.gate.ask(task.app, Step.APP)
        return await self.update(task, run)

    async def _transact(self, task: Task, run: JobRun) -> Updated:
        updater = self.updaters[task.app]
        entry = Entry(
            job=run.id,
            kind=JobKind.UPGRADE if isinstance(task.request, Upgrade) else run.order.kind,
            app=task.app,
            requested_by=run.order.who,
            started=run.started,
            full=run.order.kind is JobKind.FULL,
            services=updater.config.managed_services,
        )
        live = LiveEntry(self.means.journal, entry, self.means.saved / f"{task.app}-{run.id}")
        return await Update(self.means, updater, live, run).run(task.request, self.board.snapshot(task.app))

    async def _refuse_or_mend_stuck(self, task: Task, run: JobRun) -> None:
        """Put a stuck app back before it is recovered; refuse everything else that is asked of one.

        Raises: Refused; NotPutBack, unless a fresh copy follows; FileTrouble.
        """
        stuck = self.board.refuse_stuck(task.app)
        if stuck is None:
            return
        if not isinstance(task.request, Recover):
            raise Refused(stuck.reason, stuck.message)
        contents = await self.means.journal.read()
        for bad in contents.unreadable:
            if bad.concerns(task.app):
                raise Refused(Reason.STUCK, bad.advice())
        for entry in contents.entries:
            if entry.app == task.app:
                # It changes the app as a switch does, and as long after the admission as other jobs took.
                await self.means.gate.ask(task.app, Step.SWITCH)
                run.report(f"Trying again to put {task.app} back")
                await self._try_again(entry, run, hard=task.request.hard)
        self.board.set_stuck(task.app, None)

    async def _try_again(self, entry: Entry, run: JobRun, *, hard: bool) -> None:
        means = self.means
        try:
            await resume(means.journal, entry, self.updaters[entry.app], means.tools, run.report)
        except NotTidied as error:
            run.report(str(error))
        except NotPutBack as error:
            if not hard:
                raise
            # A fresh clone replaces whatever state this is; the user's files are carried over from it.
            run.report(f"{error} Going on with a fresh copy.")
            await give_up(means.journal, entry)

    async def look(self, apps: Sequence[AppName]) -> None:
        """Show apps as they are on the disk now; never raises."""
        await self.refresher.refresh(apps, network=False)

    async def record(self, record: JobRecord) -> None:
        """Write a job to the history; never raises."""
        await self.means.records.job(record)


def _outcome(app: AppName, updated: Updated) -> AppOutcome:
    prepared = updated.prepared
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
