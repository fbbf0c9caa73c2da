"""The git server, seen by real git; what git would not send goes over a plain socket."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.support.waiting import until
from trio_update.demo.git import git_environment
from trio_update.demo.gitserver import Behaviour, GitServer, serve_git
from trio_update.demo.repos import Tag, Upstream, add_commits, clone, make_upstream
from trio_update.errors import CommandFailed
from trio_update.host.processes.runner import Runner

INFO_REFS = "/info/refs?service=git-upload-pack"


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return make_upstream(tmp_path / "served" / "app.git")


@pytest.fixture
async def server(upstream: Upstream) -> AsyncIterator[GitServer]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(serve_git, upstream.path.parent)
        nursery.cancel_scope.cancel()


async def git(*arguments: str, cwd: Path, trace: bool = False) -> str:
    """What git wrote; it is killed when this is cancelled."""
    environment = git_environment(cwd) | ({"GIT_TRACE_CURL": "1"} if trace else {})
    done = await Runner("tests").run(("git", "-c", "gc.auto=0", *arguments), cwd=cwd, env=environment)
    return (done.stdout + done.stderr).decode(errors="replace").strip()


async def head(path: Path) -> str:
    return await git("rev-parse", "HEAD", cwd=path)


async def send(server: GitServer, request: bytes) -> bytes:
    """Everything that comes back until the server closes."""
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    async with stream:
        await stream.send_all(request)
        return b"".join([piece async for piece in stream])


def get(target: str, method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()


def post(body: bytes, **headers: str) -> bytes:
    fields = {"Content-Type": "application/x-git-upload-pack-request", "Content-Length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    start = f"POST /app.git/git-upload-pack HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{lines}\r\n"
    return start.encode() + body


async def back_to(tasks: int) -> None:
    """Return when no more than ``tasks`` are left of those that the server started."""
    await until(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks)


def status_of(answer: bytes) -> int:
    return int(answer.split()[1])


@pytest.mark.parametrize("version", [0, 1, 2])
async def test_a_clone_is_whole(server: GitServer, upstream: Upstream, tmp_path: Path, version: int) -> None:
    said = await git("-c", f"protocol.version={version}", "clone", server.url("app"), "copy", cwd=tmp_path, trace=True)
    assert ("version 2" in said) == (version == 2)
    await git("fsck", "--strict", cwd=tmp_path / "copy")
    assert await head(tmp_path / "copy") == upstream.commits()[-1]
    tags = ("for-each-ref", "--format=%(refname) %(objectname)", "refs/tags")
    assert await git(*tags, cwd=tmp_path / "copy") == await git(*tags, cwd=upstream.path)
    assert server.packs["app"] == 1


@pytest.mark.parametrize("version", [0, 2])
async def test_a_fetch_brings_what_is_new_and_nothing_else(
    server: GitServer, upstream: Upstream, tmp_path: Path, version: int
) -> None:
    copy = clone(upstream, tmp_path / "copy", url=upstream.path.as_uri(), behind=40)
    fetch = ("-c", f"protocol.version={version}", "fetch", "--quiet", server.url("app"), "master:refs/heads/got")
    await git(*fetch, cwd=copy)
    assert await git("rev-parse", "got", cwd=copy) == upstream.commits()[-1]
    assert server.packs["app"] == 1
    await git(*fetch, cwd=copy)
    assert server.packs["app"] == 1
    (new,) = add_commits(upstream, 1)
    await git(*fetch, cwd=copy)
    assert await git("rev-parse", "got", cwd=copy) == new
    assert server.packs["app"] == 2


async def test_a_shallow_clone_and_its_deepening(server: GitServer, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    await git("clone", "--quiet", "--depth=3", server.url("app"), "copy", cwd=tmp_path)
    assert await git("rev-list", "--count", "HEAD", cwd=copy) == "3"
    await git("fetch", "--quiet", "--deepen=4", cwd=copy)
    assert await git("rev-list", "--count", "HEAD", cwd=copy) == "7"
    await git("fetch", "--quiet", "--unshallow", cwd=copy)
    assert await git("rev-list", "--count", "HEAD", cwd=copy) == "60"


@pytest.mark.parametrize("version", [0, 2])
async def test_a_blobless_clone_gets_contents_when_it_needs_them(
    server: GitServer, tmp_path: Path, version: int
) -> None:
    copy = tmp_path / "copy"
    protocol = ("-c", f"protocol.version={version}")
    await git(
        *protocol, "clone", "--quiet", "--no-checkout", "--filter=blob:none", server.url("app"), "copy", cwd=tmp_path
    )
    assert "?" in await git("rev-list", "--objects", "--missing=print", "HEAD", cwd=copy)
    packs = server.packs["app"]
    await git(*protocol, "checkout", "--quiet", "HEAD~10", cwd=copy)
    assert (copy / "VERSION").read_text() == "50\n"
    assert server.packs["app"] > packs


async def test_a_compressed_request_is_understood(server: GitServer, upstream: Upstream, tmp_path: Path) -> None:
    # Every tag is an object to be asked for: enough of them, and git compresses the request.
    add_commits(upstream, 1, tags=[Tag(f"build-{number}", 1 + number) for number in range(50)])
    said = await git("clone", server.url("app"), "copy", cwd=tmp_path, trace=True)
    assert "content-encoding: gzip" in said.lower()
    assert len((await git("tag", "--list", cwd=tmp_path / "copy")).split()) == 56


async def test_a_request_in_chunks_is_understood(server: GitServer, upstream: Upstream, tmp_path: Path) -> None:
    add_commits(upstream, 1, tags=[Tag(f"build-{number}", 1 + number % 60) for number in range(1500)])
    # Hardly more than the smallest buffer that git allows: what does not fit goes out in chunks.
    said = await git("-c", "http.postBuffer=65536", "clone", server.url("app"), "copy", cwd=tmp_path, trace=True)
    assert "transfer-encoding: chunked" in said.lower()
    assert len((await git("tag", "--list", cwd=tmp_path / "copy")).split()) == 1506


async def test_twelve_clones_side_by_side(server: GitServer, upstream: Upstream, tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(12):
            arguments = ("clone", "--quiet", server.url("app"), f"copy{number}")
            nursery.start_soon(partial(git, *arguments, cwd=tmp_path))
    assert {await head(tmp_path / f"copy{number}") for number in range(12)} == {upstream.commits()[-1]}
    assert server.packs["app"] == 12


async def test_nothing_can_be_pushed(server: GitServer, upstream: Upstream, tmp_path: Path) -> None:
    copy = await trio.to_thread.run_sync(partial(clone, upstream, tmp_path / "copy", url=server.url("app")))
    with pytest.raises(CommandFailed, match="403"):
        await git("push", "origin", "HEAD:refs/heads/mine", cwd=copy)


@pytest.mark.parametrize(
    ("status", "complaint"),
    [
        (401, "could not read Username.*terminal prompts disabled"),
        (403, "error: 403"),
        (404, "not found"),
        (500, "error: 500"),
    ],
)
async def test_a_status_is_seen_by_git_until_it_is_taken_back(
    server: GitServer, tmp_path: Path, status: int, complaint: str
) -> None:
    server.faults["app"] = Behaviour(status=status)
    with pytest.raises(CommandFailed, match=complaint):
        await git("clone", server.url("app"), "copy", cwd=tmp_path)
    del server.faults["app"]
    await git("clone", server.url("app"), "copy", cwd=tmp_path)


async def test_a_fault_is_of_one_repository(server: GitServer, upstream: Upstream, tmp_path: Path) -> None:
    make_upstream(upstream.path.with_name("other.git"), commits=2)
    server.faults["app"] = Behaviour(status=500)
    await git("clone", server.url("other"), "copy", cwd=tmp_path)
    assert await git("rev-list", "--count", "HEAD", cwd=tmp_path / "copy") == "2"


async def test_a_repository_that_is_not_there(server: GitServer, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="not found"):
        await git("clone", server.url("nothing"), "copy", cwd=tmp_path)


async def test_a_moved_repository_is_followed(server: GitServer, upstream: Upstream, tmp_path: Path) -> None:
    server.faults["old"] = Behaviour(redirect="app")
    said = await git("clone", server.url("old"), "copy", cwd=tmp_path)
    assert f"redirecting to {server.url('app')}" in said
    assert await head(tmp_path / "copy") == upstream.commits()[-1]
    with pytest.raises(CommandFailed, match="301"):
        await git("-c", "http.followRedirects=false", "ls-remote", server.url("old"), cwd=tmp_path)


async def test_every_answer_has_its_latency(
    server: GitServer, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    server.faults["app"] = Behaviour(latency=1000)
    start = trio.current_time()
    await git("ls-remote", server.url("app"), cwd=tmp_path)
    assert server.requests["app"] == 2
    assert trio.current_time() - start >= 2000


async def test_a_throttled_answer_takes_its_time(
    server: GitServer, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    answer = await send(server, get(f"/app.git{INFO_REFS}"))
    size = len(answer.partition(b"\r\n\r\n")[2])
    server.faults["app"] = Behaviour(rate=3)
    start = trio.current_time()
    throttled = await send(server, get(f"/app.git{INFO_REFS}"))
    assert throttled == answer
    assert trio.current_time() - start >= size / 3 - 0.01
    server.faults["app"] = Behaviour(rate=5000)
    await git("clone", server.url("app"), "copy", cwd=tmp_path)
    await git("fsck", "--strict", cwd=tmp_path / "copy")
    assert server.packs["app"] == 1


async def test_a_throttle_can_be_opened_in_the_middle(server: GitServer, tmp_path: Path) -> None:
    # Hours, if it were not opened.
    server.faults["app"] = Behaviour(rate=10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(git, "clone", "--quiet", server.url("app"), "copy", cwd=tmp_path))
        await server.requests_reach("app", 1)
        del server.faults["app"]
        await server.packs_reach("app", 1)
    await git("fsck", cwd=tmp_path / "copy")


async def test_a_hanging_server_never_answers_and_forgets_who_left(server: GitServer, tmp_path: Path) -> None:
    server.faults["app"] = Behaviour(hang=True)
    before = trio.lowlevel.current_statistics().tasks_living
    with trio.move_on_after(1) as patience:
        await git("clone", server.url("app"), "copy", cwd=tmp_path)
    assert patience.cancelled_caught
    assert server.requests["app"] == 1
    await back_to(before)
    server.faults.clear()
    await git("clone", server.url("app"), "copy", cwd=tmp_path)


async def test_a_client_that_leaves_a_throttled_answer_is_forgotten(server: GitServer, tmp_path: Path) -> None:
    server.faults["app"] = Behaviour(rate=1)
    before = trio.lowlevel.current_statistics().tasks_living
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(git, "clone", server.url("app"), "copy", cwd=tmp_path))
        await server.requests_reach("app", 1)
        nursery.cancel_scope.cancel()
    await back_to(before)


async def test_a_transfer_is_reset_in_the_middle(server: GitServer, tmp_path: Path) -> None:
    server.faults["app"] = Behaviour(reset_after=2000)
    with pytest.raises(CommandFailed, match=r"(?i)reset by peer|early EOF|unexpected disconnect"):
        await git("clone", server.url("app"), "copy", cwd=tmp_path)
    # The advertisement and the list of references are shorter than that.
    assert server.requests["app"] == 3
    assert server.packs["app"] == 0
    server.faults.clear()
    await git("clone", server.url("app"), "copy", cwd=tmp_path)


async def test_a_reset_is_a_reset_and_comes_after_so_many_bytes(server: GitServer) -> None:
    server.faults["app"] = Behaviour(reset_after=100, rate=100)
    came = b""
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(get(f"/app.git{INFO_REFS}"))
        with pytest.raises(trio.BrokenResourceError):
            while piece := await stream.receive_some():
                came += piece
    assert len(came.partition(b"\r\n\r\n")[2]) <= 100
    assert status_of(came) == 200


async def test_the_second_version_of_the_protocol_begins_without_a_head(server: GitServer) -> None:
    # gitprotocol-v2(5), "HTTP Transport".
    request = get(f"/app.git{INFO_REFS}").replace(b"\r\n\r\n", b"\r\nGit-Protocol: version=2\r\n\r\n")
    assert b"\r\n\r\n000eversion 2\n" in await send(server, request)
    assert b"\r\n\r\n001e# service=git-upload-pack\n0000" in await send(server, get(f"/app.git{INFO_REFS}"))


@pytest.mark.parametrize(
    "target",
    [
        f"/../secret.git{INFO_REFS}",
        f"/%2e%2e/secret.git{INFO_REFS}",
        f"/app.git/../../secret.git{INFO_REFS}",
        f"/..%2fsecret.git{INFO_REFS}",
        f"//secret.git{INFO_REFS}",
        f"/-c.git{INFO_REFS}",
        f"/.git{INFO_REFS}",
        "/app.git/HEAD",
        "/app.git/info/refs",
        "/",
    ],
)
async def test_no_path_leads_out_of_the_folder(server: GitServer, tmp_path: Path, target: str) -> None:
    make_upstream(tmp_path / "secret.git", commits=1)
    answer = await send(server, get(target))
    assert status_of(answer) == 404
    assert b"refs/" not in answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/app.git/git-upload-pack"), 405),
        (get(f"/app.git{INFO_REFS}", "POST"), 405),
        (get("/app.git/info/refs?service=git-receive-pack"), 403),
        (post(b"0000", Content_Type="text/plain"), 415),
        (post(b"not gzip", Content_Encoding="gzip"), 400),
        (post(gzip.compress(b"0000")[:-4], Content_Encoding="gzip"), 400),
        (post(gzip.compress(bytes(33 << 20)), Content_Encoding="gzip"), 400),
    ],
    ids=["get", "post", "push", "type", "not-gzip", "cut-gzip", "bomb"],
)
async def test_what_git_would_not_ask_is_refused(server: GitServer, request_: bytes, status: int) -> None:
    assert status_of(await send(server, request_)) == status


async def test_a_client_that_waits_for_leave_to_go_on_gets_it(server: GitServer) -> None:
    answer = await send(server, post(b"0000", Expect="100-continue"))
    assert answer.startswith(b"HTTP/1.1 100 ")
    assert b"HTTP/1.1 200 " in answer


async def test_garbage_ends_its_own_connection_only(server: GitServer) -> None:
    assert await send(server, b"\x16\x03\x01 no http at all\r\n\r\n") == b""
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    await stream.send_all(post(b"")[:-40])
    await stream.aclose()
    assert status_of(await send(server, get(f"/app.git{INFO_REFS}"))) == 200


async def test_it_stops_listening_when_cancelled(upstream: Upstream) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_git, upstream.path.parent)
        nursery.cancel_scope.cancel()
    with pytest.raises(OSError):
        await trio.open_tcp_stream("127.0.0.1", server.port)
