"""The updater for git clones."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from trio_update.errors import CommandFailed, OperationFailed
from trio_update.host.files import durable
from trio_update.host.git.folder import survey
from trio_update.host.git.output import Settings
from trio_update.host.git.repair import clear_locks, repair
from trio_update.host.git.repository import Repository
from trio_update.host.git.upkeep import maintain
from trio_update.host.threads import in_thread
from trio_update.model import AppStatus, Unknown
from trio_update.progress import Report
from trio_update.text import without_secrets
from trio_update.updaters.base import Decision, Prepared, Recover, Request, Rollback, Tools, Upgrade, WorkArea
from trio_update.updaters.git.absent import Offer, ask_offer, judge_absent, known_offer
from trio_update.updaters.git.decide import Decider
from trio_update.updaters.git.decision import GitDecision, Move, Restore
from trio_update.updaters.git.facts import Facts, Install, Replacement
from trio_update.updaters.git.inside import bring_ahead
from trio_update.updaters.git.install import prepare_install
from trio_update.updaters.git.judge import judge, unreachable, unreadable
from trio_update.updaters.git.kind import GitRepoConfig, GitStatus
from trio_update.updaters.git.look import Corrupt, Unreachable, look
from trio_update.updaters.git.memory import Memory
from trio_update.updaters.git.moved import follow_move
from trio_update.updaters.git.prepare import prepare_move, prepare_restore
from trio_update.updaters.git.reclone import prepare_replacement
from trio_update.updaters.place import Vacancy, look_at_place

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
            recovery_url=without_secrets(self.config.origin) if self.config.origin else unseen,
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
        if await in_thread(self.config.path.parent.is_dir):
            await in_thread(durable.remove_tree, self._repair_stage)
        return await clear_locks(self.config.path)

    async def upkeep(self, report: Report) -> tuple[str, ...]:
        return await maintain(self.repository, report=report)

    async def inspect(self, known: AppStatus) -> GitStatus:
        assert isinstance(known, GitStatus), _OURS
        try:
            if (vacancy := await in_thread(look_at_place, self.config.path)) is not None:
                return self._absent(vacancy, known, known_offer(known))
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
            if (vacancy := await in_thread(look_at_place, self.config.path)) is not None:
                return await self._ask_for_absent(vacancy, known)
            await follow_move(self.config, self.repository, self.tools.http)
            facts = await look(self.config, self.repository, self._memory, fetch=_nobody)
            if not self.config.hold:
                await bring_ahead(self.repository, facts, self._memory)
        except Unreachable as failed:
            status = await self.inspect(replace(known, unreachable_since=None))
            if any(warning and warning in str(failed) for warning in status.warnings):
                return status  # the clone itself cannot be read, for the same reason
            return unreachable(status, str(failed), known.unreachable_since or self.tools.clock())
        except Corrupt as failed:
            return await self._mend(known, failed)
        except OperationFailed as failed:
            return self._failed(known, failed)
        return self._fresh(facts, known)

    def _absent(self, vacancy: Vacancy, known: GitStatus, offer: Offer) -> GitStatus:
        status = judge_absent(self.config, vacancy, known, offer, self.initial())
        if known.unreachable_since is not None and known.git_messages:
            return unreachable(status, "\n".join(known.git_messages), known.unreachable_since)
        return status

    async def _ask_for_absent(self, vacancy: Vacancy, known: GitStatus) -> GitStatus:
        if not self.config.origin:
            return self._absent(vacancy, known, Offer())
        try:
            offer = await ask_offer(self.config, self.tools.processes)
        except Unreachable as failed:
            status = self._absent(vacancy, replace(known, unreachable_since=None), known_offer(known))
            return unreachable(status, str(failed), known.unreachable_since or self.tools.clock())
        status = self._absent(vacancy, replace(known, unreachable_since=None), offer)
        return replace(status, refreshed_at=self.tools.clock())

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
            return await self._mended(known, f"Repaired the repository: {', '.join(done)}")
        except OperationFailed as again:
            return self._failed(known, Corrupt(f"{failed}\nThe repair failed: {again}"))

    async def _mended(self, known: GitStatus, told: str) -> GitStatus:
        """The status after a repair, which came before the remote was asked: it is now.

        Raises: OperationFailed.
        """
        try:
            facts = await look(self.config, self.repository, self._memory, fetch=_nobody)
        except Unreachable as silent:
            facts = await look(self.config, self.repository, self._memory)
            status = judge(self.config, facts, known, debug=self.tools.debug)
            return unreachable(status, f"{told}\n{silent}", known.unreachable_since or self.tools.clock())
        return replace(self._fresh(facts, known), git_messages=(told,))

    async def _recovery_url(self) -> str:
        try:
            folder = await in_thread(survey, self.config.path)
            settings = await self.repository.settings(folder) if folder is not None else Settings()
        except OperationFailed:
            return self.config.origin
        return settings.remotes().get("origin") or self.config.origin

    async def decide(self, request: Request, known: AppStatus, *, fetch: Report | None = None) -> GitDecision:
        assert isinstance(known, GitStatus), _OURS
        decider = Decider(self.config, self.repository, self._memory, known, self.tools, fetch)
        match request:
            case Upgrade():
                return await decider.upgrade(request)
            case Rollback():
                return await decider.rollback(request)
            case Recover(hard=True):
                return await decider.replace(request)
            case Recover():

                async def mend(failed: Corrupt) -> bool:
                    return not (await self._mend(known, failed)).corrupt

                return await decider.restore(request, mend)

    async def prepare(self, decision: Decision, area: WorkArea, report: Report) -> Prepared:
        assert isinstance(decision, GitDecision), _OURS
        config, way, old = self.config, decision.way, decision.old
        match way:
            case Move(new=new) if isinstance(decision.request, Rollback):
                report(f"{config.name}: back from {old.version} to {new.version}")
                return await prepare_move(config, self.repository, way, report)
            case Move(new=new):
                report(f"{config.name}: {old.version} → {new.version}, {way.commits_count} commits")
                return await prepare_move(config, self.repository, way, report)
            case Restore():
                return await prepare_restore(config, self.repository, way, area, report)
            case Install():
                return await prepare_install(config, self.tools.processes, old, way, area, report)
            case Replacement():
                return await prepare_replacement(config, self.tools.processes, decision.old, way, area, report)
            case None:
                return Prepared(old, old, unchanged=f"{config.name} is up to date: {old.version}")
