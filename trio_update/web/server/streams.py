"""One HTTP request and its response, and one WebSocket, as Hypercorn's connection drives them.

The application first hears of a request when all of it has arrived.  While it is still coming in there is
no task that could be answering it too, so no refusal ever races with a response.
"""

from __future__ import annotations

import dataclasses
import http
from typing import Any

import msgspec
import trio
from hypercorn.protocol.events import Body, Data, EndBody, Event, Request, Response, StreamClosed
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WebsocketBuffer, WSStream
from hypercorn.typing import ASGISendEvent
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.events import Event as FrameEvent
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

from trio_update.web.server.limits import Settings


class ClientClosed(StreamClosed):
    """A close frame has come in: nothing follows it."""


class HTTPExchange(HTTPStream):
    """One request, whole, and its response."""

    config: Settings
    _started = False

    async def handle(self, event: Event) -> None:
        if self.closed:
            return
        if isinstance(event, Request):
            self._request, self._body = event, bytearray()
        elif isinstance(event, Body):
            self._body += event.data
            if len(self._body) > self.config.limits.body_bytes:
                await self._answer(413, f"the body exceeds {self.config.limits.body_bytes} bytes")
                await self.send(StreamClosed(stream_id=self.stream_id))
        elif isinstance(event, EndBody):
            self._started = True
            await super().handle(self._request)
            await self.app_put({"type": "http.request", "body": bytes(self._body), "more_body": False})
        elif self._started:
            await super().handle(event)
        else:
            self.closed = True

    async def app_send(self, message: ASGISendEvent | None) -> None:
        if self.closed and message is not None:
            # The client has gone.  Yielding here lets the cancellation in that an endless producer needs.
            await trio.lowlevel.checkpoint()
        else:
            await super().app_send(message)

    async def _send_error_response(self, status_code: int) -> None:
        await self._answer(status_code, http.HTTPStatus(status_code).phrase)

    async def _answer(self, status: int, message: str) -> None:
        headers, body = error_answer(status, message)
        await self.send(Response(stream_id=self.stream_id, headers=headers, status_code=status))
        if self._request.method != "HEAD":
            await self.send(Body(stream_id=self.stream_id, data=body))
        await self.send(EndBody(stream_id=self.stream_id))
        self.state = ASGIHTTPState.CLOSED


class WebSocketStream(WSStream):
    """One WebSocket: no compression, no early frames, and a close frame whenever it ends from here."""

    async def handle(self, event: Event) -> None:
        if isinstance(event, Request):
            self.buffer = _MessageBuffer(self.config.websocket_max_message_size)
            # Hypercorn accepts permessage-deflate from whoever offers it, and inflates without a limit:
            # 292 kB become 484 MB.  What was not offered cannot be accepted.
            headers = [(name, value) for name, value in event.headers if name != b"sec-websocket-extensions"]
            await super().handle(dataclasses.replace(event, headers=headers))
            if self.closed:  # a bad handshake was refused, and nothing else would close the connection
                await self.send(StreamClosed(stream_id=self.stream_id))
        elif isinstance(event, (Body, Data)) and not self.handshake.accepted:
            await self._refuse_early_bytes()
        else:
            await super().handle(event)

    async def app_send(self, message: ASGISendEvent | None) -> None:
        if self.closed and message is not None:
            await trio.lowlevel.checkpoint()  # as in HTTPExchange
        elif message is None and self.state is ASGIWebsocketState.CLOSED and not self.closed:
            pass  # the handler has closed and gone; the connection ends with the client's answer or by its deadline
        else:
            await super().app_send(message)

    async def go_away(self) -> None:
        if self.state is ASGIWebsocketState.CONNECTED:
            await self._send_wsproto_event(CloseConnection(code=CloseReason.GOING_AWAY))

    async def _refuse_early_bytes(self) -> None:
        # RFC 6455 section 4.1: a client waits for the answer to its handshake.  `closed` comes first: from there
        # on what the application sends is dropped, or its own answer would follow ours and break h11.
        if self.closed or self.state is not ASGIWebsocketState.HANDSHAKE:
            return
        self.closed = True
        await self._send_error_response(400)
        if self.app_put is not None:
            await self.app_put({"type": "websocket.disconnect", "code": CloseReason.ABNORMAL_CLOSURE.value})
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            if isinstance(event, Message):
                try:
                    self.buffer.extend(event)
                except FrameTooLargeError:
                    await self._send_wsproto_event(CloseConnection(code=CloseReason.MESSAGE_TOO_BIG))
                    await self.send(StreamClosed(stream_id=self.stream_id))
                    return
                if event.message_finished and self.app_put is not None:
                    await self.app_put(self.buffer.to_message())
                    self.buffer.clear()
            elif isinstance(event, Ping):
                await self._send_wsproto_event(event.response())
            elif isinstance(event, CloseConnection):
                # Also what wsproto makes of a malformed frame: then ours, with 1002 or 1007, is the first close frame.
                await self._send_wsproto_event(event.response())
                done = self.connection.state is ConnectionState.CLOSED
                await self.send((ClientClosed if done else StreamClosed)(stream_id=self.stream_id))
                return

    async def _send_wsproto_event(self, event: FrameEvent) -> None:
        try:
            data = self.connection.send(event)
        except LocalProtocolError:
            await trio.lowlevel.checkpoint()  # closed already; yields for the sake of endless producers
        else:
            await self.send(Data(stream_id=self.stream_id, data=data))


class _MessageBuffer(WebsocketBuffer):
    """Counts bytes where Hypercorn counts characters, and before storing them instead of afterwards."""

    def extend(self, event: Message[Any]) -> None:
        data = event.data
        size = len(data.encode()) if isinstance(data, str) and not data.isascii() else len(data)
        if self.length + size > self.max_length:
            raise FrameTooLargeError
        before = self.length
        super().extend(event)
        self.length = before + size


def error_answer(status: int, message: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of an error: the same shape that the API's own errors have."""
    body = msgspec.json.encode({"error": {"code": status, "message": message}})
    length = str(len(body)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length), (b"connection", b"close")]
    return headers, body
