"""How the command line speaks: plain lines, one JSON document, or (:mod:`trio_update.cli.render`) a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TextIO

import msgspec

from trio_update.cli.display import Display, Failure, Output, clean, say_error
from trio_update.cli.report import Line, Page
from trio_update.progress import Throttle, read_progress

_PROGRESS_SECONDS = 5.0


class PlainOutput:
    """Lines for pipes and files: the cells of a table are divided by tabs, a message is one line."""

    animated = False
    json = False

    def show(self, document: object, report: Callable[[], Page]) -> None:
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
        # Of what moves on a terminal, only a line now and then is worth keeping in a file.
        self._throttle = Throttle(_PROGRESS_SECONDS)

    def message(self, application: str, text: str, *, complete: bool) -> None:
        line = clean(f"{application}: {text}" if self._prefixed else text)
        progress = None if complete else read_progress(clean(text))
        if self._throttle.passes(progress, time.monotonic(), of=application):
            _say(line)

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

    def show(self, document: object, report: Callable[[], Page]) -> None:
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


def _say(line: str) -> None:
    # Written at once: a pipe's reader (tee, a log) is to see a job's messages while it runs.
    print(line, flush=True)


def _never_fail(stream: TextIO) -> None:
    """A name that the locale cannot write is shown escaped instead of ending the command with an exception."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
