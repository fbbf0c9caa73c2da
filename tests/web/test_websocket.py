"""One WebSocket, and what goes over it."""

from __future__ import annotations

import logging

import pytest
import trio

from tests.support.waiting import until
from tests.support.web.connecting import Answer, Running, running
from tests.support.web.fake import EVIL, EVIL_ESCAPED
from trio_update.config.values import ServerConfig
from trio_update.errors import OperationFailed, Reason, Refused
from trio_update.web.server.limits import Limits


async def test_identify_and_the_number_of_a_connection() -> None:
    async with running() as server, server.websocket() as first, server.websocket() as second:
        numbers = []
        for ws in (first, second):
            who = {"client_name": "x", "version": "1", "type": "other", "url": "http://x"}
            number = (await ws.call("server.connection.identify", 0, **who))["result"]["connection_id"]
            assert (await ws.call("server.websocket.id"))["result"] == {"websocket_id": number}
            numbers.append(number)
        assert numbers[0] != numbers[1]
        assert (await first.call("server.connection.identify", 1, client_name=5))["error"]["code"] == -32602


async def test_over_http_there_is_no_connection_to_identify() -> None:
    async with running() as server:
        for method in ("server.connection.identify", "server.websocket.id"):
            request = {"jsonrpc": "2.0", "method": method, "id": 1}
            answer = (await server.http.post("/server/jsonrpc", json=request)).json()
            assert answer["error"]["code"] == -32602


async def test_json_rpc_over_http_wants_a_json_content_type() -> None:
    async with running() as server:
        answer = await server.http.post(
            "/server/jsonrpc", content=b'{"jsonrpc":"2.0","method":"machine.update.full","id":1}'
        )
        assert (answer.status_code, answer.json()["error"]["code"], server.manager.calls) == (400, 400, [])


async def test_the_reply_comes_after_every_notification_of_the_job() -> None:
    async with running() as server, server.websocket() as ws:
        await ws.send(method="machine.update.upgrade", params={"name": "app"}, id=7)
        frames = [await ws.receive() for _ in range(5)]
        assert [frame.get("method") for frame in frames] == [
            *["notify_update_response"] * 3,
            "notify_update_refreshed",
            None,
        ]
        messages = [frame["params"][0] for frame in frames[:3]]
        assert [message["complete"] for message in messages] == [False, False, True]
        assert {message["application"] for message in messages} == {"app"}
        assert len({message["proc_id"] for message in messages}) == 1
        assert frames[3]["params"][0]["busy"] is False
        assert set(frames[3]["params"][0]["version_info"]) == {"klipper", "moonraker", "app"}
        assert frames[4] == {"jsonrpc": "2.0", "result": "ok", "id": 7}


async def test_a_refused_upgrade_tells_its_text_completes_and_then_replies() -> None:
    async with running() as server, server.websocket() as ws:
        for outcome in (Refused(Reason.PRINTING, "a print is running"), None):
            server.manager.refused = outcome
            server.manager.failure = None if outcome else OperationFailed("it broke")
            await ws.send(method="machine.update.upgrade", params={"name": "app"}, id=7)
            frames: list[Answer] = []
            while not frames or "id" not in frames[-1]:
                frames.append(await ws.receive())
            assert frames[-3]["params"][0]["complete"] is True
            assert frames[-2]["method"] == "notify_update_refreshed"
            assert "error" in frames[-1]


async def test_every_connection_hears_of_a_job_identified_or_not() -> None:
    async with running() as server, server.websocket() as first, server.websocket() as second:
        assert "result" in await first.call("server.connection.identify", client_name="x", type="other")
        assert "result" in await second.call("server.config")
        server.manager.say("hello", proc_id=3)
        for ws in (first, second):
            frame = await ws.receive()
            assert frame["params"] == [{"application": "klipper", "proc_id": 3, "message": "hello", "complete": False}]


async def test_a_status_is_answered_while_an_upgrade_waits() -> None:
    async with running() as server, server.websocket() as ws:
        server.manager.hold = trio.Event()
        await ws.send(method="machine.update.upgrade", params={"name": "app"}, id="upgrade")
        assert "method" in await ws.receive()
        assert (await ws.call("machine.update.status", "status"))["result"]["busy"] is True
        assert (await ws.call("machine.update.upgrade", "second"))["error"]["code"] == 503
        server.manager.hold.set()
        assert (await ws.reply("upgrade"))["result"] == "ok"


async def test_a_client_that_leaves_does_not_end_its_job_and_others_hear_its_end() -> None:
    async with running() as server, server.websocket() as other:
        server.manager.hold = trio.Event()
        async with server.websocket() as leaver:
            await leaver.send(method="machine.update.upgrade", params={"name": "app"}, id=1)
            await leaver.receive()
        await _until_open(server, 1)
        assert server.manager.state.busy
        server.manager.hold.set()
        with trio.fail_after(5):
            while (await other.receive()).get("method") != "notify_update_refreshed":
                pass
        assert server.manager.ended == [("app", "succeeded")]


async def test_a_client_that_just_drops_the_connection_is_noticed() -> None:
    async with running() as server:
        for _ in range(3):
            stream = await _silent_client(server)
            await _until_open(server, 1)
            await stream.aclose()
            await _until_open(server, 0)


@pytest.mark.parametrize(
    ("name", "type_", "escaped"),
    [
        ("mainsail", "web", True),
        ("Something new", "web", True),
        ("", "web", True),
        ("Fluidd", "web", False),
        ("trio-update", "web", False),
        ("mainsail", "other", False),
        ("KlipperScreen", "display", False),
    ],
)
async def test_text_from_outside_is_escaped_for_pages_that_show_it_as_html(
    name: str, type_: str, escaped: bool
) -> None:
    async with running() as server, server.websocket() as ws:
        await ws.call("server.connection.identify", client_name=name, version="1", type=type_, url="")
        text = EVIL_ESCAPED if escaped else EVIL
        status = (await ws.call("machine.update.status"))["result"]
        assert status["version_info"]["app"]["commits_behind"][0]["message"] == text
        assert (await ws.call("machine.update.plan"))["result"][0]["release_notes"] == text
        server.manager.failure = OperationFailed(EVIL)
        await ws.send(method="machine.update.upgrade", params={"name": "app"}, id=9)
        frames: list[Answer] = []
        while not frames or frames[-1].get("id") != 9:
            frames.append(await ws.receive())
        told = [frame for frame in frames if frame.get("method") != "notify_proc_stat_update"]
        assert told[0]["params"][0]["message"] == text
        assert told[-2]["params"][0]["version_info"]["app"]["warnings"] == [text]
        assert told[-1]["error"]["message"] == text


async def test_text_is_as_it_is_until_a_client_says_who_it_is() -> None:
    async with running() as server, server.websocket() as ws:
        status = (await ws.call("machine.update.status"))["result"]
        assert status["version_info"]["app"]["warnings"] == [EVIL]


async def test_who_asked_is_kept_for_the_history() -> None:
    async with running() as server, server.websocket() as ws:
        await ws.call("machine.update.upgrade", name="app")
        await ws.call(
            "server.connection.identify", client_name="Main\nsail\x1b[1m" + "x" * 500, version="2.18", type=""
        )
        await ws.call("machine.update.upgrade", name="app")
        first, second = (call[2] for call in server.manager.calls)
        assert first == "WebSocket client at 127.0.0.1"
        assert second.startswith("Mainsail[1mxxx")
        assert second.endswith(" 2.18 at 127.0.0.1")
        assert len(second) < 120


async def test_web_clients_hear_a_heartbeat_and_others_do_not() -> None:
    async with running() as server, server.websocket() as web, server.websocket() as other:
        await other.call("server.connection.identify", client_name="x", type="bot")
        await web.call("server.connection.identify", client_name="x", type="web")
        await web.call("server.connection.identify", client_name="x", type="web")
        beat = await web.receive()
        assert beat["method"] == "notify_proc_stat_update"
        assert beat["params"] == [{"websocket_connections": 2}]
        await other.send(method="server.config", id=1)
        assert (await other.receive())["id"] == 1


async def test_binary_frames_are_refused_and_the_connection_lives() -> None:
    async with running() as server, server.websocket() as ws:
        for data in (b'{"jsonrpc":"2.0","method":"machine.update.full","id":1}', b"", b"\xff"):
            answer = await ws.ask(data)
            assert (answer["error"]["code"], answer["id"]) == (-32600, None)
        assert server.manager.calls == []
        assert "result" in await ws.call("server.config")


async def test_a_frame_beyond_the_limit_ends_the_session_even_where_the_server_lets_it_through() -> None:
    async with running(limits=Limits(message_bytes=4 * 1024 * 1024)) as server, server.websocket() as ws:
        assert (await ws.ask('"' + "x" * 1_000_000 + '"'))["error"]["code"] == -32600
        await ws.send_text('"' + "x" * 1_100_000 + '"')
        assert (await ws.close_reason())[0] == 1009


async def test_a_call_too_many_is_refused_at_once_and_the_others_go_on() -> None:
    async with running() as server, server.websocket() as ws:
        server.manager.plan_gate = trio.Event()
        for number in range(40):
            await ws.send(method="machine.update.plan", id=number)
        refused = [await ws.receive() for _ in range(8)]
        assert [answer["id"] for answer in refused] == list(range(32, 40))
        assert {answer["error"]["code"] for answer in refused} == {-32000}
        assert "result" in await ws.call("machine.update.status", "status")
        server.manager.plan_gate.set()
        answers = [await ws.receive() for _ in range(32)]
        assert {answer["id"] for answer in answers if "result" in answer} == set(range(32))
        assert "result" in await ws.call("machine.update.plan", "again")


async def test_thousands_of_requests_in_a_row_are_all_answered_in_their_order() -> None:
    async with running() as server, server.websocket() as ws, trio.open_nursery() as nursery:

        async def send() -> None:
            for number in range(3000):
                await ws.send(method="server.config", id=number)

        nursery.start_soon(send)
        for number in range(3000):
            assert (await ws.receive())["id"] == number


async def test_a_client_that_never_reads_is_let_go_and_nobody_else_notices() -> None:
    async with running(limits=Limits(send_seconds=1.0)) as server, server.websocket() as reader:
        stream = await _silent_client(server)
        await _until_open(server, 2)
        heard = 0
        # Enough to fill both kernels' buffers and the outbox, whatever their sizes are.
        while len(server.app.sessions) == 2 and heard < 400:
            for _ in range(20):
                server.manager.say("x" * 100_000)
            for _ in range(20):
                await reader.receive()
            heard += 1
        await _until_open(server, 1)
        assert "result" in await reader.call("machine.update.status")
        await stream.aclose()


async def test_an_outbox_that_overflows_ends_the_session_with_a_close_frame() -> None:
    async with running() as server, server.websocket() as ws:
        await ws.call("server.config")
        # Published in one go, no reader could have kept up.
        for number in range(600):
            server.manager.say(f"line {number}")
        code, reason = await ws.close_reason()
        assert (code, reason) == (1013, "the client does not read")


async def test_one_connection_too_many_is_refused_and_room_is_made_by_leaving() -> None:
    limited = ServerConfig(max_websocket_connections=3)
    async with running(server=limited) as server, server.websocket() as ws, server.websocket():
        async with server.websocket():
            await _until_open(server, 3)
            assert await server.handshake() == 503
            assert "result" in await ws.call("server.config")
        await _until_open(server, 2)
        async with server.websocket() as another:
            assert "result" in await another.call("server.config")


async def test_websockets_elsewhere_are_not_found() -> None:
    async with running() as server:
        assert await server.handshake(path="/nothing") == 404
        assert await server.handshake(path="/server/info") == 400
        assert await server.handshake() == 101


async def test_at_the_stop_every_connection_is_closed_with_1001() -> None:
    async with running() as server, server.websocket() as first, server.websocket() as second:
        server.manager.hold = trio.Event()
        await first.send(method="machine.update.upgrade", params={"name": "app"}, id=1)
        await first.receive()
        server.stop.set()
        for ws in (first, second):
            assert await ws.close_reason() == (1001, "the server is stopping")
        with trio.fail_after(5):
            await server.app.close_sessions()
        assert server.app.sessions.refusal == "the server is stopping"


async def test_a_session_that_fails_is_logged_and_ends_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running() as server, server.websocket() as other, server.websocket() as ws:
        await ws.call("server.config")

        def broken(*_: object, **__: object) -> str:
            raise RuntimeError("a defect")

        await other.call("server.connection.identify", client_name="fluidd", type="bot")
        monkeypatch.setattr("trio_update.web.api.jsonrpc.Rpc.refuse", broken)
        with caplog.at_level(logging.ERROR):
            await ws.send_text(b"binary")
            assert (await ws.close_reason())[0] == 1011
        assert "a defect" in caplog.text
        assert "result" in await other.call("server.config")


async def _silent_client(server: Running) -> trio.SocketStream:
    """A WebSocket whose client never reads."""
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    await stream.send_all(
        b"GET /websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    return stream


async def _until_open(server: Running, count: int) -> None:
    await until(lambda: len(server.app.sessions) == count)
