"""Hard recovery: a fresh clone beside the old one, with the user's files in it, verified before they change places."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import trio

from trio_update.config import GitRepoConfig
from trio_update.errors import CommandFailed, FileTrouble, OperationFailed, Reason, Refused
from trio_update.host.files import durable
from trio_update.host.git.bundles import local_tips, save_commits, save_stashes
from trio_update.host.git.folder import GitFolder, survey
from trio_update.host.git.output import Settings, lines, text
from trio_update.host.git.repair import is_connected
from trio_update.host.git.repository import Repository, clone
from trio_update.host.git.saving import save_changes
from trio_update.host.processes.runner import Runner
from trio_update.host.threads import in_thread
from trio_update.model import GitStatus
from trio_update.updaters.base import Prepared, Report, Target, Workshop
from trio_update.updaters.git.effects import ReplaceClone, carry_untracked, expect_clean
from trio_update.updaters.git.memory import short_version

# A shallow clone is made again a little deeper than the old one was, so that the former commit is in it.
_SPARE_DEPTH = 20


@dataclass(frozen=True)
class OldClone:
    """What can still be learned of the clone that is to be replaced; everything may be missing."""

    folder: GitFolder | None
    settings: Settings
    head: str | None

    @property
    def filter(self) -> str | None:
        return self.settings.get("remote.origin.partialclonefilter")


async def prepare_hard_recovery(
    config: GitRepoConfig, runner: Runner, known: GitStatus, workshop: Workshop, report: Report
) -> Prepared:
    old = await _look_at_old(config, runner, known)
    if old.folder is not None and old.folder.linked:
        raise Refused(
            Reason.NOT_SUPPORTED,
            f"{config.path} is a worktree or submodule of another repository: a fresh clone cannot take its place",
        )
    live = await in_thread(_real_place, config.path)
    url = old.settings.remotes().get("origin") or config.origin
    if not url:
        raise OperationFailed(f"{config.name} has no remote to clone from: set `origin` in its section")
    stage = await workshop.stage(live)
    report(f"Cloning {config.name} afresh")
    fresh = await clone(runner, url, stage, branch=config.primary_branch, arguments=_shape(old, known), report=report)
    await _expect_tracking(config, fresh)
    commit = await _checkout(config, fresh, old.head, report)
    tracked = await fresh.tracked()
    inode = await in_thread(durable.inode, stage)
    assert inode is not None, "git made the clone"
    old_inode = await in_thread(durable.inode, live)
    aside = await workshop.saved()
    dropped: frozenset[bytes] = frozenset()
    if old_inode is not None:
        await _save(old, fresh, live, workshop, report)
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
    before = known.version if isinstance(known.version, str) else ""
    target = Target(await short_version(fresh, commit), commit)
    return Prepared(Target(before, old.head or ""), target, effects=(effect,))


async def _look_at_old(config: GitRepoConfig, runner: Runner, known: GitStatus) -> OldClone:
    folder = await in_thread(survey, config.path)
    settings, head = Settings(), known.current_hash if isinstance(known.current_hash, str) else None
    if folder is not None:
        repository = Repository(config.path, runner)
        try:
            settings = await repository.settings(folder)
            head = await repository.resolve("HEAD") or head
        except OperationFailed:
            pass  # that it is broken is why it is replaced
    return OldClone(folder, settings, head)


def _shape(old: OldClone, known: GitStatus) -> list[str]:
    """Options that keep a shallow clone shallow and a partial one partial."""
    arguments = []
    if old.filter:
        arguments.append(f"--filter={old.filter}")
    if old.folder is not None and old.folder.shallow:
        depth = known.commits_behind_count + _SPARE_DEPTH + _shallow_depth(known)
        arguments += [f"--depth={depth}", "--no-single-branch"]
    return arguments


def _shallow_depth(known: GitStatus) -> int:
    version = known.version if isinstance(known.version, str) else ""
    count = version.rpartition("-")[2]
    return min(int(count), 1000) if count.isdigit() else 0


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
    if await trio.Path(fresh.path / ".gitmodules").exists():
        await fresh.git(
            "submodule", "update", "--init", "--recursive", "--progress", on_line=report, timeout=None, silence=60
        )
    return commit


async def _save(old: OldClone, fresh: Repository, live: Path, workshop: Workshop, report: Report) -> None:
    """Save what the fresh clone will not have: changed files, local commits and stashes."""
    repository = Repository(live, fresh.runner)
    # Judged by the fresh clone's objects, so it works however broken the old one is.
    for note in await save_changes(
        repository, base="HEAD", goal=None, folder=workshop.saved, git_dir=fresh.path / ".git"
    ):
        report(note)
    if old.folder is None:
        return
    await in_thread(_copy_extras, old.folder, fresh.path)
    try:
        known = await _known_to_both(fresh, repository)
        notes = await save_commits(
            repository, tips=await _own_refs(fresh, repository), known=known, folder=workshop.saved, name="local"
        )
        notes += await save_stashes(repository, workshop.saved)
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
        changed = tuple(sorted(former.intersection(await repository.changed())))
    except CommandFailed:
        if await is_connected(repository):
            raise
        return frozenset()
    await in_thread(durable.copy_aside, repository.path, changed, aside)
    if changed:
        report(f"{len(changed)} files that you changed and that the new version lacks were saved in {aside}")
    return former


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
        raise FileTrouble("copy hooks to", fresh, error.errno, error.strerror or str(error)) from error


def _real_place(path: Path) -> Path:
    """Where the clone really is: an exchange of a symbolic link would leave the clone itself where it was."""
    real = Path(os.path.realpath(path))
    if durable.is_mount_point(real):
        raise Refused(
            Reason.NOT_SUPPORTED,
            f"{real} is a mount point, which cannot be exchanged: move the clone into a folder on it",
        )
    inside = os.fsencode(real) + b"/"
    if mounted := [point for point in durable.mount_points() if point.startswith(inside)]:
        raise Refused(
            Reason.NOT_SUPPORTED,
            f"{os.fsdecode(mounted[0])} is mounted inside the clone and would go away with it: unmount it first",
        )
    return real
