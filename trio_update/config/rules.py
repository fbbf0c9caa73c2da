"""What a rule is: an option's text → its value, and what it costs when the text says nothing that can be used.

A :class:`Rule` takes the text as :class:`~trio_update.config.ini.Option` holds it and raises :class:`BadValue`, nothing
else.  It is made of a judge of one line (``as_…``, in :mod:`trio_update.config.convert` and
:mod:`trio_update.config.addresses`), by :func:`scalar` for options of one value, by :func:`listing` for options that
hold one entry a line.  A kind of app says with them which options it has.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from trio_update.config import render
from trio_update.config.names import has_control
from trio_update.config.render import BadValue, Render

__all__ = ["Cost", "Grave", "Partly", "Rule", "Stray", "listing", "scalar"]

T = TypeVar("T")
# What `surrogateescape` made of a byte that is not UTF-8.
_NO_CHARACTER = re.compile("[\ud800-\udfff]")


class Cost(enum.Enum):
    """What is lost with an option that is given and cannot be used."""

    OPTION = "option"
    """The option alone: the app is managed as if it were not given."""
    HOLD = "hold"
    """Upgrades: the option would have kept something back or safe, so that without it they might do harm."""
    DISABLE = "disable"
    """The app: without the option it is not known what it is."""
    STOP = "stop"
    """The start."""


class Partly(BadValue):
    """A value that can be used in part: ``value``; ``faults`` say what of it cannot.

    A fault that is :class:`Grave` costs what the option's rule says, any other one nothing more.
    """

    def __init__(self, value: object, faults: Sequence[BadValue]) -> None:
        super().__init__(str(faults[0]), faults[0].offset)
        self.value = value
        self.faults = tuple(faults)


class Grave(BadValue):
    """What is wrong with a part of a value, so that the rest of it does not say what was meant."""


class Stray(BadValue):
    """A line below a value of one line; most likely an option of its own that is indented by accident."""


@dataclass(frozen=True)
class Rule:
    """One option: how its text is read, and how a value that was given in code is written as such a text.

    Attributes:
        read: The text → the value.  Raises: BadValue.
        write: The value → such a text.
        used: False for an option that is accepted and has no effect yet, because nothing acts on it.
        cost: What is lost when the value cannot be used; an option that a kind requires costs the app.
        instead: The value that is used then; ``None``: none, as if the option were not given.
        missing: What it costs to leave the option out, when that is worth being told.
        inside: Reads the text with the app's folder known, where the value lies in it or may do so.
        notice: Given the value and the app's folder, why the value will not do as the disk is now.
    """

    read: Callable[[str], object]
    write: Render = render.line
    used: bool = True
    cost: Cost = Cost.OPTION
    instead: object = None
    missing: str = ""
    inside: Callable[[str, Path], object] | None = None
    notice: Callable[[Any, Path], str | None] | None = None

    def __call__(self, text: str, folder: Path | None = None) -> object:
        """The value, of an app in ``folder`` where that is known.  Raises: BadValue."""
        return self.read(text) if self.inside is None or folder is None else self.inside(text, folder)

    def not_yet(self) -> Rule:
        """The same, for an option that has no effect in this version."""
        return replace(self, used=False)

    def holds_back(self) -> Rule:
        """The same, for an option without which an upgrade could do what the user wanted to prevent."""
        return replace(self, cost=Cost.HOLD)

    def identifies(self) -> Rule:
        """The same, for an option without whose value it is not known what the app is."""
        return replace(self, cost=Cost.DISABLE)

    def stops(self) -> Rule:
        """The same, for an option of the server without whose value it cannot serve."""
        return replace(self, cost=Cost.STOP)

    def otherwise(self, value: object) -> Rule:
        """The same, for an option whose safe value is another one than its default."""
        return replace(self, instead=value)

    def missed(self, why: str) -> Rule:
        """The same, for an option that should not be left out."""
        return replace(self, missing=why)


Table = Mapping[str, Rule]


def scalar(judge: Callable[[str], object], write: Render = render.line, *, verbatim: bool = False) -> Rule:
    """The rule of an option that holds one value on one line.

    Quotes around the value are taken off, and a further line is told and left out, unless it is ``verbatim``: such a
    value has quotes of its own, and means something else without one of its lines.
    """

    def read(value: str) -> object:
        lines = entries(value)
        if not lines:
            raise BadValue("has no value")
        offset, first = lines[0]
        # The text of a further line is not repeated, it may be a secret.
        why = "takes one line and goes on here: an option of its own must not be indented"
        if verbatim and len(lines) > 1:
            raise Stray(why, lines[1][0])
        found = judge_line(judge, offset, first if verbatim else unquoted(first))
        if len(lines) > 1:
            raise Partly(found, [Stray(why, lines[1][0])])
        return found

    return Rule(read, write)


def listing(judge: Callable[[str], object], write: Render = render.line) -> Rule:
    """The rule of an option that holds one entry a line; no line at all is an empty list.  An odd one is left out."""
    return Rule(list_reader(judge), render.lines(write))


def list_reader(judge: Callable[[str], object]) -> Callable[[str], tuple[object, ...]]:
    """Reads one entry a line.  Raises: Partly."""

    def read(value: str) -> tuple[object, ...]:
        found, faults = [], []
        for offset, line in entries(value):
            try:
                found.append(judge_line(judge, offset, line))
            except BadValue as exc:
                faults.append(exc)
        if faults:
            raise Partly(tuple(found), faults)
        return tuple(found)

    return read


def entries(value: str) -> list[tuple[int, str]]:
    """The lines of a text that have content, each with its offset."""
    return [(offset, line.strip()) for offset, line in enumerate(value.split("\n")) if line.strip()]


def judge_line(judge: Callable[[str], T], offset: int, line: str) -> T:
    """Apply ``judge`` to a line that stands at ``offset``.  Raises: BadValue."""
    if has_control(line.replace("\t", "")):
        raise Grave("holds a control character", offset)
    if _NO_CHARACTER.search(line):
        raise Grave("holds a byte that is not UTF-8: save the file as UTF-8", offset)
    try:
        return judge(line)
    except Partly as exc:
        raise Partly(exc.value, [_at(one, offset) for one in exc.faults]) from None
    except BadValue as exc:
        raise _at(exc, offset) from None


def _at(fault: BadValue, offset: int) -> BadValue:
    return (Grave if isinstance(fault, Grave) else BadValue)(str(fault), offset)


def unquoted(line: str) -> str:
    """The line without quotes around all of it."""
    if len(line) > 2 and line[0] == line[-1] and line[0] in "\"'" and line.count(line[0]) == 2:
        return line[1:-1].strip()
    return line
