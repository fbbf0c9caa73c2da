"""The asset host of the stand-in for GitHub: whole files, parts of them, and signed links."""

from __future__ import annotations

import hashlib
import os
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trio

from tests.support.github_client import CONTENT, LATEST, REPO, asset_link, bearer, example, serving
from trio_update.demo.github.server import Fault, FaultKind, GitHub, SimAsset, SimRelease

END = len(CONTENT) - 1


@pytest.fixture
def github() -> GitHub:
    return example()


@pytest.fixture(params=["bytes", "file"])
def stored(request: pytest.FixtureRequest, github: GitHub, tmp_path: Path) -> str:
    """The asset as bytes, or in a file."""
    if request.param == "file":
        path = tmp_path / "panel.zip"
        path.write_bytes(CONTENT)
        asset_of(github).content = path
    return str(request.param)


@pytest.fixture
async def client(github: GitHub) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(github) as client:
        yield client


def asset_of(github: GitHub) -> SimAsset:
    asset = github.repos[REPO].releases[1].asset("panel.zip")
    assert asset is not None
    return asset


@pytest.mark.usefixtures("stored")
async def test_a_whole_asset(client: httpx.AsyncClient) -> None:
    link = await asset_link(client)
    response = await client.get(link)
    assert (response.status_code, response.content) == (200, CONTENT)
    headers = response.headers
    assert (headers["content-length"], headers["accept-ranges"]) == (str(len(CONTENT)), "bytes")
    assert headers["etag"].startswith('"') and headers["last-modified"].endswith(" GMT")
    assert headers["content-disposition"] == "attachment; filename=panel.zip"
    head = await client.head(link)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(CONTENT)))


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-", 0, END),
        ("bytes=1234-", 1234, END),
        ("bytes=10-19", 10, 19),
        ("bytes=4990-9999", 4990, END),
        ("bytes=-7", END - 6, END),
        ("bytes=-9999", 0, END),
    ],
)
async def test_a_part(client: httpx.AsyncClient, asked: str, first: int, last: int) -> None:
    response = await client.get(await asset_link(client), headers={"range": asked})
    assert (response.status_code, response.content) == (206, CONTENT[first : last + 1])
    assert response.headers["content-range"] == f"bytes {first}-{last}/{len(CONTENT)}"
    assert response.headers["content-length"] == str(last - first + 1)


@pytest.mark.parametrize("asked", [f"bytes={END + 1}-", "bytes=99999-100000", "bytes=-0"])
async def test_a_part_that_is_not_there(client: httpx.AsyncClient, asked: str) -> None:
    response = await client.get(await asset_link(client), headers={"range": asked})
    assert (response.status_code, response.headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")


@pytest.mark.parametrize("asked", ["bytes=", "bytes=-", "lines=1-2", "bytes=1-2,5-6", "bytes=a-b", "bytes=9-3"])
async def test_what_is_no_range_gets_everything(client: httpx.AsyncClient, asked: str) -> None:
    response = await client.get(await asset_link(client), headers={"range": asked})
    assert (response.status_code, response.content) == (200, CONTENT)


@pytest.mark.usefixtures("stored")
async def test_a_part_only_of_the_same_file(client: httpx.AsyncClient, github: GitHub) -> None:
    link = await asset_link(client)
    headers = (await client.get(link)).headers

    async def status(validator: str) -> int:
        response = await client.get(link, headers={"range": "bytes=100-", "if-range": validator})
        assert response.content == (CONTENT if response.status_code == 200 else CONTENT[100:])
        return response.status_code

    assert await status(headers["etag"]) == 206
    assert await status(headers["last-modified"]) == 206
    assert await status(f"W/{headers['etag']}") == 200
    assert await status('"other"') == 200
    asset_of(github).revision += 1
    assert await status(headers["etag"]) == 200
    assert await status(headers["last-modified"]) == 200


@pytest.mark.usefixtures("stored")
async def test_other_content_has_another_etag_and_digest(
    client: httpx.AsyncClient, github: GitHub, tmp_path: Path
) -> None:
    link = await asset_link(client)
    before = (await client.get(link)).headers["etag"]
    asset = asset_of(github)
    if isinstance(asset.content, Path):
        asset.content.write_bytes(CONTENT[::-1])
        os.utime(asset.content, (1, 1))
    else:
        asset.content = CONTENT[::-1]
    response = await client.get(link)
    assert response.content == CONTENT[::-1]
    assert response.headers["etag"] != before
    told = (await client.get(LATEST)).json()["assets"][0]["digest"]
    assert told == f"sha256:{hashlib.sha256(CONTENT[::-1]).hexdigest()}"


async def test_a_digest_can_be_a_lie(client: httpx.AsyncClient, github: GitHub) -> None:
    asset_of(github).digest = "sha256:" + "0" * 64
    assert (await client.get(LATEST)).json()["assets"][0]["digest"] == "sha256:" + "0" * 64


async def test_an_upload_between_two_requests(client: httpx.AsyncClient, github: GitHub) -> None:
    link = await asset_link(client)
    etag = (await client.get(link)).headers["etag"]
    github.faults.append(Fault("assets", FaultKind.CHANGED, content=b"another"))
    resumed = {"range": "bytes=3-", "if-range": etag}
    response = await client.get(link, headers=resumed)
    assert (response.status_code, response.content) == (200, b"another")
    assert response.headers["etag"] != etag
    assert github.faults == []
    # It stays changed.
    assert (await client.get(link, headers=resumed)).status_code == 200
    assert (await client.get(link, headers=resumed | {"if-range": response.headers["etag"]})).content == b"ther"


async def test_the_same_bytes_are_uploaded_again(client: httpx.AsyncClient, github: GitHub) -> None:
    link = await asset_link(client)
    etag = (await client.get(link)).headers["etag"]
    github.faults.append(Fault("assets", FaultKind.CHANGED))
    response = await client.get(link, headers={"range": "bytes=3-", "if-range": etag})
    assert (response.status_code, response.content) == (200, CONTENT)
    assert response.headers["etag"] != etag


async def test_a_host_without_ranges(client: httpx.AsyncClient, github: GitHub) -> None:
    link = await asset_link(client)
    github.faults.append(Fault("assets", FaultKind.NO_RANGE))
    response = await client.get(link, headers={"range": "bytes=100-"})
    assert (response.status_code, response.content) == (200, CONTENT)
    assert "accept-ranges" not in response.headers and "content-range" not in response.headers
    assert (await client.get(link, headers={"range": "bytes=100-"})).status_code == 206


async def test_a_token_that_is_sent_along_is_noticed(client: httpx.AsyncClient, github: GitHub) -> None:
    link = await asset_link(client)
    response = await client.get(link, headers=bearer("right"))
    assert response.status_code == 400
    assert response.headers["x-ms-error-code"] == "InvalidArgument"
    # A client that keeps to the rules drops it on the way from the web host.
    assert httpx.URL(link).port != httpx.URL(github.web_url).port
    url = f"{github.web_url}/{REPO}/releases/download/v1.1/panel.zip"
    assert (await client.get(url, headers=bearer("right"), follow_redirects=True)).content == CONTENT
    assert "authorization" not in github.requests[-1].headers


async def test_a_link_is_good_for_a_while_and_as_it_is(client: httpx.AsyncClient, github: GitHub) -> None:
    now = 1_800_000_000.0
    github.clock = lambda: now
    link = await asset_link(client)
    now += github.link_lifetime - 1
    assert (await client.get(link)).status_code == 200
    assert (await client.get(link.replace("v1.1", "v1.0"))).status_code == 403
    assert (await client.get(link.partition("?")[0])).status_code == 403
    now += 1
    assert (await client.get(link)).status_code == 403
    assert (await client.get(await asset_link(client))).status_code == 200
    github.remove(REPO, "v1.1")
    now -= 1
    assert (await client.get(link)).status_code == 404


async def test_a_file_that_is_gone_is_the_fault_of_the_server(
    client: httpx.AsyncClient, github: GitHub, tmp_path: Path
) -> None:
    link = await asset_link(client)
    asset_of(github).content = tmp_path / "none"
    for url in (link, LATEST):
        assert (await client.get(url, headers=bearer("right") if url == LATEST else {})).status_code == 500
    asset_of(github).content = CONTENT
    assert (await client.get(link)).content == CONTENT


async def test_a_file_that_goes_while_it_is_sent_breaks_that_answer_only(
    client: httpx.AsyncClient, github: GitHub, tmp_path: Path
) -> None:
    folder, path = tmp_path / "folder", tmp_path / "asset"
    folder.mkdir()
    path.write_bytes(bytes(folder.stat().st_size))
    asset_of(github).content = path
    link = await asset_link(client)
    # What the server looks at before it opens it is as it was.
    os.utime(folder, ns=(0, path.stat().st_mtime_ns))
    path.unlink()
    folder.rename(path)
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(link)
    asset_of(github).content = CONTENT
    assert (await client.get(link)).content == CONTENT


async def test_the_connection_can_be_used_again(client: httpx.AsyncClient, github: GitHub) -> None:
    link = httpx.URL(await asset_link(client))
    one = f"HEAD {link.raw_path.decode()} HTTP/1.1\r\nHost: {link.host}\r\n"
    stream = await trio.open_tcp_stream(link.host, link.port or 80)
    async with stream:
        await stream.send_all(f"{one}\r\n{one}Connection: close\r\n\r\n".encode())
        answers = b"".join([piece async for piece in stream])
    assert answers.count(b"HTTP/1.1 200 ") == 2


async def test_names_that_are_not_ascii(client: httpx.AsyncClient, github: GitHub) -> None:
    github.add(REPO, SimRelease(tag="größer", assets=[SimAsset(name="böse datei.zip", content=b"it")]))
    assert (await client.get(await asset_link(client, "böse datei.zip"))).content == b"it"


async def test_links_may_call_the_host_by_another_name() -> None:
    github = example()
    github.assets_name = "localhost"
    async with serving(github) as client:
        link = await asset_link(client)
        assert link.startswith("http://localhost:")
        assert (await client.get(link)).content == CONTENT


async def test_a_large_file_is_sent_without_being_held(
    client: httpx.AsyncClient, github: GitHub, tmp_path: Path
) -> None:
    size = 256 * 1024 * 1024
    path = tmp_path / "large.zip"
    with path.open("wb") as file:
        file.truncate(size)
    github.add(REPO, SimRelease(tag="v9", assets=[SimAsset(name="large.zip", content=path)]))
    link = await asset_link(client, "large.zip")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    got = 0
    async with client.stream("GET", link) as response:
        async for piece in response.aiter_raw():
            got += len(piece)
    assert got == size
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 32 * 1024 * 1024
