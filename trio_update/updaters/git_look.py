"""Looking at a clone: the fewest git commands that tell everything the status needs.

A look is at most: config (only when the clone's config file changed), fetch, status, for-each-ref (not on the dev
channel), log (only when behind), describe.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import trio

from trio_update.config import GitRepoConfig
from trio_update.errors import CommandFailed, OperationFailed
from trio_update.host.git import Report, Repository
from trio_update.host.git_command import explain
from trio_update.host.git_folder import GitFolder, survey
from trio_update.host.git_output import CommitLog, Settings, WorkTree, tells_corruption
from trio_update.model import Channel
from trio_update.updaters.git_judge import Facts, Pin, Tracking, choose_tag, track
from trio_update.versions import GitVersion, inferred, read_description

# A server that counts or compresses objects says so every second; silence for this long means that it is gone.
FETCH_SILENCE = 60.0


class NoRepository(OperationFailed):
    """There is no git repository at the app's path."""


class Corrupt(OperationFailed):
    """git cannot read the repository."""


class Unreachable(OperationFailed):
    """The remote could not be asked; what is known locally is still good."""


@dataclass
class SettingsCache:
    """The clone's configuration, read again only when its file is another one: a process less in every look."""

    identity: tuple[int, ...] = ()
    settings: Settings = field(default_factory=Settings)

    async def get(self, repository: Repository, folder: GitFolder) -> Settings:
        if folder.config_identity != self.identity:
            self.settings = await repository.settings(folder)
            self.identity = folder.config_identity
        return self.settings


async def find_folder(config: GitRepoConfig) -> GitFolder:
    """Raises :class:`NoRepository`."""
    folder = await trio.to_thread.run_sync(survey, config.path)
    if folder is None:
        raise NoRepository(f"No git repository at {config.path}")
    return folder


async def look(
    config: GitRepoConfig,
    repository: Repository,
    cache: SettingsCache,
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
        settings = await cache.get(repository, folder)
        tracking = track(config, folder, settings)
        if fetch is not None and tracking is not None and tracking.url:
            await _ask(repository, tracking, fetch, submodules=submodules)
        return await _gather(config, repository, folder, settings, tracking)
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


async def _gather(
    config: GitRepoConfig,
    repository: Repository,
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
    versions = await _versions(repository, [head] if target is None else [head, target])
    return facts(
        upstream=upstream,
        target=target,
        version=versions[0],
        target_version=None if target is None else versions[-1],
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


async def _versions(repository: Repository, commits: list[str]) -> list[GitVersion]:
    """The versions of ``commits``, each described once."""
    wanted = list(dict.fromkeys(commits))
    known: dict[str, GitVersion] = {}
    for commit, line in zip(wanted, await repository.describe(*wanted), strict=True):
        known[commit] = read_description(line) or inferred(await repository.count(commit), commit[:8])
    return [known[commit] for commit in commits]


async def describe(repository: Repository, commit: str) -> str:
    """The short version of one commit."""
    return (await _versions(repository, [commit]))[0].short
