"""Looking after clones: what git's automatic maintenance does for a user, in the foreground and within bounds.

git's own is off, because it detaches itself from whoever started it.  Without any, each update leaves loose objects
and packs for years.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from trio_update.errors import CommandFailed, OperationFailed
from trio_update.host.files import durable
from trio_update.host.git.folder import GitFolder, clear_leftovers, survey
from trio_update.host.git.lanes import alone
from trio_update.host.git.repository import Repository
from trio_update.host.processes.runner import Completed
from trio_update.host.threads import in_thread

# What nothing leads to any more goes at this age, not before: a command of the user's may be about to name it.
SAFE_AGE = "90.days.ago"
PATIENCE = 1800.0

_OPTIONS = (
    ("core.fsync", "all"),
    # Small hosts have other things to do, and little memory.
    *(("pack.threads", "1"), ("pack.windowMemory", "32m"), ("pack.deltaCacheSize", "16m")),
    *(("repack.writeBitmaps", "false"), ("repack.updateServerInfo", "false"), ("repack.useDeltaIslands", "false")),
    # Logs keep what the user can go back to; git's own default for what no ref leads to is 30 days.  Stashes stay.
    *(("gc.reflogExpire", SAFE_AGE), ("gc.reflogExpireUnreachable", SAFE_AGE)),
)


@dataclass(frozen=True)
class Limits:
    """Above any of these a store is packed.  git's own defaults are 6700 loose objects and 50 packs."""

    loose: int = 2000
    packs: int = 20
    refs: int = 500


@dataclass(frozen=True)
class Store:
    """What a folder of objects and refs holds; ``size`` in bytes on the disk."""

    loose: int
    packs: int
    refs: int
    size: int

    def exceeds(self, limits: Limits) -> bool:
        return self.loose > limits.loose or self.packs > limits.packs or self.refs > limits.refs


async def maintain(
    repository: Repository,
    *,
    limits: Limits = Limits(),
    seconds: float = PATIENCE,
    report: Callable[[str], None],
) -> tuple[str, ...]:
    """Pack what a clone and its submodules have gathered, if that is much; ended after ``seconds``.

    To be called while no job works on the clone; it may be cancelled at any instant, and leaves a whole clone then.
    Nothing goes that a ref, a log, a stash, the index or another work tree leads to, nor anything that is younger
    than :data:`SAFE_AGE`.

    Returns: what was done, a sentence for each store; nothing, if nothing was due.

    Raises: OperationFailed when git fails, or there is too little space for it.
    """
    folder = await in_thread(survey, repository.path)
    if folder is None or folder.lost:
        return ()
    done: list[str] = []
    with trio.move_on_after(seconds) as scope:
        for git_dir in await in_thread(_stores, folder):
            before = await in_thread(measure, git_dir)
            if before.exceeds(limits):
                report(f"Packing {git_dir}: {before.loose} loose objects, {before.packs} packs")
                async with alone(git_dir):
                    await _pack(repository, git_dir, before, limits)
                after = await in_thread(measure, git_dir)
                done.append(_summary(git_dir, before, after))
    if scope.cancelled_caught:
        await in_thread(clear_leftovers, folder)
        done.append(f"Packing {folder.path} takes longer than {seconds:g} s and was stopped: nothing is lost by that")
    return tuple(done)


def measure(git_dir: Path) -> Store:
    """Count what a store holds.  Blocks for as long as it takes to list it."""
    objects = git_dir / "objects"
    fans = [path for path in _children(objects) if len(path.name) == 2]
    loose = [path for fan in fans for path in _children(fan)]
    packs = _children(objects / "pack")
    refs = sum(len(names) for _, _, names in os.walk(git_dir / "refs"))
    # The list of packs that are kept on purpose is the user's: packing leaves them as they are.
    counted = [path for path in packs if path.suffix == ".pack" and not path.with_suffix(".keep").exists()]
    return Store(len(loose), len(counted), refs, sum(_size(path) for path in (*loose, *packs)))


def _children(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder)]
    except OSError:
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _stores(folder: GitFolder) -> list[Path]:
    """The clone's own, and those of its submodules, which lie inside of it."""
    return [folder.common_dir, *_modules(folder.common_dir)]


def _modules(git_dir: Path) -> Iterator[Path]:
    for top, folders, _ in os.walk(git_dir / "modules"):
        path = Path(top)
        if (path / "HEAD").is_file() and (path / "objects").is_dir():
            folders.clear()
            yield path
            yield from _modules(path)


async def _pack(repository: Repository, git_dir: Path, before: Store, limits: Limits) -> None:
    free = await in_thread(durable.free_bytes, git_dir)
    if free < before.size + before.size // 4:
        raise OperationFailed(
            f"{git_dir} is not packed: that takes {before.size} bytes for a while, and {free} are free. "
            "Free some space on that disk"
        )
    run = partial(_run, repository, git_dir)
    await run("reflog", "expire", "--all")
    if before.loose > limits.loose or before.packs > limits.packs:
        await _repack(run)
    if before.refs > limits.refs:
        await run("pack-refs", "--all", "--prune")
    await in_thread(durable.sync_filesystem, git_dir)


async def _repack(run: Callable[..., Awaitable[Completed]]) -> None:
    """One pack of what is needed; what nothing leads to stays in another (git 2.37 and later), or loose, until old."""
    form = ("repack", "-d", "-l", "-q")
    try:
        await run(*form, "--cruft", f"--cruft-expiration={SAFE_AGE}")
    except CommandFailed as failed:
        if "unknown option" not in failed.output:
            raise
        await run(*form, "-A", f"--unpack-unreachable={SAFE_AGE}")
    await run("prune-packed", "-q")
    # What is old and loose was packed with neither.
    await run("prune", "--exclude-promisor-objects", f"--expire={SAFE_AGE}")


async def _run(repository: Repository, git_dir: Path, *arguments: str) -> Completed:
    # Bounded by the scope around it: how long packing takes is a matter of the clone's size.
    return await repository.git(*arguments, options=_OPTIONS, environ={"GIT_DIR": str(git_dir)}, timeout=None)


def _summary(git_dir: Path, before: Store, after: Store) -> str:
    return (
        f"Packed {git_dir}: {before.loose} loose objects and {before.packs} packs became {after.loose} and "
        f"{after.packs}, {before.size >> 20} MiB became {after.size >> 20}"
    )
