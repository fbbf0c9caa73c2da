"""The visible changes of git apps, as records that the journal keeps.

Facts behind :meth:`MoveHead.settle`: a ``git reset --hard`` that is killed leaves new files under the old HEAD and
a stale ``index.lock``; one that a power cut follows leaves files of length zero, whatever ``core.fsync`` says.  So
whatever was interrupted is never trusted: the index is dropped and every file written again.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import trio

from trio_update.errors import FileTrouble, OperationFailed
from trio_update.host.files import durable
from trio_update.host.files.carry import CarryReport, carry_over
from trio_update.host.git.folder import survey
from trio_update.host.git.output import text
from trio_update.host.git.repair import clear_locks, drop_index, end_unfinished, restore_refs
from trio_update.host.git.repository import Repository
from trio_update.host.threads import in_thread
from trio_update.updaters.base import Report, Tools


class MoveHead(msgspec.Struct, frozen=True, kw_only=True, tag="move_head"):
    """A clone changed in place, from commit ``old`` to ``new``, on ``branch`` (``None``: detached HEAD).

    ``added``: paths that only ``new`` tracks; they did not exist when this was recorded, so undoing removes them.
    ``keep_index``: the user hid files from git (``assume-unchanged``), which only the index knows.
    """

    path: str
    branch: str | None
    old: str
    new: str
    added: tuple[bytes, ...] = ()
    keep_index: bool = False

    @property
    def reversible(self) -> bool:
        return True

    async def apply(self, tools: Tools, report: Report) -> None:
        repository = Repository(Path(self.path), tools.processes)
        await repository.reset(self.new)
        await move_submodules(repository)
        await in_thread(durable.sync_filesystem, repository.path)
        await expect_clean(repository, self.new)

    async def settle(self, tools: Tools, report: Report) -> None:
        repository = Repository(Path(self.path), tools.processes)
        await clear_locks(repository.path)
        await restore_refs(repository.path, self.branch, self.old)
        if not self.keep_index or await index_is_unreadable(repository.path):
            await drop_index(repository.path)
        await repository.reset(self.old)
        await in_thread(_remove_files, repository.path, self.added)
        await move_submodules(repository)
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

    @property
    def reversible(self) -> bool:
        return False

    async def apply(self, tools: Tools, report: Report) -> None:
        repository = Repository(Path(self.path), tools.processes)
        await clear_locks(repository.path)
        if await index_is_unreadable(repository.path):
            await drop_index(repository.path)
        await restore_refs_if_broken(repository, self.branch, self.new)
        await end_unfinished(repository)
        await repository.git("checkout", "--quiet", "--force", "--no-track", "-B", self.branch, self.new)
        await repository.git("config", f"branch.{self.branch}.remote", self.remote)
        await repository.git("config", f"branch.{self.branch}.merge", f"refs/heads/{self.branch}")
        await move_submodules(repository)
        await in_thread(durable.sync_filesystem, repository.path)
        await expect_clean(repository, self.new)

    async def settle(self, tools: Tools, report: Report) -> None:
        # Interrupted: nothing that stands in the work tree or the index is trusted, see the module's docstring.
        await clear_locks(Path(self.path))
        await drop_index(Path(self.path))
        # Only the index knew that these belong to the old commit: without it the checkout would leave them.
        await in_thread(_remove_files, Path(self.path), self.removed)
        await self.apply(tools, report)
        report(f"{self.path} was recovered to {self.new[:8]}")

    async def discard(self, tools: Tools, report: Report) -> None:
        """Nothing was kept aside."""


class ReplaceClone(msgspec.Struct, frozen=True, kw_only=True, tag="replace_clone"):
    """Hard recovery: the clone at ``live`` and the verified one at ``stage`` change places.

    Inode numbers tell which is which at any later time; ``old_inode`` is ``None`` when nothing stood at ``live``.
    ``aside`` takes what cannot be carried over; ``dropped`` are paths that only the old commit tracks.
    """

    live: str
    stage: str
    new: str
    new_inode: int
    old_inode: int | None
    aside: str
    dropped: tuple[bytes, ...] = ()

    @property
    def reversible(self) -> bool:
        return True

    async def apply(self, tools: Tools, report: Report) -> None:
        await in_thread(durable.sync_filesystem, Path(self.stage))
        await in_thread(self._switch, True)
        await expect_clean(Repository(Path(self.live), tools.processes), self.new)

    async def settle(self, tools: Tools, report: Report) -> None:
        await in_thread(self._switch, False)
        await in_thread(durable.remove_tree, Path(self.stage))
        report(f"{self.live} is the old clone again")

    async def discard(self, tools: Tools, report: Report) -> None:
        """Carry over what came into the old clone since the first pass, then remove it."""
        stage, doomed = Path(self.stage), Path(f"{self.stage}.old")
        if self.old_inode is not None and await in_thread(durable.inode, stage) == self.old_inode:
            tracked = (await Repository(Path(self.live), tools.processes).tracked()).union(self.dropped)
            await carry_untracked(stage, Path(self.live), tracked, Path(self.aside), report)
            await in_thread(durable.sync_filesystem, Path(self.live))
            # By another name it is never carried from again: in a clone that is half removed, folders that held
            # tracked files look like empty ones of the user's.
            await in_thread(durable.rename, stage, doomed)
        await in_thread(durable.remove_tree, doomed)
        await in_thread(durable.remove_tree, stage)

    def _switch(self, forward: bool) -> None:
        """Put the wanted clone at ``live``; does nothing when it stands there already."""
        durable.swap(
            Path(self.live),
            Path(self.stage),
            new=self.new_inode,
            replaces=self.old_inode is not None,
            forward=forward,
        )


GitEffect = MoveHead | RestoreHead | ReplaceClone


async def expect_clean(repository: Repository, commit: str) -> None:
    """Check that HEAD is ``commit`` and that no tracked file differs from it."""
    tree = await repository.status()
    if tree.head != commit:
        raise OperationFailed(f"{repository.path}: HEAD is {tree.head}, and not {commit} as it should be")
    if tree.modified:
        raise OperationFailed(f"{repository.path}: {text(tree.modified[0])} differs from commit {commit[:8]}")


async def index_is_unreadable(path: Path) -> bool:
    folder = await in_thread(survey, path)
    return folder is None or not folder.index_whole


async def restore_refs_if_broken(repository: Repository, branch: str, commit: str) -> None:
    """Give git a HEAD that it can read, if it has none; a readable one is left for ``checkout`` to move."""
    if await repository.resolve("HEAD") is None:
        await restore_refs(repository.path, branch, commit)


async def move_submodules(repository: Repository) -> None:
    """Bring submodules that the clone has to what its commit names; those it doesn't have stay away."""
    if await trio.Path(repository.path / ".gitmodules").exists():
        await repository.git("submodule", "--quiet", "update", "--recursive", "--no-fetch", "--force")


async def carry_untracked(source: Path, target: Path, tracked: frozenset[bytes], aside: Path, report: Report) -> None:
    """Bring the user's files from one clone into another; what has no place there goes to ``aside``, and is told."""
    found = await in_thread(_carry, source, target, tracked, aside)
    if found.put_aside:
        names = ", ".join(text(path) for path in found.put_aside[:5])
        report(f"{len(found.put_aside)} files whose place is taken were saved in {aside}: {names}")
    if found.left_out:
        names = ", ".join(text(path) for path in found.left_out[:5])
        report(f"not carried over (sockets, devices, mounts, submodules): {names}")


def _carry(source: Path, target: Path, tracked: frozenset[bytes], aside: Path) -> CarryReport:
    return carry_over(source, target, tracked, aside=aside)


def _remove_files(root: Path, names: tuple[bytes, ...]) -> None:
    """Remove files that only the abandoned commit had, and the folders that this leaves empty."""
    folder = survey(root)
    if folder is None:
        raise OperationFailed(f"No git repository at {root}")
    base = os.fsencode(root)
    for name in names:
        path = os.path.join(base, name)
        if _leads_away(base, path):
            continue
        try:
            if os.path.lexists(path) and not (os.path.isdir(path) and not os.path.islink(path)):
                os.unlink(path)
            _prune(base, os.path.dirname(path))
        except OSError as error:
            raise FileTrouble("remove", text(path), error.errno, error.strerror or str(error)) from error


def _leads_away(base: bytes, path: bytes) -> bool:
    """Whether a folder on the way to ``path`` is a link now: what is behind it is not the abandoned commit's."""
    while len(path := os.path.dirname(path)) > len(base):
        if os.path.islink(path):
            return True
    return False


def _prune(base: bytes, directory: bytes) -> None:
    while len(directory) > len(base):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            pass  # a former attempt came as far as this
        except OSError:  # not empty: the user's, or another tracked file's
            return
        directory = os.path.dirname(directory)
