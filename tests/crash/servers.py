"""Real servers, started one after another, and what can be asked of them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import trio

from tests.crash.scenes import Place
from tests.crash.zygote import Order
from trio_update.host.processes.strays import OWNER_VARIABLE

_LISTENING = re.compile(r"listening on (http://\S+)\n")
_PATIENCE = 60.0
REPOSITORY = Path(__file__).parents[2]


class Died(Exception):
    """The server ended before it had answered; ``log`` is all it said."""

    def __init__(self, log: str) -> None:
        super().__init__(f"the server ended early, it had said:\n{log}")
        self.log = log


@dataclass(frozen=True)
class Answer:
    """What the server answered: its status, and the whole body as text."""

    code: int
    text: str

    @property
    def result(self) -> Any:
        return msgspec.json.decode(self.text)["result"]


@dataclass
class Server:
    """A server's process.  ``ended`` is set when it is gone, however it went."""

    pid: int
    place: Place
    log_reader: int
    client: httpx.AsyncClient
    log: str = ""
    url: str = ""
    ended: trio.Event = field(default_factory=trio.Event)
    _news: trio.Event = field(default_factory=trio.Event)

    async def watch(self) -> None:
        """Notice its end."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            self.ended.set()
            return
        try:
            await trio.lowlevel.wait_readable(descriptor)
        finally:
            os.close(descriptor)
        self._drain()
        self.ended.set()

    async def read(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self.log_reader)
            self._drain()

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.log_reader, 65536):
                self.log += data.decode(errors="replace")
        self._news.set()
        self._news = trio.Event()

    async def listening(self) -> None:
        """Return once it answers.  Raises: Died."""
        with trio.fail_after(_PATIENCE):
            while (found := _LISTENING.search(self.log)) is None:
                if self.ended.is_set():
                    raise Died(self.log)
                await _first(self._news.wait, self.ended.wait)
            self.url = found[1]

    async def ask(self, path: str, method: str = "POST") -> Answer:
        """One request to the update API.  Raises: Died when the server ends instead of answering."""
        answers: list[Answer] = []

        async def request() -> None:
            with contextlib.suppress(httpx.TransportError):
                got = await self.client.request(method, f"{self.url}/machine/update/{path}", timeout=_PATIENCE)
                answers.append(Answer(got.status_code, got.text))

        with trio.fail_after(_PATIENCE):
            await request()
            if not answers:
                with trio.move_on_after(10):
                    await self.ended.wait()
        if not answers:
            raise Died(self.log)
        return answers[0]

    async def when_ready(self, path: str) -> Answer:
        """The same, again while it says that it has not looked at its apps yet."""
        with trio.fail_after(_PATIENCE):
            while True:
                answer = await self.ask(path)
                if answer.code != 503:
                    return answer
                await trio.sleep(0.01)

    async def app(self) -> dict[str, Any]:
        answer = await self.ask("status", "GET")
        app: dict[str, Any] = answer.result["version_info"]["app"]
        return app

    async def stop(self) -> str:
        """Ask it to end; returns its exit code as it wrote it."""
        os.kill(self.pid, signal.SIGTERM)
        with trio.fail_after(20):
            await self.ended.wait()
        file = self.place.crash / "exit"
        return file.read_text() if file.exists() else ""

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


@dataclass
class Zygote:
    """The process that forks servers."""

    process: trio.Process
    client: httpx.AsyncClient
    _answers: bytes = b""
    _turn: trio.Lock = field(default_factory=trio.Lock)

    @asynccontextmanager
    async def server(
        self,
        place: Place,
        environment: dict[str, str],
        *,
        gate: str | None = None,
        without_recovery: bool = False,
    ) -> AsyncIterator[Server]:
        """A server that works on ``place``; killed at the end if it is still there."""
        log = place.crash / "server.log"
        for old in (log, place.crash / "exit"):
            old.unlink(missing_ok=True)
        os.mkfifo(log)
        reader = os.open(log, os.O_RDWR | os.O_NONBLOCK)
        order = Order(
            arguments=("serve", "-c", str(place.run / "moonraker.conf"), "-d", str(place.data)),
            environment=environment,
            log=str(log),
            exit_code=str(place.crash / "exit"),
            gate=gate,
            without_recovery=without_recovery,
        )
        try:
            server = Server(await self._fork(order), place, reader, self.client)
            (place.crash / "server.pid").write_text(f"{server.pid}\n")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.watch)
                nursery.start_soon(server.read)
                try:
                    yield server
                finally:
                    server.kill()
                    with trio.move_on_after(10, shield=True):
                        await server.ended.wait()
                    nursery.cancel_scope.cancel()
        finally:
            os.close(reader)

    async def _fork(self, order: Order) -> int:
        assert self.process.stdin is not None
        async with self._turn:
            await self.process.stdin.send_all(msgspec.json.encode(order) + b"\n")
            return int(await self.line())

    async def line(self) -> bytes:
        assert self.process.stdout is not None
        while b"\n" not in self._answers:
            data = await self.process.stdout.receive_some()
            assert data, "the process that forks servers has ended"
            self._answers += data
        line, _, self._answers = self._answers.partition(b"\n")
        return line


@asynccontextmanager
async def open_zygote() -> AsyncIterator[Zygote]:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.crash.zygote"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
    )
    try:
        # No certificate is ever looked at: making a context for them costs 80 ms.
        async with httpx.AsyncClient(verify=False, trust_env=False) as client:
            zygote = Zygote(process, client)
            assert await zygote.line() == b"ready"
            yield zygote
    finally:
        process.kill()
        with trio.move_on_after(10, shield=True):
            await process.wait()


async def _first(*waits: Any) -> None:
    """Return when the first of several has."""
    async with trio.open_nursery() as nursery:

        async def run(wait: Any) -> None:
            await wait()
            nursery.cancel_scope.cancel()

        for wait in waits:
            nursery.start_soon(run, wait)


def processes_of(place: Place) -> Iterator[int]:
    """Every process that a server of ``place`` started, or that works in it."""
    mark = f"{OWNER_VARIABLE}={os.path.realpath(place.data)}".encode()
    inside = os.fsencode(place.run)
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            marked = mark in Path("/proc", name, "environ").read_bytes().split(b"\0")
            if marked or os.readlink(f"/proc/{name}/cwd".encode()).startswith(inside):
                yield int(name)


async def end_all(place: Place) -> None:
    """The rest of a whole death: what the server had started."""
    with trio.fail_after(10):
        while found := list(processes_of(place)):
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await trio.sleep(0.005)
