"""The manager: the facade that the web, the command line and embedding applications use."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from trio_update.config import Config
from trio_update.engine.board import Board
from trio_update.engine.hub import Hub
from trio_update.engine.jobs import Job, JobRunner, Work
from trio_update.engine.journal import Journal, holder_id
from trio_update.engine.recovery import settle_all
from trio_update.engine.refresh import Refresher, follow_schedule
from trio_update.engine.startup import (
    config_digest,
    keep_out,
    kinds_of,
    locked,
    make_folders,
    make_updaters,
    restore,
    tidy_saved,
)
from trio_update.engine.worker import Worker
from trio_update.errors import OperationFailed, Reason, Refused
from trio_update.events import Refreshed
from trio_update.groups import unwrapped
from trio_update.host.forge.base import Forges
from trio_update.host.forge.forges import open_forges
from trio_update.host.http.client import open_web
from trio_update.host.klippy import NeverPrinting, PrintState
from trio_update.host.processes.runner import Runner, become_subreaper
from trio_update.host.processes.strays import end_orphans
from trio_update.host.services import NoServices, Services
from trio_update.host.store import Store, open_store
from trio_update.host.threads import in_thread
from trio_update.model import AppName, AppStatus, JobKind, JobRecord, JobView, Outcome, Plan, Status
from trio_update.updaters.base import Recover, Request, Rollback, Tools, Updater, Upgrade
from trio_update.updaters.kinds import Kind, all_kinds, effects_of, judge_config
from trio_update.updaters.plans import ShownPlans

_log = logging.getLogger(__name__)


class Manager:
    """Manages the apps of one configuration.  Made by :func:`open_manager` only."""

    def __init__(
        self,
        config: Config,
        updaters: Mapping[AppName, Updater],
        board: Board,
        hub: Hub,
        jobs: JobRunner,
        refresher: Refresher,
        worker: Worker,
        store: Store,
        printer: PrintState,
        forges: Forges,
    ) -> None:
        self.config = config
        self.hub = hub
        self._updaters = updaters
        self._board = board
        self._jobs = jobs
        self._refresher = refresher
        self._worker = worker
        self._store = store
        self._printer = printer
        self._forges = forges
        self._looked = trio.Event()
        self._plans = ShownPlans()
        self._stopping = False
        self._refreshed: float | None = None

    async def wait_ready(self) -> None:
        """Return when every app has been looked at once since the start; remotes may not have been asked yet."""
        await self._looked.wait()

    def status(self) -> Status:
        """The status of everything; the same object until something changes.  Never waits."""
        return self._board.status(busy=self._jobs.busy, budget=self._forges.budget())

    def since_refresh(self) -> float | None:
        """Seconds since all remotes were last asked, whatever they answered; ``None`` before the first time."""
        return None if self._refreshed is None else trio.current_time() - self._refreshed

    async def refresh(self, name: str | None) -> None:
        """Ask the remotes of all apps, or of one, and return when that is done.

        A remote that cannot be reached is told in the status, not raised.

        Raises: Refused while a job runs, while printing, before the first look has ended, for an unknown app.
        """
        if name is not None:
            self._known(name)
        if not self._looked.is_set():
            raise Refused(Reason.NOT_READY, "The apps have not been looked at yet, try again in a moment")
        self._refuse_while_printing()
        if self._jobs.busy:
            raise Refused(Reason.BUSY, "An update is running: refresh when it has ended")
        await self._refresher.refresh([AppName(name)] if name is not None else self._updaters)
        if name is None:
            self._refreshed = trio.current_time()
        self.hub.publish(Refreshed(status=self.status()))

    async def upgrade(self, name: str | None, *, who: str, plan_id: str | None = None) -> None:
        """Upgrade one app, or (``None``) all of them, and return when the job has ended.

        Cancelling the caller does not end the job.  ``plan_id``, of one app only: refused with the difference in words
        when what would be done is not that plan any more.

        Raises: Refused, OperationFailed, Aborted.
        """
        if name is None:
            job = self._jobs.new(JobKind.FULL, None, who)
            await self._submit(job, self._worker.full)
        else:
            shown = self._plans.find(AppName(name), plan_id) if plan_id else None
            await self._submit_one(JobKind.UPGRADE, name, Upgrade(plan_id or "", shown), who)

    async def recover(self, name: str, *, hard: bool, update_deps: bool = False, who: str) -> None:
        """Bring an app back to a whole state: in place, or (``hard``) by a fresh copy.  Raises as :meth:`upgrade`."""
        await self._submit_one(JobKind.RECOVER, name, Recover(hard, update_deps), who)

    async def rollback(self, name: str, *, version: str | None = None, who: str) -> None:
        """Bring an app back to ``version``, or to the one before its last update.  Raises as :meth:`upgrade`."""
        earlier = self._board.earlier(AppName(name))
        await self._submit_one(JobKind.ROLLBACK, name, Rollback(version, earlier), who)

    async def abort(self, proc_id: int | None = None) -> None:
        """End a job; returns when its app is as it was before.

        Raises: Refused when no such job runs, or when it is in a part that must not be cut.
        """
        job = self._jobs.active(proc_id)
        if job is None:
            raise Refused(Reason.NO_JOB, "No job is running" if proc_id is None else f"Job {proc_id} is not running")
        if job.uncuttable is not None:
            raise Refused(Reason.CANNOT_ABORT, f"Job {job.id} cannot be aborted now: {job.uncuttable}")
        job.report("Aborting")
        job.scope.cancel()
        await job.ended.wait()
        if job.outcome is not Outcome.ABORTED:
            raise Refused(Reason.CANNOT_ABORT, f"Job {job.id} had ended before it could be aborted: {job.outcome}")

    def stop(self) -> None:
        """Begin the end: running jobs are aborted, new ones refused.  Leaving :func:`open_manager` waits for them."""
        self._stopping = True
        self._jobs.stop()

    async def plan(self, name: str | None = None) -> tuple[Plan, ...]:
        """What an upgrade would do, going by the last refresh; nothing is changed.  Raises: Refused."""
        names = [self._known(name)] if name is not None else list(self._updaters)
        decisions = [await self._updaters[app].decide(Upgrade(), self._board.snapshot(app)) for app in names]
        for decision in decisions:
            self._plans.add(decision.plan)
        return tuple(decision.plan for decision in decisions)

    async def history(self, name: str | None = None, limit: int = 50) -> tuple[JobRecord, ...]:
        """Ended jobs, newest first.  Raises: Refused for an unknown app, OperationFailed."""
        return await self._store.history(self._known(name) if name is not None else None, limit)

    def job(self, proc_id: int | None = None) -> JobView:
        """A recent job; for ``None`` the running one, or else the last.  Raises: Refused."""
        job = self._jobs.find(proc_id)
        if job is None:
            reason = Reason.NO_JOB if proc_id is None else Reason.UNKNOWN_JOB
            raise Refused(reason, "No job has run yet" if proc_id is None else f"Job {proc_id} is not known")
        return job.view()

    def _known(self, name: str) -> AppName:
        if name not in self._updaters:
            disabled = next((app for app in self.config.disabled if app.name == name), None)
            why = f", its section is disabled: {'; '.join(disabled.reasons)}" if disabled else ""
            raise Refused(Reason.UNKNOWN_APP, f"There is no app '{name}'{why}")
        return AppName(name)

    def _refuse_while_stopping(self) -> None:
        if self._stopping:
            raise Refused(Reason.NOT_READY, "The server is stopping: try again when it is back")

    def _refuse_while_printing(self) -> None:
        if self._printer.printing:
            raise Refused(Reason.PRINTING, "A print is running: nothing is updated until it has ended")

    async def _submit_one(self, kind: JobKind, name: str, request: Request, who: str) -> None:
        async def work(job: Job) -> None:
            await self._worker.one(job, AppName(name), request)

        await self._submit(self._jobs.new(kind, AppName(name), who), work)

    async def _submit(self, job: Job, work: Work) -> None:
        try:
            if job.name is not None:
                self._known(job.name)
            self._refuse_while_stopping()
            self._refuse_while_printing()
            self._jobs.admit(job)
        except Refused as refused:
            # Clients that show progress wait for a completing message, and for the status, whatever happened.
            job.report(str(refused))
            job.complete(f"{job.application} was refused")
            self.hub.publish(Refreshed(status=self.status()))
            raise
        self._jobs.start(job, work, self._worker.ended)
        await job.ended.wait()
        if job.error is not None:
            raise job.error

    async def first_look(self, changed: list[AppName], *, task_status: trio.TaskStatus[None]) -> None:
        """Look at every app's disk, then ask the remotes of those that are due.  Run by :func:`open_manager`."""
        task_status.started()
        await self._refresher.refresh(self._updaters, network=False)
        self._looked.set()
        self.hub.publish(Refreshed(status=self.status()))
        await self._refresh(list(dict.fromkeys([*changed, *self._due()])))

    def _due(self) -> list[AppName]:
        default = self.config.update_manager.refresh_interval
        return self._refresher.due(
            {
                app.name: (app.refresh_interval if app.refresh_interval is not None else default).total_seconds()
                for app in self.config.apps
            }
        )

    async def refresh_due(self) -> None:
        """Refresh what is due, unless something more important is going on."""
        if not self._jobs.busy and not self._printer.printing:
            await self._refresh(self._due())

    async def _refresh(self, apps: list[AppName]) -> None:
        if apps:
            await self._refresher.refresh(apps)
            self.hub.publish(Refreshed(status=self.status()))


@asynccontextmanager
async def open_manager(
    config: Config,
    *,
    data_path: Path,
    kinds: Sequence[Kind] = (),
    debug: bool = False,
    services: Services | None = None,
    printer: PrintState | None = None,
) -> AsyncIterator[Manager]:
    """Manage the apps of ``config`` while the context lasts.  ``kinds``: of apps, besides the built-in ones.

    Settles what a former server left open before it yields; ends running jobs, their apps put back, when it is left.
    ``data_path`` holds the journal, the database and saved local changes; one manager at a time can use it.  This
    process becomes a subreaper (prctl(2)), so that nothing a command leaves behind escapes.

    Raises: ConfigInvalid, KindInvalid, DataPathHeld, StartFailed.
    """
    config = await in_thread(judge_config, config, kinds)
    await in_thread(keep_out, data_path, config, kinds_of(config, all_kinds(kinds)))
    await in_thread(make_folders, data_path)
    with unwrapped(), locked(data_path):
        become_subreaper()
        owner = holder_id(data_path)
        if ended := await end_orphans(owner):
            _log.warning("ended %d processes that a former server had left", ended)
        await in_thread(tidy_saved, data_path)
        async with _open(config, all_kinds(kinds), data_path, Runner(owner), debug, services, printer) as manager:
            yield manager


@asynccontextmanager
async def _open(
    config: Config,
    kinds: Sequence[Kind],
    data_path: Path,
    runner: Runner,
    debug: bool,
    services: Services | None,
    printer: PrintState | None,
) -> AsyncIterator[Manager]:
    journal = Journal(data_path / "trio_update" / "journal", effects_of(kinds))
    kind_of = kinds_of(config, kinds)
    hub = Hub()
    async with (
        open_store(data_path / "database" / "trio_update.db") as (store, notice),
        open_web() as web,
        open_forges(config.server, store, web, runner) as forges,
    ):
        tools = Tools(runner, web, forges, debug=debug)
        updaters = make_updaters(config, kind_of, tools)
        problems = (*(str(problem) for problem in config.problems), *([notice] if notice else []))
        board = Board({app.name: app for app in config.apps}, problems)
        changed = await restore(config, kind_of, store, board, updaters)
        last_id = await settle_all(journal, updaters, tools, store, board)
        async with trio.open_nursery() as nursery:

            async def save(app: AppName, status: AppStatus) -> None:
                digest = config_digest(updaters[app].config)
                try:
                    await store.save_snapshot(app, digest, status)
                except OperationFailed as error:
                    _log.error("the status of %s was not saved: %s", app, error)

            refresher = Refresher(updaters, board, save, nursery, config.server.max_concurrent_refreshes)
            jobs = JobRunner(nursery, hub, last_id, lambda: hub.publish(Refreshed(status=manager.status())))
            worker = Worker(
                updaters, board, journal, store, refresher, tools, services or NoServices(), data_path / "trio_update"
            )
            manager = Manager(
                config, updaters, board, hub, jobs, refresher, worker, store, printer or NeverPrinting(), forges
            )
            await nursery.start(manager.first_look, changed)
            if config.update_manager.enable_auto_refresh:
                nursery.start_soon(follow_schedule, config.update_manager, manager.refresh_due)
            yield manager
            nursery.cancel_scope.cancel()
