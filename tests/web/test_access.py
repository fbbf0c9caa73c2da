"""Who is let in: paths, Host, Origin, Sec-Fetch-Site."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio
import trio.testing

from tests.support.waiting import until
from tests.support.web.connecting import Running, running
from trio_update.config.values import ServerConfig
from trio_update.web.access.guard import Access, normal_path

HOST = "Host: localhost"
EMPTY = "Content-Length: 0"
CORS = ServerConfig(
    cors_domains=("*://my.mainsail.xyz", "*.local", "http://*:8080", "*.lan:*"), host="updates.example.org"
)


async def knock(server: Running, *headers: str) -> tuple[int, int, int]:
    """The status of a GET, of a POST and of a WebSocket handshake that carry ``headers``."""
    host = next((header for header in headers if header.lower().startswith("host:")), HOST)
    rest = [header for header in headers if header is not host]
    return (
        await server.status_of(host, *rest),
        await server.status_of(host, *rest, EMPTY, method="POST", target="/machine/update/refresh"),
        await server.handshake(*rest, host=host.partition(":")[2].strip()),
    )


LET_IN = (200, 200, 101)
KEPT_OUT = (403, 403, 403)
READ_ONLY = (200, 403, 403)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:7126",
        "localhost.",
        "127.0.0.1",
        "192.168.1.5:7126",
        "[::1]",
        "[fe80::1]:7126",
        "printer",
        "Printer.Local:80",
        "updates.example.org",
    ],
)
async def test_hosts_that_mean_this_machine(host: str) -> None:
    async with running(server=CORS) as server:
        assert await knock(server, f"Host: {host}") == LET_IN


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.com",
        "evil.example.com:7126",
        "localhost.evil.example.com",
        "printer.evil.example.com",
        "127.0.0.1.nip.io",
        "2130706433",
        "0x7f000001",
        "127.1",
        "[::1",
        "::1",
        "[localhost]",
        "localhost:port",
        "localhost:7126:7126",
        "user@localhost",
        "localhost/evil",
        "localhost evil",
        "localhost,evil",
        "",
    ],
)
async def test_a_page_that_rebinds_its_own_name_to_us_is_kept_out(host: str) -> None:
    async with running(server=CORS) as server:
        statuses = await knock(server, f"Host: {host}")
        assert set(statuses) <= {400, 403}
        assert server.manager.calls == []


async def test_a_host_that_is_refused_is_told_in_json() -> None:
    async with running() as server:
        status, text = await server.raw("GET", "/machine/update/status", 'Host: evil"<b>.example.com')
        assert status in {400, 403}
        status, text = await server.raw("GET", "/machine/update/status", "Host: evil.example.com")
        assert status == 403
        assert '"error"' in text
        assert "evil.example.com" in text


async def test_two_host_headers_are_one_too_many() -> None:
    async with running() as server:
        assert await server.status_of(HOST, "Host: evil.example.com") in {400, 403}
        assert await server.status_of(HOST, HOST) in {400, 403}


async def test_the_qualified_name_of_this_machine_is_good_too() -> None:
    async with running(fqdn=lambda: "Printer.Example.NET") as server:
        assert await knock(server, "Host: printer.example.net:80") == LET_IN
        assert await knock(server, "Host: evil.example.net") == KEPT_OUT


async def test_a_resolver_that_does_not_answer_keeps_nobody_else_waiting() -> None:
    answer = threading.Event()

    def fqdn() -> str:
        answer.wait(10)
        return "printer.example.net"

    async with running(fqdn=fqdn) as server, trio.open_nursery() as nursery:
        statuses: list[int] = []

        async def ask() -> None:
            statuses.append(await server.status_of("Host: printer.example.net"))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert await server.status_of(HOST) == 200
        # The name is not known yet, and it is asked for once only.
        assert await server.status_of("Host: other.example.net") == 403
        assert statuses == []
        answer.set()
        await until(lambda: statuses == [200])


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ([], LET_IN),
        (["Origin: http://localhost"], LET_IN),
        (["Origin: https://LOCALHOST"], LET_IN),
        (["Host: printer:7126", "Origin: http://printer:7126"], LET_IN),
        (["Host: printer:80", "Origin: http://printer"], LET_IN),
        (["Host: printer", "Origin: http://printer:80"], LET_IN),
        (["Origin: http://localhost", "Sec-Fetch-Site: same-origin"], LET_IN),
        (["Sec-Fetch-Site: none"], LET_IN),
        (["Origin: http://my.mainsail.xyz", "Sec-Fetch-Site: cross-site"], LET_IN),
        (["Origin: HTTPS://My.Mainsail.xyz"], LET_IN),
        (["Origin: http://voron.local"], LET_IN),
        (["Origin: http://anything.example.com:8080"], LET_IN),
        (["Origin: https://x.lan:81"], LET_IN),
        (["Origin: http://evil.example.com"], READ_ONLY),
        (["Origin: null"], READ_ONLY),
        (["Origin: "], READ_ONLY),
        (["Origin: localhost"], READ_ONLY),
        (["Origin: http://localhost:8081"], READ_ONLY),
        (["Host: printer", "Origin: http://printer.local.evil.com"], READ_ONLY),
        (["Host: printer:7126", "Origin: http://printer"], READ_ONLY),
        (["Host: printer", "Origin: https://printer:80"], READ_ONLY),
        (["Origin: http://my.mainsail.xyz.evil.com"], READ_ONLY),
        (["Origin: http://evil.com/.local"], READ_ONLY),
        (["Origin: http://evilmy.mainsail.xyz"], READ_ONLY),
        (["Origin: https://evil.example.com:8080"], READ_ONLY),
        (["Origin: http://voron.local:81"], READ_ONLY),
        (["Sec-Fetch-Site: cross-site"], READ_ONLY),
        (["Sec-Fetch-Site: Cross-Site"], READ_ONLY),
        (["Origin: http://localhost", "Sec-Fetch-Site: cross-site"], READ_ONLY),
        (["Origin: http://localhost", "Origin: http://evil.example.com"], READ_ONLY),
        (["Origin: http://evil.example.com", "Origin: http://localhost"], READ_ONLY),
        (["Origin: http://" + "a" * 5000 + ".local"], READ_ONLY),
    ],
)
async def test_what_pages_of_other_sites_may_do(headers: list[str], outcome: tuple[int, int, int]) -> None:
    async with running(server=CORS) as server:
        assert await knock(server, *headers) == outcome


async def test_a_star_allows_every_origin() -> None:
    async with running(server=ServerConfig(cors_domains=("*",))) as server:
        assert await knock(server, "Origin: http://evil.example.com:81", "Sec-Fetch-Site: cross-site") == LET_IN


async def test_without_cors_domains_no_foreign_origin_is_allowed() -> None:
    async with running() as server:
        assert await knock(server, "Origin: http://my.mainsail.xyz") == READ_ONLY


@pytest.mark.parametrize("target", ["/machine/update/full", "/server/jsonrpc", "/machine/update/nothing"])
async def test_a_foreign_page_starts_nothing(target: str) -> None:
    async with running() as server:
        origin = "Origin: http://evil.example.com"
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert await server.status_of(HOST, origin, EMPTY, method=method, target=target) == 403
        assert server.manager.calls == []


async def test_listed_origins_get_the_headers_that_let_them_read() -> None:
    async with running(server=CORS) as server:
        for origin, allowed in (("http://my.mainsail.xyz", True), ("http://evil.example.com", False)):
            answer = await server.http.get("/machine/update/status", headers={"Origin": origin})
            assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
            assert ("vary" in answer.headers) == allowed


async def test_preflights() -> None:
    async with running(server=CORS) as server:
        for origin, status in (("http://my.mainsail.xyz", 204), ("http://evil.example.com", 403)):
            answer = await server.http.options(
                "/machine/update/upgrade",
                headers={"Origin": origin, "Access-Control-Request-Method": "POST", "Sec-Fetch-Site": "cross-site"},
            )
            assert answer.status_code == status
            if status == 204:
                assert answer.headers["access-control-allow-origin"] == origin
                assert "POST" in answer.headers["access-control-allow-methods"]
                assert "content-type" in answer.headers["access-control-allow-headers"]
            else:
                assert "access-control-allow-origin" not in answer.headers
        assert server.manager.calls == []


ODD_PATHS = [
    "//machine/update/full",
    "/machine//update/full",
    "/machine/update//full",
    "/machine/./update/full",
    "/machine/../machine/update/full",
    "/server/..%2fmachine/update/full",
    "/server/%2e%2e/machine/update/full",
    "/server/.%2E/machine/update/full",
    "/machine/update/%2e/full",
    "/machine%2fupdate%2Ffull",
    "/machine/update%5cfull",
    "/machine/update\\full",
    "/machine/update/full%00",
    "/machine/update/full%0a",
    "/machine/update/full%20%25",
    "/%256dachine/update/full",
    "/machine/update/%25%36%36ull",
    "/machine/update/full%",
    "/machine/update/full%zz",
    "/machine/update/full%ff",
    "/machine/update/full%c0%af",
    "/machine/update/full/",
    "/machine/update/full/..",
    "/MACHINE/update/full",
    "/machine/update/full;x=1",
    "machine/update/full",
    "*",
    "http://localhost/machine/update/full",
]


# These are in their normal form, and nothing is there.
JUST_UNKNOWN = {"/machine/update/full/", "/MACHINE/update/full", "/machine/update/full;x=1"}


@pytest.mark.parametrize("target", ODD_PATHS)
async def test_a_path_has_one_way_to_be_written(target: str) -> None:
    async with running() as server:
        assert await server.status_of(HOST, EMPTY, method="POST", target=target) in {400, 404}
        assert server.manager.calls == []


async def test_a_letter_may_be_percent_encoded_and_is_judged_as_what_it_is() -> None:
    async with running() as server:
        target = "/m%61chine/upd%61te/refresh"
        assert await server.status_of(HOST, EMPTY, method="POST", target=target) == 200
        origin = "Origin: http://evil.example.com"
        assert await server.status_of(HOST, EMPTY, origin, method="POST", target=target) == 403
        assert server.manager.calls == [("refresh", None)]


def test_normal_paths() -> None:
    assert normal_path(b"/") == "/"
    assert normal_path(b"/a/b/") == "/a/b/"
    assert normal_path("/é".encode()) == "/é"
    assert normal_path(b"/%C3%A9") == "/é"
    assert normal_path(b"/a..b/.c/...") == "/a..b/.c/..."


@pytest.mark.parametrize("path", ["", "a", "/" + "a" * 3000, *(path for path in ODD_PATHS if path not in JUST_UNKNOWN)])
def test_paths_that_are_not_normal(path: str) -> None:
    assert normal_path(path.encode()) is None


async def through_access(path: str, raw_path: bytes, *hosts: bytes) -> tuple[list[str], list[int]]:
    """What an application behind Access is asked for, and the statuses that Access gives itself."""
    routed: list[str] = []
    refused: list[int] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        routed.append(scope["path"])

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if "status" in message:
            refused.append(message["status"])

    access = Access(app, names=["localhost"], cors_domains=[], fqdn=str)
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": raw_path}
    await access(scope | {"headers": [(b"host", host) for host in hosts]}, receive, send)
    return routed, refused


async def test_what_is_judged_is_what_is_routed_whatever_the_server_made_of_it() -> None:
    assert await through_access("/other", b"/%61", b"localhost") == (["/a"], [])


async def test_of_two_hosts_none_counts_even_where_the_server_lets_both_through() -> None:
    assert await through_access("/", b"/", b"localhost", b"localhost") == ([], [403])
    assert await through_access("/", b"/", b"evil.example.com", b"localhost") == ([], [403])
    assert await through_access("/", b"/") == ([], [403])


async def test_a_long_path_is_refused() -> None:
    async with running() as server:
        assert await server.status_of(HOST, target="/" + "a" * 3000) == 400


async def test_a_cross_site_handshake_is_refused_before_it_is_accepted() -> None:
    async with running() as server:
        assert await server.handshake("Origin: http://evil.example.com") == 403
        assert len(server.app.sessions) == 0
