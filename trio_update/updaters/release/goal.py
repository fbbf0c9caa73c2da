"""Which version a request is about: an upgrade's, a rollback's, a recovery's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from trio_update.errors import OperationFailed, Reason, Refused
from trio_update.model import RemoteRelease
from trio_update.updaters.base import Recover, Request, Rollback
from trio_update.updaters.release.kind import ReleaseConfig, ReleaseStatus
from trio_update.updaters.release.look import Look
from trio_update.updaters.release.obtain import Goal, Source, find_kept
from trio_update.updaters.release.pick import is_earlier, is_newer, pick_asset, same_version


@dataclass(frozen=True)
class Goals:
    """Decides for one app, as it was ``seen`` on the disk.

    ``remembered``: the newest release as far as it is known; ``newest`` asks for it.
    """

    config: ReleaseConfig
    seen: Look
    known: ReleaseStatus
    remembered: RemoteRelease | None
    source: Source
    newest: Callable[[], Awaitable[RemoteRelease]]

    async def find(self, request: Request) -> Goal | None:
        """``None``: there is nothing to do.  Raises: Refused, OperationFailed."""
        if isinstance(request, Recover):
            return await self._of_recovery(request)
        if isinstance(request, Rollback):
            return await self._of_rollback(request)
        return await self._of_upgrade()

    @property
    def _installed(self) -> str:
        assert self.seen.info is not None, "an app that is not broken says what it is"
        return self.seen.info.version

    async def _of_upgrade(self) -> Goal | None:
        try:
            release = await self.newest()
        except OperationFailed as error:
            # Downloads cost nothing of a budget that is used up, and their host may be well.
            if self.remembered is None or not is_newer(self.remembered.tag, self._installed):
                raise
            release = self.remembered
            self.source.report(f"{str(error).rstrip('.')}. Going on with what is known: {release.tag}")
        if not is_newer(release.tag, self._installed):
            return None
        asset = pick_asset(release, self.config.name, self.source.asset_name)
        kept = find_kept(self.seen.kept, release.tag)
        same = kept is not None and asset.digest.lower() == f"sha256:{kept.record.sha256}"
        return Goal(release.tag, kept=kept if same else None, release=release)

    async def _of_rollback(self, request: Rollback) -> Goal:
        wanted = request.version or self._earlier(request)
        if same_version(wanted, self._installed):
            raise Refused(Reason.BAD_VERSION, f"{self.config.name} is at {wanted} already")
        if not is_earlier(wanted, self._installed):
            raise Refused(Reason.BAD_VERSION, f"'{wanted}' is no earlier version of {self.config.name}: use an upgrade")
        kept = find_kept(self.seen.kept, wanted)
        if kept is not None:
            return Goal(kept.record.version, kept=kept)
        release = await self.source.release_of(wanted)
        return Goal(release.tag, release=release)

    def _earlier(self, request: Rollback) -> str:
        """Where a rollback goes that names no version."""
        if request.earlier:
            return request.earlier[-1].version
        kept = [one.record.version for one in self.seen.kept if is_earlier(one.record.version, self._installed)]
        if kept:
            return kept[-1]
        raise Refused(
            Reason.BAD_VERSION, f"{self.config.name} was not updated yet: there is no earlier version to go back to"
        )

    async def _of_recovery(self, request: Recover) -> Goal:
        """The installed version; when nothing says which that was, the newest."""
        version = self.seen.info.version if self.seen.info is not None else None
        if version is None and self.seen.kept:
            version = self.seen.kept[-1].record.version
        if version is None and isinstance(self.known.version, str):
            version = self.known.version
        if version is None:
            release = await self.newest()
            self.source.report(
                f"It is not known which version of {self.config.name} was installed: taking {release.tag}"
            )
            return Goal(release.tag, release=release)
        self.source.report(f"Recovering {self.config.name} {version}")
        return Goal(version, kept=None if request.hard else find_kept(self.seen.kept, version))
