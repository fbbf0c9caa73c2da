"""The job runner: one job at a time in one lane, each under a cancel scope of its own, none in a caller's task.

It alone writes how a job ends: what the work of a job comes to, it gets as a value or an exception.
"""

from __future__ import annotations

from collections import deque

import trio

from trio_update.engine.jobs import JobRun, Order, Task
from trio_update.engine.states import JobEvent
from trio_update.engine.view import StatusView
from trio_update.engine.worker import Worker
from trio_update.errors import Aborted, OperationFailed, Reason, Refused
from trio_update.logs import get_logger
from trio_update.model import AppOutcome, JobId, JobKind, JobRecord, Outcome

_log = get_logger(__name__)

KEPT_JOBS = 20
# A last look at the app's disk and a line in the history; past that the job ends without them.
_END_SECONDS = 30.0

_LAST_WORDS = {
    Outcome.SUCCEEDED: "has succeeded",
    Outcome.UNCHANGED: "had nothing to do",
    Outcome.FAILED: "has failed",
    Outcome.ABORTED: "was aborted",
}


class JobRunner:
    """Admits jobs and runs them.  Each borrows the lane of ``view`` for as long as it works."""

    def __init__(self, nursery: trio.Nursery, worker: Worker, view: StatusView, last_id: JobId) -> None:
        self._nursery = nursery
        self._worker = worker
        self._view = view
        self._last_id = last_id
        self._waiting: list[JobRun] = []
        self._recent: deque[JobRun] = deque(maxlen=KEPT_JOBS)
        self._current: JobRun | None = None

    def new(self, order: Order) -> JobRun:
        """A job with an id of its own, not started."""
        self._last_id = JobId(self._last_id + 1)
        return JobRun(self._last_id, order, self._view.hub, self._worker.means.tools.clock)

    def admit(self, order: Order) -> None:
        """Let an order pass.  Raises: Refused while another job works on its app, or on everything."""
        for run in self._active():
            other = run.order
            if JobKind.FULL in {other.kind, order.kind} or other.name == order.name:
                what = "A full update" if other.kind is JobKind.FULL else f"An {other.kind} of {other.name}"
                raise Refused(Reason.BUSY, f"{what} is running already (job {run.id})")

    def refuse(self, run: JobRun, refused: Refused) -> None:
        """End a job that was not admitted.

        Clients that show progress wait for a completing message, and for the status, whatever happened.
        """
        run.report(str(refused))
        run.outcome, run.error = Outcome.FAILED, refused
        run.note(JobEvent.END)
        run.conclude(f"{run.order.application} was refused")
        run.publish_end()
        self._view.publish()
        run.ended.set()

    def start(self, run: JobRun) -> None:
        """Do its work in the lane when its turn comes."""
        run.announce()
        if active := self._active():
            run.report(f"Waiting for {active[-1].order.application} (job {active[-1].id}) to end")
        self._waiting.append(run)
        self._recent.append(run)
        self._nursery.start_soon(self._run, run, name=f"job {run.id} {run.order.application}")

    def find(self, job_id: int | None) -> JobRun | None:
        """A job by its id; for ``None`` the running one, or else the last."""
        if job_id is None:
            return self._current or (self._recent[-1] if self._recent else None)
        return next((run for run in self._recent if run.id == job_id), None)

    def active(self, job_id: int | None) -> JobRun | None:
        """A job that has not ended; for ``None`` the running one."""
        active = self._active()
        if job_id is None:
            return active[0] if active else None
        return next((run for run in active if run.id == job_id), None)

    def stop(self) -> None:
        """Abort everything; what must not be cut is shielded and ends by itself."""
        for run in self._active():
            run.scope.cancel()

    def _active(self) -> list[JobRun]:
        return [*([self._current] if self._current else []), *self._waiting]

    async def _run(self, run: JobRun) -> None:
        held = False
        try:
            with run.scope:
                await self._view.lane.acquire_on_behalf_of(run)
                held = True
                self._waiting.remove(run)
                self._current = run
                run.note(JobEvent.TURN)
                await self._work(run)
        finally:
            if not held:
                self._waiting.remove(run)
            if run.outcome is None:
                run.outcome = Outcome.ABORTED
                run.error = Aborted(f"{run.order.application} was aborted; {_kept(run)}")
            try:
                await self._end(run)
            finally:
                if held:
                    self._view.lane.release_on_behalf_of(run)
                    self._current = None
                self._view.publish()
                run.ended.set()

    async def _work(self, run: JobRun) -> None:
        try:
            if run.order.kind is JobKind.FULL:
                await self._every_app(run)
            else:
                await self._one_app(run, *run.order.tasks)
        except (Refused, OperationFailed, Aborted) as error:
            run.outcome, run.error = Outcome.FAILED, error
        except Exception as error:  # noqa: BLE001 - a job's border: a bug in one job must not end the server
            _log.exception("job %d (%s) failed unexpectedly", run.id, run.order.application)
            run.outcome = Outcome.FAILED
            run.error = OperationFailed(f"{run.order.application} failed unexpectedly: {error!r}")

    async def _one_app(self, run: JobRun, task: Task) -> None:
        done = await self._worker.update(task, run)
        # Nothing waits between the commit and this line: an abort that comes now finds a job that has succeeded.
        run.apps, run.outcome = (done,), done.outcome

    async def _every_app(self, run: JobRun) -> None:
        """Update every app in order; what fails does not stop the others.  Raises OperationFailed at the end."""
        failed: list[str] = []
        for task in run.order.tasks:
            run.note(JobEvent.NEXT_APP)
            run.report(f"Updating {task.app}")
            try:
                done = await self._worker.update_next(task, run)
            except (Refused, OperationFailed) as error:
                failed.append(f"{task.app}: {error}")
                run.report(f"{task.app} was not updated: {error}")
                done = AppOutcome(name=task.app, outcome=Outcome.FAILED, message=str(error))
            run.apps = (*run.apps, done)
            await self._worker.record(run.unfinished_record())
            await self._worker.look([task.app])
        if failed:
            count = len(run.order.tasks)
            raise OperationFailed(f"{len(failed)} of {count} apps were not updated: {'; '.join(failed)}")
        run.outcome = Outcome.SUCCEEDED

    async def _end(self, run: JobRun) -> None:
        """Show the app as it is now, and tell everyone that the job has ended."""
        assert run.outcome is not None
        run.note(JobEvent.END)
        name, error = run.order.name, run.error
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _END_SECONDS):
            await self._worker.look([name] if name is not None else [])
        if error is not None and not isinstance(error, Aborted):
            run.report(f"{'Refused' if isinstance(error, Refused) else 'Failed'}: {error}")
        if name is not None and not run.apps:
            run.apps = (AppOutcome(name=name, outcome=run.outcome, message=str(error or "")),)
        record = run.conclude(f"{run.order.application} {_LAST_WORDS[run.outcome]}")
        # Before the news goes out: whoever hears of the end must find it in the history.
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _END_SECONDS):
            await self._worker.record(record)
        run.publish_end()
        _log.info("%s", _summary(record))


def _kept(run: JobRun) -> str:
    updated = [app.name for app in run.apps if app.outcome is Outcome.SUCCEEDED]
    if not updated:
        return "nothing was changed"
    return f"what was updated before stays: {', '.join(updated)}"


def _summary(record: JobRecord) -> str:
    """A job in one line, for the log."""
    ways = [f"{app.name} {app.from_version} → {app.to_version}" for app in record.apps if app.to_version]
    what = f"{record.kind} of {record.name}" if record.name is not None else "full update"
    way = f" ({', '.join(ways)})" if ways else ""
    why = f": {record.message}" if record.message else ""
    return (
        f"job {record.proc_id}, {what} for {record.requested_by}, {record.outcome} after {record.duration:.1f} s"
        f"{way}{why}"
    )
