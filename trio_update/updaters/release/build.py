"""The new version of a release app, made aside: everything that can fail, fails here."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trio_update.errors import OperationFailed, Refused
from trio_update.host.archive.extract import Archive, BadArchive, read_archive, read_entry
from trio_update.host.files import durable
from trio_update.host.files.durable import translated
from trio_update.model import Unknown
from trio_update.text import named
from trio_update.updaters.base import WorkArea
from trio_update.updaters.place import Vacancy
from trio_update.updaters.release.decision import Sight, immovable, refuse_lists
from trio_update.updaters.release.effects import Shelve, Switch
from trio_update.updaters.release.files import (
    adopt,
    content_of,
    describe,
    make_program,
    unpack,
)
from trio_update.updaters.release.first import first_info
from trio_update.updaters.release.info import (
    LARGEST,
    RELEASE_INFO,
    NoReleaseInfo,
    other_repository,
    read_release_info,
    with_users_asset,
    with_version,
)
from trio_update.updaters.release.keep import PACKED, Keeper
from trio_update.updaters.release.kind import ReleaseConfig
from trio_update.updaters.release.look import Look, Place, persistent_of, wanted_of
from trio_update.updaters.release.obtain import Obtained, Source, make_ready
from trio_update.updaters.release.original import Original
from trio_update.updaters.release.persistent import brought_files, carry_persistent, folders_of_others, mounts_inside
from trio_update.updaters.release.shelf import next_turn
from trio_update.updaters.space import Disk
from trio_update.versions import same_version


@dataclass(frozen=True)
class Builder:
    """Makes the new version of one app in ``stage``, a folder that exists.

    ``original``: what the installed version brought, where it had to be fetched to know.  Blocking throughout, for one
    thread; what takes long looks whether the job was aborted.
    """

    config: ReleaseConfig
    seen: Look
    stage: Path
    source: Source
    area: WorkArea
    since: float
    original: Original | None = None

    @property
    def _keeper(self) -> Keeper:
        return Keeper(self.seen, self.stage, self.area.saved_folder, self.source, self.original)

    @property
    def place(self) -> Place:
        return self.seen.place

    @property
    def live(self) -> Path:
        return self.place.folder

    @property
    def turn(self) -> int:
        return next_turn(self.seen.kept)

    def make(self, obtained: Obtained, in_place: bool) -> tuple[str, Sequence[Switch | Shelve]]:
        """Give the version and the effects that switch it on.

        ``in_place``: the same version again, so that new dependencies are no reason to refuse.  Raises: Refused,
        OperationFailed.
        """
        return self._program(obtained) if self.place.executable else self._folder(obtained, in_place)

    def make_first(self, obtained: Obtained, vacancy: Vacancy) -> tuple[str, Sequence[Switch | Shelve]]:
        """The same of an app that is not installed: a whole folder, a program's too.  Raises: OperationFailed."""
        tree = self.stage / "tree"
        if self.place.executable:
            version = self._first_program(tree, obtained)
        else:
            archive = self._judge(obtained)
            self.source.tell(f"Unpacking {obtained.name}")
            unpack(archive, tree, obtained.name)
            version = self._final_version(tree, obtained)
        shelved = make_ready(obtained, version, self.turn)
        if vacancy.empty:
            adopt(tree, self.live)
        switch = self._switch(self.live, tree, (), vacant=True)
        return version, (switch, self._shelve(shelved, version, old_tree=str(tree) if vacancy.empty else ""))

    def _first_program(self, tree: Path, obtained: Obtained) -> str:
        """The program and the ``release_info.json`` that it needs from then on; the version."""
        self.source.require_space(self.stage, obtained.size, f"unpacking {obtained.name}")
        with translated("make", tree):
            tree.mkdir()
            tree.chmod(0o755)
        for warning in make_program(obtained.asset, tree / obtained.name, self.live / obtained.name):
            self.source.tell(warning)
        durable.write_atomically(tree / RELEASE_INFO, first_info(self.source.repo, obtained.version, obtained.name))
        return obtained.version

    def _folder(self, obtained: Obtained, in_place: bool) -> tuple[str, Sequence[Switch | Shelve]]:
        """For web and zip apps: unpack, and bring the user's files."""
        self._verify_movable()
        archive = self._judge(obtained)
        tree = self.stage / "tree"
        self.source.tell(f"Unpacking {obtained.name}")
        unpack(archive, tree, obtained.name)
        version = self._final_version(tree, obtained)
        if not in_place:
            self._refuse_new_dependencies(tree, version)
        shelved = list(make_ready(obtained, version, self.turn))
        brought = archive if in_place else self._brought(version, archive)
        persistent: tuple[bytes, ...] = ()
        if self.seen.exists:
            self._keep_asset_name(tree, brought)
            adopt(tree, self.live)
            persistent = persistent_of(self.config, self.live)
            shelved += self._keeper.keep_folder(persistent, brought)
            left_out = carry_persistent(self.live, tree, persistent)
            if left_out:
                names = named(tuple(os.fsdecode(path) for path in left_out))
                raise OperationFailed(
                    f"persistent files that are sockets, devices or mounts cannot be carried over: {names}. Move them "
                    "out of the folder"
                )
        switch = self._switch(self.live, tree, persistent)
        return version, (switch, self._shelve(shelved, version, old_tree=str(tree) if self.seen.exists else ""))

    def _program(self, obtained: Obtained) -> tuple[str, Sequence[Switch | Shelve]]:
        """For executables: the program and its ``release_info.json``."""
        info = self.seen.info
        assert info is not None, "one that does not say what it is was refused"
        # In a folder of their own, because the program may be called like anything of ours.
        tree = self.stage / "tree"
        with translated("make", tree):
            tree.mkdir()
        program, described = tree / info.asset_name, tree / RELEASE_INFO
        self.source.require_space(self.stage, obtained.size, f"unpacking {obtained.name}")
        live = self.live / info.asset_name
        for warning in make_program(obtained.asset, program, live):
            self.source.tell(warning)
        version = info.version if same_version(info.version, obtained.version) else obtained.version
        describe(self.live / RELEASE_INFO, described, version)
        shelved = list(make_ready(obtained, version, self.turn))
        shelved += self._keeper.keep_program(live, obtained)
        switches = [self._switch(self.live / staged.name, staged, ()) for staged in (program, described)]
        return version, (*switches, self._shelve(shelved, version, old_tree=""))

    def _brought(self, version: str, archive: Archive) -> Archive | None:
        """What the installed version brought.  Where it is the wanted one it brought no more than that."""
        installed = self.seen.info.version if self.seen.info is not None else ""
        return self._keeper.archive() or (archive if same_version(installed, version) else None)

    def _judge(self, obtained: Obtained) -> Archive:
        try:
            archive = read_archive(obtained.asset, name=obtained.name)
        except BadArchive as error:
            raise OperationFailed(f"{obtained.name} was not unpacked: {error}") from error
        if not any(not entry.is_dir for entry in archive.entries):
            raise OperationFailed(f"{obtained.name} was not unpacked: the archive is empty")
        self.source.require_space(self.stage, archive.unpacked_size, f"unpacking {obtained.name}")
        return archive

    def _verify_movable(self) -> None:
        """Look once more for what could not be removed after the switch: it may have come during the download."""
        foreign = folders_of_others(self.live) if self.seen.exists else ()
        sight = Sight(Disk(self.live, Unknown("not looked at")), mounted=mounts_inside(self.live), foreign=foreign)
        if why := immovable(self.seen, sight):
            raise OperationFailed(why[0])

    def _final_version(self, tree: Path, obtained: Obtained) -> str:
        """What the folder will say its version is; the tag's, even if the authors forgot to write it there."""
        tag = obtained.version
        try:
            info = read_release_info(tree, web=self.config.has_old_marks, shown=obtained.name)
        except NoReleaseInfo as error:
            raise OperationFailed(f"release {tag} cannot be installed: {error}") from error
        if other := other_repository(info, self.source.repo):
            self.source.tell(other)
        if same_version(info.version, tag):
            return info.version
        path = tree / RELEASE_INFO
        if not path.is_file():
            raise OperationFailed(f"release {tag} cannot be installed: the archive says that it is {info.version}")
        self.source.tell(f"The archive of {tag} says that it is {info.version}: taken as {tag}")
        with translated("read", path):
            content = path.read_bytes()
        durable.write_atomically(path, with_version(content, tag))
        return tag

    def _keep_asset_name(self, tree: Path, brought: Archive | None) -> None:
        """Let the `asset_name` that the user set outlive the update."""
        path = tree / RELEASE_INFO
        new, live = content_of(path), content_of(self.live / RELEASE_INFO)
        if new is None or live is None:
            return
        former = None if brought is None else read_entry(brought, RELEASE_INFO, limit=LARGEST) or b""
        if (content := with_users_asset(new, live, former)) != new:
            self.source.tell(f"Keeping the 'asset_name' that you set in {self.live / RELEASE_INFO}")
            durable.write_atomically(path, content)

    def _refuse_new_dependencies(self, tree: Path, version: str) -> None:
        """What the decision could not know of an archive that was still to be downloaded."""
        if not self.seen.exists:
            return
        lists = self.config.dependency_files
        if changed := [name for name in lists if content_of(self.live / name) != content_of(tree / name)]:
            refusal = refuse_lists(self.config, version, changed)
            raise Refused(refusal.reason, refusal.message)

    def _switch(self, live: Path, staged: Path, persistent: tuple[bytes, ...], *, vacant: bool = False) -> Switch:
        inode = durable.inode(staged)
        assert inode is not None, "it was made just now"
        wanted = wanted_of(self.config, live) if live == self.live else ()
        return Switch(
            live=str(live),
            staged=str(staged),
            new_inode=inode,
            old_inode=durable.inode(live),
            persistent=persistent,
            wanted=wanted,
            brought=brought_files(staged, wanted, persistent),
            aside=str(self.area.saved_folder / "late"),
            since=self.since,
            vacant=vacant,
        )

    def _shelve(self, shelved: Sequence[tuple[str, str]], version: str, *, old_tree: str) -> Shelve:
        return Shelve(
            shelf=str(self.place.shelf.path),
            stage=str(self.stage),
            staged=tuple(shelved),
            installed=version,
            replaced=self.seen.info.version if self.seen.info is not None else "",
            turn=self.turn,
            # What we packed can be had from nowhere else: without it there would be no way back.
            keep=max(self.config.keep_versions, any(folder.endswith(PACKED) for folder, _ in shelved)),
            old_tree=old_tree,
        )


def start() -> float:
    """The time that late writes are measured against; file systems count in ticks of up to two seconds."""
    return time.time() - 2.0
