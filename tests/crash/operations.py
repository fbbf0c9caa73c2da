"""What the suite needs to know of each kind of app: an operation that the server dies in, and a judge of what it left.

:mod:`tests.crash.git_app` and :mod:`tests.crash.release_app` have the two implementations.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tests.crash.points import Point
from tests.crash.project import Project
from tests.crash.scenes import Place
from tests.crash.servers import Server
from tests.crash.troubles import Trouble
from trio_update.demo.github.server import GitHub


class Kind(enum.StrEnum):
    """What can be wrong; the campaign counts these."""

    MIXED = "mixed"
    LOST = "lost"
    LEFTOVER = "leftover"
    BROKEN = "broken"
    INVALID = "invalid"
    ORPHAN = "orphan"
    UNTOLD = "untold"


@dataclass(frozen=True)
class Fault:
    kind: Kind
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


class State(enum.StrEnum):
    OLD = "old"
    NEW = "new"
    KNOWN = "known"  # a soft recovery that could not ask the remote: the newest commit known without it
    NEITHER = "neither"


@dataclass(frozen=True)
class World:
    """What is around a place and never dies: the remote of its clone, and the forge with its releases."""

    project: Project
    github: GitHub


class Judge(Protocol):
    """Looks at one place, for one operation, without trusting anything of the server's."""

    def state(self) -> tuple[State, list[Fault]]:
        """Which version the app is, every file of it and nothing else."""

    def faults(self) -> tuple[State, list[Fault]]:
        """Everything about the disk once a server has come up."""

    def leftovers(self) -> Iterator[Fault]:
        """Locks, temporary files, stages, journal entries."""

    def losses(self) -> Iterator[Fault]:
        """What is the user's and cannot be found any more; true at every instant."""

    def untrue(self, status: Mapping[str, Any], state: State) -> Iterator[Fault]:
        """What the server says of the app after a refresh, and is not so."""

    async def again(self, server: Server, state: State) -> list[Fault]:
        """Do what the user would do next; what does not work."""


class Operation(Protocol):
    """What the server is asked to do when it dies.

    ``path``: the request; for a start, the one that was cut.  ``scene``: where it begins; ``family``: whose it is.
    ``cut``: the operation whose half-done work a start finds; ``path`` is what the user asks for again after it.
    ``forward``: a failure may leave the new version, because what was begun can only be finished.
    ``mounted``: the app's folder is a mount point.
    """

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def scene(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def cut(self) -> str | None: ...
    @property
    def forward(self) -> bool: ...
    @property
    def mounted(self) -> bool: ...
    @property
    def troubles(self) -> Sequence[Trouble]:
        """What the forge can do to it."""

    def judge(self, place: Place, world: World) -> Judge: ...

    async def looked(self, server: Server) -> None:
        """Return when the server has looked at the app after its start, and written down what it saw."""

    def cutting_point(self, points: Sequence[Point]) -> Point:
        """Of a start: where the operation before it is killed."""


# Lets a server work in the place: it starts, is asked one thing, which it does, and ends.
Serve = Callable[[str], Awaitable[None]]
# Makes all scenes of a family, in an empty place.
MakeScenes = Callable[[Place, World, Serve], Awaitable[None]]


async def ask_again(server: Server, path: str) -> list[Fault]:
    answer = await server.ask(path)
    if answer.code == 200:
        return []
    return [Fault(Kind.INVALID, f"{path} afterwards: {answer.text} {server.log}")]


def journal_leftovers(place: Place) -> Iterator[Fault]:
    """Jobs that nobody has settled."""
    if place.journal.exists():
        for path in place.journal.iterdir():
            yield Fault(Kind.LEFTOVER, f"{path.name} in the journal: {path.read_bytes()[:300]!r}")
