"""A configuration file and the files that it includes, put in one row.

An include stands for the sections of its files, in their place.  What goes wrong with a file is told at the line that
names it, or in the file when a line of it is at fault.
"""

from __future__ import annotations

import glob
import os
import stat
from pathlib import Path

import msgspec

from trio_update.config.ini import Section, parse
from trio_update.config.names import has_control, printable
from trio_update.config.values import Problem

# Far above what anybody has; holds off a glob that meets a G-code file, and folders that lead round in circles.
MAX_BYTES = 1 << 20
MAX_DEPTH = 32


class Sources(msgspec.Struct, frozen=True):
    """All sections in order, without the includes; ``files`` in the order of their first reading.

    ``incomplete``: a file could not be read, so that its sections are not known.
    """

    sections: tuple[Section, ...]
    problems: tuple[Problem, ...]
    files: tuple[str, ...]
    incomplete: bool


def read_sources(path: Path) -> Sources:
    """Read `path` and all that it includes.  Never raises: what cannot be read is a problem."""
    reader = _Reader()
    reader.read(path, None)
    return Sources(tuple(reader.sections), tuple(reader.problems), tuple(reader.files), reader.incomplete)


def sources_of(text: str, name: str) -> Sources:
    """The sections of a text that is in no file; an include in it cannot be followed and is a problem."""
    reader = _Reader()
    reader.files.append(name)
    reader.walk(None, name, text)
    return Sources(tuple(reader.sections), tuple(reader.problems), tuple(reader.files), reader.incomplete)


class _Unreadable(Exception):
    def __init__(self, why: str, line: int = 0) -> None:
        super().__init__(why)
        self.line = line


class _Reader:
    def __init__(self) -> None:
        self.sections: list[Section] = []
        self.problems: list[Problem] = []
        self.files: list[str] = []
        self.incomplete = False
        # By real path, because two names can lead to one file: where it was included, and the files being read now.
        self._included: dict[str, str] = {}
        self._open: list[str] = []

    def read(self, path: Path, include: Section | None) -> None:
        file = str(path)
        real = os.path.realpath(path)
        if include is not None and real in self._included:
            self._tell_again(file, real, include)
            return
        if file not in self.files:
            self.files.append(file)
        self._included[real] = f"{include.file}:{include.line}" if include else "the start"
        try:
            text = _text_of(path, len(self._open))
        except _Unreadable as exc:
            self._tell_unreadable(file, exc, include)
            return
        self._open.append(real)
        self.walk(path, file, text)
        self._open.pop()

    def walk(self, path: Path | None, file: str, text: str) -> None:
        """Take the sections of a file's text, and those of what it includes; ``path`` None: it is in no file."""
        document = parse(text, file)
        self.problems += [Problem(file, fault.line, fault.why) for fault in document.faults]
        for section in document.sections:
            if section.name.split()[:1] == ["include"]:
                self._include(path, section)
            else:
                self.sections.append(section)

    def _include(self, path: Path | None, section: Section) -> None:
        self.problems += [Problem(section.file, fault.line, fault.why) for fault in section.faults]
        if section.options:
            why = "this option stands below an include and belongs to no section"
            self.problems.append(Problem(section.file, section.options[0].line, why))
        pattern = section.name.removeprefix("include").strip()
        if not pattern or has_control(pattern):
            self._tell_missing(section, "the include names no file")
            return
        if path is None:
            self._tell_missing(section, "a configuration that is in no file cannot include one")
            return
        try:
            base, wanted = path.parent, Path(pattern).expanduser()
        except RuntimeError:
            self._tell_missing(section, f"cannot include {printable(pattern, 200)}: that user's home is not known")
            return
        # A file of exactly this name first: names may hold brackets.
        if not glob.has_magic(str(wanted)) or os.path.lexists(base / wanted):
            self.read(base / wanted, section)
            return
        # Not Path.glob(): it takes no absolute pattern, and finds hidden files such as an editor's.
        for match in sorted(glob.glob(str(wanted), root_dir=base)):  # noqa: PTH207
            if not _is_folder(base / match):
                self.read(base / match, section)

    def _tell_again(self, file: str, real: str, include: Section) -> None:
        why = f"already included at {self._included[real]}"
        if real in self._open:
            why = "it includes itself, directly or through others"
        self.problems.append(Problem(include.file, include.line, f"cannot include {printable(file, 200)} again: {why}"))

    def _tell_unreadable(self, file: str, exc: _Unreadable, include: Section | None) -> None:
        if include is None or exc.line:
            self.incomplete = True
            self.problems.append(Problem(file, exc.line, f"cannot read the configuration: {exc}"))
        else:
            self._tell_missing(include, f"cannot include {printable(file, 200)}: {exc}")

    def _tell_missing(self, include: Section, why: str) -> None:
        self.incomplete = True
        self.problems.append(Problem(include.file, include.line, why))


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        # Told when it is read.
        return False


def _text_of(path: Path, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise _Unreadable(f"includes are nested deeper than {MAX_DEPTH}")
    try:
        if not stat.S_ISREG(mode := path.stat().st_mode):
            # Opening a pipe or a terminal would wait for somebody to write.
            raise _Unreadable("it is a folder" if stat.S_ISDIR(mode) else "it is not a regular file")
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _Unreadable("it does not exist") from None
    except OSError as exc:
        raise _Unreadable(exc.strerror or str(exc)) from None
    if len(data) > MAX_BYTES:
        raise _Unreadable(f"it is larger than {MAX_BYTES // 1024} KiB")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise _Unreadable(f"byte 0x{data[exc.start]:02X} is not UTF-8; save the file as UTF-8", line) from None
