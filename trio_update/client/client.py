"""A client for the update API: JSON-RPC 2.0 over one WebSocket.

Calls run side by side on the socket, and notifications arrive beside them::

    async with open_client("http://127.0.0.1:7126") as client:
        with client.subscribe() as notifications:
            await client.call("machine.update.upgrade", {"name": "klipper"})
"""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection

from trio_update.client.link import (
    BadAddress,
    ClientError,
    ConnectionLost,
    Unreachable,
    connected,
    key_headers,
    read_address,
    why_closed,
    why_rejected,
)
from trio_update.groups import unwrapped

__all__ = [
    "BadAddress",
    "Client",
    "ClientError",
    "ConnectionLost",
    "Notification",
    "Reply",
    "RpcError",
    "Unreachable",
    "open_client",
    "read_address",
]


class RpcError(ClientError):
    """The server answered with an error (JSON-RPC 2.0 §5.1); ``reason`` is this project's addition to it."""

    def __init__(self, code: int, message: str, reason: str | None) -> None:
        self.code = code
        self.message = message
        self.reason = reason
        super().__init__(message)


@dataclass(frozen=True)
class Notification:
    """Something the server said unasked.  ``number`` counts the notifications of the connection from 1."""

    number: int
    method: str
    params: Any


@dataclass(frozen=True)
class Reply:
    """An answer.  ``after`` is the number of the last notification that came before it (0: none)."""

    result: Any
    after: int


class _ErrorBody(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = "the server gave no reason"
    data: Any = None


class _Frame(msgspec.Struct, frozen=True):
    """A request, a notification, a result or an error: JSON-RPC tells them apart by what is there."""

    id: Any = None
    method: str | None = None
    params: Any = None
    result: Any = None
    error: _ErrorBody | None = None


@dataclass
class _Pending:
    done: trio.Event = field(default_factory=trio.Event)
    answer: Reply | ClientError | None = None

    def settle(self, answer: Reply | ClientError) -> None:
        self.answer = answer
        self.done.set()


class Client:
    """An open connection; made by :func:`open_client`.  ``lost`` says why it ended, once it has."""

    def __init__(self, connection: WebSocketConnection, url: str) -> None:
        self.url = url
        self.lost: str | None = None
        self._connection = connection
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Pending] = {}
        self._subscribers: set[trio.MemorySendChannel[Notification]] = set()
        self._received = 0

    async def call(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """The result of ``method``.  Raises RpcError or ConnectionLost; has no deadline of its own."""
        return (await self.request(method, params)).result

    async def request(self, method: str, params: Mapping[str, Any] | None = None) -> Reply:
        """As :meth:`call`, and tells where the answer lies among the notifications."""
        if self.lost is not None:
            raise ConnectionLost(self.url, self.lost)
        number = next(self._numbers)
        asked = {"jsonrpc": "2.0", "method": method, "params": dict(params or {}), "id": number}
        pending = self._waiting[number] = _Pending()
        try:
            await self._connection.send_message(msgspec.json.encode(asked).decode())
            await pending.done.wait()
        except ConnectionClosed as closed:
            raise ConnectionLost(self.url, why_closed(closed)) from None
        finally:
            del self._waiting[number]
        if isinstance(pending.answer, ClientError):
            raise pending.answer
        assert pending.answer is not None
        return pending.answer

    @contextmanager
    def subscribe(self, buffer: int = 1000) -> Iterator[trio.MemoryReceiveChannel[Notification]]:
        """Every notification from now on, in order; the channel ends with the connection.

        Notifications that came before a reply are in the channel when the call returns.  To keep that order nothing
        is ever dropped: a subscriber that leaves ``buffer`` notifications unread holds up the replies too, so read
        while you wait (or pass ``math.inf``).
        """
        inlet, outlet = trio.open_memory_channel[Notification](buffer)
        self._subscribers.add(inlet)
        if self.lost is not None:
            inlet.close()
        try:
            yield outlet
        finally:
            self._subscribers.discard(inlet)
            inlet.close()
            outlet.close()

    async def _read(self) -> None:
        try:
            while True:
                await self._take(await self._connection.get_message())
        except ConnectionClosed as closed:
            self._end(why_closed(closed))
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            self._end("what answers there does not speak JSON-RPC")

    async def _take(self, text: str | bytes) -> None:
        frame = msgspec.json.decode(text, type=_Frame)
        if frame.method is not None:
            self._received += 1
            news = Notification(self._received, frame.method, frame.params)
            for inlet in tuple(self._subscribers):
                try:
                    await inlet.send(news)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self._subscribers.discard(inlet)
            return
        pending = self._waiting.get(frame.id) if isinstance(frame.id, int) else None
        if pending is None:
            return
        if frame.error is None:
            pending.settle(Reply(frame.result, self._received))
        else:
            pending.settle(RpcError(frame.error.code, frame.error.message, _reason(frame.error.data)))

    async def _beat(self, every: float) -> None:
        """Ask for a sign of life: TCP alone does not notice a peer that lost its power or its network."""
        while self.lost is None:
            await trio.sleep(every)
            with trio.move_on_after(every) as patience:
                try:
                    await self._connection.ping()
                except ConnectionClosed:
                    return
            if patience.cancelled_caught:
                self._end(f"no sign of life for {every:g} s")

    def _end(self, why: str) -> None:
        if self.lost is not None:
            return
        self.lost = why
        for pending in self._waiting.values():
            pending.settle(ConnectionLost(self.url, why))
        for inlet in self._subscribers:
            inlet.close()


@asynccontextmanager
async def open_client(
    url: str, *, api_key: str | None = None, connect_timeout: float = 10.0, heartbeat: float = 20.0
) -> AsyncIterator[Client]:
    """Connect to the server at ``url``; times in seconds.  The socket is closed on the way out.

    ``heartbeat``: a server that leaves a ping unanswered for that long counts as lost; ``math.inf``: never.

    Raises:
        BadAddress: the URL or the key cannot be used.
        Unreachable: no connection, a refused or a failed handshake.
    """
    address = read_address(url)
    headers = key_headers(api_key)
    try:
        with unwrapped():
            async with trio.open_nursery() as nursery:
                async with connected(nursery, address, headers, patience=connect_timeout) as connection:
                    client = Client(connection, address.url)
                    nursery.start_soon(client._read)
                    if heartbeat < math.inf:
                        nursery.start_soon(client._beat, heartbeat)
                    yield client
                nursery.cancel_scope.cancel()
    except ConnectionRejected as refusal:
        # Raised by the library's reader task, in the nursery, and only while the handshake lasts.
        raise Unreachable(address.url, why_rejected(refusal.status_code)) from None


def _reason(data: Any) -> str | None:
    reason = data.get("reason") if isinstance(data, dict) else None
    return reason if isinstance(reason, str) else None
