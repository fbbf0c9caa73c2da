"""Preparing a git app's update: everything that can fail is done here, before anything visible changes."""

from __future__ import annotations

from trio_update.errors import Refused
from trio_update.host.files import durable
from trio_update.host.git.bundles import local_tips, save_commits
from trio_update.host.git.folder import GitFolder
from trio_update.host.git.repository import Repository
from trio_update.host.git.saving import save_changes
from trio_update.host.git.transfer import bring_blobs
from trio_update.host.threads import in_thread
from trio_update.progress import Report
from trio_update.updaters.base import Prepared, WorkArea
from trio_update.updaters.git.change import look_at_change
from trio_update.updaters.git.decision import Move, Restore
from trio_update.updaters.git.effects import MoveHead, RestoreHead
from trio_update.updaters.git.facts import Change
from trio_update.updaters.git.inside import may_have_modules
from trio_update.updaters.git.keep import look_inside, save_modules
from trio_update.updaters.git.kind import GitRepoConfig
from trio_update.updaters.git.modules import ModuleMove, plan_moves
from trio_update.updaters.git.refuse import refuse_change, refuse_locked_paths
from trio_update.updaters.git.supply import Supply


async def prepare_move(config: GitRepoConfig, repository: Repository, way: Move, report: Report) -> Prepared:
    """Bring everything that the checkout will need to the disk, and write it out.

    Raises: Refused for what came in the way while that took its time.
    """
    old, new, change = way.old, way.new, way.change
    if promisor := way.seen.settings.promisor():
        await bring_blobs(repository, promisor, old.hash, new.hash, report)
        # This may have taken minutes, in which the user went on working.
        change = await look_at_change(repository, way.seen, old.hash, new.hash, install_script=config.install_script)
        if refusals := refuse_change(config, change, new.version):
            raise Refused(refusals[0].reason, "; ".join(refusal.message for refusal in refusals))
    modules = await _follow(repository, way.seen.folder, change, old.hash, new.hash, report)
    taken, locked = await look_inside(repository, modules, change)
    inside = Change({}, change.disk, taken=tuple(taken), locked=tuple(locked))
    if refusals := refuse_change(config, inside, new.version):
        raise Refused(refusals[0].reason, "; ".join(refusal.message for refusal in refusals))
    await in_thread(durable.sync_filesystem, way.seen.folder.common_dir)
    effect = MoveHead(
        path=str(config.path),
        branch=way.seen.folder.branch,
        old=old.hash,
        new=new.hash,
        added=change.added,
        keep_index=change.hides,
        modules=tuple(move for move in modules if move.old != move.new or move.urls),
    )
    return Prepared(old, new, effects=(effect,))


async def _follow(
    repository: Repository, folder: GitFolder, change: Change, old: str | None, new: str, report: Report
) -> tuple[ModuleMove, ...]:
    """What the submodules will do, with their commits brought; no process where there are none.

    Raises: OperationFailed, when a commit cannot be had.
    """
    if not await may_have_modules(folder) and b".gitmodules" not in change.files:
        return ()
    return await plan_moves(repository, old, new, Supply(report))


async def prepare_restore(
    config: GitRepoConfig, repository: Repository, way: Restore, area: WorkArea, report: Report
) -> Prepared:
    """Save what the user changed, then back to a commit of the primary branch."""
    notes = await save_local_work(config, repository, way, area)
    for note in notes:
        report(note)
    folder = way.facts.seen.folder
    modules = await _follow(repository, folder, way.change, way.facts.head, way.new.hash, report)
    _, locked = await look_inside(repository, modules, way.change)
    if refusals := refuse_locked_paths(locked):
        raise Refused(refusals[0].reason, refusals[0].message)
    inside = await save_modules(repository, modules, area, report)
    for note in inside:
        report(note)
    effect = RestoreHead(
        path=str(config.path),
        branch=config.primary_branch,
        remote=way.remote,
        new=way.new.hash,
        removed=way.change.deleted,
        modules=modules,
    )
    await in_thread(durable.sync_filesystem, folder.common_dir)
    return Prepared(way.old, way.new, effects=(effect,), notes=(*notes, *inside))


async def save_local_work(
    config: GitRepoConfig, repository: Repository, way: Restore, area: WorkArea
) -> tuple[str, ...]:
    """Save under DATA_PATH what going there throws away.  Returns what to tell the user."""
    changes = await save_changes(repository, base=way.facts.head, goal=way.new.hash, folder=area.saved)
    tips = local_tips(config.primary_branch)
    return changes + await save_commits(repository, tips=tips, known=(way.tip,), folder=area.saved)
