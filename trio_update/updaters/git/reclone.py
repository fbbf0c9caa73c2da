"""Hard recovery: a fresh clone beside the old one, with the user's files in it, verified before they change places."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from trio_update.errors import CommandFailed, OperationFailed
from trio_update.host.files import durable
from trio_update.host.git.bundles import local_tips, save_commits, save_stashes
from trio_update.host.git.folder import GitFolder, survey
from trio_update.host.git.output import Settings, lines, text
from trio_update.host.git.repair import is_connected
from trio_update.host.git.repository import Repository
from trio_update.host.git.saving import Folder, save_changes
from trio_update.host.git.transfer import clone
from trio_update.host.processes.runner import Runner
from trio_update.host.threads import in_thread
from trio_update.progress import Report
from trio_update.updaters.base import Prepared, Target, WorkArea
from trio_update.updaters.git.effects import ReplaceClone, aside_of, carry_untracked, expect_clean, modules_below
from trio_update.updaters.git.facts import OldClone, Replacement
from trio_update.updaters.git.inherit import (
    Setting,
    as_environment,
    bring_branches,
    byte_code_of_leaving,
    copy_rules,
    settings_to_keep,
    write_settings,
)
from trio_update.updaters.git.keep import making, save_leaving
from trio_update.updaters.git.kind import GitRepoConfig
from trio_update.updaters.git.memory import short_version
from trio_update.updaters.git.modules import bring_modules


async def prepare_replacement(
    config: GitRepoConfig, runner: Runner, before: Target, way: Replacement, area: WorkArea, report: Report
) -> Prepared:
    """Clone afresh beside the old clone, and bring the user's files.  ``before``: the version that was there."""
    old, live = way.old, way.live
    stage = await area.stage(live)
    report(f"Cloning {config.name} afresh")
    old_folder = old.folder
    kept: tuple[Setting, ...] = ()
    if old_folder is not None:
        kept = await settings_to_keep(Repository(live, runner), old_folder, config.primary_branch)
    fresh = await clone(
        runner,
        way.url,
        stage,
        branch=config.primary_branch,
        arguments=_shape(way),
        environ=as_environment(kept),
        report=report,
    )
    await in_thread(write_settings, stage, kept)
    if old_folder is not None:
        await in_thread(copy_rules, old_folder, stage)
    await expect_tracking(config, fresh)
    commit = await _checkout(config, fresh, old.head, report)
    pairs = await bring_modules(fresh, live, old_folder, report) if old_folder is not None else ()
    inode, old_inode = await in_thread(_inodes, stage, live)
    assert inode is not None, "git made the clone"
    aside = await area.saved()
    dropped: frozenset[bytes] = frozenset()
    if old_inode is not None:
        dropped = await _keep_all(old, fresh, live, pairs, area, report)
        if old_folder is not None:
            await bring_branches(fresh, live, config.primary_branch, report)
    await expect_clean(fresh, commit)
    effect = ReplaceClone(
        live=str(live),
        stage=str(stage),
        new=commit,
        new_inode=inode,
        old_inode=old_inode,
        aside=str(aside / "untracked"),
        dropped=tuple(sorted(dropped)),
        modules=pairs,
    )
    return Prepared(before, Target(await short_version(fresh, commit), commit), effects=(effect,))


async def _keep_all(
    old: OldClone, fresh: Repository, live: Path, pairs: tuple[bytes, ...], area: WorkArea, report: Report
) -> frozenset[bytes]:
    """Save and carry over what is the user's: in the clone, and in every submodule by the same code.

    Returns the paths, from the top, that only the old version tracks.
    """
    dropped: set[bytes] = set()
    gone = await save_leaving(fresh, Repository(live, fresh.runner), pairs, area, report)
    for path in (b"", *pairs):
        source, target = live / os.fsdecode(path), fresh.path / os.fsdecode(path)
        if path and not await in_thread(source.is_dir):
            continue  # it has moved to here, or its user removed it
        one = old if not path else OldClone(await in_thread(survey, source), Settings(), None)
        inside = aside_of(area.saved_folder / "untracked", path)
        below, prefix = Repository(target, fresh.runner), path + b"/" if path else b""
        await _save(one, below, source, making(inside.parent, area), report)
        tracked = await below.tracked()
        former = await _drop(one, Repository(source, fresh.runner), tracked, inside, report)
        former |= {name.removeprefix(prefix) for name in gone if name.startswith(prefix)}
        former |= await in_thread(byte_code_of_leaving, source, former, tracked)
        apart = modules_below(path, pairs)
        await carry_untracked(source, target, tracked | former, inside, report, apart)
        dropped |= {prefix + name for name in former}
    return frozenset(dropped)


def _inodes(stage: Path, live: Path) -> tuple[int | None, int | None]:
    return durable.inode(stage), durable.inode(live)


def _shape(way: Replacement) -> list[str]:
    """Options that keep a shallow clone shallow and a partial one partial."""
    arguments = [f"--filter={way.old.filter}"] if way.old.filter else []
    if way.depth is not None:
        arguments += [f"--depth={way.depth}", "--no-single-branch"]
    return arguments


async def expect_tracking(config: GitRepoConfig, fresh: Repository) -> None:
    """git-clone only warns when it cannot write this part of the configuration, as on a full disk."""
    folder = await in_thread(survey, fresh.path)
    settings = await fresh.settings(folder) if folder is not None else Settings()
    if settings.upstream(config.primary_branch) is None or "origin" not in settings.remotes():
        raise OperationFailed(
            f"the fresh clone of {config.name} was not configured as it should be: is the disk full? Free some space "
            "and try again"
        )


async def _checkout(config: GitRepoConfig, fresh: Repository, former: str | None, report: Report) -> str:
    """Check out the commit that the old clone was on, or the branch's newest when the branch doesn't have it."""
    tip = await fresh.resolve("HEAD")
    if tip is None:
        raise OperationFailed(f"{config.name}: branch '{config.primary_branch}' of the remote has no commit")
    commit = tip
    if former is not None and await fresh.is_ancestor(former, tip):
        commit = former
    elif former is not None:
        report(f"Commit {former[:8]} is not on {config.primary_branch}: going to its newest, {tip[:8]}")
    await fresh.git("reset", "--hard", "--quiet", commit, on_line=report, timeout=None, silence=600)
    return commit


async def _save(old: OldClone, fresh: Repository, live: Path, folder: Folder, report: Report) -> None:
    """Save what the fresh clone will not have: changed files, local commits and stashes."""
    repository = Repository(live, fresh.runner)
    # Judged by the fresh clone's objects, so it works however broken the old one is.
    made = await in_thread(survey, fresh.path)
    assert made is not None, "git made the clone"
    for note in await save_changes(repository, base="HEAD", goal=None, folder=folder, git_dir=made.git_dir):
        report(note)
    if old.folder is None:
        return
    await in_thread(_copy_extras, old.folder, fresh.path)
    try:
        known = await _known_to_both(fresh, repository)
        notes = await save_commits(
            repository, tips=await _own_refs(fresh, repository), known=known, folder=folder, name="local"
        )
        notes += await save_stashes(repository, folder)
    except OperationFailed as failed:
        if await is_connected(repository):
            raise  # a full disk, or git was killed: trying again may save them, going on would lose them
        report(f"Local commits could not be saved, the old clone is too damaged: {failed}")
    else:
        for note in notes:
            report(note)


async def _own_refs(fresh: Repository, old: Repository) -> tuple[str, ...]:
    """What the user may have put commits on: HEAD, branches, tags, what an unfinished operation keeps."""
    upstream = {name for name, _ in await _refs(fresh)}
    return (*local_tips(None), *(ref for name, ref in await _refs(old) if name not in upstream))


async def _known_to_both(fresh: Repository, old: Repository) -> tuple[str, ...]:
    """Commits that the remote's refs name now and that the old clone has: what they lead to stays."""
    names = "".join(f"{name}\n" for name in {name for name, _ in await _refs(fresh)})
    found = await old.git("cat-file", "--batch-check=%(objectname)", "--buffer", stdin=names.encode())
    return tuple(text(line) for line in lines(found.stdout) if b" " not in line)


async def _refs(repository: Repository) -> list[tuple[str, str]]:
    """Objects and the branches and tags that name them."""
    kinds = ("refs/heads", "refs/tags", "refs/remotes")
    done = await repository.git("for-each-ref", "--format=%(objectname)%00%(refname)", *kinds)
    found = [text(line).split("\0") for line in lines(done.stdout)]
    return [(name, ref) for name, ref in found]


async def _drop(
    old: OldClone, repository: Repository, tracked: frozenset[bytes], aside: Path, report: Report
) -> frozenset[bytes]:
    """Paths that only the old version has: the project's and not the user's, they must not come along.

    Those that the user changed are saved in ``aside``.  A clone too damaged to tell keeps all its files.
    """
    if old.folder is None:
        return frozenset()
    try:
        if await repository.resolve("HEAD") is None:
            return frozenset()
        former = await repository.tracked_by("HEAD") - tracked
        # Submodules are saved on their own.
        former = frozenset(await in_thread(_files_among, repository.path, tuple(former)))
        changed = tuple(sorted(former.intersection(await repository.changed())))
    except CommandFailed:
        if await is_connected(repository):
            raise
        return frozenset()
    await in_thread(durable.copy_aside, repository.path, changed, aside)
    if changed:
        report(f"{len(changed)} files that you changed and that the new version lacks were saved in {aside}")
    return former


def _files_among(root: Path, paths: tuple[bytes, ...]) -> tuple[bytes, ...]:
    full = ((path, os.path.join(os.fsencode(root), path)) for path in paths)
    return tuple(path for path, place in full if os.path.islink(place) or not os.path.isdir(place))


def _copy_extras(folder: GitFolder, fresh: Path) -> None:
    """The user's own ignore rules and hooks: they are theirs, though they lie in ``.git``."""
    try:
        made = survey(fresh)
        target = made.common_dir if made is not None else fresh / ".git"
        exclude = folder.common_dir / "info" / "exclude"
        if exclude.is_file():
            (target / "info").mkdir(exist_ok=True)
            shutil.copy2(exclude, target / "info" / "exclude")
        for hook in (folder.common_dir / "hooks").glob("*"):
            if hook.suffix != ".sample" and hook.is_file():
                (target / "hooks").mkdir(exist_ok=True)
                shutil.copy2(hook, target / "hooks" / hook.name)
    except OSError as error:
        raise durable.trouble("copy hooks to", fresh, error) from error
