"""The tables of states: what can happen can be got out of, and nothing else can happen."""

from __future__ import annotations

import pytest

from trio_update.engine.journal import Phase
from trio_update.engine.states import EntryEvent, ImpossibleEvent, JobEvent, Position, next_phase, next_position
from trio_update.model import JobState


def phases_after(phase: Phase | None) -> dict[EntryEvent, Phase | None]:
    found = {}
    for event in EntryEvent:
        try:
            found[event] = next_phase(phase, event)
        except ImpossibleEvent:
            continue
    return found


def positions_after(position: Position) -> dict[JobEvent, Position]:
    found = {}
    for event in JobEvent:
        try:
            found[event] = next_position(position, event)
        except ImpossibleEvent:
            continue
    return found


def test_an_entry_goes_from_preparing_by_open_to_committed_and_is_undone_before_or_finished_after() -> None:
    assert [next_phase(None, EntryEvent.BEGIN), next_phase(Phase.PREPARING, EntryEvent.SWITCH)] == [
        Phase.PREPARING,
        Phase.OPEN,
    ]
    assert next_phase(Phase.OPEN, EntryEvent.COMMIT) is Phase.COMMITTED
    for phase in Phase:
        final = phase is Phase.COMMITTED
        after = phases_after(phase)
        assert (EntryEvent.FINISHED in after) == final
        # What is committed never goes back.
        assert (EntryEvent.UNDONE in after, EntryEvent.REPLACED in after) == (not final, not final)
        assert all(after[event] is phase for event in (EntryEvent.RETRY, EntryEvent.STAGE) if event in after)
    assert phases_after(None) == {EntryEvent.BEGIN: Phase.PREPARING}


def test_every_job_can_come_to_its_end_and_does_not_leave_it() -> None:
    reached, waiting = set(), [Position.WAITING]
    while waiting:
        position = waiting.pop()
        if position not in reached:
            reached.add(position)
            waiting += positions_after(position).values()
    assert reached == set(Position)
    assert positions_after(Position.ENDED) == {}


@pytest.mark.parametrize("position", [Position.SWITCHED, Position.ONLY_FORWARD])
def test_a_job_whose_app_has_changed_ends_by_a_commit_or_an_undo_only(position: Position) -> None:
    assert {JobEvent.END, JobEvent.NEXT_APP}.isdisjoint(positions_after(position))
    assert {JobEvent.COMMIT, JobEvent.UNDO} <= positions_after(position).keys()


def test_a_job_can_be_aborted_until_something_cannot_be_taken_back() -> None:
    assert [position for position in Position if not position.no_abort] == [
        Position.WAITING,
        Position.PREPARING,
        Position.SWITCHED,
    ]
    assert {position.shown for position in Position} == set(JobState)
