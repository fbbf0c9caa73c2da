"""Looking after apps while nothing else goes on: never in the way of a job or of somebody who asks."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import trio

from trio_update.engine.gate import Gate
from trio_update.errors import OperationFailed, Refused
from trio_update.host.store import Store
from trio_update.logs import get_logger
from trio_update.model import AppName, Step
from trio_update.updaters.base import Updater, Upkept

_log = get_logger(__name__)

# What is idle now may not be so in a minute: shortly after a start, people use the machine.
_TICK = 600.0
_EVERY = 24 * 3600.0


class Upkeep:
    """Runs the upkeep of one app after the other, of each once a day at most, also across starts."""

    def __init__(
        self,
        updaters: Mapping[AppName, Updater],
        store: Store,
        gate: Gate,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._updaters = {app: updater for app, updater in updaters.items() if isinstance(updater, Upkept)}
        self._store = store
        self._gate = gate
        self._clock = clock
        self._others = 0
        self._under_way: tuple[trio.CancelScope, trio.Event] | None = None

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Around everything that is more important: what is under way is ended first, and none begins meanwhile."""
        self._others += 1
        try:
            if self._under_way is not None:
                scope, ended = self._under_way
                scope.cancel()
                await ended.wait()
            yield
        finally:
            self._others -= 1

    async def follow(self) -> None:
        """Do what is due whenever nothing else goes on, for ever."""
        while True:
            await trio.sleep(_TICK)
            for app, updater in self._updaters.items():
                if not self._others and await self._is_due(app) and await self._may(app):
                    await self._one(app, updater)

    async def _one(self, app: AppName, updater: Upkept) -> None:
        if self._others:
            return  # while it was asked whether this is due
        scope, ended = trio.CancelScope(), trio.Event()
        self._under_way = scope, ended
        try:
            with scope:
                await self._keep(app, updater)
        finally:
            self._under_way = None
            ended.set()

    async def _keep(self, app: AppName, updater: Upkept) -> None:
        """One that was interrupted is no turn that it has had."""
        try:
            done = await updater.upkeep(lambda message: _log.debug("%s: %s", app, message))
        except OperationFailed as error:
            _log.warning("%s was not looked after: %s", app, error)
        except Exception:  # noqa: BLE001 - one app's bug must not end the server
            _log.exception("%s was not looked after", app)
        else:
            if done:
                _log.info("%s was looked after: %s", app, "; ".join(done))
        try:
            await self._store.save_note(_note(app), self._clock())
        except OperationFailed as error:
            _log.error("when %s was looked after is not noted, it will be again: %s", app, error)

    async def _is_due(self, app: AppName) -> bool:
        try:
            last = await self._store.note(_note(app), float)
        except OperationFailed:
            return False
        # A last time that lies in the future was noted under a wrong clock.
        return last is None or not 0 <= self._clock() - last < _EVERY

    async def _may(self, app: AppName) -> bool:
        try:
            await self._gate.ask(app, Step.UPKEEP)
        except Refused:
            return False  # it stays due
        return True


def _note(app: AppName) -> str:
    return f"upkeep of {app}"
