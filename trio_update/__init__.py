"""Transactional update manager for small Linux hosts.

What applications and kinds of apps of one's own need is offered here; importing this package imports neither Trio nor
anything else before it is asked for (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio_update.config import (
        AppConfig,
        BadValue,
        Config,
        ConfigInvalid,
        DisabledApp,
        HealthCheck,
        Problem,
        RefreshWindow,
        ServerConfig,
        UpdateManagerConfig,
        listing,
        scalar,
    )
    from trio_update.engine.jobs import Job
    from trio_update.engine.manager import Manager
    from trio_update.engine.opening import open_manager
    from trio_update.errors import (
        Aborted,
        DataPathHeld,
        EventsMissed,
        ManagerClosed,
        OperationFailed,
        Reason,
        Refusal,
        Refused,
        StartFailed,
        TrioUpdateError,
    )
    from trio_update.events import Event, JobEnded, JobProgress, JobStarted, StatusChanged
    from trio_update.model import (
        AppName,
        AppOutcome,
        AppStatus,
        Channel,
        JobId,
        JobKind,
        JobRecord,
        JobState,
        JobView,
        Outcome,
        Outside,
        Plan,
        Status,
        Step,
        Unknown,
    )
    from trio_update.progress import Report
    from trio_update.updaters.base import (
        Decision,
        Effect,
        Prepared,
        Recover,
        Request,
        Rollback,
        Target,
        Tools,
        Updater,
        Upgrade,
        Upkept,
        WorkArea,
    )
    from trio_update.updaters.git.kind import GitRepoConfig, GitStatus
    from trio_update.updaters.kinds import Kind, KindInvalid, installed_kinds, load_config, parse_config
    from trio_update.updaters.release.kind import (
        ExecutableConfig,
        ExecutableStatus,
        WebConfig,
        WebStatus,
        ZipConfig,
        ZipStatus,
    )

__version__ = "0.1.0"

__all__ = [
    "Aborted",
    "AppConfig",
    "AppName",
    "AppOutcome",
    "AppStatus",
    "BadValue",
    "Channel",
    "Config",
    "ConfigInvalid",
    "DataPathHeld",
    "Decision",
    "DisabledApp",
    "Effect",
    "Event",
    "EventsMissed",
    "ExecutableConfig",
    "ExecutableStatus",
    "GitRepoConfig",
    "GitStatus",
    "HealthCheck",
    "Job",
    "JobEnded",
    "JobId",
    "JobKind",
    "JobProgress",
    "JobRecord",
    "JobStarted",
    "JobState",
    "JobView",
    "Kind",
    "KindInvalid",
    "Manager",
    "ManagerClosed",
    "OperationFailed",
    "Outcome",
    "Outside",
    "Plan",
    "Prepared",
    "Problem",
    "Reason",
    "Recover",
    "RefreshWindow",
    "Refusal",
    "Refused",
    "Report",
    "Request",
    "Rollback",
    "ServerConfig",
    "StartFailed",
    "Status",
    "StatusChanged",
    "Step",
    "Target",
    "Tools",
    "TrioUpdateError",
    "Unknown",
    "UpdateManagerConfig",
    "Updater",
    "Upgrade",
    "Upkept",
    "WebConfig",
    "WebStatus",
    "WorkArea",
    "ZipConfig",
    "ZipStatus",
    "__version__",
    "installed_kinds",
    "listing",
    "load_config",
    "open_manager",
    "parse_config",
    "scalar",
]

# Where each name is; type checkers read it above.
_PLACES = {
    "config": (
        *("AppConfig", "BadValue", "Config", "ConfigInvalid", "DisabledApp", "HealthCheck", "Problem"),
        *("RefreshWindow", "ServerConfig", "UpdateManagerConfig", "listing", "scalar"),
    ),
    "engine.jobs": ("Job",),
    "engine.manager": ("Manager",),
    "engine.opening": ("open_manager",),
    "errors": (
        *(
            "Aborted",
            "DataPathHeld",
            "EventsMissed",
            "ManagerClosed",
            "OperationFailed",
            "Reason",
            "Refusal",
            "Refused",
        ),
        *("StartFailed", "TrioUpdateError"),
    ),
    "events": ("Event", "JobEnded", "JobProgress", "JobStarted", "StatusChanged"),
    "model": (
        *("AppName", "AppOutcome", "AppStatus", "Channel", "JobId", "JobKind", "JobRecord", "JobState", "JobView"),
        *("Outcome", "Outside", "Plan", "Status", "Step", "Unknown"),
    ),
    "progress": ("Report",),
    "updaters.base": (
        *("Decision", "Effect", "Prepared", "Recover", "Request", "Rollback", "Target", "Tools", "Updater"),
        *("Upgrade", "Upkept", "WorkArea"),
    ),
    "updaters.git.kind": ("GitRepoConfig", "GitStatus"),
    "updaters.kinds": ("Kind", "KindInvalid", "installed_kinds", "load_config", "parse_config"),
    "updaters.release.kind": (
        *("ExecutableConfig", "ExecutableStatus", "WebConfig", "WebStatus", "ZipConfig", "ZipStatus"),
    ),
}
_PLACE = {name: place for place, names in _PLACES.items() for name in names}


if not TYPE_CHECKING:  # they would take every misspelled name for one of ours

    def __getattr__(name: str) -> object:
        if name not in _PLACE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_PLACE[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
