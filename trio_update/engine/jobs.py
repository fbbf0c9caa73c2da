"""Jobs: what was ordered, how far it has come, and the handle that whoever ordered it gets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import trio

from trio_update.engine.hub import Hub
from trio_update.engine.lifetime import Lifetime
from trio_update.engine.states import JobEvent, Position, next_position
from trio_update.errors import Reason, Refused, TrioUpdateError
from trio_update.events import JobEnded, JobMessage, JobProgress, JobStarted
from trio_update.model import AppName, AppOutcome, JobId, JobKind, JobRecord, JobView, Outcome
from trio_update.progress import Throttle, read_progress
from trio_update.text import without_secrets
from trio_update.updaters.base import Request

KEPT_LINES = 2000
# git writes a progress line for every percent; four a second is what a reader can follow.
_PROGRESS_SECONDS = 0.25


@dataclass(frozen=True)
class Task:
    """What a job does to one app."""

    app: AppName
    request: Request


@dataclass(frozen=True)
class Order:
    """What was asked for, and by whom.  ``name`` is ``None`` for a full update, which has a task for every app."""

    kind: JobKind
    name: AppName | None
    who: str
    tasks: tuple[Task, ...]

    @property
    def application(self) -> str:
        """What clients call the job."""
        if self.kind is JobKind.FULL:
            return "full"
        prefix = "" if self.kind is JobKind.UPGRADE else f"{self.kind}_"
        return f"{prefix}{self.name}"


class JobRun:
    """A job as the engine works on it.

    The job runner (:mod:`trio_update.engine.lane`) alone writes ``outcome``, ``error`` and ``apps``; what works for the
    job speaks through :meth:`report` and :meth:`note`.  Cancelling ``scope`` aborts it.
    """

    def __init__(self, job_id: JobId, order: Order, hub: Hub, clock: Callable[[], float]) -> None:
        self.id = job_id
        self.order = order
        self.position = Position.WAITING
        self.started = clock()
        self.outcome: Outcome | None = None
        self.error: TrioUpdateError | None = None
        self.apps: tuple[AppOutcome, ...] = ()
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self._hub = hub
        self._clock = clock
        self._log: deque[str] = deque(maxlen=KEPT_LINES)
        self._throttle = Throttle(_PROGRESS_SECONDS)
        self._final: JobRecord | None = None

    def note(self, event: JobEvent) -> None:
        """Take note of what changes how far the job has come, and with that whether it can be aborted."""
        self.position = next_position(self.position, event)

    def report(self, message: str) -> None:
        """Tell everyone; of progress, what can be read."""
        # What git, pip and servers say passes here on its way to clients, the history and logs.
        message = without_secrets(message)
        progress = read_progress(message)
        # Only progress counts for the throttle: other messages in between let no more of it through.
        if progress is not None and not self._throttle.passes(progress, trio.current_time()):
            return
        if progress is not None and self._log and _what(self._log[-1]) == progress.what:
            # Ten minutes of progress would push everything else out of the log.
            self._log.pop()
        self._log.append(message)
        self._hub.publish(
            JobProgress(
                line=self._line(message),
                phase=self.position.shown,
                what=progress.what if progress else "",
                percent=progress.percent if progress else None,
                done=progress.done if progress else None,
                total=progress.total if progress else None,
            )
        )

    def _line(self, message: str, *, complete: bool = False) -> JobMessage:
        return JobMessage(application=self.order.application, proc_id=self.id, message=message, complete=complete)

    def announce(self) -> None:
        """Tell that the job was admitted."""
        self._hub.publish(JobStarted(job=self.view()))

    def conclude(self, last_words: str) -> JobRecord:
        """The job says no more; its record is final from here on."""
        self._log.append(last_words)
        self._final = self._record(self.outcome or Outcome.FAILED)
        return self._final

    def publish_end(self) -> None:
        """Tell everyone how the job has ended; :meth:`conclude` came before."""
        record = self.final
        self._hub.publish(JobEnded(line=self._line(record.log[-1], complete=True), record=record))

    @property
    def final(self) -> JobRecord:
        """What the job came to, once it has ended."""
        assert self._final is not None
        return self._final

    def unfinished_record(self) -> JobRecord:
        """What stays in the history if the process dies now."""
        return self._record(Outcome.INTERRUPTED)

    def _record(self, outcome: Outcome) -> JobRecord:
        return JobRecord(
            proc_id=self.id,
            kind=self.order.kind,
            name=self.order.name,
            requested_by=self.order.who,
            started=self.started,
            duration=max(self._clock() - self.started, 0.0),
            outcome=outcome,
            apps=self.apps,
            message=str(self.error) if self.error else "",
            reason=self.error.reason if isinstance(self.error, Refused) else None,
            log=tuple(self._log),
        )

    def view(self) -> JobView:
        """The job as clients are shown it."""
        return JobView(
            proc_id=self.id,
            application=self.order.application,
            kind=self.order.kind,
            name=self.order.name,
            requested_by=self.order.who,
            state=self.position.shown,
            abortable=not self.position.no_abort,
            started=self.started,
            outcome=self.outcome,
            log=tuple(self._log),
        )


def _what(message: str) -> str | None:
    progress = read_progress(message)
    return None if progress is None else progress.what


class Job:
    """A job that was admitted, for whoever asked for it.  Letting go of it, or cancelling a wait, does not end it.

    It stays good for as long as it is kept: after the job, and after the manager, it still tells how the job ended.
    The end of a manager ends its jobs first, so that there always is such an answer; only :meth:`abort` asks for
    something to happen, and needs a manager that is there.
    """

    def __init__(self, run: JobRun, lifetime: Lifetime) -> None:
        self._run = run
        self._lifetime = lifetime

    @property
    def id(self) -> JobId:
        """Its number, ``proc_id`` to clients; unique for this DATA_PATH, also across restarts."""
        return self._run.id

    def view(self) -> JobView:
        """How far it has come, with what it has said so far; or, afterwards, how it ended."""
        return self._run.view()

    @property
    def error(self) -> TrioUpdateError | None:
        """What it ended with, to raise: Refused, OperationFailed or Aborted.  ``None``: it succeeded, or still runs."""
        return self._run.error if self._run.ended.is_set() else None

    async def wait(self) -> JobRecord:
        """Return when the job has ended, whatever its outcome: its events have been published by then."""
        await self._run.ended.wait()
        return self._run.final

    async def abort(self) -> None:
        """End it; return when its app is as it was before.

        Raises:
            Refused: it has ended already (NO_JOB); it is in a part that must not be cut, or came to its end before it
                could be aborted (CANNOT_ABORT).
            ManagerClosed: the manager has ended, and the job with it.
        """
        self._lifetime.check()
        run = self._run
        if run.position is Position.ENDED:
            raise Refused(Reason.NO_JOB, f"Job {run.id} is not running")
        if run.position.no_abort:
            raise Refused(Reason.CANNOT_ABORT, f"Job {run.id} cannot be aborted now: {run.position.no_abort}")
        run.report("Aborting")
        run.scope.cancel()
        await run.ended.wait()
        if run.outcome is not Outcome.ABORTED:
            raise Refused(Reason.CANNOT_ABORT, f"Job {run.id} had ended before it could be aborted: {run.outcome}")
