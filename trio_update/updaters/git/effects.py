"""The visible changes of git apps, as records that the journal keeps.

Facts behind :meth:`MoveHead.settle`: a ``git reset --hard`` that is killed leaves new files under the old HEAD and
a stale ``index.lock``; one that a power cut follows leaves files of length zero, whatever ``core.fsync`` says.  So
what the index says of files that an update touches is never trusted: their contents are compared.  All others are
left alone, because an undo that wrote those as well would fail at a folder of root's that the update never met.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec
import trio

from trio_update.errors import OperationFailed
from trio_update.host.files import durable
from trio_update.host.files.carry import CarryReport, carry_over
from trio_update.host.git.contents import status
from trio_update.host.git.output import text
from trio_update.host.git.repair import clear_locks, drop_index, end_unfinished, restore_refs
from trio_update.host.git.repository import Repository
from trio_update.host.threads import in_thread
from trio_update.progress import Report
from trio_update.updaters.base import Tools
from trio_update.updaters.git.files import compare_contents, index_is_unreadable, put_files_back, remove_files
from trio_update.updaters.git.modules import (
    ModuleMove,
    enter_modules,
    leave_modules,
    leave_new_modules,
    return_modules,
)
from trio_update.updaters.place import occupy


class MoveHead(msgspec.Struct, frozen=True, kw_only=True, tag="move_head"):
    """A clone changed in place, from commit ``old`` to ``new``, on ``branch`` (``None``: detached HEAD).

    ``added``: paths that only ``new`` tracks; they did not exist when this was recorded, so undoing removes them.
    ``keep_index``: the user hid files from git (``assume-unchanged``), which only the index knows: their entries stay.
    ``modules``: what becomes of submodules.
    """

    path: str
    branch: str | None
    old: str
    new: str
    added: tuple[bytes, ...] = ()
    keep_index: bool = False
    modules: tuple[ModuleMove, ...] = ()

    @property
    def reversible(self) -> bool:
        return True

    async def apply(self, tools: Tools, report: Report) -> None:
        repository = Repository(Path(self.path), tools.processes)
        await leave_modules(repository, self.modules)
        await repository.reset(self.new)
        await enter_modules(repository, self.modules)
        await in_thread(durable.sync_filesystem, repository.path)
        await expect_clean(repository, self.new)

    async def settle(self, tools: Tools, report: Report) -> None:
        repository = Repository(Path(self.path), tools.processes)
        await clear_locks(repository.path)
        await restore_refs(repository.path, self.branch, self.old)
        await leave_new_modules(repository, self.modules)
        await put_files_back(repository, self.old, self.new, hides=self.keep_index)
        await in_thread(remove_files, repository.path, self.added)
        await return_modules(repository, self.modules)
        await in_thread(durable.sync_filesystem, repository.path)
        await expect_clean(repository, self.old)
        report(f"{self.path} is back at {self.old[:8]}")

    async def discard(self, tools: Tools, report: Report) -> None:
        """Nothing was kept aside."""


class RestoreHead(msgspec.Struct, frozen=True, kw_only=True, tag="restore_head"):
    """Soft recovery: files, index and ``branch`` to commit ``new``, the branch tracking ``remote``/``branch``.

    ``removed``: paths that ``new`` does not track and the commit before it did.
    Goes forward only: what it throws away (local changes) was saved before, and what it makes needs no network, so
    finishing it is both possible and what the user asked for.
    """

    path: str
    branch: str
    remote: str
    new: str
    removed: tuple[bytes, ...] = ()
    modules: tuple[ModuleMove, ...] = ()

    @property
    def reversible(self) -> bool:
        return False

    async def apply(self, tools: Tools, report: Report) -> None:
        await self._restore(Repository(Path(self.path), tools.processes), interrupted=False)

    async def _restore(self, repository: Repository, *, interrupted: bool) -> None:
        await clear_locks(repository.path)
        if await index_is_unreadable(repository.path):
            await drop_index(repository.path)
        await restore_refs_if_broken(repository, self.branch, self.new)
        await end_unfinished(repository)
        await leave_modules(repository, self.modules)
        await repository.git("checkout", "--quiet", "--force", "--no-track", "-B", self.branch, self.new)
        await repository.git("config", f"branch.{self.branch}.remote", self.remote)
        await repository.git("config", f"branch.{self.branch}.merge", f"refs/heads/{self.branch}")
        await enter_modules(repository, self.modules, interrupted=interrupted)
        await in_thread(durable.sync_filesystem, repository.path)
        await expect_clean(repository, self.new)

    async def settle(self, tools: Tools, report: Report) -> None:
        # Interrupted: the index may tell anything of the files, so all of them are read; only wrong ones are written.
        repository = Repository(Path(self.path), tools.processes)
        await clear_locks(repository.path)
        await drop_index(repository.path)
        await repository.git("read-tree", "--reset", self.new)
        await compare_contents(repository)
        # Only the index knew that these belong to the old commit: without it the checkout would leave them.
        await in_thread(remove_files, repository.path, self.removed)
        await self._restore(repository, interrupted=True)
        report(f"{self.path} was recovered to {self.new[:8]}")

    async def discard(self, tools: Tools, report: Report) -> None:
        """Nothing was kept aside."""


class ReplaceClone(msgspec.Struct, frozen=True, kw_only=True, tag="replace_clone"):
    """Hard recovery: the clone at ``live`` and the verified one at ``stage`` change places.

    Inode numbers tell which is which at any later time; ``old_inode`` is ``None`` when nothing stood at ``live``.
    ``aside`` takes what cannot be carried over; ``dropped`` are paths that only the old commit tracks.
    ``modules``: submodules that both clones have.  ``vacant``: a first installation, where nothing was but an empty
    folder, or not even that; whatever has come meanwhile stays.
    """

    live: str
    stage: str
    new: str
    new_inode: int
    old_inode: int | None
    aside: str
    dropped: tuple[bytes, ...] = ()
    modules: tuple[bytes, ...] = ()
    vacant: bool = False

    @property
    def reversible(self) -> bool:
        return True

    async def apply(self, tools: Tools, report: Report) -> None:
        await in_thread(self._switch_on)
        await expect_clean(Repository(Path(self.live), tools.processes), self.new)

    async def settle(self, tools: Tools, report: Report) -> None:
        await in_thread(self._switch_off)
        report(f"{self.live} is {'not installed' if self.vacant else 'the old clone'} again")

    async def discard(self, tools: Tools, report: Report) -> None:
        """Carry over what came into the old clone since the first pass, then remove it."""
        stage, doomed = Path(self.stage), Path(f"{self.stage}.old")
        if self.old_inode is not None and await in_thread(durable.inode, stage) == self.old_inode:
            for path in (b"", *self.modules):
                await self._carry_again(path, tools, report)
            await in_thread(self._doom, stage, doomed)
        await in_thread(_remove_both, doomed, stage)

    async def _carry_again(self, path: bytes, tools: Tools, report: Report) -> None:
        """From the top of the old clone, or from one of its submodules."""
        source, target = Path(self.stage) / os.fsdecode(path), Path(self.live) / os.fsdecode(path)
        if not (await in_thread(source.is_dir) and await in_thread(target.is_dir)):
            return
        prefix = path + b"/" if path else b""
        dropped = (name.removeprefix(prefix) for name in self.dropped if name.startswith(prefix))
        tracked = (await Repository(target, tools.processes).tracked()).union(dropped)
        apart = modules_below(path, self.modules)
        await carry_untracked(source, target, tracked, aside_of(Path(self.aside), path), report, apart)

    def _doom(self, stage: Path, doomed: Path) -> None:
        durable.sync_filesystem(Path(self.live))
        # By another name it is never carried from again: in a clone that is half removed, folders that held
        # tracked files look like empty ones of the user's.
        durable.rename(stage, doomed)

    def _switch_on(self) -> None:
        durable.sync_filesystem(Path(self.stage))
        # The last moment at which an abort costs nothing.
        trio.from_thread.check_cancelled()
        self._switch(True)

    def _switch_off(self) -> None:
        self._switch(False)
        durable.remove_tree(Path(self.stage))

    def _switch(self, forward: bool) -> None:
        """Put the wanted clone at ``live``; does nothing when it stands there already."""
        live, stage, replaces = Path(self.live), Path(self.stage), self.old_inode is not None
        if self.vacant and forward:
            occupy(live, stage, new=self.new_inode, replaces=replaces)
        else:
            durable.swap(live, stage, new=self.new_inode, replaces=replaces, forward=forward)


def _remove_both(one: Path, other: Path) -> None:
    durable.remove_tree(one)
    durable.remove_tree(other)


async def expect_clean(repository: Repository, commit: str) -> None:
    """Check that HEAD is ``commit`` and that no tracked file differs from it."""
    tree = await status(repository)
    if tree.head != commit:
        raise OperationFailed(f"{repository.path}: HEAD is {tree.head}, and not {commit} as it should be")
    if tree.modified:
        raise OperationFailed(f"{repository.path}: {text(tree.modified[0])} differs from commit {commit[:8]}")


async def restore_refs_if_broken(repository: Repository, branch: str, commit: str) -> None:
    """Give git a HEAD that it can read, if it has none; a readable one is left for ``checkout`` to move."""
    if await repository.resolve("HEAD") is None:
        await restore_refs(repository.path, branch, commit)


def aside_of(aside: Path, path: bytes) -> Path:
    """Where what has no place in submodule ``path`` goes, when that of the clone itself goes to ``aside``."""
    return aside.parent / "submodules" / os.fsdecode(path) / aside.name if path else aside


def modules_below(path: bytes, modules: Iterable[bytes]) -> frozenset[bytes]:
    """Those of the ``modules`` that are in submodule ``path``, or all in the clone itself, seen from there."""
    prefix = path + b"/" if path else b""
    return frozenset(module.removeprefix(prefix) for module in modules if module.startswith(prefix) and module != path)


async def carry_untracked(
    source: Path,
    target: Path,
    tracked: frozenset[bytes],
    aside: Path,
    report: Report,
    apart: frozenset[bytes] = frozenset(),
) -> None:
    """Bring the user's files from one clone into another; what has no place there goes to ``aside``, and is told.

    ``apart``: submodules, whose files are carried for each of them.
    """
    found = await in_thread(_carry, source, target, tracked, aside)
    if found.put_aside:
        names = ", ".join(text(path) for path in found.put_aside[:5])
        report(f"{len(found.put_aside)} files whose place is taken were saved in {aside}: {names}")
    if left_out := [path for path in found.left_out if path not in apart]:
        names = ", ".join(text(path) for path in left_out[:5])
        report(f"not carried over (sockets, devices, mounts, submodules): {names}")


def _carry(source: Path, target: Path, tracked: frozenset[bytes], aside: Path) -> CarryReport:
    return carry_over(source, target, tracked, aside=aside)
