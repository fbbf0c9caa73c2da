"""What goes with a version that is replaced: the user's part of it is saved, and the version itself is put by.

Blocking throughout, for the thread that makes the new version; what takes long looks whether the job was aborted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from trio_update.errors import OperationFailed
from trio_update.host.archive.extract import Archive, pack, read_archive
from trio_update.host.files import durable
from trio_update.host.files.durable import translated
from trio_update.text import named
from trio_update.updaters.release.compare import everything, users_own
from trio_update.updaters.release.files import copy_file, record_packed, save_aside, size_of
from trio_update.updaters.release.look import MARKS, Look
from trio_update.updaters.release.obtain import Obtained, Source, check_cancelled, make_ready
from trio_update.updaters.release.original import Original
from trio_update.updaters.release.shelf import next_turn
from trio_update.updaters.space import Disk, exact, shortage
from trio_update.versions import same_version

PACKED = "packed"


def needs_original(seen: Look, wanted: str) -> bool:
    """Whether only the forge can tell what the installed version brought, so that ``wanted`` may take its place."""
    if not seen.exists or seen.info is None or same_version(seen.info.version, wanted):
        return False
    kept = [one for one in seen.kept if one.record.version == seen.info.version]
    if seen.place.executable:
        return not kept
    # What we packed is the folder as somebody left it, and tells nothing of what the release brought.
    return not any(not one.record.packed and one.is_whole(check_cancelled) for one in kept)


@dataclass(frozen=True)
class Keeper:
    """Saves and keeps for one job, whose work is in ``stage``.

    ``original``: what the installed version brought, where that had to be fetched.  ``saved``: the folder for what is
    the user's, which need not exist.
    """

    seen: Look
    stage: Path
    saved: Path
    source: Source
    original: Original | None

    @property
    def _live(self) -> Path:
        return self.seen.place.folder

    @property
    def _version(self) -> str:
        return self.seen.info.version if self.seen.info is not None else ""

    @property
    def _turn(self) -> int:
        return next_turn(self.seen.kept) - 1

    def archive(self) -> Archive | None:
        """What the installed version brought; ``None`` when that cannot be had."""
        of_it = (one for one in self.seen.kept if one.record.version == self._version and not one.record.packed)
        kept = next(of_it, None)
        if kept is not None and kept.is_whole(check_cancelled):
            return read_archive(kept.asset)
        return self.original.archive if self.original is not None else None

    def keep_folder(self, persistent: tuple[bytes, ...], brought: Archive | None) -> list[tuple[str, str]]:
        """Save what the user put into the folder or changed there, and nothing else would keep.

        That is told by what the release ``brought``; where it is not known all of the folder is saved, and packed to
        go back to.  Returns what has to go to the shelf.
        """
        if brought is None:
            return self._keep_all(persistent)
        self._save(users_own(self._live, brought, leave_out=(*persistent, *MARKS), check=check_cancelled))
        return self._shelve_original()

    def keep_program(self, live: Path, obtained: Obtained) -> list[tuple[str, str]]:
        """Save a program that its user changed; one of which that is not known is saved and kept as it is."""
        if durable.inode(live) is None:
            return []
        known = {kept.record.sha256 for kept in self.seen.kept if kept.record.version == self._version}
        if self.original is not None:
            known.add(self.original.file.sha256)
        if same_version(self._version, obtained.version):
            known.add(obtained.sha256)
        if known:
            if durable.sha256_of(live, check_cancelled) not in known:
                self._save((os.fsencode(live.name),))
            return self._shelve_original()
        folder = self.stage / PACKED
        with translated("keep", live):
            folder.mkdir()
            # Not linked: who may write to the program must not be able to change what is kept of it.
            copy_file(live, folder / "asset")
        record_packed(folder, self._version, live.name, self._turn)
        self._save((os.fsencode(live.name),))
        return [(str(folder), self._version)]

    def _shelve_original(self) -> list[tuple[str, str]]:
        if self.original is None:
            return []
        return list(make_ready(self.original.obtained, self._version, self._turn))

    def _keep_all(self, persistent: tuple[bytes, ...]) -> list[tuple[str, str]]:
        """Save all of the folder, and pack it so that there is a version to go back to."""
        size, folder = size_of(self._live, persistent), self.stage / PACKED
        version = self._version or "unknown"
        self.source.require_space(self.stage, size, f"keeping {version}")
        self.source.tell(f"Keeping the installed version, {version}, to go back to")
        with translated("make", folder):
            folder.mkdir()
        pack(self._live, folder / "asset", leave_out=persistent.__contains__, check=check_cancelled)
        record_packed(folder, version, f"{self.source.config.name}.zip", self._turn)
        every = everything(self._live, leave_out=persistent)
        if every:
            self._save_paths(every)
            self.source.tell(
                f"What of {self._live} is yours could not be told from what {version} brought: all of it, as it was "
                f"before this update, was saved in {self._aside}, and stays there until you remove it"
            )
        return [(str(folder), version)]

    def _require_space_for_saved(self, paths: tuple[bytes, ...]) -> None:
        """Files are linked on one and the same file system; elsewhere they are copied, and half a copy helps nobody."""
        where = next(one for one in (self.saved, *self.saved.parents) if one.is_dir())
        with translated("look at", where):
            if where.stat().st_dev == self._live.stat().st_dev:
                return
            size = sum(os.lstat(os.path.join(os.fsencode(self._live), path)).st_size for path in paths)
        short = shortage([exact(f"saving what is yours in {self._live}", size)], Disk(where, durable.free_bytes(where)))
        if short is not None:
            raise OperationFailed(short.message)

    @property
    def _aside(self) -> Path:
        return self.saved / "files"

    def _save(self, paths: tuple[bytes, ...]) -> None:
        if not paths:
            return
        self._save_paths(paths)
        self.source.tell(f"What you added or changed in {self._live} was saved in {self._aside}: {named(paths)}")

    def _save_paths(self, paths: tuple[bytes, ...]) -> None:
        self._require_space_for_saved(paths)
        with translated("make", self._aside):
            self._aside.mkdir(parents=True, exist_ok=True)
        save_aside(self._live, self._aside, paths)
