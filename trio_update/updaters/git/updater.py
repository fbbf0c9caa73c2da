"""The updater for git clones."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import trio
from msgspec.structs import replace

from trio_update.errors import CommandFailed, OperationFailed, Reason, Refused
from trio_update.host.files import durable
from trio_update.host.git.folder import survey
from trio_update.host.git.output import Settings
from trio_update.host.git.repair import clear_locks, repair
from trio_update.host.git.repository import Repository
from trio_update.host.threads import in_thread
from trio_update.model import AppStatus, Plan, Unknown
from trio_update.updaters.base import Decision, Prepared, Recover, Report, Request, Rollback, Tools, Workshop
from trio_update.updaters.git.judge import Facts, judge, unreachable, unreadable
from trio_update.updaters.git.kind import GitRepoConfig, GitStatus
from trio_update.updaters.git.look import Corrupt, Unreachable, look
from trio_update.updaters.git.memory import Memory
from trio_update.updaters.git.moved import follow_move
from trio_update.updaters.git.prepare import (
    find_refusals,
    prepare_rollback,
    prepare_soft_recovery,
    prepare_upgrade,
    refuse_invalid,
)
from trio_update.updaters.git.reclone import prepare_hard_recovery

_OURS = "the engine gives an updater what the same updater made"


def _nobody(_: str) -> None:
    """Progress of a refresh is shown to nobody."""


@dataclass
class GitRepo:
    """Manages one clone.  ``debug`` of the tools: a detached HEAD is an anomaly only."""

    config: GitRepoConfig
    tools: Tools
    _memory: Memory = field(default_factory=Memory)

    @property
    def repository(self) -> Repository:
        return Repository(self.config.path, self.tools.processes)

    def initial(self) -> GitStatus:
        unseen = Unknown("not looked at yet")
        return GitStatus(
            name=self.config.name,
            channel=self.config.channel,
            debug_enabled=self.tools.debug,
            version=unseen,
            remote_version=unseen,
            rollback_version=unseen,
            full_version_string=unseen,
            current_hash=unseen,
            remote_hash=unseen,
            remote_alias=unseen,
            remote_url=unseen,
            recovery_url=self.config.origin or unseen,
            owner=unseen,
            repo_name=unseen,
            branch=self.config.primary_branch,
            info_tags=self.config.info_tags,
            hold=self.config.hold,
        )

    @property
    def _repair_stage(self) -> Path:
        return self.config.path.with_name(f".{self.config.path.name}.trio-update.repair")

    async def tidy(self) -> tuple[str, ...]:
        await in_thread(durable.remove_tree, self._repair_stage)
        return await clear_locks(self.config.path)

    async def inspect(self, known: AppStatus) -> GitStatus:
        assert isinstance(known, GitStatus), _OURS
        try:
            facts = await look(self.config, self.repository, self._memory)
        except OperationFailed as failed:
            return self._failed(known, failed)
        status = judge(self.config, facts, known, debug=self.tools.debug)
        if known.unreachable_since is not None and known.git_messages:
            return unreachable(status, "\n".join(known.git_messages), known.unreachable_since)
        return status

    async def check(self, known: AppStatus) -> GitStatus:
        assert isinstance(known, GitStatus), _OURS
        try:
            await follow_move(self.config, self.repository)
            facts = await look(self.config, self.repository, self._memory, fetch=_nobody)
        except Unreachable as failed:
            status = await self.inspect(replace(known, unreachable_since=None))
            return unreachable(status, str(failed), known.unreachable_since or self.tools.clock())
        except Corrupt as failed:
            return await self._mend(known, failed)
        except OperationFailed as failed:
            return self._failed(known, failed)
        return self._fresh(facts, known)

    def _fresh(self, facts: Facts, known: GitStatus) -> GitStatus:
        status = judge(self.config, facts, known, debug=self.tools.debug)
        return replace(status, refreshed_at=self.tools.clock(), unreachable_since=None)

    def _failed(self, known: GitStatus, failed: OperationFailed) -> GitStatus:
        output = failed.output if isinstance(failed, CommandFailed) else str(failed)
        if isinstance(failed, Corrupt):
            warning = "Repo is corrupt: git cannot read it"
            return unreadable(self.config, known, warning, output, corrupt=True)
        return unreadable(self.config, known, str(failed), output, corrupt=False)

    async def _mend(self, known: GitStatus, failed: Corrupt) -> GitStatus:
        """Try what helps after a power cut; the app is corrupt only if that fails."""
        url = await self._recovery_url()
        head = known.current_hash if isinstance(known.current_hash, str) else None
        try:
            await in_thread(durable.remove_tree, self._repair_stage)
            done = await repair(
                self.repository,
                url=url,
                primary_branch=self.config.primary_branch,
                stage=self._repair_stage,
                known_head=head,
                report=_nobody,
            )
            if done is None:
                return self._failed(known, failed)
            if not done:
                # Whole after all: a full disk during a fetch, say, leaves the same words behind as a broken clone.
                return unreachable(
                    await self.inspect(known), str(failed), known.unreachable_since or self.tools.clock()
                )
            facts = await look(self.config, self.repository, self._memory)
        except OperationFailed as again:
            return self._failed(known, Corrupt(f"{failed}\nThe repair failed: {again}"))
        return replace(self._fresh(facts, known), git_messages=(f"Repaired the repository: {', '.join(done)}",))

    async def _recovery_url(self) -> str:
        try:
            folder = await in_thread(survey, self.config.path)
            settings = await self.repository.settings(folder) if folder is not None else Settings()
        except OperationFailed:
            return self.config.origin
        return settings.remotes().get("origin") or self.config.origin

    async def decide(self, request: Request, known: AppStatus, *, fetch: Report | None = None) -> Decision:
        assert isinstance(known, GitStatus), _OURS
        return Decision(request=request, known=known, plan=await self._plan(known))

    async def _plan(self, known: GitStatus) -> Plan:
        free: int | Unknown
        try:
            free = await in_thread(durable.free_bytes, self.config.path)
        except OperationFailed as failed:
            free = Unknown(str(failed))
        return Plan(
            name=self.config.name,
            up_to_date=known.remote_hash == known.current_hash,
            from_version=known.version,
            to_version=known.remote_version,
            from_hash=known.current_hash,
            to_hash=known.remote_hash,
            commits=known.commits_behind,
            commits_count=known.commits_behind_count,
            download_bytes=Unknown("git tells it only while it fetches"),
            services=self.config.managed_services,
            disk_free=free,
            disk_needed=Unknown("git tells it only while it fetches"),
            warnings=known.anomalies,
            refusals=await self._refusals(known),
        )

    async def _refusals(self, known: GitStatus) -> tuple[str, ...]:
        try:
            refuse_invalid(self.config, known)
            if not isinstance(known.current_hash, str) or not isinstance(known.remote_hash, str):
                return ()
            folder = await in_thread(survey, self.config.path)
            if folder is None:
                return (f"No git repository at {self.config.path}",)
            changes = await self.repository.changes(known.current_hash, known.remote_hash)
            return tuple(
                await find_refusals(self.config, self.repository, folder, changes, await self.repository.hidden())
            )
        except (Refused, OperationFailed) as refused:
            return (str(refused),)

    async def prepare(self, decision: Decision, workshop: Workshop, report: Report) -> Prepared:
        request, known = decision.request, decision.known
        assert isinstance(known, GitStatus), _OURS
        if isinstance(request, Recover):
            return await self._prepare_recovery(request, known, workshop, report)
        if isinstance(request, Rollback):
            facts = await look(self.config, self.repository, self._memory)
            self._refuse_invalid(facts, known, held=False)
            return await prepare_rollback(self.config, self.repository, facts, request, report)
        await follow_move(self.config, self.repository)
        submodules = await trio.Path(self.config.path / ".gitmodules").exists()
        facts = await look(self.config, self.repository, self._memory, fetch=report, submodules=submodules)
        self._refuse_invalid(facts, known, held=True)
        return await prepare_upgrade(self.config, self.repository, facts, workshop, report)

    def _refuse_invalid(self, facts: Facts, known: GitStatus, *, held: bool) -> None:
        config = self.config if held else replace(self.config, hold="")
        refuse_invalid(config, judge(config, facts, known, debug=self.tools.debug))

    async def _prepare_recovery(
        self, request: Recover, known: GitStatus, workshop: Workshop, report: Report
    ) -> Prepared:
        if request.hard:
            return await prepare_hard_recovery(self.config, self.tools.processes, known, workshop, report)
        try:
            facts = await look(self.config, self.repository, self._memory)
        except Corrupt as failed:
            mended = await self._mend(known, failed)
            if mended.corrupt:
                raise Refused(
                    Reason.INVALID, f"{self.config.name} is corrupt, a soft recovery cannot mend it: use a hard one"
                ) from failed
            facts = await look(self.config, self.repository, self._memory)
        return await prepare_soft_recovery(self.config, self.repository, facts, known, workshop, report)
