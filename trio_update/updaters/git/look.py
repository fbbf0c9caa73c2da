"""Looking at a clone: the fewest git commands that tell everything the status needs.

A look is at most: config (only when the clone's config file changed), fetch, status, for-each-ref (only when a ref
changed), rev-list (not on the dev channel; only when behind), log (only when behind), describe (only when HEAD or a tag
changed).  Shallow, diverged and detached clones take a few more.  What is decided from it stands in
:mod:`trio_update.updaters.git.target`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass

from trio_update.errors import CommandFailed, OperationFailed
from trio_update.host.git.command import explain
from trio_update.host.git.contents import status
from trio_update.host.git.folder import GitFolder, survey
from trio_update.host.git.log import CommitLog
from trio_update.host.git.output import Settings, WorkTree, tells_corruption
from trio_update.host.git.refs import Refs
from trio_update.host.git.remote import FETCH_SILENCE, Gone, ask, deepen
from trio_update.host.git.repair import is_sound
from trio_update.host.git.repository import Repository
from trio_update.host.git.transfer import fetch as fetch_refs
from trio_update.host.threads import in_thread
from trio_update.model import Channel
from trio_update.progress import Report
from trio_update.updaters.git.facts import Facts, Pin, Seen, Tracking
from trio_update.updaters.git.kind import GitRepoConfig
from trio_update.updaters.git.memory import Memory, Views
from trio_update.updaters.git.target import (
    Chosen,
    choose_tag,
    choose_target,
    follows_from_head,
    track,
    version_ahead,
)

# By how many commits a shallow clone is deepened, once after the other, to relate its commit to the branch.
_DEEPER = (20, 200)


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
            gone = await ask_remote(repository, folder, settings, tracking, fetch, submodules=submodules)
            memory.answered(tracking, gone)
            if gone is None and config.pinned_commit:
                await _ask_for_pin(config.pinned_commit, repository, tracking, fetch)
        return await _Look(config, repository, memory, folder, settings, tracking, fetch).facts()
    except CommandFailed as failed:
        if not await is_sound(repository):
            raise Corrupt(str(failed)) from failed
        raise


async def ask_remote(
    repository: Repository,
    folder: GitFolder,
    settings: Settings,
    tracking: Tracking,
    report: Report,
    *,
    submodules: bool = False,
) -> Gone | None:
    """Bring the tracked branch and the remote's tags.  Raises: Unreachable; CommandFailed that tells corruption."""
    try:
        return await ask(repository, folder, tracking.followed, settings, report, submodules=submodules)
    except CommandFailed as failed:
        # Words are reason enough to ask, which takes a while: the remote may have said them of itself.
        if tells_corruption(failed.output) and not await is_sound(repository):
            raise
        raise Unreachable(explain(failed, tracking.url or "").output) from failed
    except OperationFailed as failed:
        raise Unreachable(str(failed)) from failed


async def _ask_for_pin(pinned: str, repository: Repository, tracking: Tracking, report: Report) -> None:
    """Bring the other branches too when the pinned commit is on none that is known.

    That it cannot be had is no failure of the look: the pin is shown as unknown.
    """
    if await repository.resolve(pinned) is not None:
        return
    followed = tracking.followed
    with contextlib.suppress(OperationFailed):
        await fetch_refs(
            repository,
            followed.remote,
            refspecs=(f"+refs/heads/*:{followed.space}/pin/*",),
            refmap="",
            tags=False,
            report=report,
            silence=FETCH_SILENCE,
        )


@dataclass
class _Look:
    """One look at a clone that can be read, after its remote was asked."""

    config: GitRepoConfig
    repository: Repository
    memory: Memory
    folder: GitFolder
    settings: Settings
    tracking: Tracking | None
    fetch: Report | None

    async def facts(self) -> Facts:
        """Raises: OperationFailed."""
        tree = await status(self.repository)
        refs = await self.memory.refs(self.repository, self.folder, self.settings, self.tracking)
        views = Views(self.folder, refs)
        try:
            seen = await self._see(tree, refs, views)
            return await self._compare(seen, views, choose_target(self.config.channel, seen))
        finally:
            await views.close()

    async def _see(self, tree: WorkTree, refs: Refs, views: Views) -> Seen:
        seen = Seen(folder=self.folder, settings=self.settings, tree=tree, tracking=self.tracking)
        gone = self.memory.gone(self.tracking)
        if gone is not None:
            return dataclasses.replace(seen, default=gone.default)
        if tree.head is None or refs.tip is None or self.tracking is None:
            return dataclasses.replace(seen, upstream=refs.tip)
        seen = await self._related(tree.head, refs.tip, dataclasses.replace(seen, upstream=refs.tip), refs)
        if self.config.pinned_commit:
            return dataclasses.replace(seen, pin=await _pin(self.repository, self.config.pinned_commit, tree.head))
        if self.config.channel is Channel.DEV or not seen.tree.behind:
            return seen
        return await self._tagged(tree.head, refs.tip, seen, refs, views)

    async def _related(self, head: str, tip: str, seen: Seen, refs: Refs) -> Seen:
        """With the numbers of commits that HEAD and the tip lack of each other."""
        tree, tracking = seen.tree, self.tracking
        assert tracking is not None, "it has a tip"
        if tip == head:
            ahead: int | None = 0
            behind: int | None = 0
        elif refs.own == tip and tree.upstream == f"{tracking.remote}/{tracking.branch}" and tree.ahead is not None:
            ahead, behind = tree.ahead, tree.behind
        else:
            ahead, behind = await self.repository.apart(head, tip)
        related = True
        if ahead and behind:
            related = await self.repository.have_common(head, tip)
            if not related and self.folder.shallow and self.fetch is not None and not self.memory.tried(head, tip):
                related = await self._relate_shallow(head, tip)
                ahead, behind = await self.repository.apart(head, tip)
        tree = dataclasses.replace(tree, ahead=ahead, behind=behind)
        return dataclasses.replace(seen, tree=tree, related=related)

    async def _relate_shallow(self, head: str, tip: str) -> bool:
        """Deepen a shallow clone, only as far as it takes, and not without an end."""
        assert self.tracking is not None and self.fetch is not None, "the caller has looked"
        for commits in _DEEPER:
            try:
                await deepen(self.repository, self.tracking.followed, commits, self.fetch)
            except OperationFailed:
                return False  # without more history the two are unrelated, and that is what is shown
            if await self.repository.have_common(head, tip):
                return True
        return False

    async def _tagged(self, head: str, tip: str, seen: Seen, refs: Refs, views: Views) -> Seen:
        """With the tags that an update may go to."""
        if not seen.tree.ahead and any(tag.commit == tip for tag in refs.tags):
            # Most often the newest version is where the branch is, and the tip contains HEAD: no process is needed.
            self.memory.keep_version(head, views, frozenset([tip]))
            installed = await self.memory.version(self.repository, head, views)
            best = choose_tag(self.config.channel, refs.tags, installed)
            if best is not None and best.commit == tip:
                return dataclasses.replace(seen, tags=(best,), version=installed)
        # Of a diverged clone everything new is told, so that a recovery's user sees where it leads.
        diverged = bool(seen.tree.ahead)
        commits = await self.repository.between(head, tip, descendants=not diverged)
        tags = tuple(tag for tag in refs.tags if tag.commit in commits)
        self.memory.keep_version(head, views, commits)
        version = await self.memory.version(self.repository, head, views) if tags else None
        return dataclasses.replace(seen, tags=tags, version=version)

    async def _compare(self, seen: Seen, views: Views, chosen: Chosen) -> Facts:
        """What lies between HEAD and the chosen commit, and how the two are called."""
        head = seen.tree.head
        if head is None:
            return Facts(seen)
        log = CommitLog()
        if chosen.commit is not None and chosen.commit != head:
            log = await self.repository.log(head, chosen.commit, environ=await views.remote.environ())
        commits = log.commits()
        asked = None if follows_from_head(seen, chosen, tagged=log.tagged) else chosen.commit
        version, target_version = await self.memory.versions(self.repository, head, views, asked)
        return Facts(
            seen,
            target=chosen.commit,
            version=version,
            target_version=target_version or version_ahead(version, head, chosen, log.count),
            commits=commits,
            commits_count=log.count,
        )


async def _pin(repository: Repository, pinned: str, head: str) -> Pin:
    commit = await repository.resolve(pinned)
    if commit is None:
        return Pin(None, ahead=False)
    return Pin(commit, ahead=commit != head and await repository.is_ancestor(head, commit))
