"""A small HTTP server whose every answer is said by the test."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import h11
import trio

from trio_update.demo.http1 import Connection, Request

Handler = Callable[[Request, Connection], Awaitable[None]]


@dataclass
class Site:
    """Where the server answers, and what it was asked."""

    port: int
    scheme: str = "http"
    requests: list[Request] = field(default_factory=list)

    def url(self, path: str = "/asset.zip") -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None, *, bare: bool = False) -> AsyncIterator[Site]:
    """Serve on a free port of the loopback until the context ends; ``bare``: without TLS as well, on the same port."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        site = Site(listeners[0].socket.getsockname()[1], "http" if tls is None or bare else "https")

        async def connected(stream: trio.SocketStream) -> None:
            spoken = await stream.socket.recv(1, socket.MSG_PEEK)
            # A TLS handshake record begins with this byte (RFC 8446, section 5.1), and no method of HTTP does.
            wrapped = (
                stream
                if tls is None or (bare and spoken != b"\x16")
                else trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
            )
            connection = Connection(cast(trio.SocketStream, wrapped))
            try:
                while (request := await connection.request()) is not None:
                    site.requests.append(request)
                    await handler(request, connection)
                    if not connection.again():
                        return
            except (h11.ProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the client has gone, or the handler broke the connection on purpose
            finally:
                await trio.aclose_forcefully(stream)

        nursery.start_soon(trio.serve_listeners, connected, listeners)
        yield site
        nursery.cancel_scope.cancel()


def script(*handlers: Handler) -> Handler:
    """Answer the first request with the first handler, and so on; the last one answers all that follow."""
    left = list(handlers)

    async def answer(request: Request, connection: Connection) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(request, connection)

    return answer


def plain(status: int = 200, body: bytes = b"", **headers: str) -> Handler:
    """Answer with a status and a body of known length; ``retry_after="3"`` becomes ``retry-after: 3``."""

    async def answer(_: Request, connection: Connection) -> None:
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        await connection.start(status, [("content-length", str(len(body))), *named])
        if body:
            await connection.data(body)
        await connection.end()

    return answer


async def silent(_: Request, connection: Connection) -> None:
    """Never answer."""
    await connection.pause(10_000)


def redirect(to: str, status: int = 302) -> Handler:
    return plain(status, location=to)


def ranged(body: bytes, **headers: str) -> Handler:
    """Answer as a server does that knows ranges: 206 when asked for the rest of the same file (``etag``), else 200."""

    async def answer(request: Request, connection: Connection) -> None:
        asked = request.headers.get("range", "").removeprefix("bytes=").removesuffix("-")
        if asked and request.headers.get("if-range", headers.get("etag")) == headers.get("etag"):
            start = int(asked)
            part = f"bytes {start}-{len(body) - 1}/{len(body)}"
            await plain(206, body[start:], content_range=part, **headers)(request, connection)
        else:
            await plain(200, body, **headers)(request, connection)

    return answer


def cut(body: bytes, after: int, *, reset: bool = False, **headers: str) -> Handler:
    """Promise the whole body and break the connection after some of it; goes on at a range like :func:`ranged`."""

    async def answer(request: Request, connection: Connection) -> None:
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        asked = request.headers.get("range", "").removeprefix("bytes=").removesuffix("-")
        start = int(asked) if asked else 0
        extra = [("content-range", f"bytes {start}-{len(body) - 1}/{len(body)}")] if asked else []
        await connection.start(206 if asked else 200, [("content-length", str(len(body) - start)), *extra, *named])
        await connection.data(body[start : start + after])
        if reset:
            connection.reset()
        raise trio.BrokenResourceError("cut on purpose")

    return answer


def dripping(body: bytes, size: int, every: float, **headers: str) -> Handler:
    """Send ``size`` bytes at a time, with pauses of ``every`` seconds between them."""

    async def answer(_: Request, connection: Connection) -> None:
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        await connection.start(200, [("content-length", str(len(body))), *named])
        for start in range(0, len(body), size):
            await connection.data(body[start : start + size])
            await connection.pause(every)
        await connection.end()

    return answer


def chunked(body: bytes, times: int = 1, **headers: str) -> Handler:
    """Send the body ``times`` times over without telling a length; 0: without an end."""

    async def answer(_: Request, connection: Connection) -> None:
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        await connection.start(200, [("transfer-encoding", "chunked"), *named])
        sent = 0
        while sent < times or not times:
            await connection.data(body)
            sent += 1
        await connection.end()

    return answer


def unframed(body: bytes, **headers: str) -> Handler:
    """Answer as HTTP/1.0 does: the end of the connection is the end of the body."""

    async def answer(_: Request, connection: Connection) -> None:
        named = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        await connection._stream.send_all(f"HTTP/1.0 200 OK\r\n{named}\r\n".encode() + body)
        raise trio.BrokenResourceError("closed on purpose")

    return answer


def content(size: int) -> bytes:
    """Bytes of which no part is like another."""
    return b"".join(hashlib.sha256(number.to_bytes(8, "big")).digest() for number in range(-(-size // 32)))[:size]


def descriptors() -> set[str]:
    """What this process has open: sockets and files, without what Trio itself has from its start on."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        except FileNotFoundError:
            continue
    return {entry for entry in found if "/proc/" not in entry}
