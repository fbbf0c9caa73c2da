"""What can go wrong, as values that carry their facts.

Foreign exceptions (``OSError``, ``sqlite3.Error``, exit codes of git) are translated into these once,
in :mod:`trio_update.host`.  Codes of HTTP and JSON-RPC are given in :mod:`trio_update.web` alone.
"""

from __future__ import annotations

import enum
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trio_update.text import without_secrets

__all__ = [
    "Aborted",
    "CommandFailed",
    "CommandNotFound",
    "CommandSilent",
    "DataPathHeld",
    "EventsMissed",
    "FileTrouble",
    "ManagerClosed",
    "OperationFailed",
    "Reason",
    "Refusal",
    "Refused",
    "StartFailed",
    "TrioUpdateError",
]


class TrioUpdateError(Exception):
    """Base of everything this package raises on purpose.  ``str()`` of it is a sentence for the user.

    Errors are shown to clients, kept in the history and written to logs, so no secret of an address gets into one:
    see :func:`trio_update.text.without_secrets`.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(without_secrets(message))


class Reason(enum.StrEnum):
    """Why a request was refused, or how it ended; travels to clients as the additive ``reason`` field."""

    BUSY = "busy"
    PRINTING = "printing"
    NOT_READY = "not_ready"
    INVALID = "invalid"
    HELD = "held"
    UNKNOWN_APP = "unknown_app"
    UNKNOWN_JOB = "unknown_job"
    NO_JOB = "no_job"
    CANNOT_ABORT = "cannot_abort"
    NOT_SUPPORTED = "not_supported"
    BAD_VERSION = "bad_version"
    STUCK = "stuck"
    NO_SPACE = "no_space"
    PLAN_CHANGED = "plan_changed"
    NOT_NOW = "not_now"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something must not be done, as a value: what :class:`Refused` raises."""

    reason: Reason
    message: str


class Refused(TrioUpdateError):
    """The request was understood and turned down; nothing was changed."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class OperationFailed(TrioUpdateError):
    """Something was tried and did not work."""


class Aborted(TrioUpdateError):
    """The job was ended by an abort or by the server's stop; the app is as it was before."""


class ManagerClosed(TrioUpdateError):
    """The context that the manager lived in has ended: nothing can be asked of it any more."""


class EventsMissed(TrioUpdateError):
    """A reader of events did not keep up, and what came after its buffer was full is lost to it.

    Reading anew begins with the present status.
    """


class CommandFailed(OperationFailed):
    """A command ended with a status other than the expected one.

    ``output`` is the tail of what it said (stderr first, else stdout), already decoded.
    """

    def __init__(self, argv: Sequence[str], returncode: int, output: str) -> None:
        self.argv = tuple(argv)
        self.returncode = returncode
        self.output = without_secrets(output.strip())
        ended = f"was killed by signal {-returncode}" if returncode < 0 else f"ended with status {returncode}"
        said = f": {self.output}" if self.output else " and said nothing"
        super().__init__(f"`{shlex.join(_brief(self.argv))}` {ended}{said}")


class CommandSilent(OperationFailed):
    """A command was ended because it wrote nothing for ``seconds``, or ran longer than ``seconds`` in all."""

    def __init__(self, argv: Sequence[str], seconds: float, *, total: bool = False) -> None:
        self.argv = tuple(argv)
        self.seconds = seconds
        what = f"did not end within {seconds:g} s" if total else f"gave no sign of life for {seconds:g} s"
        super().__init__(f"`{shlex.join(_brief(self.argv))}` {what} and was stopped")


class CommandNotFound(OperationFailed):
    """The program is not installed, or cannot be executed."""

    def __init__(self, program: str, why: str) -> None:
        self.program = program
        super().__init__(f"cannot run `{program}`: {why}")


class FileTrouble(OperationFailed):
    """A file operation failed; ``errno`` is kept because ENOSPC, EBUSY and EXDEV lead to different advice."""

    def __init__(self, action: str, path: str | Path, errno: int | None, why: str) -> None:
        self.action = action
        self.path = str(path)
        self.errno = errno
        super().__init__(f"cannot {action} {path}: {why}")


class DataPathHeld(TrioUpdateError):
    """Another instance works on the same DATA_PATH."""


class StartFailed(TrioUpdateError):
    """The server cannot start: a taken port, an unusable DATA_PATH, an address that is not allowed."""


def _brief(argv: Sequence[str]) -> list[str]:
    """Leave out the ``-c key=value`` pairs that every git command carries, they hide what was asked."""
    brief: list[str] = []
    items = iter(argv)
    for item in items:
        if item == "-c" and argv[0] == "git":
            next(items, None)
        else:
            brief.append(item)
    return brief
