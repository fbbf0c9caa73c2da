"""How the web server starts, and how many it lets in."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import AsyncIterator
from functools import partial

import msgspec
import pytest
import trio

from tests.support.web.server_app import make_app
from tests.support.web.server_clients import HELLO, Http, Server, answer_to, answers
from tests.support.web.server_running import BRISK, running
from trio_update.errors import StartFailed
from trio_update.web.server.server import serve


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with running() as server:
        yield server


async def test_a_started_server_answers_at_the_url_it_tells() -> None:
    async with running() as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert await answers(server) == "answers"


@pytest.mark.parametrize("host", ["::1", "[::1]"])
async def test_an_ipv6_address_stands_in_brackets(host: str) -> None:
    async with running(host=host) as server:
        assert server.url == f"http://[::1]:{server.port}"
        async with await trio.open_tcp_stream("::1", server.port) as stream:
            assert (await Http(stream).ask()).body == b"hello"


class Names(trio.abc.HostnameResolver):
    """Resolves every name to the same addresses."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def getaddrinfo(  # type: ignore[override]  # only what is asked for in these tests
        self, host: str, port: int, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[tuple[socket.AddressFamily, int, int, str, tuple[str, int]]]:
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, type, proto, "", (address, port))
            for address in self._addresses
        ]

    async def getnameinfo(self, sockaddr: object, flags: int) -> tuple[str, str]:
        raise AssertionError("names of addresses are not asked for")


async def test_a_name_serves_all_its_addresses_on_one_port() -> None:
    trio.socket.set_custom_hostname_resolver(Names("::1", "192.0.2.1", "127.0.0.1"))  # the second is not ours
    async with running(host="printer.test") as server:
        assert server.url == f"http://printer.test:{server.port}"
        for address in ("::1", "127.0.0.1"):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            sock = trio.socket.socket(family)
            await sock.connect((address, server.port))
            async with trio.SocketStream(sock) as stream:
                assert (await Http(stream).ask()).body == b"hello"


async def start(host: str, port: int) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, make_app(), host=host, port=port, shutdown=trio.sleep_forever))


def only(group: BaseExceptionGroup[BaseException]) -> str:
    """The sentence of the one error in ``group``."""
    assert len(group.exceptions) == 1
    assert isinstance(group.exceptions[0], StartFailed)
    return str(group.exceptions[0])


async def test_a_taken_port_fails_the_start_with_a_sentence(server: Server) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await start("127.0.0.1", server.port)
    assert f"port {server.port}: another program has the port" in only(caught.value)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no-such-host.invalid", "not a host"])
async def test_an_address_of_another_machine_fails_the_start(host: str) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await start(host, 0)
    assert f"cannot listen on {host}" in only(caught.value)
    assert "must be an address of this machine" in only(caught.value)


async def test_a_failed_start_is_not_wrapped_when_awaited_directly(server: Server) -> None:
    with pytest.raises(StartFailed):
        await serve(make_app(), host="127.0.0.1", port=server.port, shutdown=trio.sleep_forever)


async def test_more_connections_than_allowed_are_turned_away() -> None:
    async with running(limits=dataclasses.replace(BRISK, connections=2, keep_alive_seconds=30)) as server:
        first, second, third = [await server.connect() for _ in range(3)]
        async with first, second, third:
            head, _, body = (await third.receive_some()).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert msgspec.json.decode(body)["error"]["code"] == 503
            assert (await Http(first).ask()).body == b"hello"
            await second.aclose()
            while True:  # until the server has noticed
                async with await server.connect() as fourth:
                    await fourth.send_all(HELLO)
                    try:
                        if (await answer_to(fourth)).status == 200:
                            break
                    except (trio.BrokenResourceError, EOFError):
                        pass
