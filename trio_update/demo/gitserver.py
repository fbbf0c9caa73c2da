"""A small git server on Trio: smart HTTP for the bare repositories of one folder, with faults that can be switched
while it runs.

It speaks the protocol of gitprotocol-http(5), versions 0 to 2, by handing each request to a real ``git upload-pack``.
It reads only: nothing can be pushed.  It listens on 127.0.0.1 alone and has no access control.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path

import h11
import trio

from trio_update.demo.git import git_environment
from trio_update.demo.http1 import LARGEST_BODY, Connection, Headers, Request
from trio_update.errors import OperationFailed
from trio_update.host.processes.runner import Runner

_PIECE = 64 * 1024
# A throttled answer goes out in pieces of this many seconds: often enough for git's progress to move.
_TICK = 0.1
_TARGET = re.compile(
    # No slash and no dot in front: no name leads out of the folder.
    r"/(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\.git/"
    r"(?:info/refs\?service=(?P<service>git-[a-z-]+)|(?P<call>git-[a-z-]+))"
)
_PROTOCOL = re.compile(r"[A-Za-z0-9=:._-]{1,64}")
_PACK = b"PACK\0\0\0\2"
_OPTIONS = ("-c", "uploadpack.allowFilter=true", "-c", "uploadpack.allowAnySHA1InWant=true", "-c", "gc.auto=0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How requests for one repository are treated; what is set is applied in the order of the fields.

    ``hang``: read the request and never answer.  ``latency``: seconds before the answer.  ``status``: answer with that
    HTTP status (401 asks for a password).  ``redirect``: 301 to the repository of that name.  ``rate``: bytes a second.
    ``reset_after``: reset the connection when that many bytes of one answer's body have been sent, of which the client
    may see fewer.
    """

    hang: bool = False
    latency: float = 0.0
    status: int | None = None
    redirect: str | None = None
    rate: float | None = None
    reset_after: int | None = None


# By the repositories' names, without `.git`.  The server reads it with every request, `rate` with every piece.
Faults = MutableMapping[str, Behaviour]

_NORMAL = Behaviour()


@dataclass(frozen=True)
class GitServer:
    """A running server.

    ``requests`` and ``packs`` count, by repository, the requests that came and the packs that went out whole;
    ``faults`` may be changed at any time and holds for the next request.
    """

    root: Path
    port: int
    faults: Faults
    requests: Counter[str] = field(default_factory=Counter)
    packs: Counter[str] = field(default_factory=Counter)
    _counted: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot, repr=False)

    def url(self, name: str) -> str:
        """Where the bare repository ``root/NAME.git`` can be fetched from."""
        return f"http://127.0.0.1:{self.port}/{name}.git"

    async def requests_reach(self, name: str, count: int) -> None:
        """Return when ``count`` requests for ``name`` have come since the start."""
        while self.requests[name] < count:
            await self._counted.park()

    async def packs_reach(self, name: str, count: int) -> None:
        """Return when ``count`` packs of ``name`` have gone out whole since the start."""
        while self.packs[name] < count:
            await self._counted.park()

    def _count(self, counter: Counter[str], name: str) -> None:
        counter[name] += 1
        self._counted.unpark_all()


async def serve_git(
    root: Path,
    *,
    faults: Faults | None = None,
    port: int = 0,
    task_status: trio.TaskStatus[GitServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve every ``root/NAME.git`` until cancelled; ``nursery.start`` returns the :class:`GitServer` once it answers.

    Raises:
        OSError: the port is taken.
    """
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    _, bound = listeners[0].socket.getsockname()
    server = GitServer(root, bound, {} if faults is None else faults)
    handler = partial(_handle, server, Runner(f"git server {root}"))
    # They listen already: a client that comes before the next line has been reached waits in the queue.
    task_status.started(server)
    await trio.serve_listeners(handler, listeners)


async def _handle(server: GitServer, runner: Runner, stream: trio.SocketStream) -> None:
    connection = Connection(stream)
    try:
        async with stream:
            while request := await connection.request():
                await _Exchange(server, runner, connection).answer(request)
                if not connection.again():
                    return
    except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
        # The client has gone, or does not speak HTTP: of no interest to the others.
        return


class _Refusal(Exception):
    """The request gets this status instead of an answer."""

    def __init__(self, status: int, why: str = "", headers: Headers | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers or []


class _Exchange:
    """One request and its answer."""

    def __init__(self, server: GitServer, runner: Runner, connection: Connection) -> None:
        self._server = server
        self._runner = runner
        self._connection = connection
        self._name = ""

    @property
    def _behaviour(self) -> Behaviour:
        return self._server.faults.get(self._name, _NORMAL)

    async def answer(self, request: Request) -> None:
        try:
            kind, body = await self._result(request)
            status, headers = 200, [("Content-Type", kind), ("Cache-Control", "no-cache")]
        except _Refusal as refusal:
            body = f"{refusal}\n".encode()
            status, headers = refusal.status, [("Content-Type", "text/plain; charset=utf-8"), *refusal.headers]
        await self._connection.start(status, [*headers, ("Content-Length", str(len(body)))])
        if request.method != "HEAD":
            await self._transfer(body)
        await self._connection.end()
        if _PACK in body:
            self._server._count(self._server.packs, self._name)

    async def _result(self, request: Request) -> tuple[str, bytes]:
        asked = _TARGET.fullmatch(request.target)
        if asked is None:
            raise _Refusal(404, "There is nothing here.")
        self._name = asked["name"]
        self._server._count(self._server.requests, self._name)
        await self._misbehave(request.target)
        service = asked["service"] or asked["call"]
        if service != "git-upload-pack":
            raise _Refusal(403, f"{service} is not allowed: these repositories can only be fetched from.")
        if request.method != ("GET" if asked["service"] else "POST"):
            raise _Refusal(405, "Method not allowed.")
        if asked["service"]:
            return await self._advertisement(request)
        return "application/x-git-upload-pack-result", await self._upload_pack(request, _body(request))

    async def _misbehave(self, target: str) -> None:
        behaviour = self._behaviour
        if behaviour.hang:
            await self._connection.pause(float("inf"))
        await self._connection.pause(behaviour.latency)
        if behaviour.status == HTTPStatus.UNAUTHORIZED:
            raise _Refusal(401, "Who are you?", [("WWW-Authenticate", 'Basic realm="git"')])
        if behaviour.status is not None:
            raise _Refusal(behaviour.status, "As it was told to answer.")
        if behaviour.redirect is not None:
            rest = target.removeprefix(f"/{self._name}.git")
            raise _Refusal(301, "Moved.", [("Location", f"{self._server.url(behaviour.redirect)}{rest}")])

    async def _advertisement(self, request: Request) -> tuple[str, bytes]:
        said = await self._upload_pack(request, b"", "--advertise-refs")
        # Only versions 0 and 1 say first which service it is.
        head = b"" if said.startswith(b"000eversion 2\n") else b"001e# service=git-upload-pack\n0000"
        return "application/x-git-upload-pack-advertisement", head + said

    async def _upload_pack(self, request: Request, stdin: bytes, *options: str) -> bytes:
        """Run it to its end: demonstration repositories are small, and with the answer in hand no process is held up
        by a slow client."""
        protocol = request.headers.get("git-protocol", "")
        path = self._server.root / f"{self._name}.git"
        # Git's own words about a folder that is not there differ from version to version ("dubious ownership").
        if not await trio.Path(path).is_dir():
            raise _Refusal(404, f"There is no repository {self._name}.")
        environment = git_environment(self._server.root) | {
            "GIT_PROTOCOL": protocol if _PROTOCOL.fullmatch(protocol) else None
        }
        argv = ("git", *_OPTIONS, "upload-pack", "--strict", "--stateless-rpc", *options, str(path))
        try:
            done = await self._runner.run(argv, cwd=self._server.root, env=environment, stdin=stdin, check=False)
        except OperationFailed as failed:
            raise _Refusal(500, str(failed)) from failed
        # Whatever it said is for the client, also when it ended with an error that it told.
        if done.stdout or done.returncode == 0:
            return done.stdout
        raise _Refusal(500, done.stderr.decode(errors="replace").strip())

    async def _transfer(self, body: bytes) -> None:
        rest = memoryview(body)
        while rest:
            behaviour = self._behaviour
            size = _PIECE if behaviour.rate is None else max(1, int(behaviour.rate * _TICK))
            if behaviour.reset_after is not None:
                left = behaviour.reset_after - (len(body) - len(rest))
                if left <= 0:
                    self._connection.reset()
                size = min(size, left)
            if behaviour.rate is not None:
                # Before the piece: who has got the last one goes away at once.
                await self._connection.pause(min(size, len(rest)) / behaviour.rate)
            await self._connection.data(rest[:size])
            rest = rest[size:]


def _body(request: Request) -> bytes:
    """The request's body; git compresses those over a kilobyte."""
    if request.headers.get("content-type") != "application/x-git-upload-pack-request":
        raise _Refusal(415, "A request of git-upload-pack was expected.")
    if request.headers.get("content-encoding", "identity") not in ("gzip", "x-gzip"):
        return request.body
    decompressor = zlib.decompressobj(wbits=31)
    try:
        body = decompressor.decompress(request.body, LARGEST_BODY)
    except zlib.error as error:
        raise _Refusal(400, f"The body is not gzip: {error}") from error
    if not decompressor.eof:
        raise _Refusal(400, "The compressed body is cut short, or too large.")
    return body
