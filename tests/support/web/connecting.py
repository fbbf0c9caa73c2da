"""Clients that look at the wire, and the application served to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import httpx
import msgspec
import trio
import trio_websocket

from tests.support.web.fake import FakeManager
from trio_update.config.values import ServerConfig
from trio_update.web.app import App, create_app
from trio_update.web.server.limits import Limits
from trio_update.web.server.server import serve

Answer = Any
"""Decoded JSON."""


class Ws:
    """A WebSocket client that speaks JSON."""

    def __init__(self, connection: trio_websocket.WebSocketConnection) -> None:
        self.raw = connection

    async def send(self, **request: Any) -> None:
        await self.send_text(msgspec.json.encode({"jsonrpc": "2.0", **request}).decode())

    async def send_text(self, text: str | bytes) -> None:
        await self.raw.send_message(text)

    async def receive(self) -> Answer:
        with trio.fail_after(20):
            return msgspec.json.decode(await self.raw.get_message())

    async def ask(self, text: str | bytes) -> Answer:
        """Send a frame and receive one."""
        await self.send_text(text)
        return await self.receive()

    async def reply(self, id_: object) -> Answer:
        """The reply to request ``id_``, past everything that comes before it."""
        while True:
            answer = await self.receive()
            if isinstance(answer, dict) and "method" not in answer and answer.get("id") == id_:
                return answer

    async def call(self, method: str, id_: object = 1, **params: object) -> Answer:
        await self.send(method=method, params=params, id=id_)
        return await self.reply(id_)

    async def close_reason(self) -> tuple[int, str | None]:
        """Read to the end, and say how the server closed the connection."""
        with trio.fail_after(20):
            while True:
                try:
                    await self.raw.get_message()
                except trio_websocket.ConnectionClosed as closed:
                    assert closed.reason is not None
                    return closed.reason.code, closed.reason.reason


class Running(NamedTuple):
    manager: FakeManager
    app: App
    url: str
    http: httpx.AsyncClient
    stop: trio.Event

    @property
    def port(self) -> int:
        return httpx.URL(self.url).port or 0

    @asynccontextmanager
    async def websocket(self) -> AsyncIterator[Ws]:
        # With a stream of our own: the library does not close its when the server was the first to say goodbye.
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        host = f"127.0.0.1:{self.port}"
        async with stream, trio.open_nursery() as nursery:
            connection = await trio_websocket.wrap_client_stream(nursery, stream, host, "/websocket")
            try:
                yield Ws(connection)
            finally:
                with trio.move_on_after(2):
                    await connection.aclose()
                nursery.cancel_scope.cancel()

    async def handshake(self, *headers: str, path: str = "/websocket", host: str = "localhost") -> int:
        """The HTTP status that a WebSocket's opening handshake gets: 101 when it is accepted."""
        head = [
            f"GET {path} HTTP/1.1",
            f"Host: {host}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            *headers,
        ]
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            await stream.send_all(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
            with trio.fail_after(20):
                return int((await stream.receive_some()).split()[1])

    async def status_of(self, *headers: str, method: str = "GET", target: str = "/machine/update/status") -> int:
        """The HTTP status of a request that is sent as it is written here, ``Host`` included."""
        return (await self.raw(method, target, *headers))[0]

    async def raw(self, method: str, target: str, *headers: str) -> tuple[int, str]:
        """Send one HTTP/1.1 request as it is written here; its status, and its head and body."""
        request = "\r\n".join([f"{method} {target} HTTP/1.1", *headers, "Connection: close", "", ""])
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            await stream.send_all(request.encode("latin-1"))
            received = b""
            with trio.fail_after(20):
                async for chunk in stream:
                    received += chunk
        return int(received.split()[1]), received.decode()


@asynccontextmanager
async def running(
    *,
    server: ServerConfig | None = None,
    names: Sequence[str] = ("klipper", "moonraker", "app"),
    host_names: Sequence[str] = ("localhost", "printer", "printer.local"),
    fqdn: Callable[[], str] = str,
    limits: Limits | None = None,
) -> AsyncIterator[Running]:
    """Serve a :class:`FakeManager` on a port of its own."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery, trio.open_nursery() as jobs:
        manager = FakeManager(jobs, server or ServerConfig(), names)
        app = create_app(manager, names=host_names, fqdn=fqdn)
        url: str = await nursery.start(
            partial(
                serve,
                app,
                host="127.0.0.1",
                port=0,
                shutdown=stop.wait,
                close_sessions=app.close_sessions,
                limits=limits or Limits(),
            )
        )
        async with httpx.AsyncClient(base_url=url) as http:
            yield Running(manager, app, url, http, stop)
        stop.set()
        jobs.cancel_scope.cancel()
