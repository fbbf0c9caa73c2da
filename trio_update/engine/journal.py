"""The journal: what a killed server's successor needs to put every app back, durable before anything changes.

A file of its own for each app that a job works on, written aside, synced and renamed; not a table of the database,
because then a damaged database would take the undo records with it.  An entry goes through three phases::

    PREPARING ──> OPEN ──> COMMITTED ──> (gone)
        │           └── undone (or, for what only goes forward, finished) ──> (gone)
        └── stages removed ──> (gone)

An entry that this version cannot read, because it is damaged, was written by a newer version, or holds an effect that
no known kind of app has, stays where it is: a later start that knows it resumes it.  Until then its app cannot be
updated in any way.  A hard recovery is no way out: which folders were exchanged and which are only staged stands in
the entry alone, so that a fresh copy could take a half-changed folder's files for the user's, and a later start that
knows the entry would undo it on top of the fresh copy.
"""

from __future__ import annotations

import enum
import functools
import operator
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import msgspec

from trio_update.errors import FileTrouble
from trio_update.host.files import durable
from trio_update.host.threads import in_thread
from trio_update.model import AppName, JobId, JobKind
from trio_update.updaters.base import Effect, Target

# The version of what an entry holds besides its effects.  Entries from before there was one name none: they are of 1.
SCHEMA = 1
# The largest that was seen is some hundred kilobytes: paths of a large clone.  Far above, it is none of ours.
_LARGEST = 64 << 20
_NAME = re.compile(r"(?:(\d{1,18})\.)?(.+)\.json", re.DOTALL)


class Phase(enum.StrEnum):
    """How far an app's update had come."""

    PREPARING = "preparing"
    OPEN = "open"
    COMMITTED = "committed"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One app's part of a job.

    ``started``: unix seconds.  ``full``: the job is a full update, and ``kind`` says what it does to this app.
    ``stages``: paths beside the app that the update may have made.  ``attempts``: how often somebody has tried to undo
    or finish it.
    """

    schema: int = SCHEMA
    job: JobId
    kind: JobKind
    app: AppName
    requested_by: str
    started: float
    full: bool = False
    phase: Phase = Phase.PREPARING
    stages: tuple[str, ...] = ()
    effects: tuple[Effect, ...] = ()
    old: Target = Target("")
    new: Target = Target("")
    services: tuple[str, ...] = ()
    attempts: int = 0


class _Header(msgspec.Struct):
    """What can be read of an entry of any version.  A number of a job that no database could count on is damage."""

    schema: int = 1
    app: str = ""
    job: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)] = 0


@dataclass(frozen=True)
class Unreadable:
    """An entry that this version can neither undo nor finish.  ``app`` is empty when the entry does not tell it."""

    path: Path
    app: str
    job: JobId
    why: str

    def concerns(self, app: AppName) -> bool:
        """Whether it is about ``app``, or may be: the names that former versions gave to entries leave that open."""
        if self.app:
            return self.app == app
        named = _NAME.fullmatch(self.path.name)
        return named is not None and named[2] in {_file_name(app), _former_name(app)}

    def advice(self) -> str:
        """What a person can do about it."""
        shown = os.fsencode(self.path).decode(errors="backslashreplace")
        return (
            f"An interrupted job ({self.job or 'unknown'}) can neither be undone nor finished, because its journal "
            f"entry {shown} cannot be used: {self.why}. Start a trio-update that knows it; or see by hand that the app "
            "is whole, remove that file, and recover the app"
        )


@dataclass(frozen=True)
class Contents:
    """Every entry there is, oldest first."""

    entries: tuple[Entry, ...]
    unreadable: tuple[Unreadable, ...]


class Journal:
    """Entries as files in ``folder``, one an app.  ``effects``: what they may hold, each with a tag of its own."""

    def __init__(self, folder: Path, effects: Sequence[type[Effect]]) -> None:
        self.folder = folder
        # Read in two steps: an entry whose effects are not known still tells its app.
        union: Any = functools.reduce(operator.or_, effects) if effects else None
        self._effects = msgspec.json.Decoder(tuple[union, ...])
        self._header = msgspec.json.Decoder(_Header)
        self._stored = msgspec.json.Decoder(_Stored)

    def _path(self, job: JobId, app: str) -> Path:
        return self.folder / f"{job}.{_file_name(app)}.json"

    async def write(self, entry: Entry) -> None:
        """Make ``entry`` durable.  Raises: FileTrouble."""
        await in_thread(durable.write_atomically, self._path(entry.job, entry.app), msgspec.json.encode(entry))

    async def close(self, entry: Entry) -> None:
        """Forget ``entry``: its app is whole.  Raises: FileTrouble; the entry may be gone all the same."""
        await in_thread(_remove_durably, self._path(entry.job, entry.app))

    def place(self, entry: Entry) -> Path:
        """The file of ``entry``, for a message."""
        return self._path(entry.job, entry.app)

    async def holds(self, entry: Entry) -> bool:
        """Whether the file of ``entry`` is still there: :meth:`close` may fail behind its removal."""
        return await in_thread(self._path(entry.job, entry.app).exists)

    async def read(self) -> Contents:
        """Every entry there is.  Raises: FileTrouble when the folder cannot be read."""
        return await in_thread(self._read)

    def _read(self) -> Contents:
        entries, unreadable = [], []
        with durable.translated("read the journal in", self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(self.folder.glob("*.json")):
                found = self._read_entry(path)
                if isinstance(found, Entry):
                    entries.append(found)
                else:
                    unreadable.append(found)
            for leftover in self.folder.glob(".*.tmp*"):
                leftover.unlink()
        return Contents(
            tuple(sorted(entries, key=lambda entry: entry.job)), tuple(sorted(unreadable, key=lambda entry: entry.job))
        )

    def _read_entry(self, path: Path) -> Entry | Unreadable:
        header = _Header()
        try:
            data = _content(path)
            header = self._header.decode(data)
            entry = self._decode(header, data)
            self._rename(path, entry)
            return entry
        except (OSError, FileTrouble, RecursionError, UnicodeDecodeError, msgspec.DecodeError, _NotUsable) as error:
            return _unreadable(path, header, str(error))

    def _decode(self, header: _Header, data: bytes) -> Entry:
        if header.schema > SCHEMA:
            raise _NotUsable(f"it was written by a newer version of trio-update (schema {header.schema})")
        stored = self._stored.decode(data)
        effects = self._effects.decode(stored.effects)
        fields = {name: getattr(stored, name) for name in Entry.__struct_fields__}
        return Entry(**(fields | {"effects": effects}))

    def _rename(self, path: Path, entry: Entry) -> None:
        """Give an entry that a former version wrote the name by which it is written and forgotten now."""
        wanted = self._path(entry.job, entry.app)
        if path != wanted:
            durable.rename(path, wanted)


class _Stored(Entry, frozen=True, kw_only=True):
    """An entry whose effects are not decoded yet."""

    effects: msgspec.Raw = msgspec.Raw(b"[]")  # type: ignore[assignment]  # not decoded yet


class _NotUsable(Exception):
    """Why an entry that can be read must not be used."""


def _content(path: Path) -> bytes:
    # A pipe in the place of a file would be waited for.
    if not path.is_file():
        raise _NotUsable("it is not a file")
    with path.open("rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise _NotUsable(f"it is larger than {_LARGEST >> 20} MiB")
    return data


def _unreadable(path: Path, header: _Header, why: str) -> Unreadable:
    named = _NAME.fullmatch(path.name)
    number = int(named[1] or 0) if named is not None else 0
    return Unreadable(path, header.app, JobId(header.job or number), why)


def _remove_durably(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise durable.trouble("remove", path, error) from error
    durable.fsync_directory(path.parent)


def _file_name(app: str) -> str:
    """A name of a file that no other app has: letters, digits, ``_``, ``.`` and ``-``, the rest escaped."""
    return quote(app, safe="", errors="surrogateescape")


def _former_name(app: str) -> str:
    """The name of former versions, which several apps could share."""
    return "".join(char if char.isalnum() or char in "-_" else "_" for char in app)


def holder_id(data_path: Path) -> str:
    """What marks the processes of every server that works on ``data_path``, so that a successor finds them."""
    return os.path.realpath(data_path)
