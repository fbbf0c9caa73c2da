"""The client library, over real sockets."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio_websocket import WebSocketRequest, serve_websocket

from tests.support.cli import ScriptedServer, fault, result, scripted_server
from trio_update.client import BadAddress, ConnectionLost, RpcError, Unreachable, open_client, read_address


async def test_calls_on_one_socket_do_not_wait_for_each_other() -> None:
    finish = trio.Event()

    async def upgrade(server: ScriptedServer, params: dict[str, Any]) -> str:
        await finish.wait()
        return f"upgraded {params['name']}"

    results: list[str] = []
    handlers = {"machine.update.upgrade": upgrade, "machine.update.status": result("status")}
    async with scripted_server(handlers) as server, open_client(server.url) as client:

        async def start(name: str) -> None:
            results.append(await client.call("machine.update.upgrade", {"name": name}))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start, "one")
            nursery.start_soon(start, "two")
            results.append(await client.call("machine.update.status"))
            finish.set()
    assert results[0] == "status"
    assert sorted(results[1:]) == ["upgraded one", "upgraded two"]
    assert len(server.sockets) == 1


async def test_an_error_carries_its_code_and_reason() -> None:
    async with (
        scripted_server({"a": fault(409, "busy now", "busy"), "b": fault(-32602, "bad")}) as server,
        open_client(server.url) as client,
    ):
        with pytest.raises(RpcError, match="busy now") as with_reason:
            await client.call("a")
        with pytest.raises(RpcError) as without:
            await client.call("b")
    assert (with_reason.value.code, with_reason.value.reason) == (409, "busy")
    assert (without.value.code, without.value.reason) == (-32602, None)


async def test_notifications_before_an_answer_are_there_when_it_comes() -> None:
    async def work(server: ScriptedServer, params: dict[str, Any]) -> str:
        await server.notify("before", 1)
        await server.notify("before", 2)
        return "ok"

    async with scripted_server({"work": work}) as server, open_client(server.url) as client:
        with client.subscribe() as first, client.subscribe() as second:
            reply = await client.request("work")
            await server.notify("after", 3)
            assert (reply.result, reply.after) == ("ok", 2)
            for channel in (first, second):
                news = [channel.receive_nowait(), channel.receive_nowait(), await channel.receive()]
                assert [(one.number, one.method, one.params) for one in news] == [
                    (1, "before", [1]),
                    (2, "before", [2]),
                    (3, "after", [3]),
                ]


async def test_a_subscriber_that_leaves_holds_nobody_up() -> None:
    async def work(server: ScriptedServer, params: dict[str, Any]) -> str:
        for number in range(20):
            await server.notify("news", number)
        return "ok"

    async with scripted_server({"work": work}) as server, open_client(server.url) as client:
        async with trio.open_nursery() as nursery:
            with client.subscribe(buffer=0) as channel:
                nursery.start_soon(client.call, "work")
                await channel.receive()
                await trio.testing.wait_all_tasks_blocked(0.05)  # the next one is being handed over now
        assert await client.call("work") == "ok"


async def test_everybody_is_told_when_the_connection_ends() -> None:
    async def never(server: ScriptedServer, params: dict[str, Any]) -> None:
        server.die()
        await trio.sleep_forever()

    async with scripted_server({"never": never}) as server, open_client(server.url) as client:
        with client.subscribe() as channel:
            with pytest.raises(ConnectionLost):
                await client.call("never")
            with pytest.raises(trio.EndOfChannel):
                await channel.receive()
        with pytest.raises(ConnectionLost):
            await client.call("never")
        with client.subscribe() as late, pytest.raises(trio.EndOfChannel):
            await late.receive()
        assert client.lost


async def test_a_caller_gets_its_own_exception_and_no_group() -> None:
    async with scripted_server() as server:
        with pytest.raises(KeyError, match="mine"):
            async with open_client(server.url):
                raise KeyError("mine")


async def test_a_cancelled_caller_leaves_no_socket_behind() -> None:
    async with scripted_server() as server:
        with trio.move_on_after(10) as scope:
            async with open_client(server.url):
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught


async def test_a_peer_that_vanishes_is_noticed() -> None:
    async def serve(request: WebSocketRequest) -> None:
        connection = await request.accept()
        # No reading from here on: pings stay unanswered, while the kernel keeps the TCP connection alive.
        connection._reader_running = False
        await trio.sleep_forever()

    async with _raw_websocket(serve) as url, open_client(url, heartbeat=0.05) as client:
        with pytest.raises(ConnectionLost, match="no sign of life"):
            await client.call("anything")


async def test_a_quiet_peer_is_not_lost() -> None:
    async with scripted_server({"x": result("ok")}) as server, open_client(server.url, heartbeat=0.02) as client:
        # Fifteen heartbeats, any of which could have taken the quiet for a loss.  Real sockets keep real time.
        await trio.sleep(0.3)
        assert await client.call("x") == "ok"


@pytest.mark.parametrize("frame", ["not json", "[1]", "[" * 5000, '{"method": 5}', '"\ud7ff"', "null"])
async def test_what_is_not_json_rpc_ends_the_connection(frame: str) -> None:
    async def serve(request: WebSocketRequest) -> None:
        connection = await request.accept()
        await connection.get_message()
        await connection.send_message(frame)
        await trio.sleep_forever()

    async with _raw_websocket(serve) as url, open_client(url) as client:
        with pytest.raises(ConnectionLost, match="does not speak JSON-RPC"):
            await client.call("anything")


async def test_answers_to_nobody_are_passed_over() -> None:
    async def serve(request: WebSocketRequest) -> None:
        connection = await request.accept()
        await connection.get_message()
        for frame in ('{"id": 99, "result": 1}', '{"id": "1", "result": 2}', '{"id": null, "result": 3}', "{}"):
            await connection.send_message(frame)
        await connection.send_message('{"jsonrpc": "2.0", "id": 1, "result": "right"}')
        await trio.sleep_forever()

    async with _raw_websocket(serve) as url, open_client(url) as client:
        assert await client.call("anything") == "right"


async def test_a_large_answer() -> None:
    large = "x" * 5_000_000
    async with scripted_server({"large": result(large)}) as server, open_client(server.url) as client:
        assert await client.call("large") == large


@asynccontextmanager
async def _raw_websocket(serve: Callable[[WebSocketRequest], Awaitable[None]]) -> AsyncIterator[str]:
    async def run(*, task_status: trio.TaskStatus[Any]) -> None:
        await serve_websocket(serve, "127.0.0.1", 0, None, task_status=task_status, disconnect_timeout=0.1)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(run)
            yield f"http://127.0.0.1:{server.port}"
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
async def test_something_else_listens_there(scheme: str, greeting: bytes) -> None:
    async def speak(stream: trio.SocketStream) -> None:
        if greeting:
            await stream.send_all(greeting)
        while await stream.receive_some():
            pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, speak, 0)
        port = listeners[0].socket.getsockname()[1]
        why = "TLS failed" if scheme == "https" and greeting else ""
        with pytest.raises(Unreachable, match=f"cannot reach {scheme}://127.0.0.1:{port}: {why}"):
            async with open_client(f"{scheme}://127.0.0.1:{port}", connect_timeout=0.3):
                pass
        nursery.cancel_scope.cancel()


async def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(Unreachable, match=r"host\.invalid"):
        async with open_client("http://host.invalid:7126"):
            pass


async def test_ipv6() -> None:
    if not socket.has_ipv6:
        return
    hosts: list[str] = []

    async def answer(stream: trio.SocketStream) -> None:
        hosts.append((await stream.receive_some(4096)).decode())

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, answer, 0, host="::1"))
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(Unreachable):
            async with open_client(f"http://[::1]:{port}", connect_timeout=0.3):
                pass
        nursery.cancel_scope.cancel()
    assert f"Host: [::1]:{port}\r\n" in hosts[0]


@pytest.mark.parametrize(
    ("url", "authority", "path", "secure", "port"),
    [
        ("http://127.0.0.1:7126", "127.0.0.1:7126", "/websocket", False, 7126),
        ("https://printer.local/", "printer.local", "/websocket", True, 443),
        ("ws://printer.local:80/websocket", "printer.local:80", "/websocket", False, 80),
        ("wss://[::1]:9/prefix/", "[::1]:9", "/prefix/websocket", True, 9),
    ],
)
def test_addresses(url: str, authority: str, path: str, secure: bool, port: int) -> None:
    address = read_address(url)
    assert (address.authority, address.path, address.secure, address.port) == (authority, path, secure, port)


@pytest.mark.parametrize(
    "url",
    ["", "printer", "http://", "ftp://x", "http://a:b@x", "http://x?y", "http://x#y", "http://x:99999", "http://[x"],
)
def test_bad_addresses(url: str) -> None:
    with pytest.raises(BadAddress, match="http://HOST:PORT"):
        read_address(url)
