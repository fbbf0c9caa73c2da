"""Clients for the tests of the web server, which send whatever they are told to."""

from __future__ import annotations

import os
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote

import h11
import msgspec
import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Message, TextMessage

HELLO = b"GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n"


@dataclass(frozen=True)
class Server:
    """Where a server is, and for how long a client waits before it says that something does not happen."""

    port: int
    stop: Callable[[], Awaitable[None]]
    patience: float

    async def connect(self, *, receive_buffer: int | None = None) -> trio.SocketStream:
        sock = trio.socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await sock.connect(("127.0.0.1", self.port))
        except BaseException:
            sock.close()
            raise
        return trio.SocketStream(sock)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Http:
    """One HTTP/1.1 connection, as h11 reads it."""

    def __init__(self, stream: trio.SocketStream, proposed: str | None = None) -> None:
        self.stream = stream
        self._h11 = h11.Connection(h11.CLIENT)
        if proposed is not None:
            head = [("host", "localhost"), ("connection", "upgrade"), ("upgrade", proposed)]
            self._h11.send(h11.Request(method="GET", target="/", headers=head))
            self._h11.send(h11.EndOfMessage())

    async def ask(self, method: str = "GET", path: str = "/hello", body: bytes = b"", **headers: str) -> Answer:
        """Send a request, and read the whole answer."""
        head = [("host", "localhost"), *headers.items()]
        if body:
            head.append(("content-length", str(len(body))))
        parts = [h11.Request(method=method, target=path, headers=head), h11.Data(data=body), h11.EndOfMessage()]
        await self.stream.send_all(
            b"".join(self._h11.send(part) or b"" for part in parts if part != h11.Data(data=b""))
        )
        answer = await self.answer()
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        return answer

    async def answer(self) -> Answer:
        """Read an answer; informational ones count, because to change the protocol is one."""
        head: h11.Response | h11.InformationalResponse | None = None
        body = b""
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                self._h11.receive_data(await self.stream.receive_some())
            elif isinstance(event, h11.InformationalResponse):
                return _answer(event, b"")
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                return _answer(head, body)
            else:
                raise EOFError(f"the connection ended before the answer did: {event!r}")


def _answer(head: h11.Response | h11.InformationalResponse, body: bytes) -> Answer:
    return Answer(head.status_code, {name.decode(): value.decode() for name, value in head.headers}, body)


async def answer_to(stream: trio.SocketStream) -> Answer:
    """Read the answer to a request that was written by hand, which may have asked for another protocol."""
    return await Http(stream, proposed="anything").answer()


def error_of(answer: Answer) -> tuple[int, str]:
    """The API's error object, checked against the status it came with."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["connection"] == "close"
    error = msgspec.json.decode(answer.body)["error"]
    assert error["code"] == answer.status
    return answer.status, error["message"]


def handshake(path: str, *extra: str, version: int = 13) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        "host: localhost",
        "connection: Upgrade",
        "upgrade: websocket",
        f"sec-websocket-version: {version}",
        f"sec-websocket-key: {b64encode(os.urandom(16)).decode()}",
        *extra,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


class RawWebSocket:
    """A WebSocket that does only what it is told: it answers neither pings nor close frames."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.frames = Connection(ConnectionType.CLIENT)

    async def send(self, text: str) -> None:
        await self.stream.send_all(self.frames.send(TextMessage(data=text)))

    async def receive(self) -> Event | None:
        """The next event, or None at the end of the stream."""
        while True:
            for event in self.frames.events():
                return event
            data = await self.stream.receive_some()
            if not data:
                return None
            self.frames.receive_data(data)

    async def outcome(self) -> str:
        """What comes last: ``"closed CODE"``, ``"no close frame"`` or ``"got LENGTH"`` for a whole message."""
        length = 0
        try:
            while True:
                event = await self.receive()
                if isinstance(event, CloseConnection):
                    return f"closed {event.code}"
                if isinstance(event, Message):
                    length += len(event.data)
                    if event.message_finished:
                        return f"got {length}"
                elif event is None:
                    return "no close frame"
        except trio.BrokenResourceError:
            return "no close frame"


@asynccontextmanager
async def raw_websocket(
    server: Server, path: str, *extra: str, receive_buffer: int | None = None
) -> AsyncIterator[RawWebSocket]:
    async with await server.connect(receive_buffer=receive_buffer) as stream:
        await stream.send_all(handshake(path, *extra))
        head = b""
        while not head.endswith(b"\r\n\r\n"):  # byte by byte: what follows is the protocol's
            head += await stream.receive_some(1)
        assert b" 101 " in head.partition(b"\r\n")[0], head
        yield RawWebSocket(stream)


async def answers(server: Server) -> str:
    """Whether the server still answers somebody else."""
    with trio.move_on_after(server.patience):
        try:
            async with await server.connect() as stream:
                return "answers" if (await Http(stream).ask()).body == b"hello" else "answers wrongly"
        except (OSError, EOFError, trio.BrokenResourceError):
            return "is dead"
    return "hangs"


async def ends(server: Server, stream: trio.SocketStream) -> str:
    """Whether the server closes this connection."""
    with trio.move_on_after(server.patience):
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass
        return "is ended"
    return "stays open"


async def happens(server: Server, name: str) -> str:
    """Whether the application's handlers get so far."""
    with trio.move_on_after(server.patience):
        async with await server.connect() as stream:
            client = Http(stream)
            while True:
                if (await client.ask(path=f"/count/{quote(name)}")).body != b"0":
                    return "happens"
                await trio.sleep(0.02)
    return "does not happen"
