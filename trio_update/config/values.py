"""What a configuration says, once it has been read and judged."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import ClassVar

import msgspec
from msgspec.structs import force_setattr

from trio_update.config.names import split_url
from trio_update.model import AppName, Channel


class Problem(msgspec.Struct, frozen=True):
    """Something wrong in a configuration, told with its place.

    ``line`` 0: in the file as a whole, or ``file`` says where in a configuration that was made in code.
    """

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{place(self.file, self.line)}: {self.message}"


def place(file: str, line: int) -> str:
    """Where something stands, as editors and compilers write it."""
    return f"{file}:{line}" if line else file


class HealthCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What must succeed within ``timeout`` seconds after an update, or the update is undone."""

    command: tuple[str, ...] = ()
    url: str = ""
    timeout: float = 30.0


# Stands for services that were not given.  It is never seen: the struct puts the ones that it means in its place.
_BY_NAME: tuple[str, ...] = ("",)


class AppConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What every app's configuration says; each kind of app derives its own, tagged with its type.

    Paths are absolute, ``~`` expanded, once a manager has judged them.  ``channel`` is a :class:`Channel` then; a kind
    may have another default.  ``managed_services``, when not given, are the app's name, or none where the kind's
    ``is_system_service`` says so.
    """

    is_system_service: ClassVar[bool] = True

    name: AppName
    path: Path
    channel: Channel = Channel.DEV
    refresh_interval: datetime.timedelta | None = None
    info_tags: tuple[str, ...] = ()
    report_anomalies: bool = True
    managed_services: tuple[str, ...] = _BY_NAME
    health: HealthCheck = HealthCheck()
    keep_versions: int = 2
    hold: str = ""

    def __post_init__(self) -> None:
        if self.managed_services == _BY_NAME:
            force_setattr(self, "managed_services", (self.name,) if self.is_system_service else ())

    @property
    def kept_inside(self) -> tuple[str, ...]:
        """Paths in the app's folder that are the user's, and stay where they are whatever an update brings."""
        return ()


class DisabledApp(msgspec.Struct, frozen=True, kw_only=True):
    """A section that could not be used: the other apps are not affected."""

    name: str
    type: str | None
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
    """The ``[trio_update]`` section, with what is read of ``[server]`` and ``[authorization]``.

    ``github_url``, when not given, is the web site that belongs to ``github_api_url``.
    """

    host: str = "127.0.0.1"
    port: int = 7126
    moonraker_url: str = ""
    github_api_url: str = "https://api.github.com"
    github_url: str = ""
    github_token_file: Path | None = None
    max_concurrent_refreshes: int = 8
    max_websocket_connections: int = 50
    service_provider: str = "none"
    klippy_uds_address: Path | None = None
    trusted_clients: tuple[str, ...] = ()
    cors_domains: tuple[str, ...] = ()
    enable_api_key: bool = True

    def __post_init__(self) -> None:
        if not self.github_url:
            force_setattr(self, "github_url", _web_host(self.github_api_url))


def _web_host(api_url: object) -> str:
    parts = split_url(api_url) if isinstance(api_url, str) else None
    # Only GitHub itself serves its API from a host of its own.  What cannot be a URL is told when it is judged.
    if parts is None or parts.hostname == "api.github.com":
        return "https://github.com"
    return f"{parts.scheme}://{parts.netloc}"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A whole configuration, from a file or made in code.  ``apps`` are in file order, klipper and moonraker last.

    ``problems`` holds everything that was reported and did not stop the start; ``notes`` what is right and has no
    effect yet.
    """

    source: Path | None = None
    update_manager: UpdateManagerConfig = UpdateManagerConfig()
    server: ServerConfig = ServerConfig()
    apps: tuple[AppConfig, ...] = ()
    disabled: tuple[DisabledApp, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
