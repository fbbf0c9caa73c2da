"""Clients that behave badly, and what each of them sees.

A scenario returns what it observed as a short text, whichever server it talks to.
"""

from __future__ import annotations

import itertools

import trio

from tests.support.web.server_clients import (
    HELLO,
    Http,
    Server,
    answer_to,
    answers,
    ends,
    handshake,
    happens,
    raw_websocket,
)


async def early_byte(server: Server) -> str:
    async with await server.connect() as stream:
        await stream.send_all(handshake("/echo") + b"\x81")
        await ends(server, stream)
    return await answers(server)


async def early_byte_to_a_slow_handler(server: Server) -> str:
    """Which is about to accept when the server has already answered with 400."""
    async with await server.connect() as stream:
        await stream.send_all(handshake("/hesitant") + b"\x81")
        assert (await answer_to(stream)).status == 400
        return await ends(server, stream)


async def bad_chunk(server: Server) -> str:
    """Sent right behind the head, so that a handler that has already begun may be writing its answer."""
    head = b"POST /length HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    for _ in range(5):
        async with await server.connect() as stream:
            await stream.send_all(head)
            await stream.send_all(b"not a size\r\n")
            await ends(server, stream)
    return await answers(server)


async def never_reads(server: Server) -> str:
    async with raw_websocket(server, "/flood", receive_buffer=4096):
        return await happens(server, "flood ended")


async def reads_nothing_of_a_gift(server: Server) -> str:
    async with raw_websocket(server, "/gift", receive_buffer=4096):
        assert await happens(server, "gift sent") == "happens"
        return await happens(server, "gift ended")


async def idle_after_a_response(server: Server) -> str:
    async with await server.connect() as stream:
        assert (await Http(stream).ask()).status == 200
        return await ends(server, stream)


async def offers_deflate(server: Server) -> str:
    async with await server.connect() as stream:
        await stream.send_all(handshake("/echo", "sec-websocket-extensions: permessage-deflate"))
        answer = await answer_to(stream)
        assert answer.status == 101
        return "compressed" if "sec-websocket-extensions" in answer.headers else "plain"


async def stop_with_a_websocket(server: Server) -> str:
    async with raw_websocket(server, "/echo") as client:
        await client.send("hello")
        assert await client.outcome() == "got 5"
        await server.stop()
        return await client.outcome()


async def head_of_20_kb(server: Server) -> str:
    async with await server.connect() as stream:
        return str((await Http(stream).ask(cookie="x" * 20_000)).status)


async def target_of_20_kb(server: Server) -> str:
    async with await server.connect() as stream:
        return str((await Http(stream).ask(path="/hello?" + "x" * 20_000)).status)


async def upgrade_to_http2(server: Server) -> str:
    async with await server.connect() as stream:
        options = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"
        await stream.send_all(HELLO.removesuffix(b"\r\n") + options.encode())
        return str((await answer_to(stream)).status)


async def http2_unasked(server: Server) -> str:
    async with await server.connect() as stream:
        await stream.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        return "HTTP/1.1" if (await stream.receive_some()).startswith(b"HTTP/1.1 505 ") else "HTTP/2"


async def long_body(server: Server) -> str:
    async with await server.connect() as stream:
        return str((await Http(stream).ask("POST", "/length", b"x" * 1_500_000)).status)


async def slow_head(server: Server) -> str:
    async with await server.connect() as stream:
        return await _drips(server, stream, b"GET /hello HTTP/1.1\r\nhost: localhost\r\nx: ")


async def slow_body(server: Server) -> str:
    async with await server.connect() as stream:
        head = b"POST /length HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n"
        return await _drips(server, stream, head)


async def _drips(server: Server, stream: trio.SocketStream, start: bytes) -> str:
    async def drip() -> None:
        await stream.send_all(start)
        try:
            for _ in itertools.count():
                await trio.sleep(0.05)  # a client that drips is what this is
                await stream.send_all(b"x")
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        outcome = await ends(server, stream)
        nursery.cancel_scope.cancel()
    return outcome


async def long_message(server: Server) -> str:
    async with raw_websocket(server, "/lengths") as client:
        await client.send("x" * 1_100_000)
        return await client.outcome()


async def long_message_of_wide_characters(server: Server) -> str:
    """Fewer than 1 Mi characters, and more than 1 MiB."""
    async with raw_websocket(server, "/lengths") as client:
        await client.send("é" * 600_000)
        return await client.outcome()


async def malformed_frame(server: Server) -> str:
    async with raw_websocket(server, "/lengths") as client:
        await client.stream.send_all(b"\xff\x80\x00\x00\x00\x00")
        return await client.outcome()


async def bad_handshake(server: Server) -> str:
    async with await server.connect() as stream:
        await stream.send_all(handshake("/echo", version=12))
        return await ends(server, stream)


async def leaves_a_babbler(server: Server) -> str:
    async with raw_websocket(server, "/babble") as client:
        await client.send("begin")
        await client.receive()
    return await answers(server)


async def leaves_after_sending_ahead(server: Server) -> str:
    async with await server.connect() as stream:
        await stream.send_all(HELLO.replace(b"hello", b"never") + HELLO)
        assert await happens(server, "never started") == "happens"
    return await happens(server, "never ended")
