"""The status as everyone sees it: one object until something changes, so that one encoding serves all."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec.structs import replace

from trio_update.config import AppConfig
from trio_update.engine.border import harmless
from trio_update.engine.bounds import APP_SIZE, NOTICES_SIZE, bounded_apps, bounded_status
from trio_update.errors import Reason, Refusal
from trio_update.model import AppName, AppStatus, RateLimit, Release, Status
from trio_update.text import bounded, without_secrets


class Board:
    """Snapshots by app.  Whether a job runs and GitHub's limit come with each question: they change by themselves."""

    def __init__(self, apps: Mapping[AppName, AppConfig], notices: tuple[str, ...]) -> None:
        self._apps = apps
        self._notices = tuple(without_secrets(notice) for notice in notices)
        self._snapshots: dict[AppName, AppStatus] = {}
        self._short: dict[AppName, AppStatus] = {}
        self._earlier: dict[AppName, tuple[Release, ...]] = {}
        self._stuck: dict[AppName, str] = {}
        self._untidy: dict[AppName, str] = {}
        self._unseen: dict[AppName, str] = {}
        self._shown: Status | None = None
        self._budget: RateLimit | None = None

    def tell(self, notice: str) -> None:
        """Show a notice that a person should see and that concerns no managed app."""
        self._notices = (*self._notices, without_secrets(notice))
        self._shown = None

    def put(self, app: AppName, status: AppStatus) -> None:
        """Show ``status`` from now on, without secrets."""
        self._snapshots[app] = harmless(status)
        # What an updater is given again stays whole: it may need what it said.
        self._short[app] = bounded_status(self._snapshots[app], APP_SIZE)
        self._shown = None

    def snapshot(self, app: AppName) -> AppStatus:
        """What the app's updater saw last."""
        return self._snapshots[app]

    def earlier(self, app: AppName) -> tuple[Release, ...]:
        """The versions that the app had before, newest last."""
        return self._earlier.get(app, ())

    def set_earlier(self, app: AppName, releases: tuple[Release, ...]) -> None:
        """Offer these versions to go back to, newest last."""
        self._earlier[app] = releases
        self._shown = None

    def set_stuck(self, app: AppName, why: str | None) -> None:
        """An app whose interrupted update could not be undone; ``None``: it is whole now."""
        if why is None:
            self._stuck.pop(app, None)
        else:
            self._stuck[app] = why
        self._shown = None

    def set_untidy(self, app: AppName, why: str) -> None:
        """An app that is well, but what an update replaced is still there."""
        self._untidy[app] = why
        self._shown = None

    def set_unseen(self, app: AppName, why: str | None) -> None:
        """An app that could not be looked at, so that its status is the former one; ``None``: it was."""
        if why is None:
            self._unseen.pop(app, None)
        else:
            self._unseen[app] = why
        self._shown = None

    def refuse_stuck(self, app: AppName) -> Refusal | None:
        """Why nothing but a recovery may be done to an app whose interrupted update could not be undone."""
        why = self._stuck.get(app)
        return Refusal(Reason.STUCK, f"{app} needs a recovery first: {why}") if why is not None else None

    def status(self, *, busy: bool, budget: RateLimit | None) -> Status:
        """The status of everything, the same object as before if nothing has changed.  ``budget``: GitHub's."""
        if self._shown is None or (self._shown.busy, self._budget) != (busy, budget):
            self._budget = budget
            self._shown = Status(
                busy=busy,
                github_rate_limit=budget.limit if budget else None,
                github_requests_remaining=budget.remaining if budget else None,
                github_limit_reset_time=budget.reset if budget else None,
                version_info=MappingProxyType(
                    bounded_apps({app: self._present(app, status) for app, status in self._short.items()})
                ),
                config_warnings=bounded(self._notices, size=NOTICES_SIZE),
            )
        return self._shown

    def _present(self, app: AppName, status: AppStatus) -> AppStatus:
        if status.installed and (earlier := self._earlier.get(app)):
            status = replace(status, rollback_version=earlier[-1].version)
        if (why := self._untidy.get(app)) is not None:
            status = replace(status, anomalies=(*status.anomalies, why))
        if not self._apps[app].report_anomalies:
            status = replace(status, anomalies=())
        for why in filter(None, (self._unseen.get(app), self._stuck.get(app))):
            status = replace(status, is_valid=False, warnings=(*status.warnings, why), last_error=why)
        return status
