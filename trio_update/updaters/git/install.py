"""The first installation of a clone: made aside, verified, and put in its place as a whole."""

from __future__ import annotations

import stat
from pathlib import Path

from trio_update.errors import OperationFailed
from trio_update.host.files import durable
from trio_update.host.git.command import SILENCE, TRANSFER
from trio_update.host.git.output import text
from trio_update.host.git.repository import Repository
from trio_update.host.git.transfer import clone
from trio_update.host.processes.runner import Runner
from trio_update.host.threads import in_thread
from trio_update.model import Channel
from trio_update.progress import Report
from trio_update.updaters.base import Prepared, Target, WorkArea
from trio_update.updaters.git.effects import ReplaceClone, expect_clean
from trio_update.updaters.git.facts import Install
from trio_update.updaters.git.kind import GitRepoConfig
from trio_update.updaters.git.memory import short_version
from trio_update.updaters.git.reclone import expect_tracking
from trio_update.updaters.git.target import choose_tag
from trio_update.updaters.place import expect_vacant, prepare_folders


async def prepare_install(
    config: GitRepoConfig, runner: Runner, old: Target, way: Install, area: WorkArea, report: Report
) -> Prepared:
    """Clone beside the place, check out what the channel offers.  Raises: OperationFailed."""
    live = way.vacancy.live
    stage = await area.stage(way.vacancy.anchor / live.name)
    report(f"Cloning {config.name} to {config.path}")
    fresh = await clone(runner, way.url, stage, branch=config.primary_branch, report=report)
    await expect_tracking(config, fresh)
    commit = await _choose(config, way, fresh, report)
    await fresh.git("reset", "--hard", "--quiet", commit, on_line=report, timeout=None, silence=600)
    await _bring_all_modules(fresh, report)
    await expect_clean(fresh, commit)
    # Those who cloned it by hand in the meantime keep theirs.
    vacancy = await in_thread(expect_vacant, config.path)
    if vacancy.empty:
        await in_thread(_take_mode, stage, live)
    inode, old_inode = await in_thread(_inodes, stage, live)
    assert inode is not None, "git made the clone"
    effect = ReplaceClone(
        live=str(live),
        stage=str(stage),
        new=commit,
        new_inode=inode,
        old_inode=old_inode,
        aside=str(area.saved_folder / "untracked"),
        vacant=True,
    )
    folders = await prepare_folders(vacancy, area)
    return Prepared(old, Target(await short_version(fresh, commit), commit), effects=(*folders, effect))


async def _choose(config: GitRepoConfig, way: Install, fresh: Repository, report: Report) -> str:
    """The commit to install: the one that was decided, if it belongs to the branch, as only the clone can tell."""
    tip = await fresh.resolve("HEAD")
    if tip is None:
        raise OperationFailed(f"{config.name}: branch '{config.primary_branch}' of the remote has no commit")
    if way.former is not None and await fresh.is_ancestor(way.former, tip):
        return way.former
    if config.pinned_commit:
        pinned = await fresh.resolve(config.pinned_commit)
        if pinned is None:
            raise OperationFailed(
                f"{config.name}: the remote has no commit {config.pinned_commit}, which it is pinned to"
            )
        return pinned
    if config.channel is Channel.DEV:
        return tip
    merged = await fresh.git("for-each-ref", "--format=%(refname)", "--merged", tip, "refs/tags")
    names = set(text(merged.stdout).split("\n"))
    own = tuple(tag for tag in await fresh.refs("refs/tags") if tag.name in names)
    tag = choose_tag(config.channel, [type(one)(one.name.removeprefix("refs/tags/"), one.commit) for one in own])
    if tag is not None:
        return tag.commit
    report(f"There is no release of {config.name} on channel {config.channel} yet: taking the newest commit")
    return tip


async def _bring_all_modules(fresh: Repository, report: Report) -> None:
    """All submodules, at every depth: there is no clone that says which of them its user does without."""
    if not await in_thread((fresh.path / ".gitmodules").exists):
        return
    await fresh.git(
        *("submodule", "update", "--init", "--recursive", "--progress"),
        options=TRANSFER,
        on_line=report,
        timeout=None,
        silence=SILENCE,
    )


def _take_mode(stage: Path, live: Path) -> None:
    """Not its owner: git refuses to work in a clone that belongs to another user than the one that runs it."""
    with durable.translated("set the mode of", stage):
        stage.chmod(stat.S_IMODE(live.stat().st_mode))


def _inodes(stage: Path, live: Path) -> tuple[int | None, int | None]:
    return durable.inode(stage), durable.inode(live)
