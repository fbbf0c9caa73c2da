"""Looking at a clone: the fewest git commands that tell everything the status needs.

A look is at most: config (only when the clone's config file changed), fetch, status, for-each-ref (not on the dev
channel), log (only when behind), describe.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from trio_update.config import GitRepoConfig
from trio_update.errors import CommandFailed, OperationFailed
from trio_update.host.git.command import explain
from trio_update.host.git.folder import GitFolder, survey
from trio_update.host.git.output import CommitLog, Settings, Tag, WorkTree, tells_corruption
from trio_update.host.git.repair import is_sound
from trio_update.host.git.repository import Report, Repository
from trio_update.host.threads import in_thread
from trio_update.model import Channel
from trio_update.updaters.git.judge import Facts, Pin, Tracking, choose_tag, track
from trio_update.updaters.git.memory import Memory
from trio_update.versions import GitVersion

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
    if folder.lost:
        raise Corrupt(f"{folder.git_dir}: {', '.join(folder.lost)} lost their content")
    if not folder.index_whole:
        raise Corrupt(f"{folder.git_dir / 'index'} is missing or damaged")
    try:
        settings = await memory.settings(repository, folder)
        tracking = track(config, folder, settings)
        if fetch is not None and tracking is not None and tracking.url:
            await _ask(repository, tracking, fetch, submodules=submodules)
        return await _gather(config, repository, memory, folder, settings, tracking)
    except CommandFailed as failed:
        if not await is_sound(repository):
            raise Corrupt(str(failed)) from failed
        raise


async def _ask(repository: Repository, tracking: Tracking, report: Report, *, submodules: bool) -> None:
    try:
        await repository.fetch(tracking.remote, submodules=submodules, report=report, silence=FETCH_SILENCE)
    except CommandFailed as failed:
        # Words are reason enough to ask, which takes a while: the remote may have said them of itself.
        if tells_corruption(failed.output) and not await is_sound(repository):
            raise
        raise Unreachable(explain(failed, tracking.url or "").output) from failed
    except OperationFailed as failed:
        raise Unreachable(str(failed)) from failed


async def _gather(
    config: GitRepoConfig,
    repository: Repository,
    memory: Memory,
    folder: GitFolder,
    settings: Settings,
    tracking: Tracking | None,
) -> Facts:
    tree = await repository.status()
    facts = partial(Facts, folder=folder, settings=settings, tree=tree, tracking=tracking)
    head = tree.head
    if head is None:
        return facts(upstream=None, target=None, version=None, target_version=None)
    upstream = await _upstream(repository, tree, tracking)
    pin = await _pin(repository, config.pinned_commit, head) if config.pinned_commit else None
    tag: Tag | None = None
    if pin is not None:
        target: str | None = pin.commit if pin.ahead else head
    elif upstream is None or tracking is None:
        target = None
    elif config.channel is Channel.DEV:
        target = head if tree.ahead and not tree.behind else upstream
    else:
        tag = choose_tag(config.channel, await repository.tags(merged=tracking.ref, contains="HEAD"))
        target = tag.commit if tag else head
    log = CommitLog()
    if target is not None and target != head:
        log = await repository.log(head, target)
    commits = log.commits()
    if tracking is not None and target == tracking.ref:
        target = log.tip
    inferable = tag is not None or target in {head, None} or not (tree.ahead or log.tagged)
    version, target_version = await memory.versions(repository, folder, head, None if inferable else target)
    if target is not None and target_version is None:
        target_version = _infer(version, head, target, tag, log)
    return facts(
        upstream=upstream,
        target=target,
        version=version,
        target_version=target_version,
        commits=commits,
        commits_count=log.count,
        pin=pin,
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


def _infer(version: GitVersion, head: str, target: str, tag: Tag | None, log: CommitLog) -> GitVersion:
    """The version of the commit that an update leads to, as it follows from HEAD's.

    Commits after HEAD that carry no tag add to HEAD's distance from its tag and change nothing else, however they are
    merged: git-describe counts the commits that a tag doesn't reach.
    """
    if target == head:
        return version
    if tag is not None:
        return GitVersion(tag.name, 0, target[:8])
    return replace(version, count=version.count + log.count, hash=target[:8])
