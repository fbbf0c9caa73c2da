"""What the handlers of an application do wrong, and who notices."""

from __future__ import annotations

import socket
import threading

import h11
import pytest
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from wsproto.events import Message

from tests.support.web.server_clients import (
    HELLO,
    Http,
    Server,
    answers,
    ends,
    error_of,
    handshake,
    happens,
    raw_websocket,
)
from tests.support.web.server_running import running


async def faulty(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Fails in every way a handler can; lives on when its client has left."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
    elif scope["type"] != "http":
        raise RuntimeError(f"no {scope['type']} here")
    elif scope["path"] == "/late":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"some", "more_body": True})
    elif scope["path"] == "/hello":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello", "more_body": False})
        return
    elif scope["path"] == "/stays":
        await trio.sleep_forever()
    if scope["path"] == "/group":
        raise ExceptionGroup("a nursery's", [ValueError("a bug"), KeyError("another")])
    raise ValueError("a bug in a handler")


async def test_a_bug_in_a_handler_ends_its_own_request_only(caplog: pytest.LogCaptureFixture) -> None:
    async with running(faulty) as server, await server.connect() as good:
        assert (await Http(good).ask()).status == 200
        for path in ("/early", "/group"):
            async with await server.connect() as stream:
                assert error_of(await Http(stream).ask(path=path)) == (500, "Internal Server Error")
        async with await server.connect() as stream:
            with pytest.raises((h11.RemoteProtocolError, EOFError)):
                await Http(stream).ask(path="/late")
        async with raw_websocket(server, "/") as client:
            assert await client.outcome() == "closed 1011"
        assert (await Http(good).ask()).body == b"hello"
    assert "a bug in a handler" in caplog.text


async def test_a_handler_that_ignores_the_departure_of_its_client_is_cancelled() -> None:
    ended = trio.Event()

    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        try:
            await faulty(scope, receive, send)
        finally:
            if scope["type"] == "http":
                ended.set()

    async with running(app) as server:
        async with await server.connect() as stream:
            await stream.send_all(HELLO.replace(b"hello", b"stays"))
        with trio.fail_after(20):
            await ended.wait()


async def test_a_handler_that_takes_an_impossible_choice_ends_its_own_connection_only() -> None:
    """Hypercorn's answer to it fails in a place where nothing of the request's is left to catch it."""

    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept", "subprotocol": "not offered", "headers": []})
        else:
            await faulty(scope, receive, send)

    async with running(app) as server:
        async with await server.connect() as stream:
            await stream.send_all(handshake("/"))
            assert await ends(server, stream) == "is ended"
        assert await answers(server) == "answers"


async def test_a_body_without_end_stops_when_its_client_leaves() -> None:
    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http" or scope["path"] == "/hello":
            await faulty(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async with running(app) as server:
        async with await server.connect() as stream:
            await stream.send_all(HELLO.replace(b"hello", b"endless"))
            await stream.receive_some()
        assert await answers(server) == "answers"


async def test_a_client_that_never_answers_a_close_frame_is_left() -> None:
    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
            await send({"type": "websocket.close", "code": 4000, "reason": None})

    async with running(app) as server, raw_websocket(server, "/") as client:
        assert await client.outcome() == "closed 4000"
        assert await ends(server, client.stream) == "is ended"


async def test_a_frame_that_a_handler_gave_up_on_is_the_last_one() -> None:
    """Whatever followed half a frame would be read as the rest of it."""
    gave_up = trio.Event()

    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
            with trio.move_on_after(0.1):
                await send({"type": "websocket.send", "bytes": None, "text": "x" * 20_000_000})
            gave_up.set()
            await send({"type": "websocket.send", "bytes": None, "text": "y"})

    received = set[str]()
    async with running(app) as server, raw_websocket(server, "/") as client:
        await gave_up.wait()
        try:
            while (event := await client.receive()) is not None:
                assert isinstance(event, Message)
                received.update(event.data)
        except trio.BrokenResourceError:
            pass
    assert received == {"x"}


class EagerReader:
    """A client in a thread of its own, which reads as fast as a handler can send."""

    def __init__(self, server: Server, path: str) -> None:
        self._server = server
        self._path = path
        self._enough = threading.Event()

    async def read_during(self, what: trio.Event) -> bool:
        """Read until ``what`` happens; False if it has not happened while there was something to read."""
        async with trio.open_nursery() as nursery:

            async def tell() -> None:
                await what.wait()
                self._enough.set()

            nursery.start_soon(tell)
            in_time = await trio.to_thread.run_sync(self._read)
            self._enough.set()
            nursery.cancel_scope.cancel()
        return in_time

    def _read(self) -> bool:
        with socket.create_connection(("127.0.0.1", self._server.port)) as sock:
            sock.sendall(handshake(self._path))
            sock.recv(65536)
            sock.sendall(b"\x81\x80\x00\x00\x00\x00")
            received = 0
            while not self._enough.is_set() and received < 3_000_000:
                data = sock.recv(65536)
                if not data:
                    break
                received += len(data)
            return self._enough.is_set()


async def test_a_handler_that_sends_without_end_lets_others_in() -> None:
    answered = trio.Event()

    async def ask(server: Server) -> None:
        assert await happens(server, "babble started") == "happens"
        answered.set()

    async with running() as server, trio.open_nursery() as nursery:
        nursery.start_soon(ask, server)
        assert await EagerReader(server, "/babble").read_during(answered)


async def test_a_handler_that_sends_without_end_does_not_hold_up_a_stop() -> None:
    async with running() as server:

        async def stop() -> None:
            assert await happens(server, "babble started") == "happens"
            await server.stop()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            await EagerReader(server, "/babble").read_during(server.stopped)
        with trio.fail_after(10):
            await server.stopped.wait()


async def test_a_client_that_never_reads_is_cut_without_help_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every kernel's user time-out covers a window that the client keeps shut."""
    monkeypatch.setattr(socket, "TCP_USER_TIMEOUT", socket.TCP_LINGER2)  # which says nothing about open connections
    async with running() as server, raw_websocket(server, "/flood", receive_buffer=4096):
        assert await happens(server, "flood ended") == "happens"
