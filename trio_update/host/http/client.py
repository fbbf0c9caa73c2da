"""HTTP requests to the outside, on httpx.

httpx costs 9 MB and 85 ms for its TLS context, so it is imported when the first request is made, and not before.
What it raises is translated here; what it is not asked to do (redirects, time-outs of a body) is done here.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING

import trio

from trio_update import __version__
from trio_update.errors import OperationFailed
from trio_update.host.threads import in_thread
from trio_update.text import printable

if TYPE_CHECKING:
    import httpx

USER_AGENT = f"trio-update/{__version__}"
CONNECT = 20.0
"""Seconds for a connection, its TLS handshake included."""
SILENCE = 60.0
"""A server that sends less than :data:`SIGN_OF_LIFE` bytes in so many seconds of waiting is given up."""
SIGN_OF_LIFE = 4096
REDIRECTS = 5

_TIMEOUT = 20.0
_LONGEST = 200
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SECRET = frozenset({"authorization", "proxy-authorization", "cookie"})

Headers = Mapping[str, str] | Iterable[tuple[str, str]]


class Unreachable(OperationFailed):
    """No answer, or one that broke off: the network's or the server's trouble of the moment, worth another attempt."""


class BadAnswer(OperationFailed):
    """The server answered something that cannot be used; asking again would bring the same."""


def shown(text: str) -> str:
    """An address, or what a server or a library says, for a message: without secrets, on one line, not too long."""
    return printable(text, _LONGEST)


def next_address(current: str, location: str) -> str:
    """Where a redirect leads that ``current`` answered with.

    Raises: BadAnswer for one that leaves TLS, or leads to something other than http and https.
    """
    import httpx

    try:
        target = httpx.URL(current).join(location)
    except (httpx.InvalidURL, ValueError):
        raise BadAnswer(f"{shown(current)} redirects to an address that is none") from None
    if target.scheme not in {"http", "https"} or not target.host:
        raise BadAnswer(f"{shown(current)} redirects to {shown(str(target))}, which is neither http nor https")
    if target.scheme == "http" and httpx.URL(current).scheme == "https":
        raise BadAnswer(f"{shown(current)} redirects to {shown(str(target))}, which is not encrypted: refused")
    return str(target)


def _origin(url: str) -> tuple[str, str, int | None]:
    """RFC 6454, section 4.  The default port of a scheme is ``None``, whether it was written or not."""
    import httpx

    parts = httpx.URL(url)
    return parts.scheme, parts.host, parts.port


class Response:
    """An answer whose body has not been read.  ``headers`` in lower case; ``url`` is the one that answered."""

    def __init__(self, url: str, answer: httpx.Response) -> None:
        self.url = url
        self.status: int = answer.status_code
        self.reason: str = shown(answer.reason_phrase)
        self.headers: Mapping[str, str] = dict(answer.headers.items())
        self._pieces = answer.aiter_raw()
        self._patience = SILENCE
        self._alive = 0

    async def receive(self) -> bytes:
        """The next piece of the body, as it comes (at most 64 KiB); empty at its end.

        Raises: Unreachable when the connection breaks or falls silent, BadAnswer for a body that is encoded although
        that was not asked for: a few KiB of gzip can become gigabytes.
        """
        if self.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
            raise BadAnswer(f"{shown(self.url)} sent its answer compressed, which was not asked for: refused")
        # Only the waiting counts: a disk that stalls for a minute between two pieces is not the server's silence.
        began = trio.current_time()
        with trio.move_on_after(self._patience) as scope:
            piece = await self._next()
        if scope.cancelled_caught:
            raise Unreachable(
                f"{shown(self.url)} sent less than {SIGN_OF_LIFE // 1024} KiB in {SILENCE:g} s: check the network"
            )
        self._patience -= trio.current_time() - began
        self._alive += len(piece)
        if self._alive >= SIGN_OF_LIFE:
            self._patience, self._alive = SILENCE, 0
        return piece

    async def _next(self) -> bytes:
        with _translated(self.url):
            return await anext(self._pieces, b"")

    async def read(self, limit: int) -> bytes:
        """The whole body.

        Raises: BadAnswer when it is larger than ``limit`` bytes, and as :meth:`receive`.
        """
        body = bytearray()
        while piece := await self.receive():
            body += piece
            if len(body) > limit:
                raise BadAnswer(f"{shown(self.url)} sent more than {limit} bytes: refused")
        return bytes(body)

    async def leave(self) -> None:
        """Let go of a body that may not have been read to its end; never waits for the network.

        A generator of httpx that is dropped half-way is finished by the garbage collector, which Trio warns of.
        Ended from inside, by a cancellation where it waits for the network, it takes the ones below it along.
        """
        with trio.CancelScope() as scope, suppress(OperationFailed):
            scope.cancel()
            while await self._next():
                pass


class Web:
    """One client for all requests, made when the first is sent.  Proxies are those of the environment at that time."""

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None
        self._making = trio.Lock()

    async def aclose(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()

    async def redirect_of(self, url: str) -> str | None:
        """The address that ``url`` redirects to, without following it; ``None`` when it doesn't.

        Raises: Unreachable, BadAnswer (also for a redirect that would not be followed).
        """
        async with self._answer("GET", url, {}) as answer:
            return _redirect(url, answer)

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, *, headers: Headers = (), secret: Collection[str] = (), redirects: int = REDIRECTS
    ) -> AsyncIterator[Response]:
        """Send a request without a body and yield the answer, whatever its status, with its body unread and raw.

        Up to ``redirects`` redirects are followed, never from https to http.  ``Authorization``, cookies and the
        headers named ``secret`` are left out as soon as scheme, host or port is another.  Cookies are never kept.

        Raises: Unreachable, BadAnswer.
        """
        sent = {name.lower(): value for name, value in dict(headers).items()}
        hidden = _SECRET | {name.lower() for name in secret}
        seen = [url]
        while True:
            async with self._answer(method, url, sent) as answer:
                target = _redirect(url, answer)
                if target is None:
                    response = Response(url, answer)
                    try:
                        yield response
                    finally:
                        await response.leave()
                    return
                method = "GET" if answer.status_code == 303 and method != "HEAD" else method
            if target in seen:
                raise BadAnswer(f"{shown(seen[0])} redirects in a circle, by way of {shown(target)}")
            if len(seen) > redirects:
                raise BadAnswer(f"{shown(seen[0])} redirects more than {redirects} times: given up")
            if _origin(url) != _origin(target):
                sent = {name: value for name, value in sent.items() if name not in hidden}
            seen.append(target)
            url = target

    @asynccontextmanager
    async def _answer(self, method: str, url: str, headers: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
        client = await self._made()
        with trio.move_on_after(SILENCE) as scope, _translated(url):
            request = client.build_request(method, url, headers={**headers, "accept-encoding": "identity"})
            answer = await client.send(request, stream=True, follow_redirects=False)
        if scope.cancelled_caught:
            raise Unreachable(f"{shown(url)} did not answer within {SILENCE:g} s: check the network, then try again")
        try:
            yield answer
        finally:
            await answer.aclose()

    async def _made(self) -> httpx.AsyncClient:
        async with self._making:
            if self._client is None:
                self._client = await in_thread(_client)
        return self._client


@asynccontextmanager
async def open_web() -> AsyncIterator[Web]:
    """Requests for as long as the context lasts.  Opening does no input or output, and does not import httpx."""
    web = Web()
    try:
        yield web
    finally:
        await web.aclose()


def _client() -> httpx.AsyncClient:
    """Blocking: reads the certificates of the system."""
    import httpx

    try:
        return httpx.AsyncClient(
            headers={"User-Agent": USER_AGENT},
            # One that waits for the body would never end a server that sends a byte now and then: see `receive`.
            timeout=httpx.Timeout(None, connect=CONNECT),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
    except ImportError as error:  # httpx wants another package for SOCKS
        raise OperationFailed("the environment names a SOCKS proxy, which needs the Python package socksio") from error
    except (ValueError, httpx.InvalidURL):
        # Not told what is wrong with it: a proxy's address may hold a password.
        raise OperationFailed("a proxy of the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) is no address") from None
    except OSError as error:
        raise OperationFailed(
            f"cannot read the certificates (SSL_CERT_FILE, SSL_CERT_DIR): {error.strerror or error}"
        ) from error


def _redirect(url: str, answer: httpx.Response) -> str | None:
    location = answer.headers.get("location")
    return next_address(url, location) if answer.status_code in _REDIRECTS and location else None


@contextmanager
def _translated(url: str) -> Iterator[None]:
    import httpx

    try:
        yield
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, ValueError):
        # Their texts quote the URL or the header, and so a token; so would the chain of exceptions in a log.
        raise BadAnswer(f"cannot ask {shown(url)}: the address, or a header for it, is not valid in HTTP") from None
    except (httpx.HTTPError, trio.TooSlowError, OSError) as error:
        raise Unreachable(f"cannot reach {shown(url)}: {_why(error)}") from error


def _why(error: BaseException) -> str:
    """The reason below httpx's exceptions, which are often empty; advice where there is some."""
    import httpx

    if isinstance(error, httpx.ConnectTimeout):
        return f"no connection within {CONNECT:g} s; check the network and the proxy settings"
    found = shown(str(error)) or type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message}); check this machine's clock"
        if isinstance(cause, OSError) and cause.strerror:
            # Trio puts the address before the reason; errors of TLS and of names have numbers of their own.
            number = 0 if isinstance(cause, ssl.SSLError) else cause.errno or 0
            found = os.strerror(number) if number > 0 else cause.strerror
        # Trio tells of several addresses of one host in a group.
        below = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause.__cause__
        cause = below or cause.__context__
    return f"{found}; check the network and the proxy settings"


async def redirect_of(url: str) -> str | None:
    """The address that ``url`` redirects to, at once and without following it; ``None`` when it doesn't.

    Raises: OperationFailed when the server cannot be reached.
    """
    with _in_time(url):
        async with open_web() as web:
            return await web.redirect_of(url)


async def answers(url: str) -> str:
    """Ask ``url`` once; empty when it answers with a status below 400, else why it is not well."""
    try:
        with _in_time(url):
            async with open_web() as web, web.stream("GET", url, redirects=20) as response:
                return "" if response.status < 400 else f"status {response.status}"
    except OperationFailed as error:
        return str(error)


@contextmanager
def _in_time(url: str) -> Iterator[None]:
    try:
        with trio.fail_after(_TIMEOUT):
            yield
    except trio.TooSlowError as error:
        raise Unreachable(f"cannot reach {shown(url)}: no answer in time") from error
