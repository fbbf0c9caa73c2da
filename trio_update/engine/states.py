"""Every state there is and every way between them: one table for a journal entry, one for a job.

What is not in the tables cannot happen.  When it does all the same, :func:`next_phase` and :func:`next_position` raise
:class:`ImpossibleEvent`, so that a mistake ends the job that made it, which is put back, instead of writing a wrong
undo record.  RAUC and h11 keep theirs in the same way; methods that each check "are we allowed to" were rejected,
because they never show the whole.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from trio_update.engine.journal import Phase
from trio_update.model import JobState


class ImpossibleEvent(AssertionError):
    """An event that is in no table: a mistake in the engine."""


class EntryEvent(enum.Enum):
    """What happens to a journal entry."""

    BEGIN = enum.auto()
    STAGE = enum.auto()  # something is about to be made beside the app
    SWITCH = enum.auto()  # the app is about to change
    COMMIT = enum.auto()  # the update is final
    RETRY = enum.auto()  # a start, or the user, tries again what a former attempt left open
    UNDONE = enum.auto()  # the app is whole, in its old version (or, for what only goes forward, in the new one)
    FINISHED = enum.auto()  # what was kept only for the way back is removed
    REPLACED = enum.auto()  # a fresh copy takes the app's place, whatever state that is in


# None: there is no entry.
_ENTRY: Mapping[Phase | None, Mapping[EntryEvent, Phase | None]] = {
    None: {
        EntryEvent.BEGIN: Phase.PREPARING,
    },
    Phase.PREPARING: {
        EntryEvent.STAGE: Phase.PREPARING,
        EntryEvent.SWITCH: Phase.OPEN,
        EntryEvent.RETRY: Phase.PREPARING,
        EntryEvent.UNDONE: None,
        EntryEvent.REPLACED: None,
    },
    Phase.OPEN: {
        EntryEvent.COMMIT: Phase.COMMITTED,
        EntryEvent.RETRY: Phase.OPEN,
        EntryEvent.UNDONE: None,
        EntryEvent.REPLACED: None,
    },
    Phase.COMMITTED: {
        EntryEvent.RETRY: Phase.COMMITTED,
        EntryEvent.FINISHED: None,
    },
}


class JobEvent(enum.Enum):
    """What happens to a job."""

    TURN = enum.auto()  # the lane is free
    NEXT_APP = enum.auto()  # a full update goes on to another app
    SWITCH = enum.auto()  # the app changes from here on
    NO_RETURN = enum.auto()  # what changes now can only be finished
    COMMIT = enum.auto()
    UNDO = enum.auto()
    END = enum.auto()


class Position(enum.Enum):
    """How far a job has come: the state that clients see, and why it cannot be aborted there ('': it can)."""

    WAITING = (JobState.WAITING, "")
    PREPARING = (JobState.PREPARING, "")
    SWITCHED = (JobState.APPLYING, "")
    # Irreversible: an abort could no longer restore the old state, though the health check may still fail.
    ONLY_FORWARD = (JobState.APPLYING, "it has changed something that can only be finished, not undone")
    COMMITTING = (JobState.APPLYING, "the update is being made final")
    UNDOING = (JobState.APPLYING, "the app is being put back")
    ENDED = (JobState.ENDED, "it has ended")

    def __init__(self, shown: JobState, no_abort: str) -> None:
        self.shown = shown
        self.no_abort = no_abort


_JOB: Mapping[Position, Mapping[JobEvent, Position]] = {
    Position.WAITING: {
        JobEvent.TURN: Position.PREPARING,
        JobEvent.END: Position.ENDED,
    },
    Position.PREPARING: {
        JobEvent.NEXT_APP: Position.PREPARING,
        JobEvent.SWITCH: Position.SWITCHED,
        JobEvent.UNDO: Position.UNDOING,
        JobEvent.END: Position.ENDED,
    },
    Position.SWITCHED: {
        JobEvent.NO_RETURN: Position.ONLY_FORWARD,
        JobEvent.COMMIT: Position.COMMITTING,
        JobEvent.UNDO: Position.UNDOING,
    },
    Position.ONLY_FORWARD: {
        JobEvent.NO_RETURN: Position.ONLY_FORWARD,
        JobEvent.COMMIT: Position.COMMITTING,
        JobEvent.UNDO: Position.UNDOING,
    },
    Position.COMMITTING: {
        JobEvent.UNDO: Position.UNDOING,  # the commit could not be written
        JobEvent.NEXT_APP: Position.PREPARING,
        JobEvent.END: Position.ENDED,
    },
    Position.UNDOING: {
        JobEvent.NEXT_APP: Position.PREPARING,
        JobEvent.END: Position.ENDED,
    },
    Position.ENDED: {},
}


def next_phase(phase: Phase | None, event: EntryEvent) -> Phase | None:
    """The phase of an entry in ``phase`` after ``event``; ``None``: there is no entry.  Raises: ImpossibleEvent."""
    try:
        return _ENTRY[phase][event]
    except KeyError:
        raise ImpossibleEvent(f"{event.name} happened to a journal entry that is {phase or 'not there'}") from None


def next_position(position: Position, event: JobEvent) -> Position:
    """The position of a job at ``position`` after ``event``.  Raises: ImpossibleEvent."""
    try:
        return _JOB[position][event]
    except KeyError:
        raise ImpossibleEvent(f"{event.name} happened to a job that is {position.name}") from None
