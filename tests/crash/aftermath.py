"""What one strike showed: the judgement of the server that lives on, or of its successor."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from tests.crash.operations import Fault, Judge, Kind, Operation, State
from tests.crash.points import Point
from tests.crash.servers import Answer, Server, processes_of
from tests.crash.troubles import Trouble


class Mode(enum.StrEnum):
    """What dies.  WHOLE: everything, at one instant.  GIT: git alone.  SERVER: the server, while its git lives on."""

    WHOLE = "whole"
    GIT = "git"
    SERVER = "server"


@dataclass
class Report:
    """What one strike showed.  ``struck``: False when the point was never reached."""

    operation: str
    point: Point | Trouble
    mode: str
    struck: bool = False
    state: State = State.NEITHER
    answer: str = ""
    faults: list[Fault] = field(default_factory=list)

    def add(self, kind: Kind, what: str) -> None:
        self.faults.append(Fault(kind, what))

    def __str__(self) -> str:
        faults = "".join(f"\n    {fault}" for fault in self.faults)
        return f"{self.operation} {self.mode} {self.point} -> {self.state}{faults}"


async def judge_survivor(server: Server, operation: Operation, judge: Judge, answer: Answer, report: Report) -> None:
    """A server that lost git, a call or the forge must have put the app back by the time it answers."""
    (server.place.crash / "armed").unlink(missing_ok=True)
    if operation.cut is not None:
        await judge_successor(server, judge, report)
        return
    state, _ = judge.state()
    if answer.code == 200 and state not in {State.NEW, State.KNOWN}:
        report.add(Kind.UNTOLD, f"it said ok, and the app is {state}")
    if answer.code != 200 and state is not State.OLD and not operation.forward:
        report.add(Kind.UNTOLD, f"it said {answer.text}, and the app is {state}")
    await judge_successor(server, judge, report)


async def judge_successor(server: Server, judge: Judge, report: Report) -> None:
    """The app is whole, valid, and can be updated again; then the server ends as it should."""
    report.state, faults = judge.faults()
    report.faults += faults
    refreshed = await server.when_ready("refresh?name=app")
    if refreshed.code != 200:
        report.add(Kind.INVALID, f"a refresh: {refreshed.text}")
    report.faults += judge.untrue(await server.app(), report.state)
    report.faults += await judge.again(server, report.state)
    code = await server.stop()
    if code != "0":
        report.add(Kind.BROKEN, f"the server ended with {code!r}: {server.log}")
    if "Traceback" in server.log:
        report.add(Kind.BROKEN, server.log)
    if left := list(processes_of(server.place)):
        report.add(Kind.ORPHAN, f"processes {left}")
