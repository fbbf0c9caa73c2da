"""Apps that come as an asset of a release, three kinds: what a section may say, and what the status shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec

from trio_update.config import AppConfig, Table, inner
from trio_update.config import addresses as net
from trio_update.config import convert as to
from trio_update.config.rules import scalar
from trio_update.model import AppStatus, Asset, Channel, Outside, RemoteRelease
from trio_update.updaters.kinds import Kind

if TYPE_CHECKING:
    from trio_update.updaters.base import Effect, Tools, Updater

__all__ = [
    "EXECUTABLE",
    "WEB",
    "ZIP",
    "ExecutableConfig",
    "ExecutableStatus",
    "ReleaseConfig",
    "ReleaseStatus",
    "WebConfig",
    "WebStatus",
    "ZipConfig",
    "ZipStatus",
]


class Assumed(msgspec.Struct, frozen=True, kw_only=True):
    """The asset that an installed ``version`` is taken to have come as."""

    version: Outside
    asset: Asset


class ReleaseStatus(AppStatus, frozen=True, kw_only=True):
    """State of an app that comes as a release's asset (reference: "Net Hosted Status").

    ``remote`` is the channel's newest release (not sent to clients, but its title is), ``kept_versions`` can be gone
    back to without a network, oldest first.
    ``assumed``, for nobody but us: the asset of a version that somebody else installed, as it was when it was first
    looked at.
    """

    remote: RemoteRelease | None = None
    remote_title: Outside = ""
    kept_versions: tuple[Outside, ...] = ()
    assumed: Assumed | None = None


class WebStatus(ReleaseStatus, frozen=True, kw_only=True, tag="web"):
    """A web client: static files that a web server hands out."""


class ZipStatus(ReleaseStatus, frozen=True, kw_only=True, tag="zip"):
    """An application that comes as an archive."""


class ExecutableStatus(ReleaseStatus, frozen=True, kw_only=True, tag="executable"):
    """A single program."""


class ReleaseConfig(AppConfig, frozen=True, kw_only=True):
    """What sections of type ``web``, ``zip`` and ``executable`` have in common.

    ``repo`` is ``owner/name`` at ``forge_url``, which is empty for GitHub; ``persistent_files`` are relative to
    ``path``.
    """

    status: ClassVar[type[ReleaseStatus]] = ReleaseStatus
    # A program among others in its user's folder, and not a folder of its own.
    is_program: ClassVar[bool] = False
    # Recognised without a `release_info.json`, by what clients of old had instead.
    has_old_marks: ClassVar[bool] = False

    repo: str
    channel: Channel = Channel.STABLE
    persistent_files: tuple[str, ...] = ()
    forge_url: str = ""

    @property
    def kept_inside(self) -> tuple[str, ...]:
        return self.persistent_files

    @property
    def environment(self) -> Path | None:
        """A virtual environment that stays when it lies in the folder."""
        return None

    @property
    def dependency_files(self) -> tuple[str, ...]:
        """Files of the app that say which other packages it needs."""
        return ()


class WebConfig(ReleaseConfig, frozen=True, kw_only=True, tag="web"):
    """A web client."""

    status: ClassVar[type[ReleaseStatus]] = WebStatus
    is_system_service: ClassVar[bool] = False
    has_old_marks: ClassVar[bool] = True


class ZipConfig(ReleaseConfig, frozen=True, kw_only=True, tag="zip"):
    """An application that comes as an archive."""

    status: ClassVar[type[ReleaseStatus]] = ZipStatus

    virtualenv: Path | None = None
    requirements: str = ""
    system_dependencies: str = ""
    enable_node_updates: bool = False

    @property
    def environment(self) -> Path | None:
        return self.virtualenv

    @property
    def dependency_files(self) -> tuple[str, ...]:
        node = ("package.json", "package-lock.json") if self.enable_node_updates else ()
        return tuple(name for name in (self.requirements, self.system_dependencies, *node) if name)


class ExecutableConfig(ReleaseConfig, frozen=True, kw_only=True, tag="executable"):
    """A single program."""

    status: ClassVar[type[ReleaseStatus]] = ExecutableStatus
    is_program: ClassVar[bool] = True

    system_dependencies: str = ""


def _effects() -> tuple[type[Effect], ...]:
    from trio_update.updaters.place import MakeFolders
    from trio_update.updaters.release.effects import Shelve, Switch

    return (MakeFolders, Switch, Shelve)


def _make(config: ReleaseConfig, tools: Tools) -> Updater:
    from trio_update.updaters.release.updater import ReleaseApp

    return ReleaseApp(config, tools)


_OPTIONS: Table = {
    "repo": scalar(to.as_repo),
    "persistent_files": inner.persistent_files(),
    # The same name at another forge is another project.
    "forge_url": scalar(net.as_base_url).identifies(),
}
_CHANNELS = (Channel.STABLE, Channel.BETA)

WEB = Kind(
    config=WebConfig,
    status=WebStatus,
    options=_OPTIONS,
    effects=_effects,
    make=_make,
    channels=_CHANNELS,
)

ZIP = Kind(
    config=ZipConfig,
    status=ZipStatus,
    options={
        **_OPTIONS,
        "virtualenv": inner.environment(),
        # Read to refuse an upgrade that needs other packages than the installed version does.
        "requirements": inner.dependency_file(),
        "system_dependencies": inner.dependency_file(),
        "enable_node_updates": scalar(to.as_flag).holds_back(),
    },
    effects=_effects,
    make=_make,
    channels=_CHANNELS,
)

EXECUTABLE = Kind(
    config=ExecutableConfig,
    status=ExecutableStatus,
    options={**_OPTIONS, "system_dependencies": inner.dependency_file().not_yet()},
    effects=_effects,
    make=_make,
    channels=_CHANNELS,
    # Nothing of its folder is replaced but the program.
    replaces_folder=False,
)
