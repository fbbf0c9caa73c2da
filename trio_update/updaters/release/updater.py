"""The updater for apps that come as an asset of a release: web clients, zipped applications, executables."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import trio
from msgspec.structs import replace

from trio_update.errors import FileTrouble, OperationFailed, Reason, Refused
from trio_update.host.files import durable
from trio_update.host.forge.base import Forge, Purpose
from trio_update.host.threads import in_thread
from trio_update.model import AppStatus, Channel, Plan, RemoteRelease, Unknown
from trio_update.updaters.base import Decision, Prepared, Recover, Report, Request, Rollback, Target, Tools, Workshop
from trio_update.updaters.release.build import Builder, start
from trio_update.updaters.release.goal import Goals
from trio_update.updaters.release.info import RELEASE_INFO
from trio_update.updaters.release.judge import initial_status, judge, lacks_asset, repo_of, unreachable
from trio_update.updaters.release.kind import ReleaseConfig, ReleaseStatus
from trio_update.updaters.release.look import Look, Memory, look
from trio_update.updaters.release.obtain import Source
from trio_update.updaters.release.pick import is_newer, pick_asset

_OURS = "the engine gives an updater what the same updater made"


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
        status = self._judged(seen, known, self._still_theirs(seen, known))
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
            remote = await self._newest(seen, known, Purpose.REFRESH)
        except OperationFailed as error:
            status = self._judged(seen, known, self._still_theirs(seen, known))
            return unreachable(status, str(error), known.unreachable_since or self.tools.clock())
        return replace(self._judged(seen, known, remote), refreshed_at=self.tools.clock())

    async def _newest(self, seen: Look, known: ReleaseStatus, purpose: Purpose) -> RemoteRelease:
        remembered = self._still_theirs(seen, known)
        if remembered is not None and lacks_asset(self.config, seen, remembered):
            # Assets are often uploaded after the release was published, which no probe tells.
            remembered = None
        return await self.forge.newest(
            repo_of(self.config, seen),
            prerelease=self.config.channel is Channel.BETA,
            known=remembered,
            purpose=purpose,
        )

    def _still_theirs(self, seen: Look, known: ReleaseStatus) -> RemoteRelease | None:
        """What was known of the remote, if it is still the same repository that is looked at."""
        asked = f"{known.owner}/{known.repo_name}"
        return known.remote if asked == repo_of(self.config, seen) else None

    def _judged(self, seen: Look, known: ReleaseStatus, remote: RemoteRelease | None) -> ReleaseStatus:
        return judge(self.config, seen, known, remote, debug=self.tools.debug)

    async def decide(self, request: Request, known: AppStatus, *, fetch: Report | None = None) -> Decision:
        assert isinstance(known, ReleaseStatus), _OURS
        return Decision(request=request, known=known, plan=await self._plan(known))

    async def _plan(self, known: ReleaseStatus) -> Plan:
        size: int | Unknown = Unknown("the release is not known")
        refusals: list[str] = [f"{self.config.name} is held back: {self.config.hold}"] if self.config.hold else []
        refusals += known.warnings
        up_to_date = known.remote is None or not self._is_update(known)
        if known.remote is not None and not up_to_date:
            try:
                asset = pick_asset(known.remote, self.config.name, await self._asset_name())
                size = asset.size if asset.size is not None else Unknown("the forge does not tell it")
            except OperationFailed as error:
                refusals.append(str(error))
        free: int | Unknown
        try:
            free = await in_thread(durable.free_bytes, self.config.path)
        except OperationFailed as failed:
            free = Unknown(str(failed))
        return Plan(
            name=self.config.name,
            up_to_date=up_to_date,
            from_version=known.version,
            to_version=known.remote_version,
            from_hash="",
            to_hash="",
            release_notes=known.remote.notes if known.remote is not None and not up_to_date else "",
            download_bytes=0 if up_to_date else size,
            services=self.config.managed_services,
            disk_free=free,
            disk_needed=Unknown("the archive tells it only when it is there"),
            warnings=known.anomalies,
            refusals=tuple(refusals),
        )

    async def _asset_name(self) -> str:
        seen = await in_thread(look, self.config, self._memory)
        return seen.info.asset_name if seen.info is not None else ""

    def _is_update(self, known: ReleaseStatus) -> bool:
        return known.remote is not None and isinstance(known.version, str) and is_newer(known.remote.tag, known.version)

    async def prepare(self, decision: Decision, workshop: Workshop, report: Report) -> Prepared:
        request, known = decision.request, decision.known
        assert isinstance(known, ReleaseStatus), _OURS
        since = start()
        seen = await in_thread(look, self.config, self._memory)
        if seen.hopeless:
            raise Refused(Reason.INVALID, f"{self.config.name} cannot be updated: {'; '.join(seen.hopeless)}")
        if not isinstance(request, Recover):
            self._refuse_invalid(seen, held=not isinstance(request, Rollback))
        if seen.place.executable and seen.info is None:
            raise Refused(
                Reason.INVALID,
                f"{seen.broken}, and nothing else says which program this is: write {RELEASE_INFO} by hand "
                "(project_owner, project_name, version, asset_name), or install the app anew",
            )
        old = Target(seen.info.version if seen.info is not None else "")
        source = self._source(seen, report)
        goal = await self._goals(seen, known, source).find(request)
        if goal is None:
            return Prepared(old, old, unchanged=f"{self.config.name} is up to date: {old.version}")
        if not isinstance(request, Recover):
            report(f"{self.config.name}: {old.version} → {goal.version}")
        stage = await self._stage(seen, workshop)
        if goal.kept is not None:
            source = dataclasses.replace(source, spare=source.spare | {goal.kept.record.version})
        builder = Builder(self.config, seen, stage, source, workshop, report, since)
        obtained = await source.obtain(goal, stage / "new")
        version, effects = await builder.make(obtained, in_place=isinstance(request, Recover))
        return Prepared(old, Target(version, digest=f"sha256:{obtained.sha256}"), effects=tuple(effects))

    def _goals(self, seen: Look, known: ReleaseStatus, source: Source) -> Goals:
        async def newest() -> RemoteRelease:
            return await self._newest(seen, known, Purpose.JOB)

        return Goals(self.config, seen, known, self._still_theirs(seen, known), source, newest)

    def _source(self, seen: Look, report: Report) -> Source:
        installed = {seen.info.version} if seen.info is not None else set()
        return Source(
            self.config,
            seen.place.shelf,
            self.forge,
            self.tools.http,
            repo_of(self.config, seen),
            seen.info.asset_name if seen.info is not None else "",
            report,
            frozenset(installed),
        )

    async def _stage(self, seen: Look, workshop: Workshop) -> Path:
        folder = seen.place.folder
        stage = await workshop.stage(folder / "program" if seen.place.executable else folder)
        with durable.translated("make", stage):
            # A folder may be gone together with the one that it was in.
            await trio.Path(stage).mkdir(parents=True)
        return stage

    def _refuse_invalid(self, seen: Look, *, held: bool) -> None:
        if held and self.config.hold:
            raise Refused(Reason.HELD, f"{self.config.name} is held back: {self.config.hold}")
        if seen.broken:
            raise Refused(Reason.INVALID, f"{self.config.name} cannot be updated: {seen.broken}. Recover it first.")
