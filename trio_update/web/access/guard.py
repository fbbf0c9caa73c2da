"""Which requests are let in at all: judged by path, ``Host``, ``Origin`` and ``Sec-Fetch-Site``, before Quart.

- The path is normalised once, here, and what is judged is what is routed (compare CVE-2023-27482, where an encoded
  path was judged and its decoded form routed).
- ``Host`` must mean this machine: a page of a stranger's that rebinds its own name to our address still sends its
  own name.
- A browser says where a page came from; what changes something, and every WebSocket, is refused to foreign pages
  unless ``cors_domains`` lists them.  A request without these headers is no browser's, and carries no user's rights.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

import msgspec
import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable

Headers: TypeAlias = list[tuple[bytes, bytes]]

_REMEMBERED = 256
_MAX_PATH = 2048
_MAX_NAME = 300
_LOOKUP_SECONDS = 2.0
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS = {"http": ":80", "https": ":443", "ws": ":80", "wss": ":443"}
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")

_PREFLIGHT_HEADERS: Headers = [
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (
        b"access-control-allow-headers",
        b"accept, authorization, content-type, if-none-match, x-api-key, x-requested-with",
    ),
    (b"access-control-max-age", b"600"),
    # A page from the internet that talks to a printer at home (my.mainsail.xyz) needs this one in Chromium.
    (b"access-control-allow-private-network", b"true"),
]


def normal_path(raw: bytes) -> str | None:
    """``raw`` percent-decoded exactly once, or None when it is not the one way to write that path.

    Not accepted: dot segments, empty segments, encoded slashes and percent signs (double encoding), backslashes,
    control characters, anything but UTF-8.
    """
    try:
        path = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        return None
    if len(raw) > _MAX_PATH or not path.startswith("/") or not path.isprintable():
        return None
    if "%" in path or "\\" in path or path.count("/") != raw.count(b"/"):
        return None
    segments = path[1:].split("/")
    if any(segment in {".", ".."} for segment in segments) or "" in segments[:-1]:
        return None
    return path


def machine_names() -> frozenset[str]:
    """The names that this machine goes by on its own network, without asking the network."""
    name = socket.gethostname().lower()
    first = name.partition(".")[0]
    return frozenset({"localhost", name, first, f"{name}.local", f"{first}.local"})


class Access:
    """An ASGI application that lets through to ``app`` what may come in.

    ``names`` are the host names that mean this machine, besides every IP address; its fully qualified name is asked
    for with ``fqdn``, in a thread and once, when a name comes along that is not among them.
    """

    def __init__(
        self,
        app: ASGIFramework,
        *,
        names: Iterable[str],
        cors_domains: Iterable[str],
        fqdn: Callable[[], str],
    ) -> None:
        self._app = app
        self._names = {name.lower() for name in names}
        self._fqdn: Callable[[], str] | None = fqdn
        self._cors = [_pattern(domain) for domain in cors_domains]
        # One cache per instance and question; bounded, since strangers choose the keys.
        remember = functools.lru_cache(maxsize=_REMEMBERED)
        self._path: Callable[[bytes], str | None] = remember(normal_path)
        self._host_name: Callable[[bytes], str | None] = remember(_host_name)
        self._listed: Callable[[bytes], bool] = remember(self._is_listed)

    async def __call__(self, scope: Any, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        raw: bytes = scope["raw_path"]
        path = self._path(raw) if len(raw) <= _MAX_PATH else None
        if path is None:
            await _refuse(scope, send, 400, "the path is not in its normal form")
            return
        headers = _Judged(scope["headers"])
        name = self._host_name(headers.host) if len(headers.host) <= _MAX_NAME else None
        if name is None or not await self._is_this_machine(name):
            await _refuse(scope, send, 403, _WRONG_HOST.format(headers.host[:80].decode("latin-1")))
            return
        if scope["path"] != path:
            scope = {**scope, "path": path}
        if headers.origin is None and headers.fetch_site is None:
            await self._app(scope, receive, send)
        else:
            await self._from_browser(scope, receive, send, headers)

    async def _from_browser(
        self, scope: Any, receive: ASGIReceiveCallable, send: ASGISendCallable, headers: _Judged
    ) -> None:
        origin = headers.origin
        listed = origin is not None and len(origin) <= _MAX_NAME and self._listed(origin)
        foreign = headers.fetch_site == b"cross-site" or (origin is not None and not _same(origin, headers.host))
        method = scope.get("method", "")  # a WebSocket has none
        if method == "OPTIONS" and headers.preflight:
            await _preflight(send, origin if listed or not foreign else None)
        elif foreign and not listed and method not in _SAFE_METHODS:
            await _refuse(scope, send, 403, _FOREIGN_PAGE)
        elif listed and scope["type"] == "http" and origin is not None:
            await self._app(scope, receive, _with_cors(send, origin))
        else:
            await self._app(scope, receive, send)

    async def _is_this_machine(self, name: str) -> bool:
        if name in self._names or _is_address(name):
            return True
        fqdn, self._fqdn = self._fqdn, None
        if fqdn is not None:
            # The resolver may take its time: whoever comes while it does is judged by the names known so far.
            with trio.move_on_after(_LOOKUP_SECONDS):
                self._names.add((await trio.to_thread.run_sync(fqdn, abandon_on_cancel=True)).lower())
        return name in self._names

    def _is_listed(self, origin: bytes) -> bool:
        text = origin.decode("latin-1")
        return any(domain.fullmatch(text) or domain.fullmatch(text.partition("://")[2]) for domain in self._cors)


_WRONG_HOST = (
    "the Host header `{}` does not name this machine: use its IP address, its own name, "
    "or set `host` in [trio_update] to the name you use"
)
_FOREIGN_PAGE = "requests from pages of other sites are refused; `cors_domains` in [authorization] can allow them"


class _Judged:
    """The headers that matter here.  More than one of a kind is as good as a wrong one."""

    __slots__ = ("fetch_site", "host", "origin", "preflight")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.host = b""
        self.origin: bytes | None = None
        self.fetch_site: bytes | None = None
        self.preflight = False
        for name, value in headers:
            if name == b"host":
                self.host = b"," if self.host else value
            elif name == b"origin":
                self.origin = b"null" if self.origin is not None else value
            elif name == b"sec-fetch-site":
                self.fetch_site = b"cross-site" if self.fetch_site is not None else value.lower()
            elif name == b"access-control-request-method":
                self.preflight = True


def _host_name(host: bytes) -> str | None:
    """The name in a ``Host`` header, in lower case and without its port; None when there is no sense in it."""
    found = _HOST.fullmatch(host.decode("latin-1"))
    return found["name"].lower().removesuffix(".") if found else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _same(origin: bytes, host: bytes) -> bool:
    """Whether ``origin`` is the page's own server; the scheme is left out, a proxy in front may have changed it."""
    scheme, _, place = origin.decode("latin-1").lower().partition("://")
    default = _DEFAULT_PORTS.get(scheme, "")
    return bool(place) and place.removesuffix(default) == host.decode("latin-1").lower().removesuffix(default)


def _pattern(domain: str) -> re.Pattern[str]:
    """A `cors_domains` entry; ``*`` stands for any text within the authority."""
    return re.compile("[^/]*".join(re.escape(part) for part in domain.strip().rstrip("/").split("*")), re.IGNORECASE)


def _cors_headers(origin: bytes) -> Headers:
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", b"etag"),
        (b"vary", b"origin"),
    ]


def _with_cors(send: ASGISendCallable, origin: bytes) -> ASGISendCallable:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *_cors_headers(origin)]}
        await send(message)

    return sending


async def _preflight(send: ASGISendCallable, origin: bytes | None) -> None:
    """Answer a CORS preflight (https://fetch.spec.whatwg.org/#cors-preflight-fetch)."""
    headers = [*_cors_headers(origin), *_PREFLIGHT_HEADERS] if origin is not None else [(b"vary", b"origin")]
    status = 403 if origin is None else 204
    await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _refuse(scope: Any, send: ASGISendCallable, status: int, message: str) -> None:
    """Answer with an error, before the acceptance when it is a WebSocket."""
    body = msgspec.json.encode({"error": {"code": status, "message": message}})
    prefix = "websocket.http" if scope["type"] == "websocket" else "http"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    start: Any = {"type": f"{prefix}.response.start", "status": status, "headers": headers}
    end: Any = {"type": f"{prefix}.response.body", "body": body, "more_body": False}
    await send(start)
    await send(end)
