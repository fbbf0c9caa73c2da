"""One WebSocket connection, from its acceptance to its close frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import trio

from trio_update.events import Event, notice_of
from trio_update.logs import get_logger
from trio_update.web.api.endpoints import Call, Identity
from trio_update.web.api.facade import Manager
from trio_update.web.api.faults import NOT_A_REQUEST
from trio_update.web.api.jsonrpc import Caller, Pending, Rpc
from trio_update.web.api.wire import Wire

# Mainsail drops a connection that brought no data frame for 10 s.
HEARTBEAT_SECONDS = 2.0
OUTBOX_ITEMS = 512
MAX_FRAME_CHARS = 1024 * 1024

# RFC 6455, section 7.4.1, and the IANA registry for 1013.
GOING_AWAY = 1001
TOO_BIG = 1009
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013

# Web clients that are known to put text into their page as text.
_RENDER_TEXT_AS_TEXT = frozenset({"fluidd", "trio-update"})

_log = get_logger(__name__)


class Socket(Protocol):
    """A WebSocket that is open for both directions; Quart's fits."""

    async def accept(self) -> None: ...

    async def receive(self) -> str | bytes: ...

    async def send(self, data: str) -> None: ...

    async def close(self, code: int, reason: str) -> None: ...


class Session:
    """Reads calls, answers them, and passes events on.

    Events and replies leave through one outbox and so keep their order: a reply is put there after the events that
    the engine published before it returned.  Nothing here waits for the client: when its outbox is full, the session
    ends.  Calls that still wait end with the session; the jobs that they wait for do not.
    """

    def __init__(
        self,
        number: int,
        socket: Socket,
        *,
        manager: Manager,
        rpc: Rpc,
        wire: Wire,
        peer: str,
        open_: Callable[[], int],
    ) -> None:
        self.number = number
        self._socket = socket
        self._manager = manager
        self._rpc = rpc
        self._wire = wire
        self._peer = peer
        self._open = open_
        self._caller = Caller(Call(manager, open_, self, f"WebSocket client at {peer}"))
        self._outbox, self._outgoing = trio.open_memory_channel[Event | str](OUTBOX_ITEMS)
        self._scope = trio.CancelScope()
        self._farewell: tuple[int, str] = (TRY_AGAIN_LATER, "the client does not read")
        self._is_web = trio.Event()

    def identify(self, identity: Identity) -> None:
        """Take note of who the client says it is: it decides how text is written, and on heartbeats."""
        name = _printable(identity.client_name) or "WebSocket client"
        version = _printable(identity.version)
        who = " ".join(part for part in (name, version, "at", self._peer) if part)
        self._caller.call = Call(self._manager, self._open, self, who)
        is_web = identity.type.lower() == "web"
        self._caller.escaped = is_web and identity.client_name.lower() not in _RENDER_TEXT_AS_TEXT
        if is_web:
            self._is_web.set()

    def end(self, code: int, reason: str) -> None:
        """Close the connection with ``code``; returns at once."""
        self._farewell = (code, reason)
        self._scope.cancel()

    async def run(self) -> None:
        """Serve until either side ends it.  Raises nothing but Cancelled."""
        await self._socket.accept()
        try:
            with self._scope, self._outbox, self._outgoing, self._manager.hub.attach(self._outbox):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._beat)
                    await self._read(nursery)
        except Exception:  # noqa: BLE001 - the session's border: one that fails must not end the others
            _log.exception("the session of %s failed", self._caller.call.who)
            self._farewell = (INTERNAL_ERROR, "internal error")
        await self._socket.close(*self._farewell)

    async def _read(self, nursery: trio.Nursery) -> None:
        """Take in frames for ever.

        This never waits for anything but the next frame: a server that does not read does not notice either that
        its client has left.
        """
        while True:
            frame = await self._socket.receive()
            if not isinstance(frame, str):
                self._put(self._rpc.refuse(NOT_A_REQUEST, "not a request: only text frames are read", self._caller))
                continue
            if len(frame) > MAX_FRAME_CHARS:
                self.end(TOO_BIG, "the message is too big")
                continue
            reply = self._rpc.begin(frame, self._caller)
            if isinstance(reply, str):
                self._put(reply)
            elif reply is not None:
                nursery.start_soon(self._answer, reply)

    async def _answer(self, pending: Pending) -> None:
        reply = await pending
        if reply is not None:
            self._put(reply)

    async def _write(self) -> None:
        """Send what is in the outbox, until the hub or :meth:`_put` gives up on a client that does not read."""
        async for item in self._outgoing:
            if isinstance(item, str):
                await self._socket.send(item)
            elif (notice := notice_of(item)) is not None:
                await self._socket.send(self._wire.frame(notice, escaped=self._caller.escaped))
        self._scope.cancel()

    async def _beat(self) -> None:
        await self._is_web.wait()
        while True:
            # The clients merge what they get into their state: keys that are absent leave it as it was.
            self._put(self._wire.notification("notify_proc_stat_update", {"websocket_connections": self._open()}))
            await trio.sleep(HEARTBEAT_SECONDS)

    def _put(self, frame: str) -> None:
        try:
            self._outbox.send_nowait(frame)
        except (trio.WouldBlock, trio.ClosedResourceError):
            self._scope.cancel()


def _printable(text: str) -> str:
    """``text`` fit for a line in the history: short, and without control characters."""
    return "".join(char for char in text if char.isprintable())[:64].strip()
