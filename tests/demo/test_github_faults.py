"""Each fault of the stand-in for GitHub, as a client sees it, and that it is gone afterwards."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing

from tests.support.github_client import CONTENT, LATEST, asset_link, error_of, example, ls_remote, serving
from trio_update.demo.github.faults import Host
from trio_update.demo.github.server import Fault, FaultKind, GitHub
from trio_update.errors import CommandFailed

EVERY: tuple[Host, ...] = ("api", "web", "assets")


@pytest.fixture
def github() -> GitHub:
    return example()


@pytest.fixture
async def client(github: GitHub) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(github) as client:
        client.headers["accept-encoding"] = "identity"
        yield client


async def targets(client: httpx.AsyncClient, github: GitHub) -> dict[Host, str]:
    """Of each host, something that answers 200 with a body."""
    page = f"{github.web_url}/ada/panel/releases/tag/v1.1"
    return {"api": github.api_url + LATEST, "web": page, "assets": await asset_link(client)}


async def read(client: httpx.AsyncClient, url: str) -> tuple[bytes, Exception | None]:
    """The bytes that came, and what ended them too early."""
    got = bytearray()
    try:
        async with client.stream("GET", url) as response:
            async for piece in response.aiter_raw():
                got += piece
    except httpx.TransportError as error:
        return bytes(got), error
    return bytes(got), None


@pytest.mark.parametrize("host", EVERY)
async def test_truncated(client: httpx.AsyncClient, github: GitHub, host: Host) -> None:
    url = (await targets(client, github))[host]
    whole = (await client.get(url)).content
    github.faults.append(Fault(host, FaultKind.TRUNCATE, at=50))
    got, error = await read(client, url)
    assert (got, type(error)) == (whole[:50], httpx.RemoteProtocolError)
    assert await read(client, url) == (whole, None)


@pytest.mark.parametrize("host", EVERY)
async def test_corrupt(client: httpx.AsyncClient, github: GitHub, host: Host) -> None:
    url = (await targets(client, github))[host]
    whole = (await client.get(url)).content
    github.faults.append(Fault(host, FaultKind.CORRUPT, at=50))
    got = (await client.get(url)).content
    assert [
        (place, one ^ other) for place, (one, other) in enumerate(zip(got, whole, strict=True)) if one != other
    ] == [(50, 0xFF)]
    assert (await client.get(url)).content == whole


async def test_positions_are_those_of_the_plain_text(client: httpx.AsyncClient, github: GitHub) -> None:
    client.headers["accept-encoding"] = "gzip"
    whole = await client.get(LATEST)
    assert whole.headers["content-encoding"] == "gzip"
    github.faults.append(Fault("api", FaultKind.TRUNCATE, at=50))
    got, _ = await read(client, LATEST)
    assert got == whole.content[:50]


@pytest.mark.parametrize("host", EVERY)
async def test_stalled_for_ever(
    client: httpx.AsyncClient, github: GitHub, host: Host, autojump_clock: trio.testing.MockClock
) -> None:
    url = (await targets(client, github))[host]
    github.faults.append(Fault(host, FaultKind.STALL, at=50))
    got = bytearray()
    with trio.move_on_after(100_000) as waiting:
        async with client.stream("GET", url) as response:
            async for piece in response.aiter_raw():
                got += piece
    assert waiting.cancelled_caught
    assert len(got) == 50
    assert (await client.get(url)).status_code == 200


async def test_stalled_for_a_while(
    client: httpx.AsyncClient, github: GitHub, autojump_clock: trio.testing.MockClock
) -> None:
    url = await asset_link(client)
    github.faults.append(Fault("assets", FaultKind.STALL, at=50, seconds=30))
    begun = trio.current_time()
    assert (await client.get(url)).content == CONTENT
    assert trio.current_time() - begun >= 30


async def test_slow(client: httpx.AsyncClient, github: GitHub, autojump_clock: trio.testing.MockClock) -> None:
    url = await asset_link(client)
    github.faults.append(Fault("assets", FaultKind.DRIP, rate=100))
    begun = trio.current_time()
    assert (await client.get(url)).content == CONTENT
    assert trio.current_time() - begun == pytest.approx(len(CONTENT) / 100, rel=0.01)


@pytest.mark.parametrize("host", EVERY)
async def test_reset(client: httpx.AsyncClient, github: GitHub, host: Host) -> None:
    url = (await targets(client, github))[host]
    github.faults.append(Fault(host, FaultKind.RESET, at=50))
    got, error = await read(client, url)
    assert isinstance(error, httpx.ReadError)
    assert len(got) <= 50
    assert (await client.get(url)).status_code == 200


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("size", [100, 6000])
async def test_wrong_size(client: httpx.AsyncClient, github: GitHub, tmp_path: Path, size: int, in_file: bool) -> None:
    if in_file:
        (tmp_path / "asset").write_bytes(CONTENT)
        github.repos["ada/panel"].releases[1].assets[0].content = tmp_path / "asset"
    url = await asset_link(client)
    github.faults.append(Fault("assets", FaultKind.WRONG_SIZE, at=size))
    response = await client.get(url)
    assert response.headers["content-length"] == str(size)
    assert response.content == CONTENT[:size].ljust(size, b"\0")
    assert (await client.get(url)).content == CONTENT


async def test_a_large_file_that_is_sent_with_zeros(client: httpx.AsyncClient, github: GitHub, tmp_path: Path) -> None:
    content = CONTENT * 300
    (tmp_path / "asset").write_bytes(content)
    github.repos["ada/panel"].releases[1].assets[0].content = tmp_path / "asset"
    url = await asset_link(client)
    github.faults.append(Fault("assets", FaultKind.WRONG_SIZE, at=4_000_000))
    assert (await client.get(url)).content == content.ljust(4_000_000, b"\0")


@pytest.mark.parametrize("host", EVERY)
@pytest.mark.parametrize("code", [403, 404, 429, 500, 502, 503])
async def test_a_status(client: httpx.AsyncClient, github: GitHub, host: Host, code: int) -> None:
    url = (await targets(client, github))[host]
    github.faults.append(Fault(host, FaultKind.STATUS, code=code, retry_after=7))
    response = await client.get(url)
    assert (response.status_code, response.headers["retry-after"]) == (code, "7")
    assert github.requests[-1].status == code
    if host == "api":
        assert "x-ratelimit-remaining" in response.headers
        if code != 502:
            assert response.json()["status"] == str(code)
            assert error_of(response)
    assert (await client.get(url)).status_code == 200


@pytest.mark.parametrize("after", [None, 30])
@pytest.mark.parametrize("code", [403, 429])
async def test_the_secondary_limit(client: httpx.AsyncClient, github: GitHub, code: int, after: int | None) -> None:
    github.faults.append(Fault("api", FaultKind.SECONDARY_LIMIT, code=code, retry_after=after))
    response = await client.get(LATEST)
    assert response.status_code == code
    assert error_of(response).startswith("You have exceeded a secondary rate limit.")
    assert response.headers.get("retry-after") == (None if after is None else str(after))
    assert response.headers["x-ratelimit-remaining"] == "60"
    assert not github.requests[-1].counted
    assert (await client.get(LATEST)).status_code == 200


async def test_the_primary_limit_in_one_answer(client: httpx.AsyncClient, github: GitHub) -> None:
    github.faults.append(Fault("api", FaultKind.PRIMARY_LIMIT))
    response = await client.get(LATEST)
    assert response.status_code == 403
    assert error_of(response).startswith("API rate limit exceeded")
    assert (response.headers["x-ratelimit-remaining"], response.headers["x-ratelimit-used"]) == ("0", "60")
    assert int(response.headers["x-ratelimit-reset"]) == github.reset
    assert (await client.get(LATEST)).headers["x-ratelimit-remaining"] == "59"


@pytest.mark.parametrize("host", EVERY)
async def test_redirects_that_lead_around(client: httpx.AsyncClient, github: GitHub, host: Host) -> None:
    url = (await targets(client, github))[host]
    github.faults.append(Fault(host, FaultKind.REDIRECT_LOOP))
    with pytest.raises(httpx.TooManyRedirects):
        await client.get(url, follow_redirects=True)
    assert (await client.get(url)).status_code == 200


@pytest.mark.parametrize("host", EVERY)
async def test_a_redirect_to_anywhere(client: httpx.AsyncClient, github: GitHub, host: Host) -> None:
    url = (await targets(client, github))[host]
    github.faults.append(Fault(host, FaultKind.REDIRECT_TO, url="ftp://files.example.org/x"))
    response = await client.get(url)
    assert (response.status_code, response.headers["location"]) == (302, "ftp://files.example.org/x")
    assert (await client.get(url)).status_code == 200


@pytest.mark.parametrize("host", EVERY)
async def test_a_web_page_instead(client: httpx.AsyncClient, github: GitHub, host: Host) -> None:
    url = (await targets(client, github))[host]
    github.faults.append(Fault(host, FaultKind.HTML))
    response = await client.get(url)
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"Sign in" in response.content
    assert not {"etag", "last-modified", "content-disposition"} & set(response.headers)
    assert b"Sign in" not in (await client.get(url)).content


async def test_what_only_claims_to_be_json(client: httpx.AsyncClient, github: GitHub) -> None:
    github.faults.append(Fault("api", FaultKind.NOT_JSON))
    response = await client.get(LATEST)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json; charset=utf-8")
    with pytest.raises(json.JSONDecodeError):
        response.json()
    assert (await client.get(LATEST)).json()["tag_name"] == "v1.1"


@pytest.mark.parametrize("host", EVERY)
async def test_a_bomb(client: httpx.AsyncClient, github: GitHub, host: Host) -> None:
    url = (await targets(client, github))[host]
    github.faults.append(Fault(host, FaultKind.GZIP_BOMB, at=3_000_001))
    async with client.stream("GET", url) as response:
        assert response.headers["content-encoding"] == "gzip"
        raw = b"".join([piece async for piece in response.aiter_raw()])
    assert len(raw) == int(response.headers["content-length"]) < 10_000
    assert len(gzip.decompress(raw)) == 3_000_001
    assert (await client.get(url)).status_code == 200


@pytest.mark.parametrize("host", EVERY)
async def test_no_end(client: httpx.AsyncClient, github: GitHub, host: Host) -> None:
    url = (await targets(client, github))[host]
    github.faults.append(Fault(host, FaultKind.HUGE))
    # Over a plain socket: httpx leaves generators behind when it is not read to the end.
    where = httpx.URL(url)
    stream = await trio.open_tcp_stream(where.host, where.port or 80)
    async with stream:
        lines = f"GET {where.raw_path.decode()} HTTP/1.1\r\nHost: {where.host}\r\nUser-Agent: tests/1\r\n\r\n"
        await stream.send_all(lines.encode())
        head = (await stream.receive_some(65536)).lower()
        assert head.startswith(b"http/1.1 200 ") and b"content-length" not in head
        got = 0
        while got < 20_000_000 and (piece := await stream.receive_some(65536)):
            got += len(piece)
    assert got >= 20_000_000
    assert (await client.get(url)).status_code == 200


@pytest.mark.parametrize("host", EVERY)
async def test_no_answer(client: httpx.AsyncClient, github: GitHub, host: Host) -> None:
    url = (await targets(client, github))[host]
    github.faults.append(Fault(host, FaultKind.CLOSE))
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        await client.get(url)
    assert github.requests[-1].status == 0
    assert (await client.get(url)).status_code == 200


async def test_git_meets_a_fault(client: httpx.AsyncClient, github: GitHub, tmp_path: Path) -> None:
    github.faults.append(Fault("web", FaultKind.STATUS, code=503, path="info/refs"))
    assert (await client.get(f"{github.web_url}/ada/panel/releases/latest")).status_code == 302
    with pytest.raises(CommandFailed, match="503"):
        await ls_remote(f"{github.web_url}/ada/panel", cwd=tmp_path)
    assert await ls_remote(f"{github.web_url}/ada/panel", cwd=tmp_path)


async def test_how_often_and_where(client: httpx.AsyncClient, github: GitHub) -> None:
    github.faults += [
        Fault("api", FaultKind.STATUS, times=2, code=500),
        Fault("api", FaultKind.STATUS, times=None, code=404, path="/releases/latest"),
        Fault("web", FaultKind.STATUS, times=None, code=404),
    ]
    assert [(await client.get(LATEST)).status_code for _ in range(4)] == [500, 500, 404, 404]
    assert (await client.get("/repos/ada/panel/releases")).status_code == 200
    github.faults.clear()
    assert (await client.get(LATEST)).status_code == 200


def test_faults_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="secondary limit is a fault of the api host, not of web"):
        Fault("web", FaultKind.SECONDARY_LIMIT)
    with pytest.raises(ValueError, match="no range is a fault of the assets host, not of api"):
        Fault("api", FaultKind.NO_RANGE)
    with pytest.raises(ValueError, match="redirect to which url"):
        Fault("api", FaultKind.REDIRECT_TO)
