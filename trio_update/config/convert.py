"""Rules: an option's text → its value, and back.  Pure, but for ``~``, which is the user's home.

A :class:`Rule` takes the text as :class:`~trio_update.config.ini.Option` holds it and raises :class:`BadValue`, nothing
else.  It is made of a judge of one line (``as_…``; those of addresses are in :mod:`trio_update.config.addresses`), by
:func:`scalar` for options of one value, by :func:`listing` for options that hold one entry a line.  A kind of app says
with them which options it has.
"""

from __future__ import annotations

import datetime
import math
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from trio_update.config import render
from trio_update.config.names import check_branch_name, has_control, printable
from trio_update.config.render import BadValue, Render
from trio_update.config.values import RefreshWindow
from trio_update.model import Channel

__all__ = [
    "Rule",
    "Table",
    "as_arguments",
    "as_assignment",
    "as_branch",
    "as_channel",
    "as_choice",
    "as_command",
    "as_environment",
    "as_flag",
    "as_hours",
    "as_inner_path",
    "as_integer",
    "as_path",
    "as_persistent_file",
    "as_pin",
    "as_project",
    "as_quoted",
    "as_repo",
    "as_seconds",
    "as_seen_path",
    "as_text",
    "as_window",
    "hold",
    "listing",
    "scalar",
    "services",
]

T = TypeVar("T")
S = TypeVar("S", bound=str)
# Looks at the disk: None, or why the path cannot be used.
Look = Callable[[Path], str | None]

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_RESERVED_FILES = (".version", "release_info.json")
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,40})?", re.ASCII)
_PROJECT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:\[[A-Za-z0-9._, -]*\])?")
_REPO = re.compile(r"(?![-.])[A-Za-z0-9._-]+/(?![-.])[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Rule:
    """One option: how its text is read, and how a value that was given in code is written as such a text.

    ``used`` is false for an option that is accepted and has no effect yet, because nothing acts on it.
    """

    read: Callable[[str], object]
    write: Render = render.line
    used: bool = True

    def __call__(self, text: str) -> object:
        """The value.  Raises: BadValue."""
        return self.read(text)

    def not_yet(self) -> Rule:
        """The same, for an option that has no effect in this version."""
        return replace(self, used=False)


Table = Mapping[str, Rule]


def scalar(judge: Callable[[str], object], write: Render = render.line) -> Rule:
    """The rule of an option that holds one value on one line."""

    def read(value: str) -> object:
        lines = _entries(value)
        if not lines:
            raise BadValue("has no value")
        if len(lines) > 1:
            # Nearly always the next option, indented by accident; its text is not repeated, it may be a secret.
            raise BadValue("takes one line and goes on here: an option of its own must not be indented", lines[1][0])
        return _judge_line(judge, *lines[0])

    return Rule(read, write)


def listing(judge: Callable[[str], object], write: Render = render.line) -> Rule:
    """The rule of an option that holds one entry a line; no line at all is an empty list."""

    def read(value: str) -> tuple[object, ...]:
        return tuple(_judge_line(judge, offset, line) for offset, line in _entries(value))

    return Rule(read, render.lines(write))


def _entries(value: str) -> list[tuple[int, str]]:
    return [(offset, line.strip()) for offset, line in enumerate(value.split("\n")) if line.strip()]


def _judge_line(judge: Callable[[str], T], offset: int, line: str) -> T:
    if has_control(line.replace("\t", "")):
        raise BadValue("holds a control character", offset)
    try:
        return judge(line)
    except BadValue as exc:
        raise BadValue(str(exc), offset) from None


def as_text(line: str) -> str:
    return line


def as_flag(line: str) -> bool:
    if line.lower() in (*_TRUE, *_FALSE):
        return line.lower() in _TRUE
    raise BadValue(f"must be True or False, not `{printable(line)}`")


def as_choice(*choices: S) -> Callable[[str], S]:
    """One of these words, which are in lower case."""

    def judge(line: str) -> S:
        for choice in choices:
            if line.lower() == choice:
                return choice
        raise BadValue(f"must be one of {', '.join(choices)}, not `{printable(line)}`")

    return judge


as_channel = as_choice(*Channel)


def as_integer(low: int, high: int) -> Callable[[str], int]:
    def judge(line: str) -> int:
        if not re.fullmatch(r"\d{1,9}", line, re.ASCII) or not low <= int(line) <= high:
            raise BadValue(f"must be a whole number from {low} to {high}, not `{printable(line)}`")
        return int(line)

    return judge


def as_seconds(line: str) -> float:
    number = float(line) if _NUMBER.fullmatch(line) else math.nan
    if not number > 0:
        raise BadValue(f"must be a number greater than 0, not `{printable(line)}`")
    return number


def as_hours(line: str) -> datetime.timedelta:
    hours = as_seconds(line)
    if hours > 24 * 3660:
        raise BadValue(f"must be at most ten years in hours, not `{printable(line)}`")
    if not (found := datetime.timedelta(hours=hours)):
        raise BadValue(f"must be at least a microsecond, not `{printable(line)}`")
    return found


def as_window(line: str) -> RefreshWindow:
    hours = re.fullmatch(r"(\d{1,2})\s*-\s*(\d{1,2})", line, re.ASCII)
    if not hours or max(int(hours[1]), int(hours[2])) > 23 or int(hours[1]) == int(hours[2]):
        raise BadValue(f"must be two different hours from 0 to 23 such as `0-5`, not `{printable(line)}`")
    return RefreshWindow(int(hours[1]), int(hours[2]))


def as_path(line: str) -> Path:
    try:
        path = Path(line).expanduser()
    except RuntimeError:
        raise BadValue("begins with `~`, and that user's home is not known") from None
    if not path.is_absolute():
        raise BadValue("must be an absolute path, or begin with `~/`")
    return path


def as_seen_path(look: Look) -> Callable[[str], Path]:
    """Like `as_path`, refused with `look`'s reason."""

    def judge(line: str) -> Path:
        path = as_path(line)
        if why := look(path):
            raise BadValue(f"{printable(str(path), 200)} {why}")
        return path

    return judge


def as_inner_path(line: str) -> str:
    """The name of a file below the app's folder."""
    path = PurePosixPath(line)
    if path.is_absolute() or line.startswith("~") or ".." in path.parts or not path.parts:
        raise BadValue("must be a path below the app's folder, without `..`")
    # Without the `./` that may stand before it, this would be read as something else the next time.
    if (found := str(path)).strip() != found or found.startswith("~"):
        raise BadValue("must not begin with `~`, and neither begin nor end with white space")
    return found


def as_persistent_file(line: str) -> str:
    path = as_inner_path(line)
    if path in _RESERVED_FILES:
        raise BadValue(f"`{path}` belongs to the release and cannot be kept from one to the next")
    return path


def as_environment(line: str) -> Path:
    """The virtual environment of an interpreter, `…/NAME/bin/python`; the interpreter is a link and not followed."""
    path = as_path(line)
    if len(path.parts) < 4 or path.parent.name != "bin":
        raise BadValue("must be the path of an interpreter in a virtual environment (`…/bin/python`)")
    return path.parent.parent


def as_arguments(line: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(line))
    except ValueError as exc:
        raise BadValue(f"cannot be split into arguments: {exc}") from None


def as_quoted(line: str) -> str:
    """Arguments that stay text."""
    as_arguments(line)
    return line


def as_command(line: str) -> tuple[str, ...]:
    if not (command := as_arguments(line)) or not command[0]:
        raise BadValue("names no command")
    return command


def as_assignment(line: str) -> tuple[str, str]:
    key, equals, value = line.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key.strip()):
        raise BadValue("must hold one `NAME=value` a line")
    return key.strip(), value.strip()


def as_pin(line: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{8,40}|[0-9a-fA-F]{64}", line):
        raise BadValue("must be a commit's hash: at least 8 hexadecimal digits, at most 40 (or 64)")
    return line.lower()


def as_branch(line: str) -> str:
    if why := check_branch_name(line):
        raise BadValue(why)
    return line


def as_repo(line: str) -> str:
    if not _REPO.fullmatch(line):
        raise BadValue(f"must be `owner/name`, not `{printable(line)}`")
    return line


def as_project(line: str) -> str:
    if not _PROJECT.fullmatch(line):
        raise BadValue("must be a project's name, with extras in brackets if it has some: `name` or `name[extra]`")
    return line


def services(name: str) -> Rule:
    """Services of app `name`, as words; also over several lines.  A name with spaces stands on a line of its own."""

    def read(value: str) -> tuple[str, ...]:
        allowed = (name, "klipper", "moonraker")
        found: dict[str, None] = {}
        for offset, line in _entries(value):
            for word in [name] if line == name else line.split():
                if word not in allowed:
                    names = ", ".join(dict.fromkeys(allowed))
                    raise BadValue(f"may name {names}, not `{printable(word)}`", offset)
                found[word] = None
        return tuple(found)

    return Rule(read, render.lines(render.line))


def _read_hold(value: str) -> str:
    text = " ".join(_judge_line(as_text, offset, line) for offset, line in _entries(value))
    if not text or text.lower() in _FALSE:
        raise BadValue("takes the reason as text; leave the option out when nothing holds the app")
    return text


# A reason for the user, over any number of lines.
hold = Rule(_read_hold, render.text)
