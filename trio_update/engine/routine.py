"""What is done without being asked for: every app is looked at once at the start, then whatever is due, for ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import trio

from trio_update.config import Config
from trio_update.engine.gate import Gate
from trio_update.engine.refresh import Refresher, follow_schedule
from trio_update.engine.upkeep import Upkeep
from trio_update.engine.view import StatusView
from trio_update.errors import Refused
from trio_update.model import AppName, Step


@dataclass(frozen=True)
class Routine:
    """The refreshes of a manager.

    ``looked`` is set when every app has been looked at once.
    """

    config: Config
    refresher: Refresher
    upkeep: Upkeep
    gate: Gate
    view: StatusView
    looked: trio.Event

    async def first_look(self, urgent: Sequence[AppName]) -> None:
        """Look at every app's disk, then ask the remotes of those that are ``urgent`` or due."""
        apps = [app.name for app in self.config.apps]
        await self.refresher.refresh(apps, network=False)
        self.looked.set()
        self.view.publish()
        await self._refresh(list(dict.fromkeys([*urgent, *self._due()])))

    async def follow_schedule(self, now: Callable[[], datetime]) -> None:
        """Refresh what is due, unless something more important is going on, for ever."""
        await follow_schedule(self.config.update_manager, self._refresh_due, now)

    async def look_after(self) -> None:
        """Look after apps while nothing else goes on, once every app has been looked at, for ever."""
        await self.looked.wait()
        await self.upkeep.follow()

    async def _refresh_due(self) -> None:
        if not self.view.busy:
            await self._refresh(self._due())

    def _due(self) -> list[AppName]:
        default = self.config.update_manager.refresh_interval
        return self.refresher.due(
            {
                app.name: (app.refresh_interval if app.refresh_interval is not None else default).total_seconds()
                for app in self.config.apps
            }
        )

    async def _refresh(self, apps: list[AppName]) -> None:
        if not apps:
            return
        try:
            await self.gate.ask(None, Step.REFRESH)
        except Refused:
            return  # they stay due
        await self.refresher.refresh(apps)
        self.view.publish()
