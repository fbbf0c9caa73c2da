"""The visible changes of apps that come as assets, as records that the journal keeps."""

from __future__ import annotations

from pathlib import Path

import msgspec
import trio

from trio_update.errors import FileTrouble
from trio_update.host.files import durable, refill
from trio_update.host.threads import in_thread
from trio_update.progress import Report
from trio_update.text import named
from trio_update.updaters.base import Tools, in_loop
from trio_update.updaters.place import occupy
from trio_update.updaters.release.persistent import carry_late, found_persistent, unchanged_files
from trio_update.updaters.release.shelf import Shelf

_MARK = "refilling"
_OLD_COPY = "old"


class Switch(msgspec.Struct, frozen=True, kw_only=True, tag="switch"):
    """What stands at ``live``, a file or a folder, and what was staged at ``staged`` change places.

    Inode numbers tell which is which at any later time; ``old_inode`` is ``None`` when nothing stood at ``live``.
    ``persistent`` files, relative to ``live``, are the user's: what was written to them after ``since`` (unix time)
    is never lost, ``aside`` takes it if it cannot be kept in place.  So are the ``wanted`` ones, which were not there
    when the new folder was made but may come at any time.  What the release ``brought`` in their places is not the
    user's as long as it has the time in ns that it had then.

    ``vacant``: nothing was there but an empty folder, or not even that, and whatever has come meanwhile stays.

    A folder that cannot change places (a mount point, a lower layer of an overlay) stays and is refilled, from copies
    that lie beside ``staged``.
    """

    live: str
    staged: str
    new_inode: int
    old_inode: int | None
    persistent: tuple[bytes, ...] = ()
    wanted: tuple[str, ...] = ()
    brought: tuple[tuple[bytes, int], ...] = ()
    aside: str
    since: float
    vacant: bool = False

    @property
    def reversible(self) -> bool:
        return True

    @property
    def _stage(self) -> Path:
        return Path(self.staged).parent

    async def apply(self, tools: Tools, report: Report) -> None:
        await in_thread(self._switch_on, in_loop(report))

    async def settle(self, tools: Tools, report: Report) -> None:
        await in_thread(self._switch_off, in_loop(report))
        report(f"{self.live} is as it was before")

    async def discard(self, tools: Tools, report: Report) -> None:
        await in_thread(self._save_last, in_loop(report))

    def _switch_on(self, report: Report) -> None:
        durable.sync_filesystem(self._stage)
        # The last moment at which an abort costs nothing.
        trio.from_thread.check_cancelled()
        try:
            self._swap(True)
        except FileTrouble as error:
            if not refill.asks_for_refill(error) or not Path(self.staged).is_dir() or self.old_inode is None:
                raise
            report(f"{self.live} cannot be exchanged at once ({error}): copying the files into it instead")
            self._refill_new()
            return
        # What the old folder has now and the new one was not given came in between, whatever its time says.
        self._save_late(self.staged, self.live, report, wins=True, since=None)

    def _switch_off(self, report: Report) -> None:
        if Path(self._stage, _MARK).exists():
            # The copy is of the last moment: whatever differs from it is news.
            self._save_late(self.live, str(self._stage / _OLD_COPY), report, wins=False, since=None)
            self._refill_old()
            return
        switched = durable.inode(Path(self.live)) == self.new_inode
        self._swap(False)
        if switched:
            # The old files stay: the new version may have made them what the old one cannot read.
            self._save_late(self.staged, self.live, report, wins=False, since=self.since)

    def _save_last(self, report: Report) -> None:
        if not Path(self._stage, _MARK).exists():
            self._save_late(self.staged, self.live, report, wins=False, since=self.since)

    def _swap(self, forward: bool) -> None:
        live, staged, replaces = Path(self.live), Path(self.staged), self.old_inode is not None
        if self.vacant and forward:
            occupy(live, staged, new=self.new_inode, replaces=replaces)
        else:
            durable.swap(live, staged, new=self.new_inode, replaces=replaces, forward=forward)

    def _refill_new(self) -> None:
        live, mark, old = Path(self.live), self._stage / _MARK, self._stage / _OLD_COPY
        durable.remove_tree(old)
        with durable.translated("make", old):
            old.mkdir()
        # The persistent files too: the new version may make of them what the old one cannot read.
        refill.copy_content(live, old, ())
        durable.sync_filesystem(old)
        # From here on undoing means copying back.
        durable.write_atomically(mark, b"")
        refill.refill(live, Path(self.staged), self._persistent_in(live))

    def _refill_old(self) -> None:
        live, old = Path(self.live), self._stage / _OLD_COPY
        refill.refill(live, old, unchanged_files(old, live, self._persistent_in(old)))

    def _persistent_in(self, folder: Path) -> tuple[bytes, ...]:
        return tuple(sorted({*self.persistent, *found_persistent(folder, self.wanted)}))

    def _save_late(self, source: str, target: str, report: Report, *, wins: bool, since: float | None) -> None:
        if not (self.persistent or self.wanted):
            return
        if durable.inode(Path(source)) is None or durable.inode(Path(target)) is None:
            return
        paths, aside = self._persistent_in(Path(source)), Path(self.aside)
        put_aside = carry_late(
            Path(source), Path(target), paths, since=since, aside=aside, wins=wins, brought=dict(self.brought)
        )
        if wins:
            durable.sync_filesystem(Path(target))
        if put_aside:
            names = named(put_aside)
            report(f"What was written during the update was saved in {self.aside}: {names}")


class Shelve(msgspec.Struct, frozen=True, kw_only=True, tag="shelve"):
    """The last effect of each installation: once it is final, its asset goes to the shelf and the stage goes away.

    ``staged``: folders that are ready for the shelf, with their versions.  ``old_tree``: where the folder lies that
    was live before; it stays whole until the next update, for programs that still read in it.  ``turn``: see
    :func:`~trio_update.updaters.release.shelf.next_turn`.
    """

    shelf: str
    stage: str
    staged: tuple[tuple[str, str], ...]
    installed: str
    replaced: str
    turn: int
    keep: int
    old_tree: str = ""

    @property
    def reversible(self) -> bool:
        return True

    async def apply(self, tools: Tools, report: Report) -> None:
        """Nothing that anybody could see, before the update is final."""

    async def settle(self, tools: Tools, report: Report) -> None:
        """Nothing was done."""

    async def discard(self, tools: Tools, report: Report) -> None:
        await in_thread(self._tidy)

    def _tidy(self) -> None:
        shelf = Shelf(Path(self.shelf))
        # Tried again after later updates, it must not take what it knows for what is installed.
        if all(kept.record.used <= self.turn for kept in shelf.kept()):
            self._arrange(shelf)
        durable.remove_tree(Path(self.stage))

    def _arrange(self, shelf: Shelf) -> None:
        for folder, version in self.staged:
            shelf.put(Path(folder), version)
        if self.replaced:
            shelf.mark_used(self.replaced, self.turn - 1)
        shelf.mark_used(self.installed, self.turn)
        shelf.prune(self.installed, self.keep)
        if self.old_tree and not Path(self.stage, _MARK).exists() and durable.inode(Path(self.old_tree)) is not None:
            with durable.translated("make", shelf.path):
                shelf.path.mkdir(exist_ok=True)
            durable.remove_tree(shelf.replaced)
            durable.rename(Path(self.old_tree), shelf.replaced)
