"""``moonraker.conf`` → :class:`Config`: :func:`load_config`, and the values that it returns."""

from trio_update.config.load import ConfigInvalid, load_config
from trio_update.config.names import check_app_name, check_branch_name, check_remote_url
from trio_update.config.values import (
    AppConfig,
    Config,
    DisabledApp,
    ExecutableConfig,
    GitRepoConfig,
    HealthCheck,
    Problem,
    RefreshWindow,
    ReleaseConfig,
    ServerConfig,
    UpdateManagerConfig,
    WebConfig,
    ZipConfig,
)

__all__ = [
    "AppConfig",
    "Config",
    "ConfigInvalid",
    "DisabledApp",
    "ExecutableConfig",
    "GitRepoConfig",
    "HealthCheck",
    "Problem",
    "RefreshWindow",
    "ReleaseConfig",
    "ServerConfig",
    "UpdateManagerConfig",
    "WebConfig",
    "ZipConfig",
    "check_app_name",
    "check_branch_name",
    "check_remote_url",
    "load_config",
]
