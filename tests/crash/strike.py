"""Kill a server at one point, or let something fail; start its successor, and tell what is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from tests.crash.aftermath import Mode, Report, judge_successor, judge_survivor
from tests.crash.operations import Judge, Kind, Operation, World
from tests.crash.points import CALLS, SERVER, Point, read_git_traces, read_server_trace
from tests.crash.scenes import Place
from tests.crash.servers import Answer, Died, Server, Zygote, end_all
from tests.crash.tracing import strace, threads_of
from tests.crash.victim import injection, victim, was_injected

HELD_MICROSECONDS = 1_500_000
_WORDS_FOR = {"ENOSPC": "No space left on device", "EIO": "Input/output error"}


@dataclass(frozen=True)
class Arena:
    """One place, and what is needed to strike there."""

    zygote: Zygote
    place: Place
    world: World

    def lay_out(self, operation: Operation) -> None:
        self.place.lay_out(operation.scene, mounted=operation.mounted)

    async def serve(self, request: str) -> None:
        """Let a server do one thing, as it should."""
        async with self.zygote.server(self.place, self.place.environment()) as server:
            await server.listening()
            answer = await server.when_ready(request)
            assert answer.code == 200, answer
            assert await server.stop() == "0", server.log

    async def record(self, operation: Operation) -> list[Point]:
        """Run the operation to its end, traced; every point in it."""
        self.lay_out(operation)
        environment = self.place.environment(**self.place.with_shim(), CRASH_MODE="record", CRASH_CALLS=CALLS)
        trace = self.place.crash / "server.trace"
        async with victim(self.zygote, self.place, operation, environment) as (server, begin):
            arguments = ("-f", "-b", "execve", "-y", "-s", "0", "-o", str(trace), "-e", f"trace={CALLS}")
            async with strace(*arguments, "-p", str(server.pid), watched=threads_of(server.pid)):
                threads = threads_of(server.pid)
                answer = await begin()
            assert answer is None or answer.code == 200, answer
        _, faults = self.judge(operation).faults()
        assert not faults, "\n".join(map(str, faults))
        return [*read_git_traces(self.place.crash), *read_server_trace(trace, threads)]

    def judge(self, operation: Operation) -> Judge:
        return operation.judge(self.place, self.world)

    async def cut(self, operation: Operation, point: Point, scene: str) -> None:
        """Make a scene of what a death at ``point`` leaves."""
        report = Report(operation.name, point, Mode.WHOLE)
        self.lay_out(operation)
        await self._kill_server(operation, point, Mode.WHOLE, report)
        await end_all(self.place)
        assert report.struck, point
        self.place.keep(scene)

    async def strike(
        self, operation: Operation, point: Point, mode: Mode = Mode.WHOLE, *, without_recovery: bool = False
    ) -> Report:
        """Kill."""
        report = Report(operation.name, point, mode)
        self.lay_out(operation)
        try:
            if mode is Mode.GIT:
                await self._kill_git(operation, point, report)
                return report
            await self._kill_server(operation, point, mode, report)
            if mode is Mode.WHOLE:
                await end_all(self.place)
            await self.succeed(operation, report, without_recovery=without_recovery)
        except (Died, trio.TooSlowError) as error:
            report.add(Kind.BROKEN, f"{type(error).__name__}: {error}")
        finally:
            await end_all(self.place)
        return report

    async def fail(self, operation: Operation, point: Point, error: str) -> Report:
        """Let the call fail with ``error`` instead of killing anything."""
        report = Report(operation.name, point, error)
        self.lay_out(operation)
        inject = f"error={error}:when={_times(point)}"
        try:
            environment = self._shimmed(point, "fail", inject)
            async with victim(self.zygote, self.place, operation, environment) as (server, begin):
                async with injection(server, point, inject):
                    answer = await begin()
                assert answer is not None
                report.struck = was_injected(self.place, point)
                report.answer = answer.text
                if answer.code != 200 and not _says_why(answer.text, point, error):
                    report.add(Kind.UNTOLD, f"it does not say why: {answer.text}")
                if answer.code != 200 or not list(self.judge(operation).leftovers()):
                    await judge_survivor(server, operation, self.judge(operation), answer, report)
                    return report
                # The update stands, and what could not be cleaned up is left to the next start.
                assert await server.stop() == "0", server.log
            await self.succeed(operation, report)
        except (Died, trio.TooSlowError) as failure:
            report.add(Kind.BROKEN, f"{type(failure).__name__}: {failure}")
        finally:
            await end_all(self.place)
        return report

    async def succeed(self, operation: Operation, report: Report, *, without_recovery: bool = False) -> None:
        """Start the next server on what is left, and look."""
        judge = self.judge(operation)
        report.faults += judge.losses()
        (self.place.crash / "armed").unlink(missing_ok=True)
        environment = self.place.environment()
        async with self.zygote.server(self.place, environment, without_recovery=without_recovery) as successor:
            await successor.listening()
            await judge_successor(successor, judge, report)

    def _shimmed(self, point: Point, mode: str, inject: str) -> dict[str, str]:
        own = {"CRASH_MODE": mode, "CRASH_TARGET": point.process, "CRASH_CALL": point.call, "CRASH_INJECT": inject}
        return self.place.environment(**self.place.with_shim(), **own)

    async def _kill_server(self, operation: Operation, point: Point, mode: Mode, report: Report) -> None:
        inject = f"signal=KILL:when={point.number}"
        if mode is Mode.SERVER:
            # From the wanted call on git is slow, so that it is still at work when the successor comes.
            inject = f"delay_exit={HELD_MICROSECONDS}:when={point.number}+"
        environment = self._shimmed(point, mode, inject)
        async with victim(self.zygote, self.place, operation, environment) as (server, begin):
            try:
                async with trio.open_nursery() as nursery:
                    if mode is Mode.SERVER:
                        nursery.start_soon(self._kill_when_held, server, point)
                    async with injection(server, point, inject):
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
        async with victim(self.zygote, self.place, operation, environment) as (server, begin):
            answer = await begin()
            if answer is None:  # a start: whatever git died of, it must have come up
                answer = Answer(200, "")
            report.struck = (self.place.crash / "struck").exists()
            report.answer = answer.text
            await judge_survivor(server, operation, self.judge(operation), answer, report)


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
