"""How the command line speaks: plain lines, one JSON document, or (in :mod:`trio_update.cli.render`) a terminal.

All text that reaches this module came over the network and is shown as text: what a terminal would obey
(escape sequences, carriage returns, changes of writing direction) is taken out or made visible.
"""

from __future__ import annotations

import math
import os
import re
import sys
import time
import unicodedata
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

import msgspec

from trio_update.cli.report import Line, Report
from trio_update.errors import Reason
from trio_update.progress import read_progress

_PROGRESS_SECONDS = 5.0
_NOTHING = ("", -math.inf)
DONE, FAILED, USAGE, UNREACHABLE, REFUSED, ABORTED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

# Reasons that say the request itself was wrong, not that the moment was.
_NOT_REFUSALS = frozenset({Reason.UNKNOWN_APP, Reason.UNKNOWN_JOB, Reason.BAD_VERSION, Reason.NOT_SUPPORTED})
_REFUSALS = frozenset(str(reason) for reason in Reason if reason not in _NOT_REFUSALS)

# Control sequences of ECMA-48 §5.4, colours above all: build tools write them, and nobody wants to read them.
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
    return "".join(_visible(char) if unicodedata.category(char) in _HIDDEN else char for char in text)


def _visible(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode()


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

    def show(self, document: object, report: Callable[[], Report]) -> None:
        """An answer: ``document`` as it came, ``report`` for a reader."""

    def event(self, document: object) -> None:
        """Something that is told in JSON while it happens, as a line of its own."""

    def live(self, *, prefixed: bool) -> AbstractContextManager[Display]:
        """Show messages as they come; ``prefixed`` with the application they belong to."""

    def fail(self, failure: Failure) -> None: ...


class PlainOutput:
    """Lines for pipes and files: the cells of a table are divided by tabs, a message is one line."""

    animated = False
    json = False

    def show(self, document: object, report: Callable[[], Report]) -> None:
        for block in report():
            if isinstance(block, Line):
                _say(clean(block.text))
            else:
                for row in block.rows:
                    _say("\t".join(clean(cell.text) for cell in row))

    def event(self, document: object) -> None:
        pass

    def live(self, *, prefixed: bool) -> AbstractContextManager[Display]:
        return nullcontext(_PlainDisplay(prefixed))

    def fail(self, failure: Failure) -> None:
        say_error(failure.message)


class _PlainDisplay:
    def __init__(self, prefixed: bool) -> None:
        self._prefixed = prefixed
        self._shown = _NOTHING

    def message(self, application: str, text: str, *, complete: bool) -> None:
        if not complete and self._is_too_soon(application, text):
            return
        _say(clean(f"{application}: {text}" if self._prefixed else text))

    def _is_too_soon(self, application: str, text: str) -> bool:
        """Whether a file would be flooded: of what moves on a terminal only a line now and then is worth keeping."""
        progress = read_progress(clean(text))
        if progress is None or progress.last:
            # What comes behind it is worth a line again.
            self._shown = _NOTHING
            return False
        what, now = f"{application}: {progress.what}", time.monotonic()
        if self._shown[0] == what and now - self._shown[1] < _PROGRESS_SECONDS:
            return True
        self._shown = (what, now)
        return False

    def note(self, line: Line) -> None:
        _say(clean(line.text))

    def tick(self) -> None:
        pass

    def hold(self) -> AbstractContextManager[None]:
        return nullcontext()


class JsonOutput:
    """One JSON document on standard output, errors included; only ``event`` writes one for each event."""

    animated = False
    json = True

    def show(self, document: object, report: Callable[[], Report]) -> None:
        self.event(document)

    def event(self, document: object) -> None:
        # Past the text layer: JSON is UTF-8 (RFC 8259 §8.1), whatever the locale is.
        sys.stdout.flush()
        sys.stdout.buffer.write(msgspec.json.encode(document) + b"\n")
        sys.stdout.buffer.flush()

    def live(self, *, prefixed: bool) -> AbstractContextManager[Display]:
        return nullcontext(_NoDisplay())

    def fail(self, failure: Failure) -> None:
        self.event(failure.document)


class _NoDisplay:
    def message(self, application: str, text: str, *, complete: bool) -> None:
        pass

    def note(self, line: Line) -> None:
        pass

    def tick(self) -> None:
        pass

    def hold(self) -> AbstractContextManager[None]:
        return nullcontext()


def choose_output(*, json: bool) -> Output:
    """JSON when asked for, a terminal's when there is one, else plain lines."""
    for stream in (sys.stdout, sys.stderr):
        _never_fail(stream)
    if json:
        return JsonOutput()
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return PlainOutput()
    # Rich costs 40 ms, which is wasted on a pipe.
    from trio_update.cli.render import TerminalOutput

    return TerminalOutput()


def say_error(message: str) -> None:
    """Put a sentence on standard error; lines after its first (a command's output, say) are indented."""
    first, *rest = clean(message, lines=True).splitlines() or [""]
    print("\n  ".join([f"trio-update: {first}", *rest]), file=sys.stderr, flush=True)


def _say(line: str) -> None:
    # Written at once: a pipe's reader (tee, a log) is to see a job's messages while it runs.
    print(line, flush=True)


def _never_fail(stream: TextIO) -> None:
    """A name that the locale cannot write is shown escaped instead of ending the command with an exception."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
