"""The whole server: a manager, and the web in front of it."""

from __future__ import annotations

import ipaddress
import signal
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import trio

from trio_update.config import Config
from trio_update.engine.opening import open_manager
from trio_update.errors import StartFailed
from trio_update.groups import unwrapped
from trio_update.logs import get_logger
from trio_update.updaters.kinds import Kind

_log = get_logger(__name__)


async def serve(
    config: Config,
    *,
    data_path: Path,
    kinds: Sequence[Kind] = (),
    debug: bool = False,
    shutdown: trio.Event | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Manage and serve until ``shutdown`` is set, then stop gracefully; started with the URL once it answers.

    Raises: ConfigInvalid, KindInvalid, StartFailed, DataPathHeld.
    """
    from trio_update.web.app import create_app
    from trio_update.web.server.server import serve as serve_web

    refuse_open_address(config.server.host)
    end = shutdown if shutdown is not None else trio.Event()
    async with open_manager(config, data_path=data_path, kinds=kinds, debug=debug) as manager:
        app = create_app(manager)

        async def close_sessions() -> None:
            manager.stop()
            await app.close_sessions()

        await serve_web(
            app,
            host=config.server.host,
            port=config.server.port,
            shutdown=end.wait,
            close_sessions=close_sessions,
            task_status=task_status,
        )


def refuse_open_address(host: str) -> None:
    """Until requests are authenticated, only this machine may send any.  Raises: StartFailed."""
    try:
        loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        loopback = host.lower() == "localhost"
    if not loopback:
        raise StartFailed(
            f"host {host} is not a loopback address: whoever reaches this server can install software, and access "
            "control is not built yet. Use 127.0.0.1, and an ssh tunnel or a reverse proxy with a login from elsewhere."
        )


def run(config: Config, *, data_path: Path, kinds: Sequence[Kind] = (), debug: bool = False) -> int:
    """Serve until SIGTERM or SIGINT.  Returns the exit code: 0 after a graceful stop.

    Raises: ConfigInvalid, KindInvalid, StartFailed, DataPathHeld.
    """
    with unwrapped():
        trio.run(_run, config, data_path, kinds, debug)
    return 0


async def _run(config: Config, data_path: Path, kinds: Sequence[Kind], debug: bool) -> None:
    shutdown = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey, signals, shutdown)
            async with trio.open_nursery() as serving:
                url = await serving.start(
                    partial(serve, config, data_path=data_path, kinds=kinds, debug=debug, shutdown=shutdown)
                )
                _log.info("listening on %s", url)
            nursery.cancel_scope.cancel()


async def _obey(signals: AsyncIterator[int], shutdown: trio.Event) -> None:
    """Stop at the first signal.  Later ones are read too: one that nobody took would end the process at once."""
    async for number in signals:
        _log.info("stopping: %s", signal.Signals(number).name)
        shutdown.set()
