"""The updater for apps that come as an asset of a release: web clients, zipped applications, executables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from trio_update.errors import FileTrouble, OperationFailed
from trio_update.host.files import durable
from trio_update.host.forge.base import Forge, Purpose
from trio_update.host.threads import in_thread
from trio_update.model import AppStatus, RemoteRelease
from trio_update.progress import Report
from trio_update.updaters.base import Decision, Effect, Prepared, Recover, Request, Target, Tools, WorkArea
from trio_update.updaters.place import expect_vacant, prepare_folders
from trio_update.updaters.release.build import Builder, start
from trio_update.updaters.release.decide import Decider, learn_date, newest, still_theirs
from trio_update.updaters.release.decision import ReleaseDecision
from trio_update.updaters.release.goal import Goal
from trio_update.updaters.release.judge import initial_status, judge, repo_of, unreachable, with_trouble
from trio_update.updaters.release.keep import needs_original
from trio_update.updaters.release.kind import ReleaseConfig, ReleaseStatus
from trio_update.updaters.release.look import Look, Memory, look
from trio_update.updaters.release.obtain import Source
from trio_update.updaters.release.original import Installed, Original, fetch_original
from trio_update.updaters.space import RESERVE

_OURS = "the engine gives an updater what the same updater made"


def _beside(seen: Look) -> Path:
    """What the stage is made beside: an executable lives among others, and a new app's folder may have no parent."""
    folder = seen.place.folder
    if seen.vacancy is not None:
        return seen.vacancy.anchor / folder.name
    return folder / "program" if seen.place.executable else folder


@dataclass
class ReleaseApp:
    """Manages one app."""

    config: ReleaseConfig
    tools: Tools
    _memory: Memory = field(default_factory=Memory)

    @property
    def forge(self) -> Forge:
        """Where the app's releases are."""
        return self.tools.forges.forge(self.config.forge_url)

    def initial(self) -> ReleaseStatus:
        return initial_status(self.config, debug=self.tools.debug)

    async def tidy(self) -> tuple[str, ...]:
        """No command of ours works in the folder: there is nothing that a killed one could leave."""
        return ()

    async def inspect(self, known: AppStatus) -> ReleaseStatus:
        assert isinstance(known, ReleaseStatus), _OURS
        try:
            seen = await in_thread(look, self.config, self._memory)
        except FileTrouble as error:
            return replace(known, is_valid=False, warnings=(str(error),))
        told = self._memory.take_asked(repo_of(self.config, seen))
        status = await self._judged(seen, known, told or still_theirs(self.config, seen, known))
        if known.unreachable_since is not None:
            return unreachable(status, known.last_error, known.unreachable_since)
        return status

    async def check(self, known: AppStatus) -> ReleaseStatus:
        assert isinstance(known, ReleaseStatus), _OURS
        try:
            seen = await in_thread(look, self.config, self._memory)
        except FileTrouble as error:
            # The disk's trouble: the releases are not asked for, for it is not known whose they would be.
            return replace(known, is_valid=False, warnings=(str(error),))
        try:
            remote = await newest(self.config, self.forge, seen, known, Purpose.REFRESH)
            await learn_date(self.config, self.forge, self._memory, seen, remote, Purpose.REFRESH)
        except OperationFailed as error:
            status = await self._judged(seen, known, still_theirs(self.config, seen, known))
            return unreachable(status, str(error), known.unreachable_since or self.tools.clock())
        return replace(await self._judged(seen, known, remote), refreshed_at=self.tools.clock())

    async def _judged(self, seen: Look, known: ReleaseStatus, remote: RemoteRelease | None) -> ReleaseStatus:
        installed = seen.info.version if seen.info is not None else ""
        published = self._memory.published(repo_of(self.config, seen), installed)
        status = judge(self.config, seen, known, remote, debug=self.tools.debug, published=published)
        return with_trouble(status, await self._forges_trouble())

    async def _forges_trouble(self) -> str:
        """What the app's forge has against the token that is configured for it; that is GitHub's alone."""
        forges = self.tools.forges
        return await forges.trouble() if self.forge is forges.forge("") else ""

    async def decide(self, request: Request, known: AppStatus, *, fetch: Report | None = None) -> ReleaseDecision:
        assert isinstance(known, ReleaseStatus), _OURS
        return await Decider(self.config, self.forge, self._memory, known, fetch).decide(request)

    async def prepare(self, decision: Decision, area: WorkArea, report: Report) -> Prepared:
        assert isinstance(decision, ReleaseDecision), _OURS
        since = start()
        name, old, goal, seen = self.config.name, decision.old, decision.goal, decision.seen
        if goal is None or seen is None:
            return Prepared(old, old, unchanged=f"{name} is up to date: {old.version}")
        in_place = isinstance(decision.request, Recover)
        report(f"Recovering {name} {goal.version}" if in_place else f"{name}: {old.version} → {goal.version}")
        for warning in seen.program.warnings:
            report(warning)
        stage = await area.stage(_beside(seen))
        source = self._source(seen, goal, report)
        obtained = await source.obtain(goal, stage)
        effects: Sequence[Effect]
        if seen.vacancy is not None:
            # Those who made a folder of that name during the download keep it.
            vacancy = await in_thread(expect_vacant, self.config.path)
            builder = Builder(self.config, seen, stage, source, area, since)
            version, effects = await in_thread(builder.make_first, obtained, vacancy)
            effects = (*await prepare_folders(vacancy, area), *effects)
        else:
            original = None if in_place else await self._original(seen, obtained.version, source, stage / "original")
            builder = Builder(self.config, seen, stage, source, area, since, original)
            version, effects = await in_thread(builder.make, obtained, in_place)
        return Prepared(old, Target(version, digest=f"sha256:{obtained.sha256}"), effects=tuple(effects))

    async def _original(self, seen: Look, wanted: str, source: Source, folder: Path) -> Original | None:
        """What the installed version brought, if somebody else installed it; ``None`` also when it cannot be had."""
        if seen.info is None or not await in_thread(needs_original, seen, wanted):
            return None
        limit = await in_thread(durable.free_bytes, folder.parent) - RESERVE
        executable, asset_name = seen.place.executable, seen.info.asset_name
        installed = Installed(self.config.name, source.repo, seen.info.version, asset_name, executable)
        original = await fetch_original(
            installed, self.forge, self.tools.http, folder, limit=max(limit, 0), report=source.report
        )
        if original is None:
            # What came of the download takes room, which is needed to keep everything.
            await in_thread(durable.remove_tree, folder)
        return original

    def _source(self, seen: Look, goal: Goal, report: Report) -> Source:
        spare = {seen.info.version} if seen.info is not None else set()
        spare |= {goal.kept.record.version} if goal.kept is not None else set()
        return Source(
            self.config,
            seen.place.shelf,
            self.forge,
            self.tools.http,
            repo_of(self.config, seen),
            seen.info.asset_name if seen.info is not None else "",
            report,
            frozenset(spare),
        )
