"""The tables of states: what can happen can be got out of, and nothing else can happen."""

from __future__ import annotations

import pytest

from trio_update.engine.journal import Phase
from trio_update.engine.states import EntryEvent, ImpossibleStep, JobEvent, Stage, next_phase, next_stage
from trio_update.model import JobState


def phases_after(phase: Phase | None) -> dict[EntryEvent, Phase | None]:
    found = {}
    for event in EntryEvent:
        try:
            found[event] = next_phase(phase, event)
        except ImpossibleStep:
            continue
    return found


def stages_after(stage: Stage) -> dict[JobEvent, Stage]:
    found = {}
    for event in JobEvent:
        try:
            found[event] = next_stage(stage, event)
        except ImpossibleStep:
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
    reached, waiting = set(), [Stage.WAITING]
    while waiting:
        stage = waiting.pop()
        if stage not in reached:
            reached.add(stage)
            waiting += stages_after(stage).values()
    assert reached == set(Stage)
    assert stages_after(Stage.ENDED) == {}


@pytest.mark.parametrize("stage", [Stage.SWITCHED, Stage.ONLY_FORWARD])
def test_a_job_whose_app_has_changed_ends_by_a_commit_or_an_undo_only(stage: Stage) -> None:
    assert {JobEvent.END, JobEvent.NEXT_APP}.isdisjoint(stages_after(stage))
    assert {JobEvent.COMMIT, JobEvent.UNDO} <= stages_after(stage).keys()


def test_a_job_can_be_aborted_until_something_cannot_be_taken_back() -> None:
    assert [stage for stage in Stage if not stage.no_abort] == [Stage.WAITING, Stage.PREPARING, Stage.SWITCHED]
    assert {stage.shown for stage in Stage} == set(JobState)
