"""A stand-in for the engine that keeps the engine's promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from trio_update.config.values import Config, ServerConfig
from trio_update.engine.hub import Hub
from trio_update.errors import Reason, Refused, TrioUpdateError
from trio_update.events import JobEnded, JobMessage, JobProgress, StatusChanged
from trio_update.model import (
    AppName,
    Channel,
    Commit,
    JobId,
    JobKind,
    JobRecord,
    JobState,
    JobView,
    Outcome,
    Plan,
    Status,
    Unknown,
)
from trio_update.updaters.git.kind import GitStatus

EVIL = "<img src=x onerror=alert(1)> & more"
EVIL_ESCAPED = "&lt;img src=x onerror=alert(1)&gt; &amp; more"


def an_app(name: str, **changes: Any) -> GitStatus:
    """A clone that is one commit behind, the commit being a stranger's."""
    commit = Commit(sha="e3cb", author="Eve <eve@x.org>", date="1644534721", subject=EVIL, message=EVIL)
    app = GitStatus(
        name=AppName(name),
        channel=Channel.DEV,
        is_valid=True,
        version="v0.1.0",
        remote_version="v0.2.0",
        rollback_version=Unknown("never upgraded"),
        full_version_string="v0.1.0-0-gabc",
        current_hash="abc",
        remote_hash="e3cb",
        remote_alias="origin",
        remote_url="https://example.org/x.git?a=1&b=2",
        recovery_url="https://example.org/x.git",
        owner=Unknown("not on a forge"),
        repo_name="x",
        branch="master",
        commits_behind=(commit,),
        warnings=(EVIL,),
        anomalies=(EVIL,),
        git_messages=(EVIL,),
        info_tags=("desc=X & Y",),
    )
    return msgspec.structs.replace(app, **changes)


def a_record(proc_id: JobId) -> JobRecord:
    return JobRecord(
        proc_id=proc_id,
        kind=JobKind.UPGRADE,
        name=AppName("klipper"),
        requested_by="somebody",
        started=1.0,
        duration=2.0,
        outcome=Outcome.FAILED,
        log=(EVIL,),
    )


@dataclass(frozen=True)
class FakeJob:
    """A job that was admitted; ends as its manager's ``failure`` says."""

    manager: FakeManager
    job: JobView
    done: trio.Event

    @property
    def error(self) -> TrioUpdateError | None:
        return self.manager.failure

    async def wait(self) -> JobRecord:
        await self.done.wait()
        return a_record(self.job.proc_id)


class FakeManager:
    """The manager's facade over apps that exist only here.

    ``hold`` keeps jobs from ending until it is set, and ``plan_gate`` plans; ``failure`` is what jobs end with;
    ``crash`` is raised by every status.  ``calls`` is what was asked of it.
    """

    def __init__(self, nursery: trio.Nursery, server: ServerConfig, names: Sequence[str]) -> None:
        self.config = Config(source=Path("printer.conf"), server=server)
        self.hub = Hub()
        self.refresh_age: float | None = None
        self.calls: list[tuple[Any, ...]] = []
        self.hold = trio.Event()
        self.hold.set()
        self.plan_gate = trio.Event()
        self.plan_gate.set()
        self.plans_waiting = 0
        self.failure: TrioUpdateError | None = None
        self.crash: Exception | None = None
        self.refused: Refused | None = None
        self.ended: list[tuple[str, Outcome]] = []
        self._nursery = nursery
        self._ids = 1000
        self._lane = trio.CapacityLimiter(1)
        self._running: tuple[JobView, trio.CancelScope] | None = None
        self.state = Status(busy=False, version_info={AppName(name): an_app(name) for name in names})

    def status(self) -> Status:
        if self.crash is not None:
            raise self.crash
        return self.state

    def since_refresh(self) -> float | None:
        return self.refresh_age

    async def refresh(self, name: str | None) -> None:
        self.calls.append(("refresh", name))
        if self.refused is not None:
            raise self.refused
        self._known(name)
        await trio.lowlevel.checkpoint()
        self._publish_state(self.state.busy)

    async def start_upgrade(self, name: str | None, *, plan_id: str | None = None, who: str) -> FakeJob:
        self.calls.append(("upgrade", name, who) if plan_id is None else ("upgrade", name, who, plan_id))
        return await self._start(JobKind.UPGRADE if name else JobKind.FULL, name or "full", name, who)

    async def start_recover(self, name: str, *, hard: bool, update_deps: bool, who: str) -> FakeJob:
        self.calls.append(("recover", name, hard, update_deps))
        return await self._start(JobKind.RECOVER, f"recover_{name}", name, who)

    async def start_rollback(self, name: str, *, version: str | None, who: str) -> FakeJob:
        self.calls.append(("rollback", name, version))
        return await self._start(JobKind.ROLLBACK, f"rollback_{name}", name, who)

    async def abort(self, proc_id: int | None) -> None:
        self.calls.append(("abort", proc_id))
        if self._running is None:
            raise Refused(Reason.NO_JOB, "no job is running")
        await trio.lowlevel.checkpoint()
        self._running[1].cancel()

    async def plan(self, name: str | None) -> tuple[Plan, ...]:
        self._known(name)
        self.plans_waiting += 1
        await self.plan_gate.wait()
        self.plans_waiting -= 1
        return (
            Plan(
                name=AppName(name or "klipper"),
                up_to_date=False,
                from_version="v0.1.0",
                to_version="v0.2.0",
                from_hash="abc",
                to_hash="e3cb",
                release_notes=EVIL,
                download_bytes=Unknown("the remote does not say"),
                disk_free=5,
                disk_needed=Unknown("the remote does not say"),
            ),
        )

    async def history(self, name: str | None, limit: int) -> tuple[JobRecord, ...]:
        self.calls.append(("history", name, limit))
        await trio.lowlevel.checkpoint()
        return (a_record(JobId(7)),)

    def job(self, proc_id: int | None) -> JobView:
        if self._running is None:
            raise Refused(Reason.UNKNOWN_JOB if proc_id else Reason.NO_JOB, "there is no such job")
        return self._running[0]

    def say(self, message: str, *, complete: bool = False, application: str = "klipper", proc_id: int = 1) -> None:
        line = JobMessage(application=application, proc_id=JobId(proc_id), message=message, complete=complete)
        if complete:
            self.hub.publish(JobEnded(line=line, record=a_record(JobId(proc_id))))
        else:
            self.hub.publish(JobProgress(line=line, phase=JobState.PREPARING))

    def _known(self, name: str | None) -> None:
        if name is not None and name not in self.state.version_info:
            raise Refused(Reason.UNKNOWN_APP, f"there is no app named `{name}`")

    def _publish_state(self, busy: bool) -> None:
        self.state = msgspec.structs.replace(self.state, busy=busy)
        self.hub.publish(StatusChanged(status=self.state))

    async def _start(self, kind: JobKind, application: str, name: str | None, who: str) -> FakeJob:
        self._ids += 1
        proc_id = self._ids
        try:
            self._known(name)
            if self.refused is not None:
                raise self.refused
            try:
                self._lane.acquire_on_behalf_of_nowait(proc_id)
            except trio.WouldBlock:
                raise Refused(Reason.BUSY, "another job is running") from None
        except Refused as refused:
            self.say(str(refused), application=application, proc_id=proc_id)
            self.say("", complete=True, application=application, proc_id=proc_id)
            self._publish_state(self.state.busy)
            raise
        view = JobView(
            proc_id=JobId(proc_id),
            application=application,
            kind=kind,
            name=AppName(name) if name else None,
            requested_by=who,
            state=JobState.PREPARING,
            abortable=True,
            started=1.0,
            log=(EVIL,),
        )
        scope, done = trio.CancelScope(), trio.Event()
        self._running = (view, scope)
        self._nursery.start_soon(self._work, view, scope, done)
        await trio.lowlevel.checkpoint()
        return FakeJob(self, view, done)

    async def _work(self, view: JobView, scope: trio.CancelScope, done: trio.Event) -> None:
        say = partial(self.say, application=view.application, proc_id=view.proc_id)
        self.state = msgspec.structs.replace(self.state, busy=True)
        with scope:
            say(EVIL)
            await self.hold.wait()
            await trio.lowlevel.checkpoint()
            say("almost done")
        say("the end", complete=True)
        self._running = None
        self._lane.release_on_behalf_of(view.proc_id)
        self._publish_state(False)
        self.ended.append((view.application, Outcome.ABORTED if scope.cancelled_caught else Outcome.SUCCEEDED))
        done.set()
