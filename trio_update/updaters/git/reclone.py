"""Hard recovery: a fresh clone beside the old one, with the user's files in it, verified before they change places."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from trio_update.errors import CommandFailed, OperationFailed
from trio_update.host.files import durable
from trio_update.host.git.command import git_environment
from trio_update.host.git.folder import GitFolder, survey
from trio_update.host.git.output import Settings, text
from trio_update.host.git.repair import is_connected
from trio_update.host.git.repository import Repository, clone
from trio_update.host.processes.runner import Runner
from trio_update.host.threads import in_thread
from trio_update.progress import Report
from trio_update.updaters.base import Prepared, Target, WorkArea
from trio_update.updaters.git.effects import ReplaceClone, carry_untracked, expect_clean
from trio_update.updaters.git.facts import OldClone, Replacement
from trio_update.updaters.git.kind import GitRepoConfig
from trio_update.updaters.git.memory import short_version


async def prepare_replacement(
    config: GitRepoConfig, runner: Runner, before: Target, way: Replacement, area: WorkArea, report: Report
) -> Prepared:
    """Clone afresh beside the old clone, and bring the user's files.  ``before``: the version that was there."""
    old, live = way.old, way.live
    stage = await area.stage(live)
    report(f"Cloning {config.name} afresh")
    fresh = await clone(runner, way.url, stage, branch=config.primary_branch, arguments=_shape(way), report=report)
    await _expect_tracking(config, fresh)
    commit = await _checkout(config, fresh, old.head, report)
    tracked = await fresh.tracked()
    inode, old_inode = await in_thread(_inodes, stage, live)
    assert inode is not None, "git made the clone"
    aside = await area.saved()
    dropped: frozenset[bytes] = frozenset()
    if old_inode is not None:
        await _save(old, fresh, live, aside, report)
        dropped = await _drop(old, Repository(live, runner), tracked, aside / "untracked", report)
        await carry_untracked(live, stage, tracked | dropped, aside / "untracked", report)
    await expect_clean(fresh, commit)
    effect = ReplaceClone(
        live=str(live),
        stage=str(stage),
        new=commit,
        new_inode=inode,
        old_inode=old_inode,
        aside=str(aside / "untracked"),
        dropped=tuple(sorted(dropped)),
    )
    return Prepared(before, Target(await short_version(fresh, commit), commit), effects=(effect,))


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
    if await in_thread(os.path.exists, fresh.path / ".gitmodules"):
        await fresh.git(
            "submodule", "update", "--init", "--recursive", "--progress", on_line=report, timeout=None, silence=60
        )
    return commit


async def _save(old: OldClone, fresh: Repository, live: Path, aside: Path, report: Report) -> None:
    """Save what the fresh clone will not have: changed files as a patch, local commits and stashes as a bundle."""
    changes = await _changes_against(fresh, live)
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
        changed = tuple(sorted(former.intersection(await repository.changed())))
    except CommandFailed:
        if await is_connected(repository):
            raise
        return frozenset()
    await in_thread(durable.copy_aside, repository.path, changed, aside)
    if changed:
        report(f"{len(changed)} files that you changed and that the new version lacks were saved in {aside}")
    return former


async def _changes_against(fresh: Repository, live: Path) -> bytes:
    """What the old work tree's tracked files have that the fresh commit doesn't.

    Judged by the fresh clone's objects and a copy of its index, so it works however broken the old one is.
    """
    index = fresh.path / ".git" / "trio-update-index"
    with durable.translated("copy the index to", index):
        await in_thread(shutil.copyfile, fresh.path / ".git" / "index", index)
    try:
        done = await fresh.runner.run(
            [
                "git",
                *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"),
                f"--git-dir={fresh.path / '.git'}",
                f"--work-tree={live}",
                *("diff", "--no-ext-diff", "--no-textconv", "--binary", "--full-index", "--diff-filter=d"),
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
        exclude = folder.common_dir / "info" / "exclude"
        if exclude.is_file():
            (fresh / ".git" / "info").mkdir(exist_ok=True)
            shutil.copy2(exclude, fresh / ".git" / "info" / "exclude")
        for hook in (folder.common_dir / "hooks").glob("*"):
            if hook.suffix != ".sample" and hook.is_file():
                (fresh / ".git" / "hooks").mkdir(exist_ok=True)
                shutil.copy2(hook, fresh / ".git" / "hooks" / hook.name)
    except OSError as error:
        raise durable.trouble("copy hooks to", fresh, error) from error
