"""Transactional update manager for small Linux hosts.

Here is what an application needs that embeds it.  Importing this package imports neither Trio nor anything else before
it is asked for (PEP 562).  These modules are public too, and their ``__all__`` says what of them is:

:mod:`trio_update.config`, its :mod:`~trio_update.config.rules`, :mod:`~trio_update.config.convert` and
:mod:`~trio_update.config.addresses`
    All that a configuration made in code can hold; and the rules that options of one's own are read by.
:mod:`trio_update.model`, :mod:`trio_update.events`, :mod:`trio_update.errors`
    The types of the fields of what is offered here, and errors with more facts than their base tells.
:mod:`trio_update.updaters.kinds`, :mod:`trio_update.updaters.base`, :mod:`trio_update.progress`
    For writers of a kind of app: the record, what an updater answers, what it is handed.
:mod:`trio_update.updaters.git.kind`, :mod:`trio_update.updaters.release.kind`
    The built-in kinds: their sections and statuses.
:mod:`trio_update.client`
    Talks to a server that runs elsewhere.

All other modules are internal: they change without notice.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio_update.config import Config, ConfigInvalid
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
        Refused,
        StartFailed,
        TrioUpdateError,
    )
    from trio_update.events import Event, JobEnded, JobProgress, JobStarted, StatusChanged
    from trio_update.model import (
        AppName,
        AppStatus,
        Channel,
        JobRecord,
        JobState,
        JobView,
        Outcome,
        Plan,
        Status,
        Step,
        Unknown,
    )
    from trio_update.updaters.git.kind import GitRepoConfig
    from trio_update.updaters.kinds import KindInvalid, load_config, parse_config
    from trio_update.updaters.release.kind import ExecutableConfig, WebConfig, ZipConfig

__version__ = "0.1.0"

__all__ = [
    "Aborted",
    "AppName",
    "AppStatus",
    "Channel",
    "Config",
    "ConfigInvalid",
    "DataPathHeld",
    "Event",
    "EventsMissed",
    "ExecutableConfig",
    "GitRepoConfig",
    "Job",
    "JobEnded",
    "JobProgress",
    "JobRecord",
    "JobStarted",
    "JobState",
    "JobView",
    "KindInvalid",
    "Manager",
    "ManagerClosed",
    "OperationFailed",
    "Outcome",
    "Plan",
    "Reason",
    "Refused",
    "StartFailed",
    "Status",
    "StatusChanged",
    "Step",
    "TrioUpdateError",
    "Unknown",
    "WebConfig",
    "ZipConfig",
    "__version__",
    "load_config",
    "open_manager",
    "parse_config",
]

# Where each name is; type checkers read it above.
_PLACES = {
    "config": "Config ConfigInvalid",
    "engine.jobs": "Job",
    "engine.manager": "Manager",
    "engine.opening": "open_manager",
    "errors": (
        "Aborted DataPathHeld EventsMissed ManagerClosed OperationFailed Reason Refused StartFailed TrioUpdateError"
    ),
    "events": "Event JobEnded JobProgress JobStarted StatusChanged",
    "model": "AppName AppStatus Channel JobRecord JobState JobView Outcome Plan Status Step Unknown",
    "updaters.git.kind": "GitRepoConfig",
    "updaters.kinds": "KindInvalid load_config parse_config",
    "updaters.release.kind": "ExecutableConfig WebConfig ZipConfig",
}
_PLACE = {name: place for place, names in _PLACES.items() for name in names.split()}


if not TYPE_CHECKING:  # they would take every misspelled name for one of ours

    def __getattr__(name: str) -> object:
        if name not in _PLACE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_PLACE[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
