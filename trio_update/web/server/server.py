"""The web server: Hypercorn on Trio, made fit to be exposed.

What is wrong with stock Hypercorn, and where it is put right:

- a client's protocol error ends the whole server: :mod:`trio_update.web.server.tcp`, ``Connection.run``;
- a client that stops reading blocks senders and the stop for ever: ``Connection._write``, and
  ``TCP_USER_TIMEOUT`` below for what the kernel has already taken;
- keep-alive time-outs get lost after a Quart response: ``Connection._enter``;
- soft limits, HTTP/2, clients that leave unnoticed after sending ahead: :mod:`trio_update.web.server.protocol`;
- permessage-deflate bombs, early frames, endless messages: :mod:`trio_update.web.server.streams`;
- at a stop WebSockets see a bare end of stream and use up the whole grace: :func:`serve`.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ASGIFramework, LifespanState

from trio_update.errors import StartFailed
from trio_update.logs import get_logger
from trio_update.web.server.limits import DEFAULT_LIMITS, Limits, Settings
from trio_update.web.server.tcp import Connection

__all__ = ["DEFAULT_LIMITS", "Limits", "serve"]

_log = get_logger(__name__)

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
    b'{"error":{"code":503,"message":"too many connections"}}'
)


async def serve(
    app: ASGIFramework,
    *,
    host: str,
    port: int,
    shutdown: Callable[[], Awaitable[None]],
    close_sessions: Callable[[], Awaitable[None]] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``app`` on ``host`` and ``port`` until ``shutdown()`` returns, then stop gracefully.

    ``await nursery.start(partial(serve, …))`` returns ``"http://HOST:PORT"`` once requests are answered there;
    with ``port=0`` the kernel chooses the port.  ``host`` is a name or an address, IPv6 with or without brackets.

    The stop takes at most ``2 * farewell_seconds + grace_seconds``.  New connections are refused; the
    application may close its sessions in ``close_sessions()``; WebSockets that are still open get close code 1001;
    idle connections are closed at once, requests under way are answered; what is left then is cut.
    Cancelling cuts everything at once.

    Raises:
        StartFailed: the port is taken, or the address is not to be had here.
    """
    listeners = await _listen(host, port, limits)
    settings = Settings(limits, _log)
    wrapped = ASGIWrapper(app)
    try:
        async with _lifespan(wrapped, settings) as state, trio.open_nursery() as handlers:
            connections = _Connections(wrapped, settings, state)
            async with trio.open_nursery() as acceptors:
                await acceptors.start(
                    partial(trio.serve_listeners, connections.enter, listeners, handler_nursery=handlers)
                )
                task_status.started(_url(host, listeners[0]))
                await shutdown()
                acceptors.cancel_scope.cancel()
            if close_sessions is not None:
                with trio.move_on_after(limits.farewell_seconds):
                    await close_sessions()
            await connections.close()
            handlers.cancel_scope.deadline = trio.current_time() + limits.grace_seconds
    finally:
        for listener in listeners:
            listener.socket.close()


class _Connections:
    """Accepts connections, as many as there is room for, and ends all of them at the stop."""

    def __init__(self, app: AppWrapper, settings: Settings, state: LifespanState) -> None:
        self._app = app
        self._settings = settings
        self._state = state
        self._context = WorkerContext(None)
        self._open: set[Connection] = set()

    async def enter(self, stream: trio.SocketStream) -> None:
        """Serve one client to its end."""
        if self._context.terminated.is_set():
            return
        if len(self._open) >= self._settings.limits.connections:
            # Best effort: a connection that is kept only to be refused politely would be one too many all the same.
            with suppress(OSError):
                os.write(stream.socket.fileno(), _FULL)
            return
        connection = Connection(self._app, self._settings, self._context, self._state, stream)
        self._open.add(connection)
        try:
            await connection.run()
        finally:
            self._open.discard(connection)

    async def close(self) -> None:
        """Have every connection end as soon as it politely can."""
        await self._context.terminated.set()
        for connection in self._open:
            connection.finish()


@asynccontextmanager
async def _lifespan(app: AppWrapper, settings: Settings) -> AsyncIterator[LifespanState]:
    state: LifespanState = {}
    lifespan = Lifespan(app, settings, state)
    async with trio.open_nursery() as nursery:
        await nursery.start(lifespan.handle_lifespan)
        # An application that knows no lifespan, and returns or raises at once, makes Hypercorn close this channel.
        with suppress(trio.ClosedResourceError):
            await lifespan.wait_for_startup()
        yield state
        with suppress(trio.ClosedResourceError):
            await lifespan.wait_for_shutdown()
        nursery.cancel_scope.cancel()


async def _listen(host: str, port: int, limits: Limits) -> list[trio.SocketListener]:
    """Listen on every address that ``host`` stands for, all on one port.

    ``trio.open_tcp_listeners`` would give each address a port of its own when ``port`` is 0, and fails for
    ``localhost`` where ``::1`` is in the hosts file but IPv6 is switched off, as it is in many containers.
    """
    name = host.removeprefix("[").removesuffix("]")
    sockets: list[trio.socket.SocketType] = []
    absent: OSError | None = None
    try:
        found = await trio.socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in found:
            try:
                sockets.append(await _listening_socket(family, (address[0], port, *address[2:]), limits))
            except OSError as error:
                if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                    raise
                absent = error
            else:
                port = sockets[0].getsockname()[1]
        if absent is not None and not sockets:
            raise absent
    except (OSError, OverflowError, UnicodeError) as error:
        for sock in sockets:
            sock.close()
        raise StartFailed(_why_not(name, port, error)) from error
    return [trio.SocketListener(sock) for sock in sockets]


async def _listening_socket(
    family: socket.AddressFamily, address: tuple[object, ...], limits: Limits
) -> trio.socket.SocketType:
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Accepted sockets inherit all of these.  The user time-out ends connections whose client acknowledges nothing
        # or keeps its window shut while nothing is being sent; keep-alive finds clients that lost their power.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(limits.send_seconds * 1000))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, int(limits.keep_alive_seconds)))
        await sock.bind(address)
        sock.listen(128)
    except BaseException:
        sock.close()
        raise
    return sock


def _url(host: str, listener: trio.SocketListener) -> str:
    name = host.removeprefix("[").removesuffix("]")
    port = listener.socket.getsockname()[1]
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _why_not(host: str, port: int, error: Exception) -> str:
    place = f"cannot listen on {host}, port {port}"
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.EADDRINUSE:
        return f"{place}: another program has the port; stop that one, or choose another port"
    if code == errno.EACCES:
        return f"{place}: not permitted; ports below 1024 are root's, choose a higher one"
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return f"{place}: {why}; `host` must be an address of this machine"
