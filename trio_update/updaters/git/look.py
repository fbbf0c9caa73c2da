"""Looking at a clone: the fewest git commands that tell everything the status needs.

A look is at most: config (only when the clone's config file changed), fetch, status, for-each-ref (not on the dev
channel), log (only when behind), describe.  What is decided from it stands in :mod:`trio_update.updaters.git.target`.
"""

from __future__ import annotations

import dataclasses

from trio_update.errors import CommandFailed, OperationFailed
from trio_update.host.git.command import explain
from trio_update.host.git.folder import GitFolder, survey
from trio_update.host.git.output import CommitLog, Settings, WorkTree, tells_corruption
from trio_update.host.git.repository import Repository
from trio_update.host.threads import in_thread
from trio_update.model import Channel
from trio_update.progress import Report
from trio_update.updaters.git.facts import Facts, Pin, Seen, Tracking
from trio_update.updaters.git.kind import GitRepoConfig
from trio_update.updaters.git.memory import Memory
from trio_update.updaters.git.target import Chosen, choose_target, follows_from_head, track, version_ahead

# A server that counts or compresses objects says so every second; silence for this long means that it is gone.
FETCH_SILENCE = 60.0


class NoRepository(OperationFailed):
    """There is no git repository at the app's path."""


class Corrupt(OperationFailed):
    """git cannot read the repository."""


class Unreachable(OperationFailed):
    """The remote could not be asked; what is known locally is still good."""


async def find_folder(config: GitRepoConfig) -> GitFolder:
    """Raises :class:`NoRepository`."""
    folder = await in_thread(survey, config.path)
    if folder is None:
        raise NoRepository(f"No git repository at {config.path}")
    return folder


async def look(
    config: GitRepoConfig,
    repository: Repository,
    memory: Memory,
    *,
    fetch: Report | None = None,
    submodules: bool = False,
) -> Facts:
    """See everything of the clone; ask its remote first when ``fetch`` is given, which gets git's progress.

    Raises: NoRepository, Corrupt, Unreachable, OperationFailed.
    """
    folder = await find_folder(config)
    if (folder.branch, folder.head) == (None, None):
        raise Corrupt(f"{folder.git_dir / 'HEAD'} cannot be read")
    if not folder.index_whole:
        raise Corrupt(f"{folder.git_dir / 'index'} is missing or damaged")
    try:
        settings = await memory.settings(repository, folder)
        tracking = track(config, folder, settings)
        if fetch is not None and tracking is not None and tracking.url:
            await _ask(repository, tracking, fetch, submodules=submodules)
        seen = await _see(config, repository, folder, settings, tracking)
        return await _compare(repository, memory, seen, choose_target(config.channel, seen))
    except CommandFailed as failed:
        if tells_corruption(failed.output) or "not a git repository" in failed.output:
            raise Corrupt(str(failed)) from failed
        raise


async def _ask(repository: Repository, tracking: Tracking, report: Report, *, submodules: bool) -> None:
    try:
        await repository.fetch(tracking.remote, submodules=submodules, report=report, silence=FETCH_SILENCE)
    except CommandFailed as failed:
        if tells_corruption(failed.output):
            raise
        raise Unreachable(explain(failed, tracking.url or "").output) from failed
    except OperationFailed as failed:
        raise Unreachable(str(failed)) from failed


async def _see(
    config: GitRepoConfig,
    repository: Repository,
    folder: GitFolder,
    settings: Settings,
    tracking: Tracking | None,
) -> Seen:
    tree = await repository.status()
    seen = Seen(folder=folder, settings=settings, tree=tree, tracking=tracking)
    if tree.head is None:
        return seen
    seen = dataclasses.replace(seen, upstream=await _upstream(repository, tree, tracking))
    if config.pinned_commit:
        return dataclasses.replace(seen, pin=await _pin(repository, config.pinned_commit, tree.head))
    if config.channel is Channel.DEV or tracking is None or seen.upstream is None:
        return seen
    return dataclasses.replace(seen, tags=await repository.tags(merged=tracking.ref, contains="HEAD"))


async def _compare(repository: Repository, memory: Memory, seen: Seen, chosen: Chosen) -> Facts:
    """What lies between HEAD and the chosen commit, and how the two are called."""
    head = seen.tree.head
    if head is None:
        return Facts(seen)
    log = CommitLog()
    if chosen.commit is not None and chosen.commit != head:
        log = await repository.log(head, chosen.commit)
    commits = log.commits()
    if seen.tracking is not None and chosen.commit == seen.tracking.ref:
        chosen = dataclasses.replace(chosen, commit=log.tip)
    asked = None if follows_from_head(seen, chosen, tagged=log.tagged) else chosen.commit
    version, target_version = await memory.versions(repository, seen.folder, head, asked)
    return Facts(
        seen,
        target=chosen.commit,
        version=version,
        target_version=target_version or version_ahead(version, head, chosen, log.count),
        commits=commits,
        commits_count=log.count,
    )


async def _upstream(repository: Repository, tree: WorkTree, tracking: Tracking | None) -> str | None:
    """What leads to the tip of the tracked branch, or ``None`` when the branch is gone.

    A commit, or the branch's own ref when git-status has counted commits there that HEAD lacks: the log of these begins
    with the tip, so no process is needed to find it.
    """
    if tracking is None:
        return None
    if tree.upstream is not None and tree.ahead == 0 and tree.behind == 0:
        return tree.head
    # Another name than this one means that the refspec of the remote puts its branches elsewhere.
    if tree.upstream == f"{tracking.remote}/{tracking.branch}" and tree.behind:
        return tracking.ref
    return await repository.resolve(tracking.ref)


async def _pin(repository: Repository, pinned: str, head: str) -> Pin:
    commit = await repository.resolve(pinned)
    if commit is None:
        return Pin(None, ahead=False)
    return Pin(commit, ahead=commit != head and await repository.is_ancestor(head, commit))
