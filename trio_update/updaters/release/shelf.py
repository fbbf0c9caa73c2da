"""The shelf: assets of the installed and of earlier versions, kept beside an app so that going back needs no network.

A folder for each version, with the asset as it was verified and a record that says what it is::

    .NAME.trio-update/VERSION/asset
    .NAME.trio-update/VERSION/record.json
    .NAME.trio-update/replaced/      the app's folder before the last switch, for programs that still read there
    .NAME.trio-update/yours-N/       what was packed of a folder and may hold files of the user's, once it is no version

Kept is the asset and not the unpacked tree: one hash tells whether it is whole, it takes less room, and nothing that
runs in the app's folder can change it.  Blocking functions; all raise :class:`~trio_update.errors.FileTrouble`.
"""

from __future__ import annotations

import hashlib
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from trio_update.errors import FileTrouble
from trio_update.host.files import durable
from trio_update.logs import get_logger

_log = get_logger(__name__)
_RECORD = "record.json"
_ASSET = "asset"
_PREFIX = "version-"
_ASIDE = "yours-"
_LONGEST = 200


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a kept asset is.  ``used``: the last turn that had to do with this version, for the order of age.

    ``packed``: made by us from a folder that somebody else had installed, so no forge vouches for it.  ``saved``: what
    is the user's in it is elsewhere, too; until then it is the only copy, and stays.  ``updated``: when the asset was
    uploaded, in the forge's words.
    """

    version: str
    asset_name: str
    sha256: str
    size: int
    used: int
    packed: bool = False
    saved: bool = False
    updated: str = ""

    @property
    def is_only_copy(self) -> bool:
        """Whether files of the user's may be in it that are nowhere else: those cannot be downloaded again."""
        return self.packed and not self.saved


@dataclass(frozen=True)
class Kept:
    """A version on the shelf."""

    folder: Path
    record: Record

    @property
    def asset(self) -> Path:
        return self.folder / _ASSET

    def is_whole(self, check: Callable[[], None] = lambda: None) -> bool:
        """Whether the asset is still what was verified; reads all of it."""
        try:
            return durable.sha256_of(self.asset, check) == self.record.sha256
        except FileTrouble:
            return False


def write_record(folder: Path, record: Record) -> None:
    """Make ``folder``, which holds the asset, ready for the shelf."""
    durable.write_atomically(folder / _RECORD, msgspec.json.format(msgspec.json.encode(record)))


def is_packed(asset: Path) -> bool:
    """Whether an asset lies on a shelf, and we made it of a folder."""
    record = _read(asset.parent)
    return record is not None and record.packed


def next_turn(kept: tuple[Kept, ...]) -> int:
    """The number of an installation; the version that it replaces gets the one before it, which is free too.

    Not the job's: those begin anew when DATA_PATH does.
    """
    return max((one.record.used for one in kept), default=0) + 2


@dataclass(frozen=True)
class Shelf:
    """The shelf at ``path``, which need not exist."""

    path: Path

    @property
    def replaced(self) -> Path:
        return self.path / "replaced"

    def kept(self) -> tuple[Kept, ...]:
        """All versions, the longest unused first; what cannot be read is passed over."""
        with durable.translated("read", self.path):
            folders = sorted(self.path.glob(f"{_PREFIX}*")) if self.path.is_dir() else []
        found = [Kept(folder, record) for folder in folders if (record := _read(folder)) is not None]
        return tuple(sorted(found, key=lambda kept: kept.record.used))

    def find(self, version: str) -> Kept | None:
        return next((kept for kept in self.kept() if kept.record.version == version), None)

    def put(self, folder: Path, version: str) -> None:
        """Move a folder that is ready to its place on the shelf.  Idempotent: one that is gone has been moved."""
        if durable.inode(folder) is None:
            return
        with durable.translated("make", self.path):
            self.path.mkdir(exist_ok=True)
        place = self.path / _folder_name(version)
        there = _read(place)
        if there is not None and there.is_only_copy:
            self._set_aside(place)
        else:
            durable.remove_tree(place)
        durable.rename(folder, place)

    def _set_aside(self, place: Path) -> None:
        """Move away what is no version any more and may hold files of the user's; nothing of ours removes it then."""
        number = 1
        while durable.inode(aside := self.path / f"{_ASIDE}{number}") is not None:
            number += 1
        durable.rename(place, aside)
        _log.warning("%s may hold the only copy of files of yours: look through it, then remove it", aside / _ASSET)

    def mark_used(self, version: str, turn: int) -> None:
        """Say that a version is, or was until now, the installed one."""
        kept = self.find(version)
        if kept is not None and kept.record.used < turn:
            write_record(kept.folder, msgspec.structs.replace(kept.record, used=turn))

    def prune(self, installed: str, keep: int) -> None:
        """Remove all but the ``installed`` version and the ``keep`` that were used last before it.

        What may be the only copy of files of the user's is set aside instead: no version to go back to, but there.
        """
        others = [kept for kept in self.kept() if kept.record.version != installed]
        for kept in others[: max(0, len(others) - keep)]:
            if kept.record.is_only_copy:
                self._set_aside(kept.folder)
            else:
                self._remove(kept.folder)
        with durable.translated("read", self.path):
            broken = [folder for folder in self.path.glob(f"{_PREFIX}*") if _read(folder) is None]
        for folder in broken:
            self._remove(folder)

    def make_room(self, path: Path, needed: int, spare: frozenset[str]) -> tuple[str, ...]:
        """Remove what is kept, the longest unused first, until ``needed`` bytes are free.  Returns what was removed.

        Versions in ``spare`` stay, and so do only copies of what is the user's, however short space is.
        """
        removed: list[str] = []
        if durable.free_bytes(path) < needed:
            durable.remove_tree(self.replaced)
        for kept in self.kept():
            if durable.free_bytes(path) >= needed:
                break
            if kept.record.version not in spare and not kept.record.is_only_copy:
                self._remove(kept.folder)
                removed.append(kept.record.version)
        return tuple(removed)

    def _remove(self, folder: Path) -> None:
        # The record first: what a kill leaves is not taken for a version then.
        durable.remove_tree(folder / _RECORD)
        durable.remove_tree(folder)


def _folder_name(version: str) -> str:
    """No two versions have the same; not longer than file systems take (255 bytes)."""
    quoted = urllib.parse.quote(version, safe="")
    if len(quoted) > _LONGEST:
        quoted = f"{quoted[:_LONGEST]}-{hashlib.sha256(version.encode()).hexdigest()[:16]}"
    return f"{_PREFIX}{quoted}"


def _read(folder: Path) -> Record | None:
    try:
        return msgspec.json.decode((folder / _RECORD).read_bytes(), type=Record)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        _log.warning("%s is no version that can be gone back to: %s", folder, error)
        return None
