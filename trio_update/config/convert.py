"""Judges of one line, and rules of options that hold something else; see :mod:`trio_update.config.rules`.

Pure, but for ``~``, which is the user's home, and for what is asked of the disk about an app's folder.
"""

from __future__ import annotations

import datetime
import math
import re
import shlex
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TypeVar

from trio_update.config import render
from trio_update.config.looks import look_danger
from trio_update.config.names import check_branch_name, printable
from trio_update.config.render import BadValue
from trio_update.config.rules import Partly, Rule, entries, judge_line
from trio_update.config.values import RefreshWindow
from trio_update.model import Channel

__all__ = [
    "as_app_path",
    "as_arguments",
    "as_assignment",
    "as_branch",
    "as_channel_of",
    "as_choice",
    "as_command",
    "as_environment",
    "as_flag",
    "as_hours",
    "as_inner_path",
    "as_integer",
    "as_path",
    "as_pin",
    "as_project",
    "as_quoted",
    "as_repo",
    "as_seconds",
    "as_seen_path",
    "as_text",
    "as_window",
    "hold",
    "services",
]

S = TypeVar("S", bound=str)
# Looks at the disk: None, or why the path cannot be used.
Look = Callable[[Path], str | None]

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,40})?", re.ASCII)
_PROJECT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:\[[A-Za-z0-9._, -]*\])?")
_REPO = re.compile(r"(?![-.])[A-Za-z0-9._-]+/(?![-.])[A-Za-z0-9._-]+")
_GITHUB = re.compile(r"(?:https?://)?(?:www\.)?github\.com/", re.IGNORECASE)
_HOME = re.compile(r"\$(?:HOME|\{HOME\})(?=/|$)")


def as_text(line: str) -> str:
    return line


def _word(line: str) -> str:
    """Without what separates words in a list: people end a single value with it too."""
    return line.rstrip(",; \t")


def as_flag(line: str) -> bool:
    if (word := _word(line).lower()) in (*_TRUE, *_FALSE):
        return word in _TRUE
    raise BadValue(f"must be True or False, not `{printable(line)}`")


def as_choice(*choices: S) -> Callable[[str], S]:
    """One of these words, which are in lower case."""

    def judge(line: str) -> S:
        for choice in choices:
            if _word(line).lower() == choice:
                return choice
        raise BadValue(f"must be one of {', '.join(choices)}, not `{printable(line)}`")

    return judge


as_channel = as_choice(*Channel)


def as_integer(low: int, high: int) -> Callable[[str], int]:
    def judge(line: str) -> int:
        word = _word(line)
        if not re.fullmatch(r"\d{1,9}", word, re.ASCII) or not low <= int(word) <= high:
            raise BadValue(f"must be a whole number from {low} to {high}, not `{printable(line)}`")
        return int(word)

    return judge


def as_seconds(line: str) -> float:
    number = float(line) if _NUMBER.fullmatch(line) else math.nan
    if not number > 0:
        raise BadValue(f"must be a number greater than 0, not `{printable(line)}`")
    return number


def as_hours(line: str) -> datetime.timedelta:
    """Hours; 0 is a length of time too."""
    hours = float(line) if _NUMBER.fullmatch(line) else math.nan
    if not hours >= 0:
        raise BadValue(f"must be a number of hours, not `{printable(line)}`")
    if hours > 24 * 3660:
        raise BadValue(f"must be at most ten years in hours, not `{printable(line)}`")
    if not (found := datetime.timedelta(hours=hours)) and hours:
        raise BadValue(f"must be at least a microsecond, not `{printable(line)}`")
    return found


def as_window(line: str) -> RefreshWindow:
    hours = re.fullmatch(r"(\d{1,2})\s*-\s*(\d{1,2})", line, re.ASCII)
    if not hours or max(int(hours[1]), int(hours[2])) > 23 or int(hours[1]) == int(hours[2]):
        raise BadValue(f"must be two different hours from 0 to 23 such as `0-5`, not `{printable(line)}`")
    return RefreshWindow(int(hours[1]), int(hours[2]))


def as_path(line: str) -> Path:
    """An absolute path; ``~``, ``~user`` and ``$HOME`` stand for homes."""
    try:
        path = Path(_HOME.sub("~", line, count=1) if _HOME.match(line) else line).expanduser()
    except RuntimeError:
        raise BadValue("begins with `~`, and that user's home is not known") from None
    if not path.is_absolute():
        raise BadValue("must be an absolute path, or begin with `~/`")
    return path


def stands_alone(line: str) -> bool:
    """Whether a path says by itself where it leads, and not below something."""
    return line.startswith(("/", "~")) or _HOME.match(line) is not None


def as_seen_path(look: Look) -> Callable[[str], Path]:
    """Like `as_path`, refused with `look`'s reason."""

    def judge(line: str) -> Path:
        path = as_path(line)
        if why := look(path):
            raise BadValue(f"{printable(str(path), 200)} {why}")
        return path

    return judge


def as_app_path(look: Look | None, danger: str) -> Callable[[str], Path]:
    """An app's folder, refused with `look`'s reason, or because it must never be replaced: ``danger`` says by what."""

    def judge(line: str) -> Path:
        path = as_path(line)
        if what := look_danger(path):
            raise BadValue(f"{printable(str(path), 200)} {what}: {danger}")
        if look is not None and (why := look(path)):
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
    """``owner/name``, or the address of a repository at GitHub, whose name is meant."""
    repo = _word(line).rstrip("/")
    if at_github := _GITHUB.match(repo):
        repo = repo[at_github.end() :].removesuffix(".git")
    if not _REPO.fullmatch(repo):
        raise BadValue(f"must be `owner/name`, not `{printable(line)}`")
    return repo


def as_project(line: str) -> str:
    if not _PROJECT.fullmatch(line):
        raise BadValue("must be a project's name, with extras in brackets if it has some: `name` or `name[extra]`")
    return line


def as_channel_of(supported: tuple[Channel, ...], default: Channel, kind: str) -> Callable[[str], Channel]:
    """A channel that apps of this type have.  One that only others have is no reason for more than the default."""

    def judge(line: str) -> Channel:
        channel: Channel = as_channel(line)
        if channel not in supported:
            why = f"{channel} does not exist for apps of type {kind}, only {', '.join(supported)}: {default} is used"
            raise Partly(default, [BadValue(why)])
        return channel

    return judge


def services(name: str) -> Rule:
    """Services of app `name`, separated by blanks, commas or ends of line; others are told and left out.

    A name with spaces stands on a line of its own, or between commas.
    """

    def read(value: str) -> tuple[str, ...]:
        allowed = tuple(dict.fromkeys((name, "klipper", "moonraker")))
        found: dict[str, None] = {}
        faults = []
        for offset, line in entries(value):
            parts = [part.strip(" \t\"'") for part in line.split(",")]
            for word in (word for part in parts for word in ([name] if part == name else part.split())):
                if (service := word.removesuffix(".service")) in allowed:
                    found[service] = None
                else:
                    why = f"may name {', '.join(allowed)}, not `{printable(word)}`"
                    faults.append(BadValue(why, offset))
        if faults:
            raise Partly(tuple(found), faults)
        return tuple(found)

    return Rule(read, render.lines(render.line))


def _read_hold(value: str) -> str:
    text = " ".join(judge_line(as_text, offset, line) for offset, line in entries(value))
    if not text or text.lower() in _FALSE:
        raise BadValue("takes the reason as text; leave the option out when nothing holds the app")
    return text


# A reason for the user, over any number of lines.
hold = Rule(_read_hold, render.text).holds_back()
