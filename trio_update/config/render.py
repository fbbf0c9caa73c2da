"""Values that were given in code → the text that an option would hold.  Pure.

One set of judges then serves both: what code says is judged as if it stood in a file.  Numbers, flags, paths and enums
may be given as such or as the text that a file would hold.
"""

from __future__ import annotations

import datetime
import enum
import math
import os
import shlex
from collections.abc import Callable
from decimal import Decimal

from trio_update.config.values import RefreshWindow

Render = Callable[[object], str]


class BadValue(ValueError):
    """A value that cannot be used.  ``offset`` counts lines from the option's own; ``str()`` says why."""

    def __init__(self, why: str, offset: int = 0) -> None:
        super().__init__(why)
        self.offset = offset


def text(value: object) -> str:
    """A text over any number of lines."""
    if not isinstance(value, str):
        raise BadValue(f"must be a text, not a value of type {type(value).__name__}")
    return value


def line(value: object) -> str:
    """One value on one line."""
    found = _plain(value)
    if found is None:
        raise BadValue(f"cannot be a value of type {type(value).__name__}")
    if "\n" in found or "\r" in found:
        # Of a list's entry it would make two.
        raise BadValue("must not hold an end of line")
    return found


def _plain(value: object) -> str | None:
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, str):
        return value
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        return path if isinstance(path, str) else None
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        # Without an exponent, which no option takes.
        return format(Decimal(repr(value)), "f")
    return None


def lines(entry: Render) -> Render:
    """One entry a line, each as ``entry`` writes it; a text stands for itself."""

    def write(value: object) -> str:
        if isinstance(value, str):
            return value
        if not isinstance(value, tuple | list):
            raise BadValue(f"must be a tuple, not a value of type {type(value).__name__}")
        written = [entry(one) for one in value]
        if not all(one.strip() for one in written):
            raise BadValue("must not hold an empty entry")
        return "\n".join(written)

    return write


def command(value: object) -> str:
    """A command's arguments, quoted for a shell."""
    if not isinstance(value, tuple | list):
        return line(value)
    return shlex.join(line(argument) for argument in value)


def assignment(value: object) -> str:
    """A name and its value, as ``NAME=value``."""
    if not isinstance(value, tuple | list):
        return line(value)
    if len(value) != 2:
        raise BadValue("must hold pairs of a name and a value")
    return "=".join(line(part) for part in value)


def hours(value: object) -> str:
    """A length of time in hours, exact to the microsecond."""
    if not isinstance(value, datetime.timedelta):
        return line(value)
    return format(Decimal(value // datetime.timedelta(microseconds=1)) / 3_600_000_000, ".15f")


def window(value: object) -> str:
    """Hours of a day."""
    if not isinstance(value, RefreshWindow):
        return line(value)
    return f"{line(value.start)}-{line(value.end)}"
