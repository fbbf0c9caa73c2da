"""The server as a whole, as clients and the system see it: order on the wire, bad input, stops and kills."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from tests.support.cli import Running, piped_cli
from tests.support.upstream import Bench, Upstream, reap_inherited
from tests.support.waiting import until
from tests.test_cli_serve import serving

_SLOW_HEALTH = "health_command: sh -c 'echo > ../reached; sleep 60'\nhealth_timeout: 90\n"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    upstream = Upstream(tmp_path / "upstream")
    upstream.commit(tag="v1.0")
    path = upstream.clone(tmp_path / "app")
    upstream.commits(3)
    configure(tmp_path, upstream)
    return Bench(tmp_path, upstream, path)


def configure(folder: Path, upstream: Upstream, more: str = "") -> None:
    (folder / "moonraker.conf").write_text(
        f"[update_manager app]\ntype: git_repo\npath: {folder}/app\norigin: {upstream.url}\n"
        f"is_system_service: False\n{more}[trio_update]\nport: 1\n"
    )


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[WebSocketConnection]:
    async with open_websocket_url(url.replace("http://", "ws://") + "/websocket") as socket:
        yield socket


async def call(socket: WebSocketConnection, method: str, number: int = 1, **params: Any) -> None:
    await socket.send_message(json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": number}))


async def next_frame(socket: WebSocketConnection) -> Any:
    with trio.fail_after(20):
        return json.loads(await socket.get_message())


async def ready(url: str) -> None:
    """Return when the server has looked at its apps."""
    async with httpx.AsyncClient(base_url=url) as client:
        with trio.fail_after(30):
            while (await client.post("/machine/update/refresh", json={})).status_code != 200:  # noqa: ASYNC110 - another process
                await trio.sleep(0.05)


async def test_an_upgrade_by_a_plan_that_has_changed_is_refused_over_both_ways(bench: Bench) -> None:
    async with serving(bench.folder) as (_, url), httpx.AsyncClient(base_url=url) as client, connected(url) as socket:
        await ready(url)
        (plan,) = (await client.get("/machine/update/plan", params={"name": "app"})).json()["result"]
        bench.upstream.commit()
        by_plan = {"name": "app", "plan_id": plan["plan_id"]}
        answer = await client.post("/machine/update/upgrade", params=by_plan)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["reason"]) == (409, 409, "plan_changed")
        changed = "The plan has changed: it was v1.0-0 → v1.0-3, now it is v1.0-0 → v1.0-4; to commit "
        assert error["message"].startswith(changed)
        await call(socket, "machine.update.upgrade", 7, **by_plan)
        frames = [await next_frame(socket)]
        while "id" not in frames[-1]:
            frames.append(await next_frame(socket))
        again = {"code": 409, "message": error["message"], "data": {"reason": "plan_changed"}}
        assert frames[-1]["error"] == again
        (plan,) = (await client.get("/machine/update/plan", params={"name": "app"})).json()["result"]
        answer = await client.post("/machine/update/upgrade", json={"name": "app", "plan_id": plan["plan_id"]})
        assert answer.json() == {"result": "ok"}
        assert bench.head == bench.upstream.head == plan["to_hash"]


async def test_messages_then_the_status_then_the_reply(bench: Bench) -> None:
    async with serving(bench.folder) as (_, url):
        await ready(url)
        async with connected(url) as socket, connected(url) as other:
            await call(socket, "machine.update.upgrade", 0, name="app")
            frames = [await next_frame(socket)]
            while "id" not in frames[-1]:
                frames.append(await next_frame(socket))
            assert frames[-1] == {"jsonrpc": "2.0", "result": "ok", "id": 0}
            assert frames[-2]["method"] == "notify_update_refreshed"
            status = frames[-2]["params"][0]
            assert (status["busy"], status["version_info"]["app"]["version"]) == (False, "v1.0-3")
            messages = [frame["params"][0] for frame in frames[:-2]]
            assert [message["complete"] for message in messages] == [False] * (len(messages) - 1) + [True]
            assert {(message["application"], message["proc_id"]) for message in messages} == {("app", 1)}
            assert [await next_frame(other) for _ in frames[:-1]] == frames[:-1]
    bench.expect_whole(bench.upstream.head)


async def test_a_status_is_answered_while_an_upgrade_runs_on_the_same_socket(bench: Bench) -> None:
    configure(bench.folder, bench.upstream, _SLOW_HEALTH)
    before = bench.head
    async with serving(bench.folder) as (_, url):
        await ready(url)
        async with connected(url) as socket:
            await call(socket, "machine.update.upgrade", 1, name="app")
            await until((bench.folder / "reached").exists)
            await call(socket, "machine.update.status", 2)
            while (frame := await next_frame(socket)).get("id") != 2:
                assert "id" not in frame
            assert frame["result"]["busy"] is True
        async with connected(url) as later:  # the first client has left; the job has not
            await call(later, "machine.update.job", 3)
            assert (await next_frame(later))["result"]["state"] == "applying"
            await call(later, "machine.update.abort", 4)
            while (frame := await next_frame(later)).get("id") != 4:
                assert "id" not in frame
            assert frame["result"] == "ok"
    bench.expect_whole(before)


@pytest.mark.parametrize("body", [b"{", b"[]", b'"app"', b'{"name": 5}', b'{"name": ""}', b'{"nmae": "app"}', b"\xff"])
async def test_a_malformed_upgrade_never_starts_one(bench: Bench, body: bytes) -> None:
    before = bench.head
    async with serving(bench.folder) as (_, url):
        await ready(url)
        async with httpx.AsyncClient(base_url=url, headers={"Content-Type": "application/json"}) as client:
            answer = await client.post("/machine/update/upgrade", content=body)
            assert answer.status_code == 400
            assert answer.json()["error"]["code"] == 400
            assert (await client.get("/machine/update/history")).json() == {"result": []}
    assert bench.head == before


@pytest.mark.parametrize("signals", [1, 3])
async def test_a_stop_in_the_middle_of_an_upgrade_puts_the_app_back_and_exits_with_0(
    bench: Bench, signals: int
) -> None:
    configure(bench.folder, bench.upstream, _SLOW_HEALTH)
    before = bench.head
    async with serving(bench.folder) as (server, url):
        await ready(url)
        async with connected(url) as socket:
            await call(socket, "machine.update.upgrade", name="app")
            await until((bench.folder / "reached").exists)
            for _ in range(signals):
                server.signal(signal.SIGTERM)
            with trio.fail_after(20):
                assert await server.process.wait() == 0
    bench.expect_whole(before)
    bench.expect_tidy()


async def test_a_kill_in_the_middle_of_an_upgrade_and_a_new_start_end_in_a_valid_app(bench: Bench) -> None:
    configure(bench.folder, bench.upstream, _SLOW_HEALTH)
    before = bench.head
    async with killable(bench.folder) as (server, url):
        await ready(url)
        async with connected(url) as socket:
            await call(socket, "machine.update.upgrade", name="app")
            await until((bench.folder / "reached").exists)
            assert bench.head == bench.upstream.head
            server.signal(signal.SIGKILL)
            await server.process.wait()
    configure(bench.folder, bench.upstream)
    async with serving(bench.folder) as (_, url):
        bench.expect_whole(before)
        await ready(url)
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            status = (await client.get("/machine/update/status")).json()["result"]
            assert status["version_info"]["app"]["is_valid"]
            (job,) = (await client.get("/machine/update/history")).json()["result"]
            assert (job["proc_id"], job["outcome"]) == (1, "interrupted")
            assert (await client.post("/machine/update/upgrade", json={"name": "app"})).json() == {"result": "ok"}
    bench.expect_whole(bench.upstream.head)
    bench.expect_tidy()
    reap_inherited()


@asynccontextmanager
async def killable(folder: Path) -> AsyncIterator[tuple[Running, str]]:
    """As :func:`serving`, for a server that is killed inside."""
    async with piped_cli(
        "serve", "-c", str(folder / "moonraker.conf"), "-d", str(folder / "data"), "--port", "0"
    ) as server:
        await server.until("listening on http://127.0.0.1:")
        await server.until("\n")
        yield server, server.output.split("listening on ")[1].split()[0]


async def test_a_taken_port_is_a_sentence_and_exit_code_1(bench: Bench) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    arguments = ("-c", str(bench.folder / "moonraker.conf"), "-d", str(bench.folder / "data"), "--port", str(port))
    async with listener, piped_cli("serve", *arguments) as server:
        await server.process.wait()
        assert server.process.returncode == 1
        assert str(port) in server.output
        assert "Traceback" not in server.output
