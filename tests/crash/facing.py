"""Let the forge behave badly during an operation; then what it did not send must not matter."""

from __future__ import annotations

import trio

from tests.crash.aftermath import Report, judge_survivor
from tests.crash.operations import Kind, Operation, State
from tests.crash.release_files import VERSIONS, publish
from tests.crash.servers import Answer, Died, Server, end_all
from tests.crash.strike import Arena
from tests.crash.troubles import Act, Trouble

# Long enough for what came of an answer to be written to the disk.
_MOMENT = 0.1


async def face(arena: Arena, operation: Operation, trouble: Trouble) -> Report:
    """One trouble during one operation."""
    report = Report(operation.name, trouble, "faults")
    arena.lay_out(operation)
    arena.world.github.requests.clear()
    arena.world.github.faults[:] = trouble.on_order()
    try:
        async with arena.zygote.server(arena.place, arena.place.environment()) as server:
            await server.listening()
            answer = await _suffer(arena, server, operation, trouble)
            report.struck = bool(arena.world.github.asked(trouble.host, trouble.path))
            _mend(arena)
            if answer is not None:
                report.answer = answer.text
                if not _is_as_expected(answer, trouble):
                    report.add(Kind.UNTOLD, f"it answers {answer.code}: {answer.text}")
                await trio.sleep(trouble.pause)
                await judge_survivor(server, operation, arena.judge(operation), answer, report)
                return report
        await end_all(arena.place)
        await arena.succeed(operation, report)
        if report.state is not State.OLD:
            report.add(Kind.MIXED, f"nothing had been downloaded, and the app is {report.state}")
    except (Died, trio.TooSlowError) as failure:
        report.add(Kind.BROKEN, f"{type(failure).__name__}: {failure}")
    finally:
        _mend(arena)
        await end_all(arena.place)
    return report


def _mend(arena: Arena) -> None:
    arena.world.github.faults.clear()
    # One of the faults replaces what was published.
    publish(arena.world.github, *VERSIONS)


async def _suffer(arena: Arena, server: Server, operation: Operation, trouble: Trouble) -> Answer | None:
    """The answer; ``None`` when the server was killed instead."""
    answers: list[Answer] = []

    async def ask() -> None:
        try:
            answers.append(await server.when_ready(operation.path))
        except Died:
            assert trouble.act is Act.KILL, server.log

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        if trouble.act is not Act.WAIT:
            await arena.world.github.asked_reach(1, trouble.host, trouble.path)
            await trio.sleep(_MOMENT)
        if trouble.act is Act.ABORT:
            aborted = await server.ask("abort")
            assert aborted.code == 200, aborted
        if trouble.act is Act.KILL:
            server.kill()
    return answers[0] if answers else None


def _is_as_expected(answer: Answer, trouble: Trouble) -> bool:
    if not trouble.says:
        return answer.code == 200
    return answer.code != 200 and trouble.says in answer.text and "unexpectedly" not in answer.text
