"""Kill a server at one point, start its successor, and tell what is wrong."""

from __future__ import annotations

import contextlib
import enum
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.crash.points import CALLS, SERVER, Point, read_git_traces, read_server_trace
from tests.crash.project import Project
from tests.crash.scenes import OPERATIONS, Operation, Place, clear_the_way
from tests.crash.servers import Answer, Died, Server, Zygote, end_all, processes_of
from tests.crash.tracing import strace, threads_of
from tests.crash.verify import Fault, Judge, Kind, State

HELD_MICROSECONDS = 1_500_000
_WORDS_FOR = {"ENOSPC": "No space left on device", "EIO": "Input/output error"}


class Mode(enum.StrEnum):
    """What dies.  WHOLE: everything, at one instant.  GIT: git alone.  SERVER: the server, while its git lives on."""

    WHOLE = "whole"
    GIT = "git"
    SERVER = "server"


@dataclass
class Report:
    """What one strike showed.  ``struck``: False when the point was never reached."""

    operation: str
    point: Point
    mode: str
    struck: bool = False
    state: State = State.NEITHER
    answer: str = ""
    faults: list[Fault] = field(default_factory=list)

    def __str__(self) -> str:
        faults = "".join(f"\n    {fault}" for fault in self.faults)
        return f"{self.operation} {self.mode} {self.point} -> {self.state}{faults}"


@dataclass(frozen=True)
class Arena:
    """One place, and what is needed to strike there."""

    zygote: Zygote
    place: Place
    project: Project

    async def record(self, operation: Operation) -> list[Point]:
        """Run the operation to its end, traced; every point in it."""
        self._prepare(operation)
        environment = self.place.environment(**self.place.with_shim(), CRASH_MODE="record", CRASH_CALLS=CALLS)
        trace = self.place.crash / "server.trace"
        async with self._victim(operation, environment) as (server, begin):
            arguments = ("-f", "-b", "execve", "-y", "-s", "0", "-o", str(trace), "-e", f"trace={CALLS}")
            async with strace(*arguments, "-p", str(server.pid), watched=threads_of(server.pid)):
                threads = threads_of(server.pid)
                answer = await begin()
            assert answer is None or answer.code == 200, answer
        _, faults = Judge(self.place, operation, self.project).faults()
        assert not faults, faults
        return [*read_git_traces(self.place.crash), *read_server_trace(trace, threads)]

    async def cut(self, operation: Operation, point: Point, scene: str) -> None:
        """Make a scene of what a death at ``point`` leaves."""
        report = Report(operation.name, point, Mode.WHOLE)
        self._prepare(operation)
        await self._kill_server(operation, point, Mode.WHOLE, report)
        await end_all(self.place)
        assert report.struck, point
        self.place.keep(scene)

    async def strike(
        self, operation: Operation, point: Point, mode: Mode = Mode.WHOLE, *, without_recovery: bool = False
    ) -> Report:
        report = Report(operation.name, point, mode)
        self._prepare(operation)
        try:
            if mode is Mode.GIT:
                await self._kill_git(operation, point, report)
                return report
            await self._kill_server(operation, point, mode, report)
            if mode is Mode.WHOLE:
                await end_all(self.place)
            report.faults += Judge(self.place, operation, self.project).losses()
            (self.place.crash / "armed").unlink(missing_ok=True)
            environment = self.place.environment()
            async with self.zygote.server(self.place, environment, without_recovery=without_recovery) as successor:
                await successor.listening()
                await self._judge(successor, operation, report)
        except (Died, trio.TooSlowError) as error:
            report.faults.append(Fault(Kind.BROKEN, f"{type(error).__name__}: {error}"))
        finally:
            await end_all(self.place)
        return report

    async def fail(self, operation: Operation, point: Point, error: str) -> Report:
        """Let the call fail with ``error`` instead of killing anything."""
        report = Report(operation.name, point, error)
        self._prepare(operation)
        inject = f"error={error}:when={_times(point)}"
        try:
            async with self._victim(operation, self._shimmed(point, "fail", inject)) as (server, begin):
                async with self._injection(server, point, inject):
                    answer = await begin()
                assert answer is not None
                report.struck = self._was_injected(point)
                report.answer = answer.text
                if answer.code != 200 and not _says_why(answer.text, point, error):
                    report.faults.append(Fault(Kind.UNTOLD, f"it does not say why: {answer.text}"))
                if answer.code == 200 and list(Judge(self.place, operation, self.project).leftovers()):
                    await self._start_again(server)
                else:
                    await self._judge_survivor(server, operation, answer, report)
                    return report
            async with self.zygote.server(self.place, self.place.environment()) as successor:
                await successor.listening()
                await self._judge(successor, operation, report)
        except (Died, trio.TooSlowError) as failure:
            report.faults.append(Fault(Kind.BROKEN, f"{type(failure).__name__}: {failure}"))
        finally:
            await end_all(self.place)
        return report

    def _prepare(self, operation: Operation) -> None:
        self.place.lay_out(operation.scene)

    def _shimmed(self, point: Point, mode: str, inject: str) -> dict[str, str]:
        own = {"CRASH_MODE": mode, "CRASH_TARGET": point.process, "CRASH_CALL": point.call, "CRASH_INJECT": inject}
        return self.place.environment(**self.place.with_shim(), **own)

    async def _kill_server(self, operation: Operation, point: Point, mode: Mode, report: Report) -> None:
        inject = f"signal=KILL:when={point.number}"
        if mode is Mode.SERVER:
            # From the wanted call on git is slow, so that it is still at work when the successor comes.
            inject = f"delay_exit={HELD_MICROSECONDS}:when={point.number}+"
        async with self._victim(operation, self._shimmed(point, mode, inject)) as (server, begin):
            try:
                async with trio.open_nursery() as nursery:
                    if mode is Mode.SERVER:
                        nursery.start_soon(self._kill_when_held, server, point)
                    async with self._injection(server, point, inject):
                        answer = await begin()
                    report.answer = answer.text if answer is not None else ""
                    nursery.cancel_scope.cancel()
            except* Died:
                report.struck = True

    async def _kill_when_held(self, server: Server, point: Point) -> None:
        trace = self.place.crash / f"trace.{point.process}"
        while not (trace.exists() and "DELAYED" in trace.read_text()):  # noqa: ASYNC110 - a file tells nobody
            await trio.sleep(0.005)
        server.kill()

    async def _kill_git(self, operation: Operation, point: Point, report: Report) -> None:
        environment = self._shimmed(point, Mode.GIT, f"signal=KILL:when={point.number}")
        async with self._victim(operation, environment) as (server, begin):
            answer = await begin()
            if answer is None:  # a start: whatever git died of, it must have come up
                answer = Answer(200, "")
            report.struck = (self.place.crash / "struck").exists()
            report.answer = answer.text
            await self._judge_survivor(server, operation, answer, report)

    async def _judge_survivor(self, server: Server, operation: Operation, answer: Answer, report: Report) -> None:
        """A server that lost git, or a call, must have put the app back by the time it answers."""
        (self.place.crash / "armed").unlink()
        if operation.cut is not None:
            await self._judge(server, operation, report)
            return
        state, _ = Judge(self.place, operation, self.project).state()
        if answer.code == 200 and state not in {State.NEW, State.KNOWN}:
            report.faults.append(Fault(Kind.UNTOLD, f"it said ok, and the app is {state}"))
        if answer.code != 200 and state is not State.OLD and not operation.forward:
            report.faults.append(Fault(Kind.UNTOLD, f"it said {answer.text}, and the app is the new version"))
        await self._judge(server, operation, report)

    @asynccontextmanager
    async def _victim(self, operation: Operation, environment: dict[str, str]) -> AsyncIterator[tuple[Server, _Begin]]:
        """A server that waits, looked at and idle, for what ``begin`` asks of it; or for its start itself."""
        crash = self.place.crash
        if operation.cut is None:
            async with self.zygote.server(self.place, environment) as server:
                await server.listening()
                await until_looked(server)
                yield server, _Begin(server, operation, None)
            return
        gate = crash / "gate"
        os.mkfifo(gate)
        async with self.zygote.server(self.place, environment, gate=str(gate)) as server:
            yield server, _Begin(server, operation, gate)

    @asynccontextmanager
    async def _injection(self, server: Server, point: Point, inject: str) -> AsyncIterator[None]:
        """strace on the server itself, if it is the server that the point is in."""
        if point.process != SERVER:
            yield
            return
        call, output = point.call, self.place.crash / "server.trace"
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

    async def _start_again(self, server: Server) -> None:
        """The update stands, and what could not be cleaned up is left to the next start."""
        (self.place.crash / "armed").unlink()
        assert await server.stop() == "0", server.log

    def _was_injected(self, point: Point) -> bool:
        name = "server.trace" if point.process == SERVER else f"trace.{point.process}"
        trace = self.place.crash / name
        return trace.exists() and "INJECTED" in trace.read_text()

    async def _judge(self, server: Server, operation: Operation, report: Report) -> None:
        """The app is whole, valid, and can be updated again; then the server ends as it should."""
        judge = Judge(self.place, operation, self.project)
        report.state, faults = judge.faults()
        report.faults += faults
        refreshed = await server.when_ready("refresh?name=app")
        if refreshed.code != 200:
            report.faults.append(Fault(Kind.INVALID, f"a refresh: {refreshed.text}"))
        invalid = operation.dirty and report.state is State.OLD
        if not invalid:
            app = await server.app()
            if not app["is_valid"] or app["corrupt"] or app["current_hash"] != judge.commit(report.state):
                report.faults.append(Fault(Kind.INVALID, f"the status says {app}"[:600]))
        await self._again(server, operation, report, invalid=invalid)
        code = await server.stop()
        if code != "0":
            report.faults.append(Fault(Kind.BROKEN, f"the server ended with {code!r}: {server.log}"))
        if "Traceback" in server.log:
            report.faults.append(Fault(Kind.BROKEN, server.log))
        if left := list(processes_of(self.place)):
            report.faults.append(Fault(Kind.ORPHAN, f"processes {left}"))

    async def _again(self, server: Server, operation: Operation, report: Report, *, invalid: bool) -> None:
        """What the user would do next works."""
        if invalid:
            answer = await server.ask(operation.path)
            if answer.code != 200:
                report.faults.append(Fault(Kind.INVALID, f"{operation.path} again: {answer.text}"))
        cleared = report.state is State.KNOWN
        if cleared:
            clear_the_way(self.place)
        answer = await server.ask("upgrade?name=app")
        if answer.code != 200:
            report.faults.append(Fault(Kind.INVALID, f"an upgrade afterwards: {answer.text} {server.log}"))
            return
        final = OPERATIONS["upgrade"] if not operation.dirty else operation
        judge = Judge(self.place, final, self.project, cleared)
        state, faults = judge.faults()
        report.faults += faults
        if state is not State.NEW:
            report.faults.append(Fault(Kind.MIXED, f"after an upgrade the app is {state}"))


def _says_why(text: str, point: Point, error: str) -> bool:
    """The server knows why its own call failed.  git often tells no more than that it failed: that has to be told."""
    if "unexpectedly" in text or "Traceback" in text:
        return False
    return point.process != SERVER or _WORDS_FOR[error] in text


def _times(point: Point) -> str:
    """Which calls fail: for git all from this one on, as on a disk that stays full.

    But not all writes, because then it could not say so; it tries a file of the work tree twice.  And one call of the
    server's only: it could not put anything back either.
    """
    if point.process == SERVER:
        return str(point.number)
    return f"{point.number}..{point.number + 1}" if point.call == "write" else f"{point.number}+"


@dataclass(frozen=True)
class _Begin:
    """Sets the operation off; returns its answer, or ``None`` when a start came to its end."""

    server: Server
    operation: Operation
    gate: Path | None

    async def __call__(self) -> Answer | None:
        (self.server.place.crash / "armed").touch()
        if self.gate is None:
            return await self.server.ask(self.operation.path)
        await open_gate(self.gate)
        await self.server.listening()
        await self.server.when_ready("refresh?name=app")
        return None


async def open_gate(gate: Path) -> None:
    with trio.fail_after(10):
        while True:
            with contextlib.suppress(OSError):  # nobody has it open for reading yet
                os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
                return
            await trio.sleep(0.002)


async def until_looked(server: Server) -> None:
    """Return when the server has looked at the app after its start, and written down what it saw.

    No scene's database knows the anomaly that every scene's clone has: it shows that the clone was looked at.
    """
    with trio.fail_after(60):
        while not (await server.app())["anomalies"]:  # noqa: ASYNC110 - the server is asked, as a client would
            await trio.sleep(0.005)
        await server.ask("history", "GET")  # behind whatever the database was doing
