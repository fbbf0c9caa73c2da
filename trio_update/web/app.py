"""Everything of the web put together: one ASGI application."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable
from quart import Response, websocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from trio_update.web.access.guard import Access, machine_names
from trio_update.web.api.endpoints import ENDPOINTS
from trio_update.web.api.facade import Manager
from trio_update.web.api.faults import Fault
from trio_update.web.api.jsonrpc import Rpc
from trio_update.web.api.rest import Rest
from trio_update.web.api.session import GOING_AWAY, Session
from trio_update.web.api.wire import Wire

MAX_BODY_BYTES = 1024 * 1024
_BODY_SECONDS = 20


class Sessions:
    """The WebSocket sessions that are open."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: set[Session] = set()
        self._ending = False
        self._all_gone = trio.Event()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def refusal(self) -> str:
        """Why no session may be opened now; empty when one may."""
        if self._ending:
            return "the server is stopping"
        if len(self._open) >= self._limit:
            return f"there are {self._limit} WebSocket connections already, and `max_websocket_connections` is that"
        return ""

    @contextmanager
    def opened(self, session: Session) -> Iterator[None]:
        """``session`` is open within this context."""
        self._open.add(session)
        try:
            yield
        finally:
            self._open.discard(session)
            if self._ending and not self._open:
                self._all_gone.set()

    async def close(self) -> None:
        """Close all with 1001 and open no more; returns when the last is gone.  The caller sets the deadline."""
        self._ending = True
        for session in tuple(self._open):
            session.end(GOING_AWAY, "the server is stopping")
        if self._open:
            await self._all_gone.wait()


class App:
    """The ASGI application.  ``sessions`` are its WebSockets; close them before the server stops."""

    def __init__(self, manager: Manager, names: Iterable[str], fqdn: Callable[[], str]) -> None:
        server = manager.config.server
        self.sessions = Sessions(server.max_websocket_connections)
        self._manager = manager
        self._wire = Wire()
        self._rpc = Rpc(ENDPOINTS, self._wire)
        self._rest = Rest(manager, self._wire, self.sessions.__len__)
        self._numbers = itertools.count(1)
        self._access = Access(self._quart(), names={*names, server.host}, cors_domains=server.cors_domains, fqdn=fqdn)

    async def __call__(self, scope: Any, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await self._access(scope, receive, send)

    async def close_sessions(self) -> None:
        """Close every WebSocket with 1001, and accept no new ones.  The caller sets the deadline."""
        await self.sessions.close()

    def _quart(self) -> QuartTrio:
        app = QuartTrio(__name__, static_folder=None)
        app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
        app.config["BODY_TIMEOUT"] = _BODY_SECONDS
        # The path is in its normal form when it comes here; a redirect to another one would be one too many.
        app.url_map.merge_slashes = False
        app.url_map.redirect_defaults = False
        for endpoint in ENDPOINTS:
            self._rest.register(app, endpoint)
        self._rest.register_jsonrpc(app, self._rpc)
        app.add_websocket("/websocket", "websocket", self._serve_socket)
        app.register_error_handler(HTTPException, self._rest.refuse)
        return app

    async def _serve_socket(self) -> Response | None:
        if refusal := self.sessions.refusal:
            return self._rest.failure(Fault(503, 503, refusal))
        session = Session(
            next(self._numbers),
            websocket,
            manager=self._manager,
            rpc=self._rpc,
            wire=self._wire,
            peer=websocket.remote_addr or "an unknown address",
            open_=self.sessions.__len__,
        )
        with self.sessions.opened(session):
            await session.run()
        return None


def create_app(
    manager: Manager, *, names: Iterable[str] | None = None, fqdn: Callable[[], str] = socket.getfqdn
) -> App:
    """The application that serves ``manager``.

    ``names`` are the host names by which it may be called, besides IP addresses and the configured ``host``; None
    stands for this machine's own.  ``fqdn`` gives its fully qualified name, and may block.
    """
    return App(manager, machine_names() if names is None else names, fqdn)
