"""The web server as its clients see it: answering and refusing."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio
import trio_websocket
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from tests.support.web.server_clients import (
    HELLO,
    Http,
    Server,
    answer_to,
    ends,
    error_of,
    handshake,
    happens,
    raw_websocket,
)
from tests.support.web.server_running import BRISK, PATIENT, running


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with running() as server:
        yield server


async def test_requests_follow_each_other_on_one_connection(server: Server) -> None:
    async with await server.connect() as stream:
        client = Http(stream)
        assert [(await client.ask()).body for _ in range(40)] == [b"hello"] * 40
        assert (await client.ask("HEAD")).headers["content-length"] == "5"
        assert (await client.ask("POST", "/length", b"x" * 1_000_000)).body == b"1000000"
        assert (await client.ask(path="/chunks")).body.endswith(b",98,99,")
        assert (await client.ask(path="/nothing")).status == 404
        assert (await client.ask()).body == b"hello"


async def test_requests_sent_together_are_answered_in_turn(server: Server) -> None:
    post = b"POST /length HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\nabc"
    last = HELLO.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    async with await server.connect() as stream:
        await stream.send_all(HELLO.replace(b"hello", b"slow") + post + last)
        text = b""
        async for data in stream:
            text += data
    assert [part.rpartition(b"\r\n\r\n")[2] for part in text.split(b"HTTP/1.1 200")[1:]] == [b"at last", b"3", b"hello"]


async def test_one_request_may_be_sent_ahead_but_not_any_number(server: Server) -> None:
    async with await server.connect() as stream:
        with trio.move_on_after(20) as scope, suppress(trio.BrokenResourceError):
            await stream.send_all(HELLO.replace(b"hello", b"never"))
            while True:
                await stream.send_all(HELLO * 1000)
        assert not scope.cancelled_caught
    assert await happens(server, "never ended") == "happens"


async def test_a_body_of_unannounced_length_arrives_whole(server: Server) -> None:
    head = b"POST /length HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n"
    async with await server.connect() as stream:
        await stream.send_all(head)
        assert (await answer_to(stream)).status == 100
        for _ in range(3):
            await stream.send_all(b"3\r\nabc\r\n")
        await stream.send_all(b"0\r\n\r\n")
        assert (await answer_to(stream)).body == b"9"


async def test_a_client_that_reads_slowly_gets_everything(server: Server) -> None:
    """Though the whole takes far longer than the deadline for a send that goes nowhere."""

    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 600_000, "more_body": False})

    limits = dataclasses.replace(BRISK, send_seconds=0.3)
    async with running(app, limits=limits) as slow, await slow.connect(receive_buffer=20_000) as stream:
        await stream.send_all(HELLO.replace(b"1.1", b"1.0"))
        got = b""
        while data := await stream.receive_some(60_000):
            got += data
            # Its slowness is what is tested, against deadlines that run while a socket's buffer is full.
            await trio.sleep(0.05)
    assert len(got.partition(b"\r\n\r\n")[2]) == 600_000


async def test_an_announced_body_that_is_too_long_gets_an_answer_and_no_reset(server: Server) -> None:
    async with await server.connect() as stream:
        answer = await Http(stream).ask("POST", "/length", b"x" * 8_000_000)
    assert error_of(answer) == (413, "the body exceeds 1048576 bytes")


async def test_an_unannounced_body_that_is_too_long_never_reaches_the_application(server: Server) -> None:
    async with await server.connect() as stream:
        await stream.send_all(b"POST /length HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(20):
            await stream.send_all(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        assert error_of(await answer_to(stream)) == (413, "the body exceeds 1048576 bytes")
        assert await ends(server, stream) == "is ended"
    async with await server.connect() as stream:
        assert (await Http(stream).ask(path="/count/posted")).body == b"0"


async def test_a_head_request_is_refused_without_a_body(server: Server) -> None:
    async with await server.connect() as stream:
        await stream.send_all(b"HEAD /hello HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9999999\r\n\r\n")
        text = b""
        async for data in stream:
            text += data
    assert text.startswith(b"HTTP/1.1 413 ")
    assert text.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("size", [17_000, 60_000, 200_000])
async def test_a_head_that_is_too_long_gets_an_answer(server: Server, size: int) -> None:
    async with await server.connect() as stream:
        with trio.move_on_after(0.2):  # the server does not take all of the longest
            await stream.send_all(b"GET /hello HTTP/1.1\r\nhost: localhost\r\ncookie: " + b"x" * size + b"\r\n\r\n")
        assert error_of(await answer_to(stream)) == (431, "request line and headers exceed 16384 bytes")


async def test_a_head_just_below_the_limit_is_served(server: Server) -> None:
    async with await server.connect() as stream:
        assert (await Http(stream).ask(cookie="x" * 16_000)).body == b"hello"


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"]
)
async def test_what_is_no_request_gets_an_answer(server: Server, garbage: bytes) -> None:
    async with await server.connect() as stream:
        await stream.send_all(garbage)
        assert error_of(await answer_to(stream)) == (400, "Bad Request")
        assert await ends(server, stream) == "is ended"


async def test_a_request_that_never_ends_is_told_so(server: Server) -> None:
    async with await server.connect() as stream:
        await stream.send_all(b"POST /length HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nabc")
        assert error_of(await answer_to(stream)) == (408, "Request Timeout")


async def test_a_connection_without_a_request_is_closed_without_a_word(server: Server) -> None:
    async with await server.connect() as stream:
        assert await stream.receive_some() == b""


async def test_a_handler_at_work_is_not_hurried_by_the_time_outs(server: Server) -> None:
    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        # Longer than both time-outs together; in real time, because a clock that jumps would be ahead of the sockets.
        await trio.sleep(0.4)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    limits = dataclasses.replace(BRISK, keep_alive_seconds=0.1, request_seconds=0.2)
    async with running(app, limits=limits) as slow, await slow.connect() as stream:
        await stream.send_all(HELLO)
        assert (await answer_to(stream)).status == 200


async def test_trio_websocket_talks_to_it(server: Server) -> None:
    async with trio_websocket.open_websocket("127.0.0.1", server.port, "/echo", use_ssl=False) as client:
        for size in (0, 1, 125, 126, 65_535, 65_536, 1024 * 1024):
            text = "x" * size or " "
            await client.send_message(text)
            assert await client.get_message() == text
        await client.ping()


async def test_a_frame_is_refused_before_it_has_arrived(server: Server) -> None:
    """And however much of it a client goes on to send, it still reads why."""
    async with raw_websocket(server, "/lengths") as client:
        frame = b"\x82\xff" + (1 << 40).to_bytes(8) + bytes(4)
        await client.stream.send_all(frame + bytes(4_000_000))
        assert await client.outcome() == "closed 1009"
        assert await ends(server, client.stream) == "is ended"


async def test_a_compressed_frame_is_a_protocol_error(server: Server) -> None:
    async with raw_websocket(server, "/lengths", "sec-websocket-extensions: permessage-deflate") as client:
        await client.stream.send_all(b"\xc1\x81\x00\x00\x00\x00x")
        assert await client.outcome() == "closed 1002"


async def test_a_bad_handshake_is_refused_and_the_connection_closed_at_once() -> None:
    async with running(limits=PATIENT) as server, await server.connect() as stream:
        await stream.send_all(handshake("/echo", version=12))
        assert (await answer_to(stream)).status == 400
        assert await ends(server, stream) == "is ended"


async def test_a_websocket_whose_path_is_unknown_is_refused_and_closed(server: Server) -> None:
    async with await server.connect() as stream:
        await stream.send_all(handshake("/nothing"))
        assert (await answer_to(stream)).status in {403, 404}
        assert await ends(server, stream) == "is ended"


async def test_a_handler_is_cancelled_when_its_client_leaves(server: Server) -> None:
    async with await server.connect() as stream:
        await stream.send_all(HELLO.replace(b"hello", b"never"))
        assert await happens(server, "never started") == "happens"
    assert await happens(server, "never ended") == "happens"
