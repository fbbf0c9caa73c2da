"""How the submodules of a clone follow its commits: at every depth, without the network, and back again."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from trio_update.errors import OperationFailed
from trio_update.host.git.command import SILENCE, TRANSFER
from trio_update.host.git.folder import GitFolder, survey
from trio_update.host.git.output import Settings, read_config, text
from trio_update.host.git.repair import clear_locks, drop_index
from trio_update.host.git.repository import Repository
from trio_update.host.git.submodules import (
    Module,
    Wish,
    attach,
    detach,
    dormant_module,
    leads_away,
    module_at,
    resolve_url,
    wishes_of,
)
from trio_update.host.processes.runner import Runner
from trio_update.host.threads import in_thread
from trio_update.progress import Report
from trio_update.updaters.git.files import compare_contents, put_files_back, remove_files
from trio_update.updaters.git.supply import Supply


class ModuleMove(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one submodule that the clone has: from commit ``old`` to ``new``; ``None``: not checked out.

    ``path`` is below the clone, ``git_dir`` where the submodule's repository is, ``around`` that of the one around it,
    which knows it as ``name``.  ``branch``: what was checked out by name.  ``added`` and ``deleted``: paths that only
    one of the commits tracks.  ``urls``: where it was fetched from and where it will be, empty when that stays.
    ``local``: its user had checked out another commit than the one that it should have.
    """

    path: bytes
    name: str
    git_dir: str
    around: str
    old: str | None
    new: str | None
    branch: str | None = None
    added: tuple[bytes, ...] = ()
    deleted: tuple[bytes, ...] = ()
    urls: tuple[str, ...] = ()
    local: bool = False

    def module(self, top: Repository) -> Module:
        return Module(top.path / os.fsdecode(self.path), top.runner, Path(self.git_dir))


async def plan_moves(top: Repository, old: str | None, new: str, supply: Supply) -> tuple[ModuleMove, ...]:
    """Every submodule that the clone has in either commit, outer ones first, with what it needs brought to the disk.

    Those that the clone does not have stay away.  Raises: OperationFailed when a commit cannot be had.
    """
    folder = await in_thread(survey, top.path)
    if folder is None:
        raise OperationFailed(f"No git repository at {top.path}")
    settings = await top.settings(folder)
    url = settings.remotes().get("origin", "")
    found: list[ModuleMove] = []
    await _plan_level(top, top, b"", folder.common_dir, (old, new), (url, url), supply, found)
    return tuple(found)


async def _plan_level(
    top: Repository,
    around: Repository,
    prefix: bytes,
    git_dir: Path,
    commits: tuple[str | None, str | None],
    urls: tuple[str, str],
    supply: Supply,
    found: list[ModuleMove],
) -> None:
    """The submodules of one repository, and theirs."""
    was, will = await wishes_of(around, commits[0]), await wishes_of(around, commits[1])
    for path in sorted(was.keys() | will.keys()):
        place = top.path / os.fsdecode(prefix + path)
        if await in_thread(leads_away, os.fsencode(top.path), os.fsencode(place / "x")):
            continue
        present = await in_thread(module_at, place)
        wish = will.get(path)
        there = present or (await in_thread(dormant_module, git_dir, wish.name) if wish is not None else None)
        if there is None or (present is None and wish is not None and not await _is_active(around, wish.name)):
            continue
        module = Module(place, top.runner, there)
        await in_thread(_expect_usable, module, wish is None)
        before, after = _url_of(was.get(path), urls[0]), _url_of(wish, urls[1])
        if wish is not None and not await supply.has(module, wish.commit, after):
            continue
        move = await _move_of(module, prefix + path, git_dir, was.get(path), wish, present is not None)
        move = msgspec.structs.replace(move, urls=await _urls_to_sync(module, before, after))
        found.append(move)
        levels = (move.old, move.new)
        await _plan_level(top, module, prefix + path + b"/", there, levels, (before, after), supply, found)


def _expect_usable(module: Module, leaving: bool) -> None:
    if not (module.git_dir / "HEAD").is_file():
        raise OperationFailed(
            f"submodule {module.path} is damaged: its repository {module.git_dir} is not there. Use a hard recovery, "
            "which saves its files and fetches it again"
        )
    if leaving and (module.path / ".git").is_dir():
        raise OperationFailed(
            f"submodule {module.path} goes away, and its repository is inside it and would be left: move it out with "
            "`git submodule absorbgitdirs`, then try again"
        )


async def _is_active(around: Repository, name: str) -> bool:
    """Whether its user has initialised it, and not taken that back."""
    done = await around.git("config", "--get", f"submodule.{name}.url", check=(0, 1))
    return done.returncode == 0


def _url_of(wish: Wish | None, around: str) -> str:
    return resolve_url(around, wish.url) if wish is not None else ""


async def _urls_to_sync(module: Module, before: str, after: str) -> tuple[str, ...]:
    """A moved project is followed, unless its user has set another place to fetch it from."""
    if not before or not after or before == after:
        return ()
    now = text((await module.git("config", "--get", "remote.origin.url", check=(0, 1))).stdout).strip()
    return (before, after) if now == before else ()


async def _move_of(
    module: Module, path: bytes, around: Path, was: Wish | None, wish: Wish | None, present: bool
) -> ModuleMove:
    old = await module.resolve("HEAD") if present else None
    new = wish.commit if wish is not None else None
    known = wish or was
    assert known is not None, "it is listed in one of the commits"
    branch = (await module.git("symbolic-ref", "--quiet", "HEAD", check=(0, 1))).stdout if present else b""
    if old is not None and new is not None:
        differ = await module.differences(old, new) if old != new else {}
        added = tuple(path for path, found in differ.items() if found.kind == "A")
        deleted = tuple(path for path, found in differ.items() if found.kind == "D")
    else:
        added = tuple(sorted(await module.tracked_by(new))) if new is not None else ()
        deleted = tuple(sorted(await module.tracked_by(old))) if old is not None else ()
    return ModuleMove(
        path=path,
        name=known.name,
        git_dir=str(module.git_dir),
        around=str(around),
        old=old,
        new=new,
        branch=text(branch).strip() or None,
        added=added,
        deleted=deleted,
        local=old is not None and was is not None and old != was.commit,
    )


async def leave_modules(top: Repository, moves: Iterable[ModuleMove]) -> None:
    """Before the clone itself moves: take out the work trees that its new commit has no place for, inner ones first."""
    for move in reversed(tuple(moves)):
        if move.new is None:
            await in_thread(detach, move.module(top).path, frozenset(move.deleted))


async def enter_modules(top: Repository, moves: Iterable[ModuleMove], *, interrupted: bool = False) -> None:
    """When the clone itself has moved: bring the submodules to what its commit names.

    ``interrupted``: nothing that their indexes say is trusted.
    """
    for move in moves:
        if move.new is None:
            continue
        module = await _attached(top, move)
        if interrupted:
            await drop_index(module.path)
            await module.git("read-tree", "--reset", move.new)
            await compare_contents(module)
            if move.old is not None:
                await in_thread(remove_files, module.path, move.deleted)
        await module.git("checkout", "--quiet", "--force", "--detach", move.new)
        await _set_url(module, move, forward=True)


async def return_modules(top: Repository, moves: Iterable[ModuleMove]) -> None:
    """When the clone itself is back: bring the submodules back as well."""
    for move in moves:
        if move.old is None:
            continue
        module = await _attached(top, move)
        # Removed already, or to be written over: HEAD of a git that was killed may name either.
        await put_files_back(module, move.old, move.new or move.old, hides=False)
        if move.new is not None:
            await in_thread(remove_files, module.path, move.added)
        await module.git("checkout", "--quiet", "--detach", move.old)
        if move.branch is not None and await module.resolve(move.branch) == move.old:
            await module.git("symbolic-ref", "HEAD", move.branch)
        await _set_url(module, move, forward=False)


async def leave_new_modules(top: Repository, moves: Iterable[ModuleMove]) -> None:
    """Before the clone itself goes back: take out the work trees that only the abandoned commit had a place for."""
    for move in reversed(tuple(moves)):
        if move.old is None:
            await in_thread(detach, move.module(top).path, frozenset(move.added))


async def _attached(top: Repository, move: ModuleMove) -> Module:
    module = move.module(top)
    await in_thread(attach, module.path, module.git_dir)
    await clear_locks(module.path)
    if not await in_thread((module.path / ".git").is_dir):
        await module.git("config", "core.worktree", await in_thread(os.path.relpath, module.path, module.git_dir))
    return module


async def _set_url(module: Module, move: ModuleMove, *, forward: bool) -> None:
    if not move.urls:
        return
    url = move.urls[1 if forward else 0]
    await module.git("config", "remote.origin.url", url)
    around = Path(move.around)
    await Module(around, module.runner, around).git("config", f"submodule.{move.name}.url", url)


async def bring_modules(fresh: Repository, live: Path, old: GitFolder | None, report: Report) -> tuple[bytes, ...]:
    """Check out in a fresh clone the submodules that the ``old`` one at ``live`` had, at every depth.

    Returns their paths, outer ones first.
    """
    found: list[bytes] = []
    await _bring_level(fresh, live, old, b"", report, found)
    return tuple(found)


async def _bring_level(
    fresh: Repository, live: Path, old: GitFolder | None, prefix: bytes, report: Report, found: list[bytes]
) -> None:
    wishes = await wishes_of(fresh, await fresh.resolve("HEAD"))
    settings = await _settings(Repository(live, fresh.runner), old) if wishes else Settings()
    for path, wish in sorted(wishes.items()):
        place, name = live / os.fsdecode(path), os.fsdecode(path)
        if not await in_thread(_had, place, old, wish.name, settings):
            continue
        await fresh.git("submodule", "--quiet", "init", "--", name)
        own = settings.get(f"submodule.{wish.name}.url")
        if own and own not in await _official_urls(live, fresh.runner, settings, wish.name):
            await fresh.git("config", f"submodule.{wish.name}.url", own)
        await fresh.git(
            *("submodule", "update", "--progress", "--", name),
            options=TRANSFER,
            on_line=report,
            timeout=None,
            silence=SILENCE,
        )
        found.append(prefix + path)
        below = Repository(fresh.path / name, fresh.runner)
        await _bring_level(below, place, await in_thread(survey, place), prefix + path + b"/", report, found)


async def _settings(repository: Repository, folder: GitFolder | None) -> Settings:
    try:
        return await repository.settings(folder) if folder is not None else Settings()
    except OperationFailed:
        return Settings()


def _had(place: Path, old: GitFolder | None, name: str, settings: Settings) -> bool:
    """Whether the old clone had it: it is there, or was before it moved, and was not taken back."""
    if os.path.lexists(place / ".git"):
        return True
    wanted = settings.get(f"submodule.{name}.url") is not None or not settings.values
    return old is not None and wanted and dormant_module(old.common_dir, name) is not None


async def _official_urls(live: Path, runner: Runner, settings: Settings, name: str) -> set[str]:
    """Where the old clone's commit says that a submodule is: another place is its user's choice."""
    file = live / ".gitmodules"
    done = await Repository(live, runner).git("config", "--file", str(file), "-z", "--list", check=(0, 1, 128))
    told = read_config(done.stdout).get(f"submodule.{name}.url") if done.returncode == 0 else None
    own = settings.get(f"submodule.{name}.url") or ""
    return {resolve_url(settings.remotes().get("origin", ""), told)} if told is not None else {own}
