"""What a configuration says, once it has been read and judged."""

from __future__ import annotations

import datetime
from pathlib import Path

import msgspec

from trio_update.model import AppName, AppType, Channel


class Problem(msgspec.Struct, frozen=True):
    """Something wrong in a configuration file, told with its place."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class HealthCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What must succeed within ``timeout`` seconds after an update, or the update is undone."""

    command: tuple[str, ...] = ()
    url: str = ""
    timeout: float = 30.0


class GitRepoConfig(msgspec.Struct, frozen=True, kw_only=True, tag="git_repo"):
    """One ``[update_manager NAME]`` section of type ``git_repo``.  Paths are absolute, ``~`` expanded."""

    name: AppName
    path: Path
    channel: Channel = Channel.DEV
    origin: str = ""
    primary_branch: str = "master"
    pinned_commit: str = ""
    moved_origin: str = ""
    virtualenv: Path | None = None
    venv_args: str = ""
    requirements: str = ""
    system_dependencies: str = ""
    install_script: str = ""
    enable_node_updates: bool = False
    pip_environment_variables: tuple[tuple[str, str], ...] = ()
    refresh_interval: datetime.timedelta | None = None
    info_tags: tuple[str, ...] = ()
    report_anomalies: bool = True
    managed_services: tuple[str, ...] = ()
    health: HealthCheck = HealthCheck()
    keep_versions: int = 2
    hold: str = ""


class ReleaseOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What sections of type ``web``, ``zip`` and ``executable`` have in common.

    ``repo`` is ``owner/name`` at ``forge_url``, which is empty for GitHub; ``persistent_files`` are relative to
    ``path``.
    """

    name: AppName
    path: Path
    repo: str
    channel: Channel = Channel.STABLE
    persistent_files: tuple[str, ...] = ()
    forge_url: str = ""
    refresh_interval: datetime.timedelta | None = None
    info_tags: tuple[str, ...] = ()
    report_anomalies: bool = True
    managed_services: tuple[str, ...] = ()
    health: HealthCheck = HealthCheck()
    keep_versions: int = 2
    hold: str = ""


class WebConfig(ReleaseOptions, frozen=True, kw_only=True, tag="web"):
    """A web client."""


class ZipConfig(ReleaseOptions, frozen=True, kw_only=True, tag="zip"):
    """An application that comes as an archive."""

    virtualenv: Path | None = None
    requirements: str = ""
    system_dependencies: str = ""
    enable_node_updates: bool = False


class ExecutableConfig(ReleaseOptions, frozen=True, kw_only=True, tag="executable"):
    """A single program."""

    system_dependencies: str = ""


# Every kind of app that can be managed; grows with the updaters.
ReleaseConfig = WebConfig | ZipConfig | ExecutableConfig
AppConfig = GitRepoConfig | ReleaseConfig


class DisabledApp(msgspec.Struct, frozen=True, kw_only=True):
    """A section that could not be used: the other apps are not affected."""

    name: str
    type: AppType | None
    reasons: tuple[str, ...]


class RefreshWindow(msgspec.Struct, frozen=True):
    """Hours of local time, ``start`` included and ``end`` not; wraps midnight when ``start > end``."""

    start: int
    end: int

    def contains(self, moment: datetime.time) -> bool:
        if self.start < self.end:
            return self.start <= moment.hour < self.end
        return moment.hour >= self.start or moment.hour < self.end


class UpdateManagerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The ``[update_manager]`` section."""

    enable_auto_refresh: bool = False
    refresh_window: RefreshWindow = RefreshWindow(0, 5)
    refresh_interval: datetime.timedelta = datetime.timedelta(hours=672)
    enable_system_updates: bool = True
    enable_packagekit: bool = True
    channel: Channel = Channel.DEV


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The ``[trio_update]`` section, with what is read of ``[server]`` and ``[authorization]``."""

    host: str = "127.0.0.1"
    port: int = 7126
    moonraker_url: str = ""
    github_api_url: str = "https://api.github.com"
    github_url: str = "https://github.com"
    github_token_file: Path | None = None
    max_concurrent_refreshes: int = 8
    max_websocket_connections: int = 50
    service_provider: str = "none"
    klippy_uds_address: Path | None = None
    trusted_clients: tuple[str, ...] = ()
    cors_domains: tuple[str, ...] = ()
    enable_api_key: bool = True


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A whole configuration.  ``apps`` are in file order, klipper and moonraker last.

    ``problems`` holds everything that was reported and did not stop the start.
    """

    source: Path
    update_manager: UpdateManagerConfig = UpdateManagerConfig()
    server: ServerConfig = ServerConfig()
    apps: tuple[AppConfig, ...] = ()
    disabled: tuple[DisabledApp, ...] = ()
    problems: tuple[Problem, ...] = ()
