"""``moonraker.conf``, or code → :class:`Config`, judged by the kinds of apps that the caller knows.

:func:`trio_update.load_config` and :func:`trio_update.parse_config` are this with the built-in kinds.
"""

from trio_update.config.code import judge_code
from trio_update.config.convert import Rule, Table, listing, scalar
from trio_update.config.kinds import AppKind
from trio_update.config.load import ConfigInvalid, read_file, read_text
from trio_update.config.names import check_app_name, check_branch_name, check_remote_url
from trio_update.config.render import BadValue
from trio_update.config.values import (
    AppConfig,
    Config,
    DisabledApp,
    HealthCheck,
    Problem,
    RefreshWindow,
    ServerConfig,
    UpdateManagerConfig,
)

__all__ = [
    "AppConfig",
    "AppKind",
    "BadValue",
    "Config",
    "ConfigInvalid",
    "DisabledApp",
    "HealthCheck",
    "Problem",
    "RefreshWindow",
    "Rule",
    "ServerConfig",
    "Table",
    "UpdateManagerConfig",
    "check_app_name",
    "check_branch_name",
    "check_remote_url",
    "judge_code",
    "listing",
    "read_file",
    "read_text",
    "scalar",
]
