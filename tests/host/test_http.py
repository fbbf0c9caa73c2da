"""Requests to the outside, against real sockets: what is followed, what is refused, and what is told."""

from __future__ import annotations

import gzip
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.support.http_server import (
    Handler,
    chunked,
    cut,
    descriptors,
    dripping,
    plain,
    redirect,
    script,
    serving,
    silent,
)
from trio_update.demo.http1 import Connection, Request
from trio_update.errors import OperationFailed
from trio_update.host.http import client as http
from trio_update.host.http.client import (
    BadAnswer,
    Unreachable,
    Web,
    answers,
    next_address,
    open_web,
    redirect_of,
    shown,
)

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT"):
            monkeypatch.delenv(name)


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with open_web() as web:
        yield web


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-days", "9", "-subj", "/CN=here"]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1"], cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return folder / "cert.pem", context


async def body_of(web: Web, url: str, **headers: str) -> bytes:
    async with web.stream("GET", url, headers=headers) as response:
        return await response.read(1_000_000)


def test_httpx_is_imported_by_the_first_request_only() -> None:
    program = (
        "import sys, trio\nfrom trio_update.host.http.client import open_web\n"
        "async def main():\n  async with open_web():\n    pass\n"
        "trio.run(main)\nsys.exit('httpx' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


async def test_the_answer_comes_with_status_headers_and_body(web: Web) -> None:
    async with serving(plain(418, b"short and stout", X_Kind="Teapot")) as site:
        async with web.stream("GET", site.url("/pot?kind=tea"), headers={"X-Cup": "1"}) as response:
            assert (response.status, response.headers["x-kind"]) == (418, "Teapot")
            assert await response.read(15) == b"short and stout"
            assert await response.receive() == b""
        request = site.requests[0]
        assert (request.method, request.target, request.headers["x-cup"]) == ("GET", "/pot?kind=tea", "1")
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers["user-agent"].startswith("trio-update/")


async def test_a_body_is_read_up_to_its_limit(web: Web) -> None:
    async with serving(plain(200, b"x" * 16)) as site, web.stream("GET", site.url()) as response:
        with pytest.raises(BadAnswer, match="more than 15 bytes"):
            await response.read(15)


async def test_a_compressed_body_is_refused_before_a_byte_of_it(web: Web) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    async with serving(plain(200, bomb, content_encoding="gzip")) as site:
        async with web.stream("GET", site.url(), headers={"Accept-Encoding": "gzip"}) as response:
            with pytest.raises(BadAnswer, match="compressed"):
                await response.receive()
        assert site.requests[0].headers["accept-encoding"] == "identity"


async def test_redirects_are_followed_relative_ones_too(web: Web) -> None:
    hops = script(redirect("/two?x=1"), redirect("three", 307), redirect("/four", 301), redirect("/5"), redirect("/6"))
    many = script(hops, hops, hops, hops, hops, plain(200, b"here"))
    async with serving(many) as site:
        async with web.stream("GET", site.url("/one")) as response:
            assert await response.read(99) == b"here"
            assert response.url == site.url("/6")
        assert [request.target for request in site.requests] == ["/one", "/two?x=1", "/three", "/four", "/5", "/6"]


@pytest.mark.parametrize(
    ("status", "sent", "then"), [(303, "POST", "GET"), (303, "HEAD", "HEAD"), (307, "POST", "POST")]
)
async def test_how_the_next_address_is_asked(web: Web, status: int, sent: str, then: str) -> None:
    """RFC 9110, section 15.4.4: what was sent is done, and the other address tells how it went."""
    async with serving(script(redirect("/two", status), plain(204))) as site:
        async with web.stream(sent, site.url("/one")) as response:
            assert response.status == 204
        assert [request.method for request in site.requests] == [sent, then]


async def test_a_sixth_redirect_is_not_followed(web: Web) -> None:
    async def on(request: Request, connection: Connection) -> None:
        await redirect(f"{request.target}x?token={SECRET}")(request, connection)

    async with serving(on) as site:
        with pytest.raises(BadAnswer, match="more than 5 times") as caught:
            await body_of(web, site.url())
        assert len(site.requests) == 6
        assert SECRET not in str(caught.value)


async def test_a_circle_of_redirects_is_named_as_one(web: Web) -> None:
    async with serving(script(redirect("/b"), redirect("/asset.zip"))) as site:
        with pytest.raises(BadAnswer, match="in a circle"):
            await body_of(web, site.url())
        assert len(site.requests) == 2


@pytest.mark.parametrize(
    ("current", "location", "found"),
    [
        ("https://a.example/x/y?q", "z", "https://a.example/x/z"),
        ("http://a.example/", "https://b.example/", "https://b.example/"),
        ("https://a.example/", "//b.example/z", "https://b.example/z"),
        ("https://a.example/", "http://a.example/", "not encrypted"),
        ("https://a.example/", "ftp://a.example/", "neither http nor https"),
        ("http://a.example/", "file:///etc/passwd", "neither http nor https"),
        ("http://a.example/", "javascript:alert(1)", "neither http nor https"),
        ("http://a.example/", "http://a.example:hunter2/", "an address that is none"),
        ("http://a.example/", "http://u:hunter2@[::1/", "an address that is none"),
    ],
)
def test_where_a_redirect_may_lead(current: str, location: str, found: str) -> None:
    try:
        assert next_address(current, location) == found
    except BadAnswer as error:
        assert found in str(error)
        assert SECRET not in str(error)


async def test_a_redirect_out_of_tls_is_refused(
    web: Web, certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    async with serving(plain(200, b"bare")) as bare, serving(redirect(bare.url()), certificate[1]) as safe:
        with pytest.raises(BadAnswer, match="not encrypted"):
            await body_of(web, safe.url())
        assert len(safe.requests) == 1
        assert not bare.requests


async def test_an_untrusted_certificate_is_told_as_that(web: Web, certificate: tuple[Path, ssl.SSLContext]) -> None:
    async with serving(plain(200), certificate[1]) as site:
        with pytest.raises(Unreachable, match=r"certificate is not trusted .*clock"):
            await body_of(web, site.url())
        assert not site.requests


async def test_secrets_stay_with_the_origin_they_were_meant_for(web: Web) -> None:
    headers = {"Authorization": SECRET, "Private-Token": SECRET, "X-Other": "fine"}
    async with serving(plain(200)) as stranger:
        async with (
            serving(script(redirect("/same"), redirect(stranger.url("/there")))) as home,
            web.stream("GET", home.url(), headers=headers, secret=["private-token"]),
        ):
            pass
        assert [request.headers.get("authorization") for request in home.requests] == [SECRET, SECRET]
        assert SECRET not in stranger.requests[0].headers.values()
        assert stranger.requests[0].headers["x-other"] == "fine"


async def test_secrets_do_not_change_to_another_scheme(
    web: Web, certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Host and port are the same: RFC 6454 has three parts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    safe: dict[str, str] = {}

    async def answer(request: Request, connection: Connection) -> None:
        await (redirect(safe.pop("url")) if safe else plain(200))(request, connection)

    async with serving(answer, certificate[1], bare=True) as site:
        safe["url"] = site.url().replace("http:", "https:")
        await body_of(web, site.url(), Authorization=SECRET)
        assert [request.headers.get("authorization") for request in site.requests] == [SECRET, None]


async def test_secrets_do_not_come_back_on_the_way_home(web: Web) -> None:
    way: dict[str, Handler] = {"/end": plain(200)}
    async with serving(lambda request, connection: way[request.target](request, connection)) as home:
        async with serving(redirect(home.url("/end"))) as stranger:
            way["/asset.zip"] = redirect(stranger.url())
            await body_of(web, home.url(), Authorization=SECRET)
        assert [request.headers.get("authorization") for request in home.requests] == [SECRET, None]


async def test_cookies_are_not_kept(web: Web) -> None:
    async with serving(plain(200, set_cookie="track=1; Path=/")) as site:
        await body_of(web, site.url())
        await body_of(web, site.url())
        assert "cookie" not in site.requests[1].headers


async def test_silence_before_the_answer_is_ended(web: Web, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(silent) as site:
        began = trio.current_time()
        with pytest.raises(Unreachable, match="did not answer within 60 s"):
            await body_of(web, site.url())
        assert 60 <= trio.current_time() - began < 61


async def test_a_drip_counts_as_silence(web: Web, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(dripping(bytes(100_000), 10, 1.0)) as site:
        began = trio.current_time()
        with pytest.raises(Unreachable, match="less than 4 KiB in 60 s"):
            await body_of(web, site.url())
        assert 60 <= trio.current_time() - began < 62


async def test_a_slow_line_is_no_silence(web: Web, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(dripping(bytes(40_960), 4096, 50.0)) as site:
        assert len(await body_of(web, site.url())) == 40_960


async def test_a_slow_reader_is_not_the_servers_silence(web: Web, autojump_clock: trio.testing.MockClock) -> None:
    async with serving(dripping(bytes(600), 100, 1.0)) as site, web.stream("GET", site.url()) as response:
        came = 0
        while piece := await response.receive():
            came += len(piece)
            await trio.sleep(100)
        assert came == 600


@pytest.mark.parametrize("reset", [False, True])
async def test_a_broken_connection_is_told(web: Web, reset: bool) -> None:
    async with serving(cut(bytes(1000), 500, reset=reset)) as site:
        with pytest.raises(Unreachable, match=r"asset\.zip.*check the network"):
            await body_of(web, site.url())


async def nobody() -> str:
    """An origin where nothing listens."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    return f"127.0.0.1:{port}"


async def test_a_connection_that_does_not_come_about_is_given_up(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CONNECT", 0.5)
    with trio.fail_after(20), socket.socket() as deaf, ExitStack() as queue:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        # Those that the system accepts of its own accord; the next one waits.
        for _ in range(2):
            first = queue.enter_context(socket.socket())
            first.setblocking(False)
            first.connect_ex(deaf.getsockname())
        with pytest.raises(Unreachable, match=r"no connection within 0\.5 s; check the network and the proxy"):
            await body_of(web, f"http://127.0.0.1:{deaf.getsockname()[1]}/")


async def test_a_refused_connection_is_told_without_secrets(web: Web) -> None:
    place = await nobody()
    with pytest.raises(Unreachable) as caught:
        await body_of(web, f"http://ada:{SECRET}@{place}/x?token={SECRET}#{SECRET}")
    assert str(caught.value).startswith(f"cannot reach http://{place}/x: Connection refused")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("ftp://a.example/", {}),
        ("no address", {}),
        (f"http://ada:{SECRET}/@a.example/", {}),
        (f"http://a.example:{SECRET}/", {}),
        ("http://127.0.0.1:{port}/", {"Authorization": f"Bearer {SECRET}\n"}),
        ("http://127.0.0.1:{port}/", {"Authorization": f"Bearer {SECRET}é"}),
    ],
)
async def test_what_http_does_not_allow_is_refused_without_its_secrets(
    web: Web, url: str, headers: dict[str, str]
) -> None:
    async with serving(plain(200)) as site:
        with pytest.raises(BadAnswer, match="not valid in HTTP") as caught:
            await body_of(web, url.replace("{port}", str(site.port)), **headers)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://ada:pw@host:1/p/q?x=1#y", "https://host:1/p/q"),
        ("https://host/\x1b[31m", r"https://host/\x1b[31m"),
        ("https://host/" + "x" * 500, "https://host/" + "x" * 186 + "…"),
    ],
)
def test_how_an_address_is_shown(url: str, told: str) -> None:
    assert shown(url) == told


async def test_proxies_of_the_environment_are_used(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(plain(200, b"by proxy")) as proxy:
        monkeypatch.setenv("http_proxy", f"http://ada:{SECRET}@127.0.0.1:{proxy.port}")
        assert await body_of(web, "http://far.example/x") == b"by proxy"
        assert proxy.requests[0].target == "http://far.example/x"
        assert "proxy-authorization" in proxy.requests[0].headers


async def test_no_proxy_is_heeded(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(plain(200, b"by proxy")) as proxy, serving(plain(200, b"direct")) as site:
        monkeypatch.setenv("http_proxy", proxy.url(""))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert await body_of(web, site.url()) == b"direct"
        assert not proxy.requests


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("all_proxy", f"socks5://ada:{SECRET}@127.0.0.1:1", "socksio"),
        ("http_proxy", f"gopher://ada:{SECRET}@127.0.0.1:1", "is no address"),
        ("http_proxy", f"http://127.0.0.1:{SECRET}", "is no address"),
        ("SSL_CERT_FILE", "/nowhere/cert.pem", "certificates"),
    ],
)
async def test_an_environment_that_cannot_be_used_is_told(
    web: Web, monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(OperationFailed, match=told) as caught:
        await body_of(web, "http://far.example/")
    assert SECRET not in str(caught.value)


async def test_a_proxy_that_is_away_is_told_without_its_password(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://ada:{SECRET}@{await nobody()}")
    with pytest.raises(Unreachable, match="proxy settings") as caught:
        await body_of(web, "http://far.example/")
    assert SECRET not in str(caught.value)


async def test_nothing_stays_open_when_bodies_are_left_half_read() -> None:
    async with serving(chunked(bytes(100_000), 0)) as site:
        before = descriptors()
        async with open_web() as web:
            for _ in range(5):
                async with web.stream("GET", site.url()) as response:
                    await response.receive()
            with trio.move_on_after(0.01):
                async with web.stream("GET", site.url()) as response:
                    while await response.receive():
                        pass
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert descriptors() == before


async def test_a_redirect_whose_body_is_not_wanted_is_let_go(web: Web) -> None:
    async with serving(plain(302, bytes(5_000_000), location="/new")) as site:
        before = descriptors()
        for _ in range(3):
            assert await web.redirect_of(site.url()) == site.url("/new")
        await trio.testing.wait_all_tasks_blocked(0.01)
        # httpx makes its client with the first request; no connection of ours or of the server's is left.
        assert len(descriptors()) == len(before)


async def test_requests_at_once_share_one_client(web: Web) -> None:
    async with serving(plain(200, b"x")) as site:
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(body_of, web, site.url())
        for _ in range(4):
            await body_of(web, site.url())
        assert len(site.requests) == 12


async def test_where_an_address_has_moved_is_told_without_following() -> None:
    async with serving(script(redirect("/new", 301), plain(200))) as site:
        assert await redirect_of(site.url()) == site.url("/new")
        assert await redirect_of(site.url()) is None
        assert len(site.requests) == 2
    with pytest.raises(OperationFailed, match="cannot reach"):
        await redirect_of(f"http://{await nobody()}/")


async def test_whether_an_address_answers_well() -> None:
    async with serving(
        script(redirect("/well"), plain(200), plain(400), plain(503), plain(200, b"", content_encoding="gzip"))
    ) as s:
        assert await answers(s.url()) == ""
        assert await answers(s.url()) == "status 400"
        assert await answers(s.url()) == "status 503"
        assert await answers(s.url()) == ""
    assert "Connection refused" in await answers(f"http://{await nobody()}/")


async def test_an_address_that_is_silent_does_not_answer_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_TIMEOUT", 1.0)
    with trio.fail_after(20):
        async with serving(silent) as site:
            assert "no answer in time" in await answers(site.url())
            assert site.requests
