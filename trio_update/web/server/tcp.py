"""One TCP connection, so contained that nothing a client does reaches beyond it.

Hypercorn's ``TCPServer`` shields its sends without a deadline, starts a timer task for each idle period,
and lets protocol errors out into the server's nursery.  Here one cancel scope with a movable deadline
bounds the connection in each of its phases, and every exception ends where the connection does.
"""

from __future__ import annotations

import enum
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf

import h11
import trio
import wsproto.utilities
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, ConnectionState, LifespanState, Scope
from hypercorn.utils import parse_socket_addr

from trio_update.web.server.limits import Settings
from trio_update.web.server.protocol import HTTP11, Farewell

# A send that the kernel takes at once needs no checkpoint, and most of a message's cost would be in that one.
# But a handler that sends without end to a client that reads without end must let others run now and then.
_SENDS_PER_CHECKPOINT = 16

_CLIENTS_FAULT = (
    OSError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    h11.ProtocolError,
    wsproto.utilities.ProtocolError,
)


class _Phase(enum.Enum):
    IDLE = enum.auto()  # between requests: keep_alive_seconds
    RECEIVING = enum.auto()  # a request is arriving: request_seconds
    BUSY = enum.auto()  # the application has it, or a WebSocket is open: no deadline
    CLOSING = enum.auto()  # nothing more is sent, what arrives is discarded: linger_seconds


class Connection(TCPServer):
    """One client, from accept to close."""

    config: Settings

    def __init__(
        self,
        app: AppWrapper,
        config: Settings,
        context: WorkerContext,
        state: LifespanState,
        stream: trio.SocketStream,
    ) -> None:
        # Hypercorn declares TLS streams only, and handles both.
        super().__init__(app, config, context, state, stream)  # type: ignore[arg-type]
        self._stream = stream
        self._limits = config.limits
        self._phase = _Phase.IDLE
        self._scope = trio.CancelScope()
        self._sends = 0

    async def run(self) -> None:
        """Serve the client until either side has had enough.  Raises nothing of a client's or a handler's making."""
        try:
            with self._scope:
                await self._converse()
            if self._scope.cancelled_caught and self._phase is _Phase.RECEIVING:
                await self._http.request_timed_out()
        except* _CLIENTS_FAULT as group:
            await self.config.log.debug("connection ended: %s", group.exceptions)
        except* Exception:  # noqa: BLE001
            # The outermost border of a connection: whatever is wrong with this one, the others go on.
            await self.config.log.exception("Connection ended by an error")
        finally:
            self._stream.socket.close()

    def finish(self) -> None:
        """End the connection as soon as it can be done politely: now when idle, after its response when busy.

        A WebSocket is sent close code 1001.  Does not wait, and sets no limit: that is the server's to do.
        """
        if self._phase is _Phase.BUSY:
            self._task_group.spawn(self._http.go_away)
        elif self._phase is not _Phase.CLOSING:
            self._enter(_Phase.CLOSING, 0)

    async def _converse(self) -> None:
        sock = self._stream.socket
        client = parse_socket_addr(sock.family, sock.getpeername())
        server = parse_socket_addr(sock.family, sock.getsockname())
        async with _AppTasks(lambda: self._enter(_Phase.BUSY, inf)) as self._task_group:
            self._http = HTTP11(
                self.app,
                self.config,
                self.context,
                self._task_group,
                ConnectionState(self.state),
                False,
                client,
                server,
                self.protocol_send,
            )
            await self._http.initiate()
            self._enter(_Phase.IDLE, self._limits.keep_alive_seconds)
            await self._read_data()

    def _enter(self, phase: _Phase, seconds: float) -> None:
        # Moving a deadline costs a fraction of stopping a timer task and starting another; and, being synchronous, it
        # happens even if the caller is cancelled, as Quart-Trio's request task is once its response has gone out.
        self._phase = phase
        self._scope.deadline = trio.current_time() + seconds

    async def _read_data(self) -> None:
        while True:
            try:
                # Cancelled when a request that was sent ahead may be taken up.
                with trio.CancelScope() as self._reading:
                    data = await self._stream.receive_some(MAX_RECV)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                break
            if self._reading.cancelled_caught:
                await self._http.resume()
                continue
            if not data:
                break
            if self._phase is _Phase.CLOSING:
                # Closing a socket that holds unread bytes sends a reset, which may overtake our last words.
                continue
            if self._phase is _Phase.IDLE:
                self._enter(_Phase.RECEIVING, self._limits.request_seconds)
            await self._http.handle(RawData(data=bytes(data)))
            if self._http.client_done:
                break
        # A handler that does not leave with its client is cancelled after a moment.
        self._enter(_Phase.CLOSING, self._limits.linger_seconds)
        await self._http.handle(Closed())

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            if self._phase is _Phase.CLOSING:
                await trio.lowlevel.checkpoint()
            elif event.data and not await self._write(event.data):
                await self._http.handle(Closed())
        elif isinstance(event, Closed):
            await self._say_no_more()
            await self._http.handle(event)
        elif isinstance(event, Updated) and event.idle:
            self._enter(_Phase.IDLE, self._limits.keep_alive_seconds)
            if self._http.pipelined:
                self._reading.cancel()
        elif isinstance(event, Farewell):
            self._enter(_Phase.BUSY, self._limits.linger_seconds)

    async def _write(self, data: bytes) -> bool:
        """Send all of ``data``; False, and the connection cut, if the client is gone or takes nothing for too long."""
        await self._take_send_lock()
        try:
            sent = self._write_at_once(data)
            while sent < len(data):
                # A deadline for each step forward, not for the whole: a slow client is welcome, one that stalls is not.
                with trio.fail_after(self._limits.send_seconds):
                    sent += await self._stream.socket.send(memoryview(data)[sent:])
        except (OSError, trio.ClosedResourceError, trio.TooSlowError):
            self._cut()
            return False
        except trio.Cancelled:
            # Half a frame is out, and nothing that could follow would make sense.  A shield, as Hypercorn has
            # here, would keep the frame whole and let one client that never reads hold up a stop.
            self._cut()
            raise
        finally:
            self.send_lock.release()
        self._sends += 1
        if self._sends % _SENDS_PER_CHECKPOINT == 0:
            await trio.lowlevel.checkpoint()
        return True

    def _write_at_once(self, data: bytes) -> int:
        # Trio's own `send` cannot be had without a checkpoint.  Once the socket is closed its descriptor reads as -1.
        try:
            return os.write(self._stream.socket.fileno(), data)
        except BlockingIOError:
            return 0

    async def _take_send_lock(self) -> None:
        if self.send_lock.locked():
            await self.send_lock.acquire()
        else:
            self.send_lock.acquire_nowait()  # no checkpoint

    async def _say_no_more(self) -> None:
        """Let what is being sent go out, then close our half and wait for the client to close the other."""
        await self._take_send_lock()
        try:
            if self._phase is not _Phase.CLOSING:
                self._enter(_Phase.CLOSING, self._limits.linger_seconds)
                with suppress(OSError):
                    self._stream.socket.shutdown(socket.SHUT_WR)
        finally:
            self.send_lock.release()

    def _cut(self) -> None:
        self._enter(_Phase.CLOSING, self._limits.linger_seconds)
        self._stream.socket.close()


class _AppTasks(TaskGroup):
    """The nursery of a connection, with cheaper and safer ways between server and application.

    Calls ``busy`` when the application is given something to do.
    """

    def __init__(self, busy: Callable[[], None]) -> None:
        super().__init__()
        self._busy = busy

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Settings,  # type: ignore[override]  # made by Connection, which has no other kind
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        to_app, inbox = trio.open_memory_channel[ASGIReceiveEvent](config.max_app_queue_size)
        self._busy()
        self.spawn(_run_app, app, config, scope, inbox, send)

        async def put(message: ASGIReceiveEvent) -> None:
            try:
                to_app.send_nowait(message)
            except trio.WouldBlock:
                with suppress(trio.BrokenResourceError):
                    await to_app.send(message)
            except trio.BrokenResourceError:
                pass  # the handler has ended and reads no more

        return put


async def _run_app(
    app: AppWrapper,
    config: Settings,
    scope: Scope,
    inbox: trio.MemoryReceiveChannel[ASGIReceiveEvent],
    send: Callable[[ASGISendEvent | None], Awaitable[None]],
) -> None:
    try:
        # Closing the inbox frees a reader that waits for room in it.
        with inbox:
            await app(scope, inbox.receive, send, trio.to_thread.run_sync, trio.from_thread.run)
    except* Exception:  # noqa: BLE001
        # The outermost border of a request: the client gets a 500 or close code 1011 from `send(None)`.
        await config.log.exception("Error in the handler of %s", scope.get("path"))
    finally:
        await send(None)
