"""What every way to speak to the user has in common: the interfaces, the exit codes, and text that a terminal may get.

All text that is shown came over the network and is shown as text: what a terminal would obey (escape sequences,
carriage returns, changes of writing direction) is taken out or made visible.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from trio_update.cli.report import Line, Page
from trio_update.errors import Reason
from trio_update.text import escaped

DONE, FAILED, USAGE, UNREACHABLE, REFUSED, ABORTED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

# Reasons that say the request itself was wrong, not that the moment was.
_NOT_REFUSALS = frozenset({Reason.UNKNOWN_APP, Reason.UNKNOWN_JOB, Reason.BAD_VERSION, Reason.NOT_SUPPORTED})
_REFUSALS = frozenset(str(reason) for reason in Reason if reason not in _NOT_REFUSALS)

# Control sequences of ECMA-48 §5.4, colours above all: build tools write them, and as text they are noise.
_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
# Line and paragraph separators, control, format and surrogate characters.  Cf holds the changes of direction that can
# make a line read as another; emoji lose their joiners, which is bearable.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def exit_code_of(reason: str | None) -> int:
    """The exit code for the ``reason`` of a server's error."""
    if reason == "aborted":
        return ABORTED
    return REFUSED if reason in _REFUSALS else FAILED


def clean(text: str, *, lines: bool = False) -> str:
    """``text`` without anything that a terminal obeys; ``lines`` keeps its line breaks, else it becomes one line."""
    text = _SEQUENCE.sub("", text).expandtabs(4).rstrip("\r\n")
    if lines:
        return "\n".join(clean(line) for line in text.splitlines())
    if text.isascii() and text.isprintable():
        return text
    return "".join(escaped(char) if unicodedata.category(char) in _HIDDEN else char for char in text)


@dataclass(frozen=True)
class Failure:
    """Why a command did not do what was asked: ``message`` a sentence, ``code`` the server's, ``exit_code`` ours."""

    message: str
    reason: str | None
    exit_code: int
    code: int | None = None

    @property
    def document(self) -> dict[str, Any]:
        return {"error": {"code": self.code, "message": self.message, "reason": self.reason}}


class Display(Protocol):
    """Where a job's messages go while it runs."""

    def message(self, application: str, text: str, *, complete: bool) -> None:
        """A line of a job; ``complete``: its last."""

    def note(self, line: Line) -> None:
        """Something that is not a message of the job."""

    def tick(self) -> None:
        """Move what moves; called some times a second."""

    def hold(self) -> AbstractContextManager[None]:
        """Show nothing while a question is on the terminal; what comes meanwhile is shown afterwards."""


class Output(Protocol):
    """One way to speak to the user."""

    animated: bool
    json: bool

    def show(self, document: object, report: Callable[[], Page]) -> None:
        """An answer: ``document`` as it came, ``report`` for a reader."""

    def event(self, document: object) -> None:
        """Tell something in JSON while it happens, as a line of its own."""

    def live(self, *, prefixed: bool) -> AbstractContextManager[Display]:
        """Show messages as they come; ``prefixed`` with the application they belong to."""

    def fail(self, failure: Failure) -> None: ...


def say_error(message: str) -> None:
    """Put a sentence on standard error; lines after its first (a command's output, say) are indented."""
    first, *rest = clean(message, lines=True).splitlines() or [""]
    print("\n  ".join([f"trio-update: {first}", *rest]), file=sys.stderr, flush=True)
