"""What the web needs of the engine, as protocols: the real manager fits them, and so does a test's stand-in."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import trio

from trio_update.config.values import Config
from trio_update.errors import TrioUpdateError
from trio_update.model import JobRecord, JobView, Plan, Status


class Hub(Protocol):
    """Where events come from."""

    def attach(self, outbox: trio.MemorySendChannel[Any]) -> AbstractContextManager[object]:
        """Put every event into ``outbox``, in order and without waiting; a full outbox is closed and dropped."""


class JobHandle(Protocol):
    """A job that was admitted.

    When :meth:`wait` returns, every event of the job is already in every attached outbox.  Cancelling a caller never
    ends the job it waits for.
    """

    @property
    def error(self) -> TrioUpdateError | None:
        """What an ended job ended with; None when it succeeded."""

    async def wait(self) -> JobRecord: ...


class Manager(Protocol):
    """The engine's facade.  When it refuses a job, the events of that are already in every attached outbox."""

    @property
    def config(self) -> Config: ...

    @property
    def hub(self) -> Hub: ...

    def status(self) -> Status:
        """The current state; the same object until something changes."""

    def since_refresh(self) -> float | None:
        """Seconds since all remotes were last asked, whatever they answered; None before the first time."""

    async def refresh(self, name: str | None) -> None: ...

    async def start_upgrade(self, name: str | None, *, plan_id: str | None = None, who: str) -> JobHandle: ...

    async def start_recover(self, name: str, *, hard: bool, update_deps: bool, who: str) -> JobHandle: ...

    async def start_rollback(self, name: str, *, version: str | None, who: str) -> JobHandle: ...

    async def abort(self, proc_id: int | None) -> None: ...

    async def plan(self, name: str | None) -> tuple[Plan, ...]: ...

    async def history(self, name: str | None, limit: int) -> tuple[JobRecord, ...]: ...

    def job(self, proc_id: int | None) -> JobView: ...
