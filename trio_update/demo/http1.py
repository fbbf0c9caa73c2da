"""HTTP/1.1 on one socket of Trio's, for :mod:`trio_update.demo.gitserver` and :mod:`trio_update.demo.github.server`."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

import h11
import trio

LARGEST_BODY = 32 * 1024 * 1024
_CHUNK = 64 * 1024

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """A request with its whole body; header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Connection:
    """The server's side of a connection.

    Methods raise :class:`h11.ProtocolError` when the client does not speak HTTP, :class:`trio.BrokenResourceError` when
    it has gone.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER)

    async def request(self) -> Request | None:
        """The next request with its whole body, or None when the client has closed."""
        head = await self._event()
        if not isinstance(head, h11.Request):
            return None
        if self._http.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))
        body = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
            if len(body) > LARGEST_BODY:
                raise h11.RemoteProtocolError("request body too large")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        return Request(head.method.decode("ascii"), head.target.decode("latin-1"), headers, bytes(body))

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._stream.receive_some(_CHUNK))
        return event

    async def start(self, status: int, headers: Headers) -> None:
        await self._send(h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase))

    async def data(self, piece: bytes | memoryview) -> None:
        # Large pieces go out uncopied: h11 only looks at the length, whatever its annotation says.
        for part in self._http.send_with_data_passthrough(h11.Data(data=cast(bytes, piece))) or []:
            await self._stream.send_all(part)

    async def end(self) -> None:
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        if wire := self._http.send(event):
            await self._stream.send_all(wire)

    async def pause(self, seconds: float) -> None:
        """Let time pass, but notice when the client goes away.

        Raises:
            BrokenResourceError: it has.
        """
        with trio.move_on_after(seconds):
            while received := await self._stream.receive_some(_CHUNK):
                self._http.receive_data(received)
            raise trio.BrokenResourceError("the client has gone away")

    def reset(self) -> None:
        """Break the connection, so that the client sees a reset instead of an end."""
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise trio.BrokenResourceError("reset on purpose")

    def again(self) -> bool:
        """Make ready for another request; False when the connection is used up."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True
