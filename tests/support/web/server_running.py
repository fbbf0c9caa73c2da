"""The server under test, started and stopped around a block."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio
from hypercorn.typing import ASGIFramework

from tests.support.web.server_app import make_app
from tests.support.web.server_clients import Server
from trio_update.web.server.server import Limits, serve

# Short enough for a test to see the end of each, long enough for a busy machine to be in time.
BRISK = Limits(
    keep_alive_seconds=0.5,
    request_seconds=1.0,
    send_seconds=0.7,
    linger_seconds=0.5,
    farewell_seconds=0.5,
    grace_seconds=1.0,
)

# Whoever waits for one of these to pass, waits for longer than the test.
PATIENT = Limits(
    keep_alive_seconds=60,
    request_seconds=60,
    send_seconds=60,
    linger_seconds=60,
    farewell_seconds=60,
    grace_seconds=60,
)


@dataclasses.dataclass(frozen=True)
class Running(Server):
    url: str
    shutdown: trio.Event
    stopped: trio.Event
    scope: trio.CancelScope


@asynccontextmanager
async def running(
    app: ASGIFramework | None = None,
    *,
    limits: Limits = BRISK,
    host: str = "127.0.0.1",
    port: int = 0,
    close_sessions: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[Running]:
    """Serve ``app``, or that of :mod:`tests.support.web.server_app`; stop at the end, which must not hang."""
    shutdown = trio.Event()
    stopped = trio.Event()

    async def stop() -> None:
        shutdown.set()

    async def run(task_status: trio.TaskStatus[str]) -> None:
        try:
            await serve(
                app or make_app(),
                host=host,
                port=port,
                shutdown=shutdown.wait,
                close_sessions=close_sessions,
                limits=limits,
                task_status=task_status,
            )
        finally:
            stopped.set()

    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(run))
        where = int(url.rpartition(":")[2])
        yield Running(where, stop, 20.0, url, shutdown, stopped, nursery.cancel_scope)
        shutdown.set()
        with trio.fail_after(20):
            await stopped.wait()
