"""Hard recovery: a fresh clone beside the old one, with the user's files in it, verified before they change places."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from trio_update.errors import CommandFailed, FileTrouble, OperationFailed
from trio_update.host.files import durable
from trio_update.host.git.command import git_environment
from trio_update.host.git.folder import GitFolder, survey
from trio_update.host.git.output import Settings, text
from trio_update.host.git.repair import is_connected
from trio_update.host.git.repository import Repository, clone
from trio_update.host.processes.runner import Runner
from trio_update.host.threads import in_thread
from trio_update.updaters.base import Prepared, Report, Target, Workshop
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
from trio_update.updaters.git.keep import durable_folder, save_leaving
from trio_update.updaters.git.kind import GitRepoConfig
from trio_update.updaters.git.memory import short_version
from trio_update.updaters.git.modules import bring_modules


async def prepare_replacement(
    config: GitRepoConfig, runner: Runner, before: Target, way: Replacement, workshop: Workshop, report: Report
) -> Prepared:
    """Clone afresh beside the old clone, and bring the user's files.  ``before``: the version that was there."""
    old, live = way.old, way.live
    stage = await workshop.stage(live)
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
    await _expect_tracking(config, fresh)
    commit = await _checkout(config, fresh, old.head, report)
    pairs = await bring_modules(fresh, live, old_folder, report) if old_folder is not None else ()
    inode, old_inode = await in_thread(_inodes, stage, live)
    assert inode is not None, "git made the clone"
    aside = await workshop.saved()
    dropped: frozenset[bytes] = frozenset()
    if old_inode is not None:
        dropped = await _keep_all(old, fresh, live, pairs, aside, report)
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
    old: OldClone, fresh: Repository, live: Path, pairs: tuple[bytes, ...], aside: Path, report: Report
) -> frozenset[bytes]:
    """Save and carry over what is the user's: in the clone, and in every submodule by the same code.

    Returns the paths, from the top, that only the old version tracks.
    """
    dropped: set[bytes] = set()
    gone = await save_leaving(fresh, Repository(live, fresh.runner), pairs, aside, report)
    for path in (b"", *pairs):
        source, target = live / os.fsdecode(path), fresh.path / os.fsdecode(path)
        if path and not await in_thread(source.is_dir):
            continue  # it has moved to here, or its user removed it
        one = old if not path else OldClone(await in_thread(survey, source), Settings(), None)
        inside = aside_of(aside / "untracked", path)
        below, prefix = Repository(target, fresh.runner), path + b"/" if path else b""
        await _save(one, below, source, inside.parent, report)
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


async def _expect_tracking(config: GitRepoConfig, fresh: Repository) -> None:
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


async def _save(old: OldClone, fresh: Repository, live: Path, aside: Path, report: Report) -> None:
    """Save what the fresh clone will not have: changed files as a patch, local commits and stashes as a bundle."""
    changes = await _changes_against(fresh, live)
    await in_thread(durable_folder, aside)
    if changes:
        await in_thread(durable.write_atomically, aside / "changes.patch", changes)
        report(f"Your local changes were saved, apply them again with: git apply {aside / 'changes.patch'}")
    if old.folder is None:
        return
    await in_thread(_copy_extras, old.folder, fresh.path)
    repository = Repository(live, fresh.runner)
    try:
        await _save_commits(old.folder, repository, aside, report)
        await _save_stashes(repository, aside, report)
    except CommandFailed as failed:
        if await is_connected(repository):
            raise  # a full disk, or git was killed: trying again may save them, going on would lose them
        report(f"Local commits could not be saved, the old clone is too damaged: {failed}")


async def _save_commits(folder: GitFolder, repository: Repository, aside: Path, report: Report) -> None:
    bundle = aside / "local.bundle"
    detached = ("HEAD",) if folder.branch is None and folder.head is not None else ()
    try:
        await repository.git(
            *("bundle", "create", "--quiet", str(bundle), *detached, "--branches", "--not", "--remotes")
        )
    except CommandFailed as failed:
        if "empty bundle" not in failed.output:
            raise
    else:
        report(f"Your local commits were saved in {bundle} (see git-bundle)")


async def _save_stashes(repository: Repository, aside: Path, report: Report) -> None:
    """A patch for each: a bundle would hold the newest only, the others are known to the log of their ref alone."""
    stashes = text((await repository.git("stash", "list", "--format=%gd")).stdout).splitlines()
    for number, name in enumerate(stashes):
        done = await repository.git("stash", "show", "--patch", "--binary", "--include-untracked", name)
        await in_thread(durable.write_atomically, aside / f"stash-{number}.patch", done.stdout)
    if stashes:
        report(f"Your {len(stashes)} stashes were saved, apply them again with: git apply {aside}/stash-N.patch")


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


async def _changes_against(fresh: Repository, live: Path) -> bytes:
    """What the old work tree's tracked files have that the fresh commit doesn't.

    Judged by the fresh clone's objects and a copy of its index, so it works however broken the old one is.
    """
    folder = await in_thread(survey, fresh.path)
    assert folder is not None, "git made the clone"
    index = folder.git_dir / "trio-update-index"
    with durable.translated("copy the index to", index):
        await in_thread(shutil.copyfile, folder.git_dir / "index", index)
    try:
        done = await fresh.runner.run(
            [
                "git",
                *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"),
                f"--git-dir={folder.git_dir}",
                f"--work-tree={live}",
                *("diff", "--no-ext-diff", "--no-textconv", "--binary", "--full-index", "--diff-filter=d"),
                # They are saved on their own, and a damaged one would fail this.
                "--ignore-submodules=all",
            ],
            cwd=live,
            env=git_environment(live) | {"GIT_INDEX_FILE": str(index)},
        )
    finally:
        await in_thread(durable.remove_tree, index)
    return done.stdout


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
        raise FileTrouble("copy hooks to", fresh, error.errno, error.strerror or str(error)) from error
