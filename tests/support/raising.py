"""A manager for tests that expect success: what a job ended with is raised, as ``subprocess.run(check=True)`` does."""

from __future__ import annotations

from trio_update.engine.jobs import Job
from trio_update.engine.manager import Manager
from trio_update.model import JobRecord


class Raising(Manager):
    """The same manager as ``manager``, with that habit."""

    def __init__(self, manager: Manager) -> None:
        self.__dict__ = manager.__dict__

    async def upgrade(self, name: str | None, *, plan_id: str | None = None, who: str | None = None) -> JobRecord:
        return await _succeeded(await self.start_upgrade(name, plan_id=plan_id, who=who))

    async def recover(
        self, name: str, *, hard: bool = False, update_deps: bool = False, who: str | None = None
    ) -> JobRecord:
        return await _succeeded(await self.start_recover(name, hard=hard, update_deps=update_deps, who=who))

    async def rollback(self, name: str, *, version: str | None = None, who: str | None = None) -> JobRecord:
        return await _succeeded(await self.start_rollback(name, version=version, who=who))


async def _succeeded(job: Job) -> JobRecord:
    record = await job.wait()
    if job.error is not None:
        raise job.error
    return record
