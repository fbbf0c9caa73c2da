"""The playground's life: built, served until a signal, removed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import trio

from trio_update.config.values import ServerConfig
from trio_update.demo.github.server import Fault, FaultKind, GitHub, serve_github
from trio_update.demo.gitserver import serve_git
from trio_update.demo.site import Site, build, describe, keep_slow_busy
from trio_update.errors import CommandFailed, DataPathHeld, StartFailed
from trio_update.logs import get_logger
from trio_update.service import serve
from trio_update.updaters.kinds import load_config

_log = get_logger(__name__)

_DEFAULT_PORT = ServerConfig().port
_REMOVAL = 30.0
_LOOK = 0.1
_HANG = 30.0
# Less than any asset has: each hangs in its middle, the small ones too.
_HANG_AT = 100


def run_playground(port: int | None) -> None:
    """Return after a graceful stop, everything removed.  Raises: StartFailed."""
    with _nobodys_configuration():
        try:
            trio.run(_playground, port)
        except* (StartFailed, DataPathHeld) as group:
            raise _first(group) from None


@contextmanager
def _nobodys_configuration() -> Iterator[None]:
    """Keep the user's git configuration (rewritten URLs, proxies, hooks) away from the git commands of this process."""
    ours = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "NO_PROXY": "*", "no_proxy": "*"}
    before = {key: os.environ.get(key) for key in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


async def _playground(port: int | None) -> None:
    shutdown = trio.Event()
    # First of all: a signal must not find a folder that nobody would remove.  SIGHUP: somebody closed the terminal.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with _temporary_folder() as folder, trio.open_nursery() as nursery:
            nursery.start_soon(_stop, signals, shutdown, nursery.cancel_scope)
            await _build_and_serve(Site(folder), port, shutdown)
            nursery.cancel_scope.cancel()


async def _stop(signals: AsyncIterator[int], shutdown: trio.Event, scope: trio.CancelScope) -> None:
    async for _ in signals:
        if shutdown.is_set():
            # Asked twice: no more patience.
            scope.cancel()
        shutdown.set()


async def _build_and_serve(site: Site, port: int | None, shutdown: trio.Event) -> None:
    chosen = port if port is not None else _free_port()
    async with trio.open_nursery() as nursery:
        try:
            await trio.to_thread.run_sync(site.make_folders)
            server = await nursery.start(serve_git, site.upstreams)
            github = await nursery.start(_stand_in, site, GitHub())
            await build(site, server, github, chosen)
        except* (CommandFailed, OSError) as group:
            raise StartFailed(f"cannot build the playground in {site.folder}: {_first(group)}") from None
        nursery.start_soon(keep_slow_busy, site, server)
        nursery.start_soon(_hang_on_order, site, github)
        config = await trio.to_thread.run_sync(load_config, site.config)
        if not shutdown.is_set():
            async with trio.open_nursery() as serving:
                url = await serving.start(partial(serve, config, data_path=site.data, shutdown=shutdown))
                _tell(describe(site, server, github, url, default=chosen == _DEFAULT_PORT))
        nursery.cancel_scope.cancel()


async def _stand_in(
    site: Site, github: GitHub, *, task_status: trio.TaskStatus[GitHub] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve GitHub, except while the user wants it gone: then nobody listens there, and connections are cut."""
    offline = trio.Path(site.offline)
    first = True
    while True:
        async with trio.open_nursery() as serving:
            await _listen(serving, github)
            if first:
                task_status.started(github)
                first = False
            else:
                _tell("The stand-in for GitHub answers again.")
            await _look_until(offline, there=True)
            serving.cancel_scope.cancel()
        _tell(f"The stand-in for GitHub has stopped, until you remove {site.offline}")
        await _look_until(offline, there=False)


async def _hang_on_order(site: Site, github: GitHub) -> None:
    """While the user wants it, downloads stop half-way for long enough to be aborted by hand."""
    hanging = trio.Path(site.hanging)
    fault = Fault("assets", FaultKind.STALL, times=None, at=_HANG_AT, seconds=_HANG)
    while True:
        await _look_until(hanging, there=True)
        github.faults.append(fault)
        _tell(f"Downloads hang for {_HANG:g} s each, until you remove {site.hanging}")
        await _look_until(hanging, there=False)
        github.faults.remove(fault)
        _tell("Downloads do not hang any more.")


async def _listen(nursery: trio.Nursery, github: GitHub) -> None:
    """On the ports of the last time, which are in the configuration; the first time on any.  Raises: OSError."""
    api, web, assets = (urlsplit(url).port or 0 for url in (github.api_url, github.web_url, github.assets_url))
    while True:
        try:
            await nursery.start(partial(serve_github, github, ports=(api, web, assets)))
            return
        except OSError as error:
            if not api:
                raise
            _log.warning("the stand-in for GitHub cannot listen again yet: %s", error)
            await trio.sleep(1)


async def _look_until(path: trio.Path, *, there: bool) -> None:
    """inotify would tell, but not from Python's standard library; looking costs next to nothing."""
    while await path.exists() is not there:  # noqa: ASYNC110
        await trio.sleep(_LOOK)


def _tell(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)


def _free_port() -> int:
    """The default port when nobody listens on it, else one that the system chooses."""
    for port in (_DEFAULT_PORT, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise StartFailed("no port is free on 127.0.0.1")


@asynccontextmanager
async def _temporary_folder() -> AsyncIterator[Path]:
    try:
        made = await trio.to_thread.run_sync(partial(tempfile.mkdtemp, prefix="trio-update-demo-"))
    except OSError as error:
        raise StartFailed(f"cannot make a temporary directory for the playground (see TMPDIR): {error}") from error
    folder = Path(made)
    try:
        yield folder
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _REMOVAL):
            await trio.to_thread.run_sync(_remove, folder)


def _remove(folder: Path) -> None:
    # The user may be at work in there; one file that appears meanwhile must not keep all the others.
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        _log.warning("%s could not be removed completely: remove the rest by hand", folder)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
