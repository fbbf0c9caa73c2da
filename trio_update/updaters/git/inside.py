"""What submodules have to say of a way before anything is done: what is in its way there, what cannot be had."""

from __future__ import annotations

from dataclasses import replace

from trio_update.errors import OperationFailed
from trio_update.host.git.folder import GitFolder
from trio_update.host.git.repository import Repository
from trio_update.host.threads import in_thread
from trio_update.updaters.git.facts import Change, Facts
from trio_update.updaters.git.keep import look_inside
from trio_update.updaters.git.memory import Memory
from trio_update.updaters.git.modules import plan_moves
from trio_update.updaters.git.supply import Supply


async def may_have_modules(folder: GitFolder) -> bool:
    """Whether it is worth to ask for submodules: no process where the clone never had one."""
    return any([await in_thread(path.exists) for path in (folder.path / ".gitmodules", folder.common_dir / "modules")])


async def with_inside(
    repository: Repository, facts: Facts, memory: Memory, target: str, change: Change, *, retry: bool
) -> Change:
    """``change`` with what it meets in submodules, going by the commits of theirs that are here.

    ``retry``: those that could not be had will be asked for again, so that they are no reason to refuse.
    Raises: OperationFailed when a submodule is damaged.
    """
    if not await may_have_modules(facts.seen.folder) and b".gitmodules" not in change.files:
        return change
    supply = Supply(None, fetch=False, missing={})
    moves = await plan_moves(repository, facts.head, target, supply)
    taken, locked = await look_inside(repository, moves, change)
    missing = () if retry else tuple(filter(None, map(memory.missing.get, supply.missing or ())))
    return replace(change, taken=(*change.taken, *taken), locked=(*change.locked, *locked), missing=missing)


async def bring_ahead(repository: Repository, facts: Facts, memory: Memory) -> None:
    """Bring the commits of submodules that an update would need, as git does when it fetches: so a plan tells all.

    Those that cannot be had are remembered.  Never raises what git says.
    """
    way = facts.head, facts.target
    if facts.target in {None, facts.head} or way == memory.supplied or not await may_have_modules(facts.seen.folder):
        return
    assert facts.target is not None, "it was compared with None"
    supply = Supply(None, missing={})
    try:
        await plan_moves(repository, facts.head, facts.target, supply)
    except OperationFailed:
        return  # a damaged one, which the plan tells of by itself
    memory.missing = dict(supply.missing or {})
    memory.supplied = None if memory.missing else way
