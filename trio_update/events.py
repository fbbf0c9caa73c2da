"""What the engine tells the world while it works."""

from __future__ import annotations

import msgspec

from trio_update.model import JobId, Status


class JobMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a job.  ``complete`` is true exactly once, in the job's last message."""

    application: str
    proc_id: JobId
    message: str
    complete: bool = False


class Refreshed(msgspec.Struct, frozen=True, kw_only=True):
    """The status after a refresh or a job."""

    status: Status


Event = JobMessage | Refreshed
