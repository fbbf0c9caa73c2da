"""The manager's public side: what the web, the command line and embedding applications can ask of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio
from msgspec.structs import replace

from trio_update.config import Config
from trio_update.engine.board import Board
from trio_update.engine.border import harmless
from trio_update.engine.foreign import untold_plan
from trio_update.engine.gate import Gate
from trio_update.engine.hub import Events, Hub
from trio_update.engine.jobs import Job, Order, Task
from trio_update.engine.lane import JobRunner
from trio_update.engine.lifetime import Lifetime
from trio_update.engine.refresh import Refresher
from trio_update.engine.view import StatusView
from trio_update.errors import OperationFailed, Reason, Refused
from trio_update.events import Event, StatusChanged
from trio_update.host.store import Store
from trio_update.model import AppName, JobKind, JobRecord, JobView, Plan, Status, Step
from trio_update.updaters.base import Recover, Request, Rollback, Updater, Upgrade
from trio_update.updaters.plans import ShownPlans

EVENTS_KEPT = 512


@dataclass(frozen=True)
class Parts:
    """What a manager is made of.  ``who``: on whose behalf jobs run, unless a call says another."""

    config: Config
    updaters: Mapping[AppName, Updater]
    board: Board
    view: StatusView
    jobs: JobRunner
    refresher: Refresher
    store: Store
    gate: Gate
    lifetime: Lifetime
    looked: trio.Event
    who: str


class Manager:
    """Manages the apps of one configuration.  Made by :func:`~trio_update.engine.opening.open_manager` only.

    After the end of its context everything but :attr:`config` raises ManagerClosed, and what waits in another task
    then returns or raises too: a job is put back and ends, anything else raises ManagerClosed.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._plans = ShownPlans()
        self._stopping = False
        self._refreshed: float | None = None

    @property
    def config(self) -> Config:
        """The configuration that it was opened with, as it was judged; a value that outlives the manager."""
        return self._parts.config

    @property
    def hub(self) -> Hub:
        """Where the events come from, for the sessions of the web; everybody else uses :meth:`events`.

        Raises: ManagerClosed.
        """
        self._parts.lifetime.check()
        return self._parts.view.hub

    async def wait_ready(self) -> None:
        """Return when every app has been looked at once since the start; remotes may not have been asked yet.

        Raises: ManagerClosed.
        """
        with self._parts.lifetime.call():
            await self._parts.looked.wait()

    def status(self) -> Status:
        """The status of everything; the same object until something changes.  Never waits.  Raises: ManagerClosed."""
        self._parts.lifetime.check()
        return self._parts.view.status()

    def since_refresh(self) -> float | None:
        """Seconds since all remotes were last asked, whatever they answered; ``None`` before the first time.

        Raises: ManagerClosed.
        """
        self._parts.lifetime.check()
        return None if self._refreshed is None else trio.current_time() - self._refreshed

    @asynccontextmanager
    async def events(self, *, buffer: int = EVENTS_KEPT) -> AsyncIterator[Events]:
        """What happens while the context lasts: iterate over it, in one task.  The present status comes first.

        The engine never waits for a reader.  One that is more than ``buffer`` events behind gets those, and then
        EventsMissed *raised*: an event that says so would be passed over by a ``match`` that does not know it.
        Iterating ends by itself when the manager does, after the last event.

        Raises: ManagerClosed.
        """
        send, receive = trio.open_memory_channel[Event](max(buffer, 1))
        send.send_nowait(StatusChanged(status=self.status()))
        with send, receive, self.hub.attach(send) as attached:
            yield Events(attached, receive)

    async def refresh(self, name: str | None = None) -> None:
        """Ask the remotes of all apps, or of one, and return when that is done.

        A remote that cannot be reached shows in the status and raises nothing.

        Raises: Refused while a job runs, before the first look has ended, for an unknown app, when the host does not
            allow it; ManagerClosed.
        """
        parts = self._parts
        with parts.lifetime.call():
            app = self._known(name) if name is not None else None
            if not parts.looked.is_set():
                raise Refused(Reason.NOT_READY, "The apps have not been looked at yet, try again in a moment")
            await parts.gate.ask(app, Step.REFRESH)
            parts.lifetime.check()  # a host may shield its answer from the end
            if parts.view.busy:
                raise Refused(Reason.BUSY, "An update is running: refresh when it has ended")
            await parts.refresher.refresh(parts.updaters if app is None else [app])
            if app is None:
                self._refreshed = trio.current_time()
            parts.view.publish()

    async def start_upgrade(self, name: str | None, *, plan_id: str | None = None, who: str | None = None) -> Job:
        """Upgrade one app, or (``None``) all of them.  Returns the job as soon as it is admitted.

        ``plan_id``, of one app only: the job is refused, with the difference in words, when what would be done is not
        that plan any more.  ValueError without a name.

        Raises: Refused for an unknown app, while the app (or everything) is being worked on, when the host does not
            allow it; ManagerClosed.
        """
        self._parts.lifetime.check()
        if name is not None:
            shown = self._plans.find(AppName(name), plan_id) if plan_id else None
            return await self._start_one(JobKind.UPGRADE, name, Upgrade(plan_id or "", shown), who)
        if plan_id is not None:
            raise ValueError("a plan_id is of one app: give its name as well")
        tasks = tuple(Task(app, Upgrade()) for app in self._parts.updaters)
        return await self._start(Order(JobKind.FULL, None, who or self._parts.who, tasks))

    async def start_recover(
        self, name: str, *, hard: bool = False, update_deps: bool = False, who: str | None = None
    ) -> Job:
        """Bring an app back to a whole state: in place, or (``hard``) by a fresh copy.  As :meth:`start_upgrade`."""
        return await self._start_one(JobKind.RECOVER, name, Recover(hard, update_deps), who)

    async def start_rollback(self, name: str, *, version: str | None = None, who: str | None = None) -> Job:
        """Bring an app back to ``version``, or to the one before its last update.  As :meth:`start_upgrade`."""
        earlier = self._parts.board.earlier(AppName(name))
        return await self._start_one(JobKind.ROLLBACK, name, Rollback(version, earlier), who)

    async def upgrade(self, name: str | None, *, plan_id: str | None = None, who: str | None = None) -> JobRecord:
        """As :meth:`start_upgrade`; returns when the job has ended, whatever its outcome, which the record tells.

        Cancelling the caller does not end the job.  Raises: Refused if it was not admitted; ManagerClosed.
        """
        return await (await self.start_upgrade(name, plan_id=plan_id, who=who)).wait()

    async def recover(
        self, name: str, *, hard: bool = False, update_deps: bool = False, who: str | None = None
    ) -> JobRecord:
        """As :meth:`start_recover`, to the end of the job, like :meth:`upgrade`."""
        return await (await self.start_recover(name, hard=hard, update_deps=update_deps, who=who)).wait()

    async def rollback(self, name: str, *, version: str | None = None, who: str | None = None) -> JobRecord:
        """As :meth:`start_rollback`, to the end of the job, like :meth:`upgrade`."""
        return await (await self.start_rollback(name, version=version, who=who)).wait()

    async def abort(self, proc_id: int | None = None) -> None:
        """End a job (``None``: the running one); returns when its app is as it was before.

        Raises: Refused when no such job runs, or when it is in a part that must not be cut; ManagerClosed.
        """
        self._parts.lifetime.check()
        run = self._parts.jobs.active(proc_id)
        if run is None:
            raise Refused(Reason.NO_JOB, "No job is running" if proc_id is None else f"Job {proc_id} is not running")
        await Job(run, self._parts.lifetime).abort()

    def stop(self) -> None:
        """Begin the end: running jobs are aborted, new ones refused.  Leaving the context waits for them.

        Raises: ManagerClosed.
        """
        self._parts.lifetime.check()
        self._stopping = True
        self._parts.jobs.stop()

    async def plan(self, name: str | None = None) -> tuple[Plan, ...]:
        """What an upgrade would do, going by the last refresh; nothing is changed.

        Of all apps, one for which nothing can be decided has the reason among its plan's refusals.

        Raises: Refused for an unknown app; OperationFailed when nothing can be decided for ``name``; ManagerClosed.
        """
        parts = self._parts
        with parts.lifetime.call():
            names = [self._known(name)] if name is not None else list(parts.updaters)
            plans = tuple([harmless(await self._plan(app, alone=name is not None)) for app in names])
            for plan in plans:
                self._plans.add(plan)
            return plans

    async def _plan(self, app: AppName, *, alone: bool) -> Plan:
        """Raises OperationFailed for an app that is asked for ``alone``: the plans of others are none the worse."""
        parts = self._parts
        try:
            plan = (await parts.updaters[app].decide(Upgrade(), parts.board.snapshot(app))).plan
            stuck = parts.board.refuse_stuck(app)
            return plan if stuck is None else replace(plan, refusals=(stuck.message,))
        except OperationFailed as error:
            if alone:
                raise
            return untold_plan(app, str(error))

    async def history(self, name: str | None = None, limit: int = 50) -> tuple[JobRecord, ...]:
        """Ended jobs, newest first.  Raises: Refused for an unknown app, OperationFailed, ManagerClosed."""
        with self._parts.lifetime.call():
            return await self._parts.store.history(self._known(name) if name is not None else None, limit)

    def job(self, proc_id: int | None = None) -> JobView:
        """A recent job; for ``None`` the running one, or else the last.  Raises: Refused, ManagerClosed."""
        self._parts.lifetime.check()
        run = self._parts.jobs.find(proc_id)
        if run is None:
            reason = Reason.NO_JOB if proc_id is None else Reason.UNKNOWN_JOB
            raise Refused(reason, "No job has run yet" if proc_id is None else f"Job {proc_id} is not known")
        return run.view()

    def _known(self, name: str) -> AppName:
        if name not in self._parts.updaters:
            disabled = next((app for app in self.config.disabled if app.name == name), None)
            why = f", its section is disabled: {'; '.join(disabled.reasons)}" if disabled else ""
            raise Refused(Reason.UNKNOWN_APP, f"There is no app '{name}'{why}")
        return AppName(name)

    async def _start_one(self, kind: JobKind, name: str, request: Request, who: str | None) -> Job:
        app = AppName(name)
        return await self._start(Order(kind, app, who or self._parts.who, (Task(app, request),)))

    async def _start(self, order: Order) -> Job:
        parts = self._parts
        with parts.lifetime.call():
            # Before the job begins, and not behind that: a caller that was cancelled has started nothing.
            await trio.lowlevel.checkpoint()
            run = parts.jobs.new(order)
            try:
                self._admit(order)
                await parts.gate.ask(order.name, Step.ADMISSION)
                parts.lifetime.check()  # a host may shield its answer from the end
                # Again: while the host was asked, somebody else may have come first.
                self._admit(order)
            except Refused as refused:
                parts.jobs.refuse(run, refused)
                raise
            parts.jobs.start(run)
            return Job(run, parts.lifetime)

    def _admit(self, order: Order) -> None:
        if order.name is not None:
            self._known(order.name)
        if self._stopping:
            raise Refused(Reason.NOT_READY, "The server is stopping: try again when it is back")
        self._parts.jobs.admit(order)
