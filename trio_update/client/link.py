"""How a connection to the server comes about: address, key, TCP, TLS, WebSocket handshake (RFC 6455 §4.1)."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from trio_update.errors import TrioUpdateError

# A status with the commits of dozens of apps is some 100 kB and a job's log can be longer; the library stops at 1 MiB.
_LARGEST_MESSAGE = 64 * 2**20
_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


class ClientError(TrioUpdateError):
    """Base of what a client raises."""


class BadAddress(ClientError):
    """The URL or the API key cannot be used at all."""


class Unreachable(ClientError):
    """No connection came about."""

    def __init__(self, url: str, why: str) -> None:
        self.url = url
        self.why = why
        super().__init__(f"cannot reach {url}: {why}")


class ConnectionLost(ClientError):
    """The connection ended before the answer came: what was asked for may have been done, or not."""

    def __init__(self, url: str, why: str) -> None:
        self.url = url
        self.why = why
        super().__init__(f"lost the connection to {url}: {why}")


@dataclass(frozen=True)
class Address:
    """A URL taken apart for a WebSocket handshake."""

    url: str
    host: str
    port: int
    secure: bool
    authority: str
    path: str


def read_address(url: str) -> Address:
    """Take ``http://host:port/prefix`` apart; the WebSocket lives at ``prefix/websocket``.

    Raises:
        BadAddress: not a URL of http, https, ws or wss, or one with a user name, a query or a fragment.
    """
    advice = "give it as http://HOST:PORT or https://HOST:PORT"
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadAddress(f"{url!r} is not a URL ({error}): {advice}") from None
    if parts.scheme not in _PORTS or not host or not parts.netloc.isascii():
        raise BadAddress(f"{url!r} is not the URL of a server: {advice}")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise BadAddress(f"{url!r} holds more than a server's address: {advice}")
    path = parts.path.rstrip("/")
    path = path if path.endswith("/websocket") else path + "/websocket"
    secure = parts.scheme in {"https", "wss"}
    return Address(url.strip(), host, port or _PORTS[parts.scheme], secure, parts.netloc, path)


def key_headers(api_key: str | None) -> list[tuple[bytes, bytes]]:
    """The key as servers of this API expect it.  Raises BadAddress: a header cannot carry it."""
    if not api_key:
        return []
    key = api_key.strip()
    if not (key.isascii() and key.isprintable()):
        raise BadAddress("the API key holds characters that no API key has: copy it again from the server's key file")
    return [(b"X-Api-Key", key.encode())]


@asynccontextmanager
async def connected(
    nursery: trio.Nursery, address: Address, headers: list[tuple[bytes, bytes]], *, patience: float
) -> AsyncIterator[WebSocketConnection]:
    """A connection, made within ``patience`` seconds; its reader lives in ``nursery``.

    Raises:
        Unreachable: nothing answers there, or not in time, or TLS failed.  A refused handshake comes out of
            ``nursery`` as the library's ``ConnectionRejected`` instead, because its reader task meets it.
    """
    with _deadline(address, patience) as deadline:
        stream = await _open_stream(address)
    # Closed here in every case: the library keeps the socket open when the peer was the one to go.
    async with _closing(stream):
        with _deadline(address, patience, deadline):
            connection = await wrap_client_stream(
                nursery,
                stream,
                # The library would leave out the brackets of an IPv6 address, and servers that check Host refuse that.
                address.authority,
                address.path,
                extra_headers=headers,
                max_message_size=_LARGEST_MESSAGE,
            )
        try:
            yield connection
        finally:
            # A dead peer never sends the close frame that is waited for here.
            with trio.move_on_after(1):
                await connection.aclose()


@contextmanager
def _deadline(address: Address, patience: float, deadline: float | None = None) -> Iterator[float]:
    """Until ``deadline`` on Trio's clock (default: ``patience`` seconds from now), which is what it gives."""
    deadline = trio.current_time() + patience if deadline is None else deadline
    try:
        with trio.fail_at(deadline):
            yield deadline
    except trio.TooSlowError:
        raise Unreachable(address.url, f"no WebSocket handshake within {patience:g} s") from None
    except OSError as error:
        raise Unreachable(address.url, _why_not(error)) from None


@asynccontextmanager
async def _closing(stream: trio.abc.AsyncResource) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await trio.aclose_forcefully(stream)


async def _open_stream(address: Address) -> trio.SocketStream | trio.SSLStream[trio.SocketStream]:
    if not address.secure:
        return await trio.open_tcp_stream(address.host, address.port)
    stream = await trio.open_ssl_over_tcp_stream(address.host, address.port)
    try:
        # Done here because the WebSocket library takes a failed TLS handshake for a connection that closed.
        await stream.do_handshake()
    except trio.BrokenResourceError as broken:
        await trio.aclose_forcefully(stream)
        why = broken.__cause__ if isinstance(broken.__cause__, ssl.SSLError) else broken
        raise Unreachable(address.url, f"TLS failed ({why})") from None
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


def _why_not(error: OSError) -> str:
    """The system's own words: Trio puts "all attempts failed" in front of them."""
    inner: BaseException = error.__cause__ or error
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    return (inner.strerror if isinstance(inner, OSError) else None) or str(inner)


def why_rejected(status: int) -> str:
    """What a refused handshake's HTTP status means to the user."""
    if status in {401, 403}:
        return f"it turns this client away (HTTP {status}); an API key may be needed"
    if status == 404:
        return "there is no update API at that address (HTTP 404)"
    return f"it answers HTTP {status} instead of opening a WebSocket"


def why_closed(closed: ConnectionClosed) -> str:
    """Why a connection ended, for the user."""
    close = closed.reason
    if close is None or close.code == 1006:
        return "it closed without a word"
    return close.reason or {1001: "the server is stopping"}.get(close.code, f"it was closed with code {close.code}")
