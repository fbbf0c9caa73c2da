"""What the engine tells the world while it works.

A job that was admitted has one :class:`JobStarted`, then its :class:`JobProgress`, then one :class:`JobEnded`; behind
that comes a :class:`StatusChanged`.  A request that was refused at admission has no :class:`JobStarted`: the record of
its :class:`JobEnded` says why.
"""

from __future__ import annotations

import msgspec

from trio_update.model import JobId, JobRecord, JobState, JobView, Outside, Status

__all__ = [
    "Event",
    "JobEnded",
    "JobMessage",
    "JobProgress",
    "JobStarted",
    "StatusChanged",
]


class JobMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a job, as clients of the Update Management API are sent it.

    ``complete`` is true exactly once, in the job's last message.
    """

    application: str
    proc_id: JobId
    message: Outside
    complete: bool = False


class JobStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A job was admitted; it may have to wait for its turn."""

    job: JobView


class JobProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A job said something; ``phase`` is how far the job has come.

    If the line tells how far something has got, ``what`` names it, and ``percent``, ``done`` and ``total`` (bytes) are
    set as far as they are known.
    """

    line: JobMessage
    phase: JobState
    what: Outside = ""
    percent: int | None = None
    done: int | None = None
    total: int | None = None


class JobEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A job has ended, and ``record`` says how.  ``line`` is the last it says to clients."""

    line: JobMessage
    record: JobRecord


class StatusChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The status after a refresh or a job."""

    status: Status


Event = JobStarted | JobProgress | JobEnded | StatusChanged

Notice = JobMessage | StatusChanged
"""What clients of the Update Management API are sent."""


def notice_of(event: Event) -> Notice | None:
    """What clients of the Update Management API are sent of ``event``: the same object for all of them."""
    match event:
        case StatusChanged():
            return event
        case JobProgress() | JobEnded():
            return event.line
        case JobStarted():
            return None
