"""How the web server stops: politely to those who deserve it, and soon in any case."""

from __future__ import annotations

import pytest
import trio
import trio_websocket
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from wsproto.events import CloseConnection

from tests.support.web.server_app import make_app
from tests.support.web.server_clients import HELLO, answer_to, happens, raw_websocket
from tests.support.web.server_running import PATIENT, Running, running


async def test_an_idle_connection_is_closed_and_a_busy_one_answered() -> None:
    async with running(limits=PATIENT) as server:
        idle, busy, half = [await server.connect() for _ in range(3)]
        async with idle, busy, half:
            await idle.send_all(HELLO)
            assert (await answer_to(idle)).body == b"hello"
            await half.send_all(HELLO[:10])
            await busy.send_all(HELLO.replace(b"hello", b"slow"))
            assert await happens(server, "slow started") == "happens"
            await server.stop()
            assert await idle.receive_some() == b""
            assert await half.receive_some() == b""
            assert (await answer_to(busy)).body == b"at last"
            with trio.fail_after(10):
                assert await busy.receive_some() == b""
            with pytest.raises(OSError):
                await server.connect()


async def test_nothing_is_waited_for_when_nobody_is_there() -> None:
    async with running(limits=PATIENT) as server:
        await server.stop()
        with trio.fail_after(10):
            await server.stopped.wait()


async def test_a_websocket_client_reads_that_the_server_goes_away() -> None:
    async with running(limits=PATIENT) as server:
        stream = await server.connect()
        # trio-websocket leaves a stream open that the server was the first to close.
        async with stream, trio.open_nursery() as nursery:
            client = await trio_websocket.wrap_client_stream(nursery, stream, "localhost", "/echo")
            await client.send_message("hello")
            assert await client.get_message() == "hello"
            await server.stop()
            with pytest.raises(trio_websocket.ConnectionClosed) as closed:
                await client.get_message()
            assert closed.value.reason is not None
            assert closed.value.reason.code == 1001
            with trio.fail_after(10):  # the close handshake alone ends the connection
                await server.stopped.wait()


async def test_the_application_may_close_its_sessions_first() -> None:
    closing = trio.Event()

    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
            await closing.wait()
            await send({"type": "websocket.send", "bytes": None, "text": "good-bye"})
            await send({"type": "websocket.close", "code": 4001, "reason": None})

    async def close_sessions() -> None:
        closing.set()
        await trio.testing.wait_all_tasks_blocked()

    async with (
        running(app, limits=PATIENT, close_sessions=close_sessions) as server,
        raw_websocket(server, "/") as client,
    ):
        for _ in range(50):  # a handler that has ended reads none of them, and the close frame is behind them
            await client.send("hello")
        await server.stop()
        assert await client.outcome() == "got 8"
        assert await client.outcome() == "closed 4001"
        await client.stream.send_all(client.frames.send(CloseConnection(code=4001)))
        with trio.fail_after(10):
            await server.stopped.wait()


async def hostile_clients(server: Running, nursery: trio.Nursery) -> None:
    """One of each kind that could hold up a stop, all connected until ``nursery`` is cancelled."""

    async def hold(path: str, started: str, task_status: trio.TaskStatus[None]) -> None:
        async with raw_websocket(server, path, receive_buffer=4096) as client:
            if path == "/echo":
                await client.send("hello")
            assert await happens(server, started) == "happens"
            task_status.started()
            await trio.sleep_forever()

    async def ask(request: bytes, task_status: trio.TaskStatus[None]) -> None:
        async with await server.connect() as stream:
            await stream.send_all(request)
            task_status.started()
            await trio.sleep_forever()

    await nursery.start(hold, "/flood", "flood started")
    await nursery.start(hold, "/gift", "gift sent")
    await nursery.start(hold, "/echo", "echo started")
    await nursery.start(ask, HELLO.replace(b"hello", b"never"))
    await nursery.start(ask, HELLO[:-2])
    await nursery.start(ask, b"")


@pytest.mark.parametrize("how", ["asked", "cancelled"])
async def test_no_client_holds_up_a_stop(how: str) -> None:
    async with running() as server, trio.open_nursery() as nursery:
        await hostile_clients(server, nursery)
        if how == "asked":
            await server.stop()
        else:
            server.scope.cancel()
        with trio.CancelScope(shield=True), trio.fail_after(10):
            await server.stopped.wait()
        nursery.cancel_scope.cancel()


async def test_a_session_hook_that_hangs_does_not_hold_up_a_stop() -> None:
    async with running(close_sessions=trio.sleep_forever) as server:
        await server.stop()
        with trio.fail_after(10):
            await server.stopped.wait()


async def test_the_application_is_started_before_and_stopped_after_its_requests() -> None:
    app = make_app()
    story: list[str] = []

    @app.before_serving
    async def begin() -> None:
        story.append("begin")

    @app.after_serving
    async def end() -> None:
        story.append("end")

    @app.get("/story")
    async def tell() -> str:
        return ",".join(story)

    async with running(app) as server:
        async with await server.connect() as stream:
            await stream.send_all(HELLO.replace(b"hello", b"story"))
            assert (await answer_to(stream)).body == b"begin"
        await server.stop()
        await server.stopped.wait()
    assert story == ["begin", "end"]
