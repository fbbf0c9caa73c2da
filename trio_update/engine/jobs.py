"""Jobs: one at a time in one lane, each under a cancel scope of its own, none of them in a caller's task."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from trio_update.engine.hub import Hub
from trio_update.engine.transaction import Conduct
from trio_update.errors import Aborted, OperationFailed, Reason, Refused, TrioUpdateError
from trio_update.events import JobMessage
from trio_update.model import AppName, AppOutcome, JobId, JobKind, JobRecord, JobState, JobView, Outcome
from trio_update.progress import Throttle, read_progress
from trio_update.text import without_secrets

_log = logging.getLogger(__name__)

KEPT_LINES = 2000
KEPT_JOBS = 20
# git writes a progress line for every percent; four a second is what a reader can follow.
_PROGRESS_SECONDS = 0.25


@dataclass(eq=False)
class Job(Conduct):
    """A running, waiting or just ended job.  Serves its transaction as :class:`Conduct`."""

    id: JobId
    kind: JobKind
    name: AppName | None
    who: str
    hub: Hub
    state: JobState = JobState.WAITING
    started: float = field(default_factory=time.time)
    outcome: Outcome | None = None
    error: TrioUpdateError | None = None
    apps: list[AppOutcome] = field(default_factory=list)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)
    uncuttable: str | None = None
    log: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    _throttle: Throttle = field(default_factory=lambda: Throttle(_PROGRESS_SECONDS))

    @property
    def application(self) -> str:
        """What clients call this job."""
        if self.kind is JobKind.FULL:
            return "full"
        prefix = "" if self.kind is JobKind.UPGRADE else f"{self.kind}_"
        return f"{prefix}{self.name}"

    def report(self, message: str) -> None:
        # What git, pip and servers say passes here on its way to clients, the history and logs.
        message = without_secrets(message)
        progress = read_progress(message)
        # Work in a thread reports too, where Trio's clock cannot be read; it has no progress to tell.
        if progress is not None and not self._throttle.passes(progress, trio.current_time()):
            return
        if progress is not None and self.log and _what(self.log[-1]) == progress.what:
            # Ten minutes of progress would push everything else out of the log.
            self.log.pop()
        self.log.append(message)
        self._publish(message)

    def complete(self, message: str) -> None:
        self.log.append(message)
        self._publish(message, complete=True)

    def _publish(self, message: str, *, complete: bool = False) -> None:
        self.hub.publish(JobMessage(application=self.application, proc_id=self.id, message=message, complete=complete))

    def applying(self) -> None:
        self.state = JobState.APPLYING

    def must_not_be_cut(self, why: str | None) -> None:
        self.uncuttable = why

    def view(self) -> JobView:
        return JobView(
            proc_id=self.id,
            application=self.application,
            kind=self.kind,
            name=self.name,
            requested_by=self.who,
            state=self.state,
            abortable=self.state is not JobState.ENDED and self.uncuttable is None,
            started=self.started,
            outcome=self.outcome,
            log=tuple(self.log),
        )

    def record(self, *, provisional: bool = False) -> JobRecord:
        """The job for the history; ``provisional``: what stays there if the process dies now."""
        return JobRecord(
            proc_id=self.id,
            kind=self.kind,
            name=self.name,
            requested_by=self.who,
            started=self.started,
            duration=max(time.time() - self.started, 0.0),
            outcome=Outcome.INTERRUPTED if provisional or self.outcome is None else self.outcome,
            apps=tuple(self.apps),
            message=str(self.error) if self.error else "",
            log=tuple(self.log),
        )


def _what(message: str) -> str | None:
    progress = read_progress(message)
    return None if progress is None else progress.what


Work = Callable[[Job], Awaitable[None]]
Ended = Callable[[Job], Awaitable[None]]


class JobRunner:
    """Admits jobs and runs them.  The lane is the only truth about being busy."""

    def __init__(self, nursery: trio.Nursery, hub: Hub, last_id: JobId, released: Callable[[], None]) -> None:
        """``released`` is called each time the lane has become free, before the job counts as ended."""
        self._nursery = nursery
        self._hub = hub
        self._last_id = last_id
        self._released = released
        self._lane = trio.CapacityLimiter(1)
        self._waiting: list[Job] = []
        self._recent: deque[Job] = deque(maxlen=KEPT_JOBS)
        self._current: Job | None = None

    @property
    def busy(self) -> bool:
        return self._lane.borrowed_tokens > 0

    @property
    def current(self) -> Job | None:
        return self._current

    def new(self, kind: JobKind, name: AppName | None, who: str) -> Job:
        """A job with an id of its own, not started."""
        self._last_id = JobId(self._last_id + 1)
        return Job(id=self._last_id, kind=kind, name=name, who=who, hub=self._hub)

    def admit(self, job: Job) -> None:
        """Raises :class:`Refused` if the job's app, or everything, is being worked on already."""
        for other in self._active():
            if other.kind is JobKind.FULL or job.kind is JobKind.FULL or other.name == job.name:
                what = "A full update" if other.kind is JobKind.FULL else f"An {other.kind} of {other.name}"
                raise Refused(Reason.BUSY, f"{what} is running already (job {other.id})")

    def start(self, job: Job, work: Work, ended: Ended) -> None:
        """Run ``work`` in the lane when its turn comes, then ``ended``, whatever became of it."""
        if active := self._active():
            job.report(f"Waiting for {active[-1].application} (job {active[-1].id}) to end")
        self._waiting.append(job)
        self._recent.append(job)
        self._nursery.start_soon(self._run, job, work, ended, name=f"job {job.id} {job.application}")

    def find(self, job_id: int | None) -> Job | None:
        """A job by its id; for ``None`` the running one, or else the last."""
        if job_id is None:
            return self._current or (self._recent[-1] if self._recent else None)
        return next((job for job in self._recent if job.id == job_id), None)

    def active(self, job_id: int | None) -> Job | None:
        """A job that has not ended; for ``None`` the running one."""
        active = self._active()
        if job_id is None:
            return active[0] if active else None
        return next((job for job in active if job.id == job_id), None)

    def stop(self) -> None:
        """Abort everything; what must not be cut is shielded and ends by itself."""
        for job in self._active():
            job.scope.cancel()

    def _active(self) -> list[Job]:
        return [*([self._current] if self._current else []), *self._waiting]

    async def _run(self, job: Job, work: Work, ended: Ended) -> None:
        held = False
        try:
            with job.scope:
                await self._lane.acquire_on_behalf_of(job)
                held = True
                self._waiting.remove(job)
                self._current = job
                job.state = JobState.PREPARING
                await self._work(job, work)
        finally:
            if not held:
                self._waiting.remove(job)
            if job.outcome is None:
                job.outcome, job.error = Outcome.ABORTED, Aborted(f"{job.application} was aborted; {_kept(job)}")
            job.uncuttable = "it has ended"
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 30):
                await ended(job)
            if held:
                self._lane.release_on_behalf_of(job)
                self._current = None
            job.state = JobState.ENDED
            self._released()
            job.ended.set()

    async def _work(self, job: Job, work: Work) -> None:
        try:
            await work(job)
            job.outcome = job.outcome or Outcome.SUCCEEDED
        except (Refused, OperationFailed, Aborted) as error:
            job.outcome, job.error = Outcome.FAILED, error
        except Exception as error:  # noqa: BLE001 - a job's border: a bug in one job must not end the server
            _log.exception("job %d (%s) failed unexpectedly", job.id, job.application)
            job.outcome, job.error = (
                Outcome.FAILED,
                OperationFailed(f"{job.application} failed unexpectedly: {error!r}"),
            )


def _kept(job: Job) -> str:
    updated = [app.name for app in job.apps if app.outcome is Outcome.SUCCEEDED]
    if not updated:
        return "nothing was changed"
    return f"what was updated before stays: {', '.join(updated)}"
