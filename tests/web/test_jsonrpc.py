"""JSON-RPC, alike over HTTP and over a WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec
import pytest
import trio

from tests.support.waiting import until
from tests.support.web.connecting import Running, running
from trio_update.errors import Aborted, OperationFailed, Reason, Refused

Transport = Literal["http", "websocket"]
Ask = Callable[[str], Awaitable[Any]]

pytestmark = pytest.mark.parametrize("transport", ["http", "websocket"])


@asynccontextmanager
async def asking(server: Running, transport: Transport) -> AsyncIterator[Ask]:
    """A function that sends text and gives the decoded answer; None when there is none."""
    if transport == "http":
        yield lambda text: _over_http(server, text)
    else:
        async with server.websocket() as ws:
            marker = '{"jsonrpc":"2.0","method":"server.websocket.id","id":"marker"}'

            async def ask(text: str) -> Any:
                await ws.send_text(text)
                if _has_id(text):
                    answer = await ws.receive()
                    while isinstance(answer, dict) and "method" in answer:
                        answer = await ws.receive()
                    return answer
                await ws.send_text(marker)
                return None if (await ws.receive())["id"] == "marker" else "something"

            yield ask


def _has_id(text: str) -> bool:
    return "#silent" not in text


async def _over_http(server: Running, text: str) -> Any:
    answer = await server.http.post(
        "/server/jsonrpc", content=text.encode(), headers={"Content-Type": "application/json"}
    )
    if answer.status_code == 204:
        assert not answer.content
        return None
    assert answer.status_code == 200
    return msgspec.json.decode(answer.content)


def request(method: str = "server.config", **more: Any) -> str:
    return msgspec.json.encode({"jsonrpc": "2.0", "method": method, **more}).decode()


@pytest.mark.parametrize("id_", [0, 1, -5, 10001, 2**53, 2**70, "a", "", 'tu-1 " \\ é', None])
async def test_the_id_comes_back_as_it_was(transport: Transport, id_: object) -> None:
    text = request(id=id_)
    async with running() as server, asking(server, transport) as ask:
        assert await ask(text) == {"jsonrpc": "2.0", "result": {}, "id": id_}


@pytest.mark.parametrize(
    ("text", "code", "id_"),
    [
        ("", -32700, None),
        ("nonsense", -32700, None),
        ("{", -32700, None),
        ("[", -32700, None),
        ('[{"jsonrpc":"2.0","method":"a","id":1},', -32700, None),
        ('{"jsonrpc":"2.0","method":"server.config","id":NaN}', -32700, None),
        ('{"jsonrpc":"2.0","method":"\\ud800","id":1}', -32700, None),
        ("[" * 65 + "]" * 65, -32700, None),
        ("[" * 100_000, -32700, None),
        ('{"a":' * 100_000, -32700, None),
        ('"' + '\\"' * 100_000 + "[" * 100, -32700, None),
        ('{"a":' * 64 + "1" + "}" * 64, -32600, None),
        ("1", -32600, None),
        ("null", -32600, None),
        ('"text"', -32600, None),
        ("[]", -32600, None),
        ("{}", -32600, None),
        ('{"jsonrpc":"1.0","method":"server.config","id":4}', -32600, 4),
        ('{"method":"server.config","id":4}', -32600, 4),
        ('{"jsonrpc":"2.0","id":4}', -32600, 4),
        ('{"jsonrpc":"2.0","method":5,"id":4}', -32600, 4),
        ('{"jsonrpc":"2.0","method":null,"id":4}', -32600, 4),
        ('{"jsonrpc":"2.0","method":5}', -32600, None),
        ('{"jsonrpc":"2.0","result":5,"id":4}', -32600, 4),
        ('{"jsonrpc":"2.0","method":"server.config","id":{}}', -32600, None),
        ('{"jsonrpc":"2.0","method":"server.config","id":[1]}', -32600, None),
        ('{"jsonrpc":"2.0","method":"server.config","id":true}', -32600, None),
        ('{"jsonrpc":"2.0","method":"server.config","id":1.5}', -32600, None),
        ('{"jsonrpc":"2.0","method":"nothing.of.the.kind","id":4}', -32601, 4),
        ('{"jsonrpc":"2.0","method":"","id":4}', -32601, 4),
        ('{"jsonrpc":"2.0","method":"__init__","id":4}', -32601, 4),
        ('{"jsonrpc":"2.0","method":"server.config","params":[],"id":4}', -32602, 4),
        ('{"jsonrpc":"2.0","method":"server.config","params":[1],"id":4}', -32602, 4),
        ('{"jsonrpc":"2.0","method":"server.config","params":"x","id":4}', -32602, 4),
        ('{"jsonrpc":"2.0","method":"server.config","params":5,"id":4}', -32602, 4),
    ],
)
async def test_what_is_not_a_proper_request(transport: Transport, text: str, code: int, id_: object) -> None:
    async with running() as server, asking(server, transport) as ask:
        answer = await ask(text)
        assert set(answer) == {"jsonrpc", "error", "id"}
        assert (answer["jsonrpc"], answer["error"]["code"], answer["id"]) == ("2.0", code, id_)
        assert answer["error"]["message"]
        assert (await ask(request(id=1)))["result"] == {}


async def test_brackets_in_strings_are_not_nesting(transport: Transport) -> None:
    async with running() as server, asking(server, transport) as ask:
        assert (await ask(request(id=1, params={"a": '[{\\"' * 200})))["result"] == {}
        assert (await ask(request(id=1, params={"a": [[]] * 200})))["result"] == {}


@pytest.mark.parametrize("params", ["", '"params":null,', '"params":{},', '"params":{"unknown":[1,{"a":2}]},'])
async def test_params_may_be_absent_null_or_more_than_needed(transport: Transport, params: str) -> None:
    async with running() as server, asking(server, transport) as ask:
        answer = await ask('{"jsonrpc":"2.0",' + params + '"method":"machine.update.status","id":3}')
        assert "version_info" in answer["result"]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("machine.update.upgrade", {"name": 5}),
        ("machine.update.upgrade", {"name": ""}),
        ("machine.update.upgrade", {"nmae": "app"}),
        ("machine.update.client", {"nmae": "app"}),
        ("machine.update.recover", {}),
        ("machine.update.recover", {"name": "app", "hard": "true"}),
        ("machine.update.rollback", {}),
        ("machine.update.abort", {"proc_id": "1"}),
        ("machine.update.history", {"limit": 0}),
        ("machine.update.status", {"refresh": "true"}),
    ],
)
async def test_bad_params(transport: Transport, method: str, params: dict[str, Any]) -> None:
    async with running() as server, asking(server, transport) as ask:
        assert (await ask(request(method, params=params, id=1)))["error"]["code"] == -32602
        assert server.manager.calls == []


@pytest.mark.parametrize("item", [[], [1], "app", 5])
async def test_params_of_an_upgrade_that_are_no_object_upgrade_nothing(transport: Transport, item: object) -> None:
    async with running() as server, asking(server, transport) as ask:
        assert (await ask(request("machine.update.upgrade", params=item, id=1)))["error"]["code"] == -32602
        assert server.manager.calls == []


async def test_an_upgrade_without_params_is_a_full_one(transport: Transport) -> None:
    async with running() as server, asking(server, transport) as ask:
        assert (await ask(request("machine.update.upgrade", id=1)))["result"] == "ok"
        assert server.manager.calls[0][:2] == ("upgrade", None)


CODE_OF = {
    Reason.UNKNOWN_APP: -32601,
    Reason.BUSY: 503,
    Reason.PRINTING: 503,
    Reason.NOT_NOW: 503,
    Reason.NOT_READY: 503,
    Reason.UNKNOWN_JOB: 404,
    Reason.NOT_SUPPORTED: 400,
    Reason.BAD_VERSION: 400,
}


@pytest.mark.parametrize("method", ["machine.update.upgrade", "machine.update.refresh"])
async def test_every_refusal_has_its_code(transport: Transport, method: str) -> None:
    async with running() as server, asking(server, transport) as ask:
        for reason in Reason:
            server.manager.refused = Refused(reason, "not now")
            error = (await ask(request(method, params={"name": "app"}, id=1)))["error"]
            assert error == {"code": CODE_OF.get(reason, 409), "message": "not now", "data": {"reason": str(reason)}}


async def test_how_a_job_may_end(transport: Transport) -> None:
    async with running() as server, asking(server, transport) as ask:
        for failure, code, reason in ((OperationFailed("no disk"), 500, "failed"), (Aborted("by you"), 409, "aborted")):
            server.manager.failure = failure
            error = (await ask(request("machine.update.upgrade", params={"name": "app"}, id=1)))["error"]
            assert error == {"code": code, "message": str(failure), "data": {"reason": reason}}


async def test_an_unexpected_error_keeps_its_detail_to_itself(
    transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    async with running() as server, asking(server, transport) as ask:
        server.manager.crash = RuntimeError("secret detail")
        error = (await ask(request("machine.update.status", id=1)))["error"]
        assert error["code"] == 500
        assert "secret" not in error["message"]
        assert "secret detail" in caplog.text


async def test_a_notification_is_carried_out_and_never_answered(transport: Transport) -> None:
    async with running() as server, asking(server, transport) as ask:
        for text in (
            request("server.config", params={"#silent": 1}),
            request("unknown #silent"),
            request("machine.update.recover", params={"#silent": 1}),
            request("machine.update.recover", params=["#silent"]),
            "[" + request("unknown #silent") + "," + request("server.config") + "]",
        ):
            assert await ask(text) is None
        if transport == "http":
            assert await ask(request("machine.update.refresh", params={"name": "app"})) is None
            assert server.manager.calls == [("refresh", "app")]


async def test_a_batch_is_answered_as_a_batch(transport: Transport) -> None:
    async with running() as server, asking(server, transport) as ask:
        items = [
            request("server.config", id=1),
            request("server.config"),
            "1",
            "{}",
            "[]",
            request("nothing", id="x"),
            request("machine.update.plan", id=2, params={"name": "app"}),
            request("machine.update.plan", id=3, params=[]),
            request("machine.update.status", id=0),
        ]
        answers = await ask("[" + ",".join(items) + "]")
        told = [(answer["id"], answer["error"]["code"] if "error" in answer else 0) for answer in answers]
        assert told == [
            (1, 0),
            (None, -32600),
            (None, -32600),
            (None, -32600),
            ("x", -32601),
            (2, 0),
            (3, -32602),
            (0, 0),
        ]


async def test_the_requests_of_a_batch_run_at_the_same_time(transport: Transport) -> None:
    async with running() as server, asking(server, transport) as ask, trio.open_nursery() as nursery:
        server.manager.plan_gate = trio.Event()

        async def open_when_both_are_there() -> None:
            await until(lambda: server.manager.plans_waiting == 2)
            server.manager.plan_gate.set()

        nursery.start_soon(open_when_both_are_there)
        with trio.fail_after(5):
            answers = await ask(f"[{request('machine.update.plan', id=1)},{request('machine.update.plan', id=2)}]")
        assert [answer["id"] for answer in answers if "result" in answer] == [1, 2]


async def test_a_long_batch_is_refused_whole(transport: Transport) -> None:
    async with running() as server, asking(server, transport) as ask:
        answer = await ask("[" + ",".join([request(id=1)] * 101) + "]")
        assert (answer["error"]["code"], answer["id"]) == (-32600, None)
        assert len(await ask("[" + ",".join([request(id=1)] * 100) + "]")) == 100


async def test_a_batch_may_not_have_more_calls_in_flight_than_a_socket(transport: Transport) -> None:
    async with running() as server, asking(server, transport) as ask:
        items = [request("machine.update.plan", id=number) for number in range(40)]
        answers = await ask("[" + ",".join([*items, request("server.config", id="now")]) + "]")
        assert len(answers) == 41
        refused = [answer["id"] for answer in answers if "error" in answer]
        assert refused == list(range(32, 40))
        assert {answer["error"]["code"] for answer in answers if "error" in answer} == {-32000}
        again = await ask("[" + ",".join(items[:32]) + "]")
        assert all("result" in answer for answer in again)
