"""HTTP/1.1 on Hypercorn's protocol class, with its faults put right.

That class is written for servers behind a proxy: its limits are soft, it changes to HTTP/2 when asked, and it
stops reading while a handler is at work on one request and a client has sent the next.
"""

from __future__ import annotations

import dataclasses
import http
from typing import cast

import h11
from hypercorn.events import Closed, RawData
from hypercorn.events import Event as ConnectionEvent
from hypercorn.protocol.events import EndData, Event, Request
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.typing import H11SendableEvent

from trio_update.web.server.limits import Settings
from trio_update.web.server.streams import ClientClosed, HTTPExchange, WebSocketStream, error_answer


@dataclasses.dataclass(frozen=True)
class Farewell(ConnectionEvent):
    """A close frame is out: the client's own may take ``linger_seconds``."""


class HTTP11(H11Protocol):
    """One connection's protocol: HTTP/1.1 requests in turn, or one WebSocket."""

    config: Settings
    client_done = False
    """The client has sent its last byte, and waits for the server to close (RFC 6455 section 7.1.1)."""
    pipelined = False
    """Bytes of a next request wait for the present one to be answered; then it is time for :meth:`resume`."""
    _held = b""

    async def initiate(self) -> None:
        self.can_read = _NoWaiting()

    async def resume(self) -> None:
        """Take up what a client has sent ahead."""
        self.pipelined = False
        await self._handle_events()

    async def refuse(self, status: int, message: str, *, head: bool = False) -> None:
        """Answer with ``{"error": {"code", "message"}}`` and close the connection."""
        headers, body = error_answer(status, message)
        headers += self.config.response_headers("h11")
        await self._send_h11_event(h11.Response(status_code=status, headers=headers))
        if not head:
            await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())
        await self.send(Closed())

    async def request_timed_out(self) -> None:
        """Answer a request that has not arrived in full and in time."""
        if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await self._send_error_response(408)

    async def go_away(self) -> None:
        """Send close code 1001 to a WebSocket; a request under way is left to be answered."""
        if isinstance(self.stream, WebSocketStream):
            await self.stream.go_away()

    async def _handle_events(self) -> None:
        try:
            await super()._handle_events()
        except _SentAhead:
            self.pipelined = True
            limits = self.config.limits
            if len(self.connection.trailing_data[0]) > limits.head_bytes + limits.body_bytes:
                await self.send(Closed())

    async def stream_send(self, event: Event) -> None:
        if isinstance(event, EndData):
            await self.send(Farewell())
        else:
            self.client_done = isinstance(event, ClientClosed)
            await super().stream_send(event)

    async def _send_error_response(self, status_code: int) -> None:
        if status_code == 431:
            await self.refuse(431, f"request line and headers exceed {self.config.limits.head_bytes} bytes")
        else:
            await self.refuse(status_code, http.HTTPStatus(status_code).phrase)

    async def _check_protocol(self, event: h11.Request) -> None:
        # Where Hypercorn would change to HTTP/2.  RFC 9110 section 7.8 lets a server ignore `Upgrade: h2c`,
        # and a second protocol would only be a second way in.
        pass

    async def _create_stream(self, request: h11.Request) -> None:
        refusal = self._objection(request)
        if refusal is not None:
            await self.refuse(*refusal, head=request.method == b"HEAD")
            return
        kind: type[HTTPExchange | WebSocketStream] = HTTPExchange
        if _asks_for_websocket(request):
            kind = WebSocketStream
            self.connection = H11WSConnection(cast(h11.Connection, self.connection))
        self.stream = kind(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode("ascii"),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )

    def _objection(self, request: h11.Request) -> tuple[int, str] | None:
        """Why this request is refused before anything sees it: status and sentence."""
        limits = self.config.limits
        if not request.http_version.startswith(b"1."):
            return 505, "this server speaks HTTP/1.1 only"
        # h11 looks at its limit only while a head is incomplete: one that arrives in a single read passes it.
        size = len(request.method) + len(request.target) + sum(len(n) + len(v) + 4 for n, v in request.headers)
        if size > limits.head_bytes:
            return 431, f"request line and headers exceed {limits.head_bytes} bytes"
        if any(name == b"content-length" and int(value) > limits.body_bytes for name, value in request.headers):
            return 413, f"the body exceeds {limits.body_bytes} bytes"
        return None

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        try:
            data = self._held + (self.connection.send(event) or b"")
        except h11.LocalProtocolError:
            # Once the client has broken the protocol h11 may refuse our half too; it is over either way.
            if self.connection.their_state is not h11.ERROR:
                raise
            return
        # The head waits for what follows it: one segment and one system call instead of two.
        self._held = data if isinstance(event, h11.Response) else b""
        if data and not self._held:
            await self.send(RawData(data=data))


class _SentAhead(Exception):
    """A client sends the next request before it has read the answer to this one."""


class _NoWaiting:
    """Stands where Hypercorn's reader would wait for a handler to finish, and not see its client leave."""

    async def wait(self) -> None:
        raise _SentAhead

    async def set(self) -> None:
        pass

    async def clear(self) -> None:
        pass

    def is_set(self) -> bool:
        return False


def _asks_for_websocket(request: h11.Request) -> bool:
    """Whether this is a WebSocket handshake (RFC 6455 section 4.2.1)."""
    upgrades = [value.strip().lower() for name, value in request.headers if name == b"upgrade"]
    options = [value for name, value in request.headers if name == b"connection"]
    tokens = {token.strip().lower() for value in options for token in value.split(b",")}
    return request.method == b"GET" and upgrades == [b"websocket"] and b"upgrade" in tokens
