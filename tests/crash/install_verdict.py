"""What must be true of an app that was not there, after a death in its installation: all of it is, or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.crash.git_verdict import GitJudge
from tests.crash.operations import Fault, Kind, State
from tests.crash.project import Tree, differences, take
from tests.crash.release_verdict import ReleaseJudge
from tests.crash.scenes import Place


def state_of(place: Place, wanted: Tree, leave_out: bytes, *, exact: bool) -> tuple[State, list[Fault]]:
    """Absent (``OLD``), or the ``wanted`` files and nothing else."""
    if not os.path.lexists(place.app):
        return State.OLD, []
    off = differences(take(place.app, leave_out), wanted, exact=exact)
    return (State.NEITHER, [Fault(Kind.MIXED, f"{'; '.join(off)}"[:800])]) if off else (State.NEW, [])


def untrue_of_absent(status: Mapping[str, Any]) -> Iterator[Fault]:
    """What is said of an app that is not there, and can be installed."""
    if (status["installed"], status["is_valid"], status["warnings"]) != (False, True, []):
        yield Fault(Kind.INVALID, f"the app is not installed, the status says {status}"[:600])


@dataclass(frozen=True)
class GitInstallJudge(GitJudge):
    """Of a clone: there is nothing of the user's yet."""

    def state(self) -> tuple[State, list[Fault]]:
        return state_of(self.place, self.operation.new_tree(self.project), b".git", exact=False)

    def untrue(self, status: Mapping[str, Any], state: State) -> Iterator[Fault]:
        yield from untrue_of_absent(status) if state is State.OLD else super().untrue(status, state)

    def of_git(self, state: State) -> Iterator[Fault]:
        if state is not State.OLD:
            yield from super().of_git(state)

    def of_users(self) -> Iterator[Fault]:
        yield from ()


@dataclass(frozen=True)
class ReleaseInstallJudge(ReleaseJudge):
    """Of a web app."""

    top_mode: int = 0o40755

    def state(self) -> tuple[State, list[Fault]]:
        return state_of(self.place, self.operation.new_tree, b".trio-update", exact=True)

    def untrue(self, status: Mapping[str, Any], state: State) -> Iterator[Fault]:
        yield from untrue_of_absent(status) if state is State.OLD else super().untrue(status, state)

    def losses(self) -> Iterator[Fault]:
        yield from ()
