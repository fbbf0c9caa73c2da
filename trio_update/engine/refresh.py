"""Looking for updates: all apps side by side, bounded, and never in the way of a job."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import datetime

import trio

from trio_update.config import UpdateManagerConfig
from trio_update.engine.board import Board
from trio_update.logs import get_logger
from trio_update.model import AppName, AppStatus
from trio_update.updaters.base import Updater

_log = get_logger(__name__)

# How often the schedule is looked at: a host without a clock battery can jump by years when it finds the time.
_TICK = 300.0

Save = Callable[[AppName, AppStatus], Awaitable[None]]


class Refresher:
    """Runs looks and checks of apps; one at a time an app, later callers join the one under way.

    ``alone`` is around each of them, and keeps away what can wait.
    """

    def __init__(
        self,
        updaters: Mapping[AppName, Updater],
        board: Board,
        save: Save,
        nursery: trio.Nursery,
        limit: int,
        clock: Callable[[], float] = time.time,
        alone: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    ) -> None:
        self._updaters = updaters
        self._board = board
        self._save = save
        self._nursery = nursery
        self._network = trio.CapacityLimiter(limit)
        self._alone = alone
        self._under_way: dict[AppName, tuple[trio.CancelScope, trio.Event]] = {}
        self._reserved: set[AppName] = set()
        self._clock = clock

    async def refresh(self, apps: Iterable[AppName], *, network: bool = True) -> None:
        """Look at apps side by side, with ``network`` at their remotes too; returns when all have ended.

        A look that is under way serves further callers, whatever they asked for; an app that a job has is passed over.
        A caller that goes away ends no look.
        """
        ends = [self._begin(app, network=network) for app in apps]
        for ended in ends:
            await ended.wait()

    def _begin(self, app: AppName, *, network: bool) -> trio.Event:
        if app in self._under_way:
            return self._under_way[app][1]
        scope, ended = trio.CancelScope(), trio.Event()
        if app in self._reserved:
            ended.set()
            return ended
        self._under_way[app] = scope, ended
        self._nursery.start_soon(self._one, app, scope, ended, network, name=f"refresh {app}")
        return ended

    async def _one(self, app: AppName, scope: trio.CancelScope, ended: trio.Event, network: bool) -> None:
        updater = self._updaters[app]
        try:
            with scope:
                async with self._alone(), self._network:
                    known = self._board.snapshot(app)
                    status = await (updater.check(known) if network else updater.inspect(known))
                self._board.put(app, status)
                self._board.set_unseen(app, None)
                await self._save(app, self._board.snapshot(app))
        except Exception as error:  # noqa: BLE001 - one app's bug must not end the others' refresh, nor the server
            _log.exception("%s could not be looked at", app)
            self._board.set_unseen(app, str(error) or repr(error))
        finally:
            del self._under_way[app]
            ended.set()

    @asynccontextmanager
    async def reserved(self, app: AppName) -> AsyncIterator[None]:
        """Keep ``app`` for a job: a refresh under way is ended first, and none begins while the context lasts."""
        self._reserved.add(app)
        try:
            if app in self._under_way:
                scope, ended = self._under_way[app]
                scope.cancel()
                await ended.wait()
            yield
        finally:
            self._reserved.discard(app)

    def due(self, intervals: Mapping[AppName, float]) -> list[AppName]:
        """Apps whose last successful check is longer ago than their interval, in seconds."""
        now = self._clock()
        due = []
        for app, interval in intervals.items():
            last = self._board.snapshot(app).refreshed_at
            # A last check that lies in the future was made under a wrong clock.
            if last is None or not 0 <= now - last < interval:
                due.append(app)
        return due


async def follow_schedule(
    config: UpdateManagerConfig,
    refresh_due: Callable[[], Awaitable[None]],
    now: Callable[[], datetime] = datetime.now,
) -> None:
    """Refresh what is due, inside the window of hours, for ever."""
    while True:
        await trio.sleep(_TICK)
        if config.refresh_window.contains(now().time()):
            await refresh_due()
