"""Rules of options that name what lies in an app's folder, or may do so.

Users write such paths in all ways: relative to the folder, below ``~``, absolute.  What leads into the folder is kept
relative to it, so that it can be found in the next version's folder too; ``..`` is followed by its letters, because the
folder need not exist yet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from trio_update.config import render
from trio_update.config.convert import as_environment, as_inner_path, as_path, stands_alone
from trio_update.config.looks import look_file, look_folder
from trio_update.config.names import printable
from trio_update.config.patterns import doubt_about, is_pattern
from trio_update.config.render import BadValue, Render
from trio_update.config.rules import Grave, Partly, Rule, entries, judge_line, scalar, unquoted

_RESERVED_FILES = (".version", "release_info.json")
# An app's folder that is not known, because its own option is at fault; what is read then is not used.
_NOWHERE = Path("/")


def dependency_file() -> Rule:
    """A file of the app's that names what it needs: a path below its folder, or an absolute one that lies elsewhere.

    Upgrades wait when it cannot be read which file is meant: a version that needs other packages would not start.
    """
    return _inside(lambda folder: scalar(partial(_as_dependency, folder)).read, notice=_notice_file)


def environment() -> Rule:
    """The folder of a virtual environment, relative to the app's or absolute."""
    return _inside(lambda folder: scalar(partial(_as_place, folder)).read, notice=_notice_folder)


def interpreter() -> Rule:
    """The older way to name a virtual environment: the interpreter in it."""

    def judge(folder: Path, line: str) -> Path:
        return as_environment(str(_as_place(folder, line)))

    return _inside(lambda folder: scalar(partial(judge, folder)).read, notice=_notice_folder)


def persistent_files() -> Rule:
    """What is the user's in the app's folder, one path a line, as relative paths.

    A path that leads elsewhere is told and left out, because an update does not touch what is there.  Everything else
    that cannot be used holds upgrades back: without the entry they would take away what it was to protect.
    """
    return _inside(lambda folder: partial(_read_persistent, folder), render.lines(render.line))


def _inside(
    reader: Callable[[Path], Callable[[str], object]],
    write: Render = render.line,
    notice: Callable[[object, Path], str | None] | None = None,
) -> Rule:
    def read(text: str, folder: Path) -> object:
        return reader(folder)(text)

    return Rule(partial(read, folder=_NOWHERE), write, inside=read, notice=notice).holds_back()


def _as_place(folder: Path, line: str) -> Path:
    return as_path(line) if stands_alone(line) else folder / line


def _as_dependency(folder: Path, line: str) -> str:
    place = os.path.normpath(_as_place(folder, line))
    if place != place.strip():
        raise BadValue("must not end with a blank")  # which no line of a file could name
    if (found := _relative(place, folder)) is not None:
        return as_inner_path(found)
    if stands_alone(line):
        return place
    raise Partly(place, [BadValue("must be a path below the app's folder, without `..`, or an absolute path")])


def _relative(place: str, folder: Path) -> str | None:
    """``place`` as seen from ``folder``; ``None`` when it is not in it."""
    path = PurePosixPath(place)
    base = os.path.normpath(folder)
    return str(path.relative_to(base)) if path.is_relative_to(base) else None


def _read_persistent(folder: Path, value: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    faults: list[BadValue] = []
    for offset, line in entries(value):
        for entry in _parts(line):
            try:
                found[judge_line(partial(_as_persistent, folder), offset, entry)] = None
            except BadValue as exc:
                faults.append(exc)
    if faults:
        raise Partly(tuple(found), faults)
    return tuple(found)


def _parts(line: str) -> Iterator[str]:
    """The paths of a line: separated by commas, or (because names may hold commas) the line itself; all are kept."""
    parts = [unquoted(part.strip()) for part in line.split(",")]
    yield from (part for part in parts if part)
    if sum(map(bool, parts)) > 1:
        yield line


def _as_persistent(folder: Path, line: str) -> str:
    # With a comma it is the whole line, kept beside its parts for the name that it may be: no reason to hold back.
    if is_pattern(line) and "," not in line and (doubt := doubt_about(line)):
        raise Grave(f"`{printable(line)}` {doubt}")
    relative = _relative(os.path.normpath(_as_place(folder, line)), folder)
    if relative is None:
        raise BadValue(f"must be a path below the app's folder; no update touches `{printable(line)}`")
    try:
        path = as_inner_path(relative)
    except BadValue as exc:
        raise Grave(str(exc)) from None
    if path in _RESERVED_FILES:
        raise BadValue(f"`{path}` belongs to the release and cannot be kept from one to the next")
    return path


def _notice_file(value: object, folder: Path) -> str | None:
    path = folder / str(value)
    if (why := look_file(path)) is not None:
        return f"{printable(str(path), 200)} {why}"
    if PurePosixPath(str(value)).is_absolute():
        return f"{printable(str(path), 200)} is outside the app's folder: an update does not bring another one"
    return None


def _notice_folder(value: object, folder: Path) -> str | None:
    path = folder / str(value)
    why = look_folder(path)
    return f"{printable(str(path), 200)} {why}" if why is not None else None
