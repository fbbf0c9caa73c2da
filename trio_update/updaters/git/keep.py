"""What of the user's is in submodules, and in the way of their move."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from trio_update.errors import CommandFailed
from trio_update.host.files import durable
from trio_update.host.git.folder import survey
from trio_update.host.git.output import Difference, text
from trio_update.host.git.repository import Repository
from trio_update.host.git.submodules import Module, wishes_of
from trio_update.host.threads import in_thread
from trio_update.text import named
from trio_update.updaters.base import Report, Workshop
from trio_update.updaters.git.change import collisions
from trio_update.updaters.git.facts import Change
from trio_update.updaters.git.locked import locked_paths
from trio_update.updaters.git.modules import ModuleMove


async def look_inside(top: Repository, moves: Iterable[ModuleMove], change: Change) -> tuple[list[bytes], list[str]]:
    """Files of the user's in the way of what the submodules will track, and what cannot be written; from the top."""
    taken: list[bytes] = []
    locked: list[str] = []
    for move in moves:
        module = move.module(top)
        files = await _differences(module, move)
        in_the_way = await in_thread(collisions, module.path, files)
        # What the clone itself tracked there goes before.
        taken += [path for path in (move.path + b"/" + name for name in in_the_way) if path not in change.files]
        locked += [f"{text(move.path)}/{name}" for name in await in_thread(_locked, module.path, files)]
    return taken, locked


async def _differences(module: Module, move: ModuleMove) -> dict[bytes, Difference]:
    if move.old is not None and move.new is not None:
        return await module.differences(move.old, move.new) if move.old != move.new else {}
    files = {path: Difference("D", "", "") for path in move.deleted}
    return files | {path: Difference("A", "", "") for path in move.added}


def _locked(place: Path, files: dict[bytes, Difference]) -> tuple[str, ...]:
    folder = survey(place)
    return locked_paths(folder, files) if folder is not None else ()


async def save_modules(
    top: Repository, moves: Iterable[ModuleMove], workshop: Workshop, report: Report
) -> tuple[str, ...]:
    """Save what a soft recovery will throw away in submodules: changes, commits, and files in the way.

    Returns what to tell the user.
    """
    notes: list[str] = []
    for move in moves:
        if move.old is None:
            continue
        module, name = move.module(top), text(move.path)
        aside = workshop.saved_folder / "submodules" / os.fsdecode(move.path)
        if changes := await module.local_changes():
            await workshop.saved()
            await in_thread(_write, aside / "changes.patch", changes)
            notes.append(
                f"Your local changes in submodule {name} were saved, apply them again there with: "
                f"git apply {aside / 'changes.patch'}"
            )
        if move.local and await _save_head(module, move, workshop, aside / "local.bundle"):
            notes.append(f"Your local commits in submodule {name} were saved in {aside / 'local.bundle'} (git-bundle)")
        if move.new is not None:
            await _save_in_the_way(module, move, workshop, aside, report)
    return tuple(notes)


def _write(path: Path, data: bytes) -> None:
    with durable.translated("save", path):
        path.parent.mkdir(parents=True, exist_ok=True)
    durable.write_atomically(path, data)


async def _save_head(module: Module, move: ModuleMove, workshop: Workshop, bundle: Path) -> bool:
    """Commits of the user's on what is checked out.  Those of branches stay, with the submodule's repository."""
    await workshop.saved()
    await in_thread(durable_folder, bundle.parent)
    return await _bundle(module, bundle, ("HEAD",), [move.new] if move.new is not None else [])


def durable_folder(path: Path) -> None:
    """Make a folder for what is to be saved."""
    with durable.translated("make", path):
        path.mkdir(parents=True, exist_ok=True)


async def _save_in_the_way(module: Module, move: ModuleMove, workshop: Workshop, aside: Path, report: Report) -> None:
    taken = await in_thread(collisions, module.path, await _differences(module, move))
    if taken:
        await workshop.saved()
        await in_thread(durable.copy_aside, module.path, tuple(taken), aside / "untracked")
        report(
            f"Untracked files in the way of tracked ones in submodule {text(move.path)} were saved in "
            f"{aside / 'untracked'}: {named(taken)}"
        )


async def save_leaving(
    fresh: Repository, old: Repository, pairs: tuple[bytes, ...], aside: Path, report: Report
) -> frozenset[bytes]:
    """Save what the user has in submodules of the old clone that the ``fresh`` one lacks.

    Returns what those track, from the top: it must not come along.  One that git cannot read keeps all its files.
    """
    gone: set[bytes] = set()
    try:
        listed = await wishes_of(old, await old.resolve("HEAD"))
    except CommandFailed:
        return frozenset()
    for path in listed.keys() - set(pairs):
        place = old.path / os.fsdecode(path)
        module = Repository(place, old.runner)
        if not await in_thread((place / ".git").is_file):
            continue  # not checked out, or a repository of its own, which comes along whole
        inside = aside / "submodules" / os.fsdecode(path)
        try:
            changes, tracked = await module.local_changes(), await module.tracked()
            await in_thread(durable_folder, inside)
            commits = await _bundle(module, inside / "local.bundle", ("HEAD", "--branches"), [listed[path].commit])
        except CommandFailed:
            report(f"Submodule {text(path)} cannot be read: all its files are kept")
            continue
        if changes:
            await in_thread(_write, inside / "changes.patch", changes)
            report(f"Your local changes in submodule {text(path)} were saved in {inside / 'changes.patch'}")
        if commits:
            report(f"Your local commits in submodule {text(path)} were saved in {inside / 'local.bundle'} (git-bundle)")
        await in_thread(_remove_if_empty, inside)
        gone |= {path + b"/" + name for name in tracked}
    return frozenset(gone)


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


async def _bundle(repository: Repository, bundle: Path, what: Sequence[str], upstream: Sequence[str]) -> bool:
    """Commits that no remote branch and no tag has, and ``upstream`` does not either; whether there are any."""
    known = [commit for commit in upstream if await repository.resolve(commit) is not None]
    try:
        await repository.git(
            *("bundle", "create", "--quiet", str(bundle), *what, "--not", "--remotes", "--tags", *known)
        )
    except CommandFailed as failed:
        if "empty bundle" not in failed.output:
            raise
        return False
    return True
