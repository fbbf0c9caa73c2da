"""Preparing a git app's update: everything that can fail is done here, before anything visible changes."""

from __future__ import annotations

from trio_update.errors import Refused
from trio_update.host.files import durable
from trio_update.host.git.repository import Repository
from trio_update.host.threads import in_thread
from trio_update.progress import Report
from trio_update.text import named
from trio_update.updaters.base import Prepared, WorkArea
from trio_update.updaters.git.change import collisions, look_at_change
from trio_update.updaters.git.decision import Move, Restore
from trio_update.updaters.git.effects import MoveHead, RestoreHead
from trio_update.updaters.git.kind import GitRepoConfig
from trio_update.updaters.git.refuse import refuse_change


async def prepare_move(config: GitRepoConfig, repository: Repository, way: Move, report: Report) -> Prepared:
    """Bring everything that the checkout will need to the disk, and write it out.

    Raises: Refused for what came in the way while that took its time.
    """
    old, new, change = way.old, way.new, way.change
    if promisor := way.seen.settings.promisor():
        await repository.bring_blobs(promisor, old.hash, new.hash, report)
        # This may have taken minutes, in which the user went on working.
        change = await look_at_change(repository, way.seen, old.hash, new.hash)
        if refusals := refuse_change(config, change, new.version):
            raise Refused(refusals[0].reason, "; ".join(refusal.message for refusal in refusals))
    await in_thread(durable.sync_filesystem, way.seen.folder.common_dir)
    effect = MoveHead(
        path=str(config.path),
        branch=way.seen.folder.branch,
        old=old.hash,
        new=new.hash,
        added=change.added,
        keep_index=change.hides,
    )
    return Prepared(old, new, effects=(effect,))


async def prepare_restore(
    config: GitRepoConfig, repository: Repository, way: Restore, area: WorkArea, report: Report
) -> Prepared:
    """Save what the user changed, then back to a commit of the primary branch."""
    notes = await save_local_work(repository, way, area)
    for note in notes:
        report(note)
    await _save_in_the_way(repository, way, area, report)
    effect = RestoreHead(
        path=str(config.path),
        branch=config.primary_branch,
        remote=way.remote,
        new=way.new.hash,
        removed=way.change.deleted,
    )
    await in_thread(durable.sync_filesystem, way.facts.seen.folder.common_dir)
    return Prepared(way.old, way.new, effects=(effect,), notes=notes)


async def save_local_work(repository: Repository, way: Restore, area: WorkArea) -> tuple[str, ...]:
    """Write local changes and local commits as patches under DATA_PATH.  Returns what to tell the user."""
    notes = []
    if way.facts.seen.tree.modified and (changes := await repository.local_changes()):
        path = await area.saved() / "changes.patch"
        await in_thread(durable.write_atomically, path, changes)
        notes.append(f"Your local changes were saved, apply them again with: git apply {path}")
    head = way.facts.head
    if head is None or await repository.is_ancestor(head, way.tip):
        return tuple(notes)
    if commits := await repository.local_commits(way.tip, head):
        path = await area.saved() / "commits.mbox"
        await in_thread(durable.write_atomically, path, commits)
        notes.append(f"Your local commits were saved, apply them again with: git am {path}")
    return tuple(notes)


async def _save_in_the_way(repository: Repository, way: Restore, area: WorkArea, report: Report) -> None:
    """Copy untracked files that the checkout will overwrite to DATA_PATH: those that stand there now."""
    taken = await in_thread(collisions, repository.path, way.change.files)
    if taken:
        saved = await area.saved()
        await in_thread(durable.copy_aside, repository.path, tuple(taken), saved / "untracked")
        report(f"Untracked files in the way of tracked ones were saved in {saved / 'untracked'}: {named(taken)}")
