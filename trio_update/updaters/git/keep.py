"""What of the user's is in submodules, and in the way of their move."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from trio_update.errors import CommandFailed
from trio_update.host.files import durable
from trio_update.host.git.bundles import save_commits
from trio_update.host.git.folder import survey
from trio_update.host.git.output import Difference, text
from trio_update.host.git.repository import Repository
from trio_update.host.git.saving import Folder, save_changes
from trio_update.host.git.submodules import Module, wishes_of
from trio_update.host.threads import in_thread
from trio_update.progress import Report
from trio_update.updaters.base import WorkArea
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


async def save_modules(top: Repository, moves: Iterable[ModuleMove], area: WorkArea, report: Report) -> tuple[str, ...]:
    """Save what a soft recovery will throw away in submodules: changes, commits, and files in the way.

    Returns what to tell the user.
    """
    notes: list[str] = []
    for move in moves:
        if move.old is None:
            continue
        module, name = move.module(top), text(move.path)
        aside = area.saved_folder / "submodules" / os.fsdecode(move.path)
        folder = making(aside, area)
        head = await module.resolve("HEAD")
        saved = await save_changes(module, base=head, goal=move.new, folder=folder)
        if move.local:
            # Those of branches stay, with the submodule's repository.
            known = (move.new,) if move.new is not None and await module.resolve(move.new) is not None else ()
            saved += await save_commits(module, tips=("HEAD",), known=known, folder=folder, name="local")
        notes += [f"In submodule {name}: {note}" for note in saved]
    return tuple(notes)


def making(aside: Path, area: WorkArea) -> Folder:
    """Makes the place for what is to be saved, when there is something."""

    async def folder() -> Path:
        await area.saved()
        await in_thread(_make, aside)
        return aside

    return folder


def _make(path: Path) -> None:
    with durable.translated("make", path):
        path.mkdir(parents=True, exist_ok=True)


async def save_leaving(
    fresh: Repository, old: Repository, pairs: tuple[bytes, ...], area: WorkArea, report: Report
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
        inside = area.saved_folder / "submodules" / os.fsdecode(path)
        try:
            tracked = await module.tracked()
            saved = await save_changes(
                module, base=await module.resolve("HEAD"), goal=None, folder=making(inside, area)
            )
            branches = [branch.name for branch in await module.refs("refs/heads")]
            known = [listed[path].commit] if await module.resolve(listed[path].commit) is not None else []
            saved += await save_commits(module, tips=("HEAD", *branches), known=known, folder=making(inside, area))
        except CommandFailed:
            report(f"Submodule {text(path)} cannot be read: all its files are kept")
            continue
        for note in saved:
            report(f"In submodule {text(path)}: {note}")
        gone |= {path + b"/" + name for name in tracked}
    return frozenset(gone)
