"""A server that is about to be hurt."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.crash.operations import Operation
from tests.crash.points import SERVER, Point
from tests.crash.scenes import Place
from tests.crash.servers import Answer, Server, Zygote
from tests.crash.tracing import strace, threads_of


@dataclass(frozen=True)
class Begin:
    """Sets the operation off; returns its answer, or ``None`` when a start came to its end."""

    server: Server
    operation: Operation
    gate: Path | None

    async def __call__(self) -> Answer | None:
        (self.server.place.crash / "armed").touch()
        if self.gate is None:
            return await self.server.when_ready(self.operation.path)
        await _open_gate(self.gate)
        await self.server.listening()
        await self.server.when_ready("refresh?name=app")
        return None


@asynccontextmanager
async def victim(
    zygote: Zygote, place: Place, operation: Operation, environment: dict[str, str]
) -> AsyncIterator[tuple[Server, Begin]]:
    """A server that waits, looked at and idle, for what ``begin`` asks of it; or for its start itself."""
    if operation.cut is None:
        async with zygote.server(place, environment) as server:
            await server.listening()
            await operation.looked(server)
            yield server, Begin(server, operation, None)
        return
    gate = place.crash / "gate"
    os.mkfifo(gate)
    async with zygote.server(place, environment, gate=str(gate)) as server:
        yield server, Begin(server, operation, gate)


async def _open_gate(gate: Path) -> None:
    with trio.fail_after(10):
        while True:
            with contextlib.suppress(OSError):  # nobody has it open for reading yet
                os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
                return
            await trio.sleep(0.002)


@asynccontextmanager
async def injection(server: Server, point: Point, inject: str) -> AsyncIterator[None]:
    """strace on the server itself, if it is the server that the point is in."""
    if point.process != SERVER:
        yield
        return
    call, output = point.call, server.place.crash / "server.trace"
    arguments = ["-y", "-s", "0", "-o", str(output), "-e", f"trace={call}", "-e", f"inject={call}:{inject}"]
    watched = threads_of(server.pid)
    if point.thread is None:
        arguments += ["-f", "-b", "execve", "-p", str(server.pid)]
    elif point.thread < len(watched):
        watched = [watched[point.thread]]
        arguments += ["-p", str(watched[0])]
    else:
        yield  # a thread fewer than in the recording: the point is not reached
        return
    async with strace(*arguments, watched=watched):
        yield


def was_injected(place: Place, point: Point) -> bool:
    name = "server.trace" if point.process == SERVER else f"trace.{point.process}"
    trace = place.crash / name
    return trace.exists() and "INJECTED" in trace.read_text()
