"""Preparing a git app's update: everything that can fail is done here, before anything visible changes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from trio_update.errors import OperationFailed, Reason, Refused
from trio_update.host.files import durable
from trio_update.host.git.folder import GitFolder
from trio_update.host.git.output import Settings, text
from trio_update.host.git.repository import Repository
from trio_update.host.threads import in_thread
from trio_update.updaters.base import Prepared, Report, Rollback, Target, Workshop
from trio_update.updaters.git.effects import MoveHead, RestoreHead
from trio_update.updaters.git.judge import Facts
from trio_update.updaters.git.kind import GitRepoConfig, GitStatus
from trio_update.updaters.git.memory import short_version
from trio_update.versions import read_tag

_NAMED = 5


def refuse_invalid(config: GitRepoConfig, status: GitStatus) -> None:
    """Raises :class:`Refused` for an app that is held back or needs recovery first."""
    if config.hold:
        raise Refused(Reason.HELD, f"{config.name} is held back: {config.hold}")
    if not status.is_valid:
        why = "; ".join(status.warnings) or "it has not been looked at yet"
        raise Refused(Reason.INVALID, f"{config.name} cannot be updated: {why}. Recover it first.")


async def prepare_upgrade(
    config: GitRepoConfig, repository: Repository, facts: Facts, workshop: Workshop, report: Report
) -> Prepared:
    """``facts`` come from a look that fetched."""
    head, target = facts.tree.head, facts.target
    assert head is not None and facts.version is not None, "a valid app has a commit"
    old = Target(facts.version.short, head)
    if target is None or target == head or facts.target_version is None:
        return Prepared(old, old, unchanged=f"{config.name} is up to date: {old.version}")
    new = Target(facts.target_version.short, target)
    report(f"{config.name}: {old.version} → {new.version}, {facts.commits_count} commits")
    return await prepare_move(config, repository, facts.folder, facts.settings, old, new, report)


async def prepare_rollback(
    config: GitRepoConfig, repository: Repository, facts: Facts, request: Rollback, report: Report
) -> Prepared:
    """Raises :class:`Refused` for a version that the clone doesn't have, or that isn't an earlier one."""
    head = facts.tree.head
    assert head is not None and facts.version is not None, "a valid app has a commit"
    commit = await _find_earlier(config, repository, request, head)
    new = Target(await short_version(repository, commit), commit)
    old = Target(facts.version.short, head)
    report(f"{config.name}: back from {old.version} to {new.version}")
    return await prepare_move(config, repository, facts.folder, facts.settings, old, new, report)


async def _find_earlier(config: GitRepoConfig, repository: Repository, request: Rollback, head: str) -> str:
    known = {release.version: release.hash for release in request.earlier}
    wanted = request.version
    if wanted is None:
        if not request.earlier:
            raise Refused(
                Reason.BAD_VERSION, f"{config.name} was not updated yet: there is no earlier version to go back to"
            )
        wanted = request.earlier[-1].version
    commit = known.get(wanted) or await _resolve_release(repository, wanted)
    if commit is None or await repository.resolve(commit) is None:
        raise Refused(Reason.BAD_VERSION, f"{config.name} has no version '{wanted}'")
    if commit == head:
        raise Refused(Reason.BAD_VERSION, f"{config.name} is at {wanted} already")
    if not await repository.is_ancestor(commit, head):
        raise Refused(Reason.BAD_VERSION, f"'{wanted}' is no earlier version of {config.name}: use an upgrade")
    return commit


async def _resolve_release(repository: Repository, wanted: str) -> str | None:
    """A tag (``v1.2``, ``1.2``, ``v1.2-0``), or a commit by at least 8 digits of its hash."""
    name = wanted.removesuffix("-0")
    names = [name, f"v{name}"] if read_tag(name) else [name]
    for candidate in names:
        if not candidate.startswith("-") and (found := await repository.resolve(f"refs/tags/{candidate}")):
            return found
    if 8 <= len(wanted) <= 64 and set(wanted.lower()) <= set("0123456789abcdef"):
        return await repository.resolve(wanted.lower())
    return None


async def prepare_move(
    config: GitRepoConfig,
    repository: Repository,
    folder: GitFolder,
    settings: Settings,
    old: Target,
    new: Target,
    report: Report,
) -> Prepared:
    """From ``old`` to ``new`` in place, with everything that the checkout will need on disk and written out."""
    if promisor := settings.promisor():
        await repository.bring_blobs(promisor, old.hash, new.hash, report)
    changes = await repository.changes(old.hash, new.hash)
    hidden = await repository.hidden()
    refusals = await find_refusals(config, repository, folder, changes, hidden)
    if refusals:
        raise Refused(Reason.INVALID, f"{config.name} cannot go to {new.version}: {'; '.join(refusals)}")
    await in_thread(durable.sync_filesystem, folder.common_dir)
    effect = MoveHead(
        path=str(config.path),
        branch=folder.branch,
        old=old.hash,
        new=new.hash,
        added=tuple(path for path, kind in changes.items() if kind == "A"),
        keep_index=bool(hidden),
    )
    return Prepared(old, new, effects=(effect,))


async def find_refusals(
    config: GitRepoConfig,
    repository: Repository,
    folder: GitFolder,
    changes: Mapping[bytes, str],
    hidden: Sequence[bytes],
) -> list[str]:
    """Why a move would lose something of the user's, or leave the app without what it needs."""
    refusals = []
    taken = await in_thread(collisions, folder.path, changes)
    if taken:
        refusals.append(f"untracked files are in the place of new ones, move them away: {_names(taken)}")
    if hidden and (changed := await repository.changed_in_hiding()):
        refusals.append(
            f"you changed files that are hidden from git ({', '.join(changed[:_NAMED])}), which the update would "
            "overwrite: show them to it with `git update-index --no-assume-unchanged FILE`"
        )
    elif concealed := [path for path in hidden if path in changes and await _exists(folder.path, path)]:
        refusals.append(f"files that are hidden from git (assume-unchanged, skip-worktree) change: {_names(concealed)}")
    refusals += [
        f"{what} change ({name}), and this version cannot install them"
        for what, name in _dependency_files(config)
        if os.fsencode(name) in changes
    ]
    return refusals


def _dependency_files(config: GitRepoConfig) -> list[tuple[str, str]]:
    files_of = [
        ("its Python requirements", config.requirements),
        ("its system packages", config.system_dependencies),
        ("its system packages", config.install_script),
    ]
    if config.enable_node_updates:
        files_of += [("its node packages", "package.json"), ("its node packages", "package-lock.json")]
    return [(what, name) for what, name in files_of if name]


def collisions(root: Path, changes: Mapping[bytes, str]) -> list[bytes]:
    """Paths that the new commit adds and where something of the user's stands: git would overwrite it silently."""
    base = os.fsencode(root)
    added = [path for path, kind in changes.items() if kind == "A"]
    deleted = {path for path, kind in changes.items() if kind == "D"}
    taken = []
    for path in added:
        full = os.path.join(base, path)
        # A link or a file where a folder has to be: what is seen at ``full`` would be somewhere else.
        if blocking := [parent for parent in _parents(path) if _is_no_folder(base, parent)]:
            taken += [parent for parent in blocking if parent not in deleted]
        elif os.path.isdir(full) and not os.path.islink(full):
            taken += [found for found in _files_below(base, path) if found not in deleted]
        elif os.path.lexists(full):
            taken.append(path)
    return list(dict.fromkeys(taken))


def _files_below(base: bytes, path: bytes) -> list[bytes]:
    return [
        os.path.relpath(os.path.join(directory, name), base)
        for directory, _, names in os.walk(os.path.join(base, path))
        for name in names
    ]


def _parents(path: bytes) -> list[bytes]:
    parents = []
    while path := os.path.dirname(path):
        parents.append(path)
    return parents


def _is_no_folder(base: bytes, path: bytes) -> bool:
    full = os.path.join(base, path)
    return os.path.lexists(full) and (os.path.islink(full) or not os.path.isdir(full))


async def _exists(root: Path, path: bytes) -> bool:
    return await in_thread(os.path.lexists, os.path.join(os.fsencode(root), path))


def _names(paths: Sequence[bytes]) -> str:
    more = len(paths) - _NAMED
    return ", ".join(text(path) for path in paths[:_NAMED]) + (f" and {more} more" if more > 0 else "")


async def prepare_soft_recovery(
    config: GitRepoConfig, repository: Repository, facts: Facts, known: GitStatus, workshop: Workshop, report: Report
) -> Prepared:
    """Save what the user changed, then back to a commit of the primary branch."""
    remote = facts.tracking.remote if facts.tracking else "origin"
    tip = await _primary_tip(config, repository, remote, report)
    head = facts.tree.head
    goal = head if head is not None and await repository.is_ancestor(head, tip) else tip
    notes = await save_local_work(config, repository, facts, tip, workshop)
    for note in notes:
        report(note)
    await _save_in_the_way(repository, facts, goal, workshop, report)
    old = Target(facts.version.short if facts.version else "", head or "")
    new = Target(await short_version(repository, goal), goal)
    effect = RestoreHead(
        path=str(config.path),
        branch=config.primary_branch,
        remote=remote,
        new=goal,
        removed=await _removed(repository, head, goal),
    )
    await in_thread(durable.sync_filesystem, facts.folder.common_dir)
    return Prepared(old, new, effects=(effect,), notes=notes)


async def _removed(repository: Repository, head: str | None, goal: str) -> tuple[bytes, ...]:
    if head is None or head == goal:
        return ()
    return tuple(path for path, kind in (await repository.changes(head, goal)).items() if kind == "D")


async def _primary_tip(config: GitRepoConfig, repository: Repository, remote: str, report: Report) -> str:
    """The primary branch on the remote; brought by a fetch of its own where the clone was made without it."""
    ref = f"refs/remotes/{remote}/{config.primary_branch}"
    try:
        await repository.fetch(remote, refspecs=(f"+refs/heads/{config.primary_branch}:{ref}",), report=report)
    except OperationFailed as failed:
        found = await repository.resolve(ref)
        if found is None:
            raise
        report(f"The remote cannot be asked, going by what is known of it: {failed}")
        return found
    found = await repository.resolve(ref)
    if found is None:
        raise OperationFailed(f"Branch '{config.primary_branch}' was not found on remote '{remote}'")
    return found


async def save_local_work(
    config: GitRepoConfig, repository: Repository, facts: Facts, tip: str, workshop: Workshop
) -> tuple[str, ...]:
    """Write local changes and local commits as patches under DATA_PATH.  Returns what to tell the user."""
    notes = []
    if facts.tree.modified and (changes := await repository.local_changes()):
        path = await workshop.saved() / "changes.patch"
        await in_thread(durable.write_atomically, path, changes)
        notes.append(f"Your local changes were saved, apply them again with: git apply {path}")
    head = facts.tree.head
    if head is None or await repository.is_ancestor(head, tip):
        return tuple(notes)
    if commits := await repository.local_commits(tip, head):
        path = await workshop.saved() / "commits.mbox"
        await in_thread(durable.write_atomically, path, commits)
        notes.append(f"Your local commits were saved, apply them again with: git am {path}")
    return tuple(notes)


async def _save_in_the_way(repository: Repository, facts: Facts, goal: str, workshop: Workshop, report: Report) -> None:
    """Copy untracked files that the checkout will overwrite to DATA_PATH."""
    head = facts.tree.head
    if head is None or head == goal:
        return
    changes = await repository.changes(head, goal)
    taken = await in_thread(collisions, repository.path, changes)
    if taken:
        saved = await workshop.saved()
        await in_thread(durable.copy_aside, repository.path, tuple(taken), saved / "untracked")
        report(f"Untracked files in the way of tracked ones were saved in {saved / 'untracked'}: {_names(taken)}")
