"""Where an update of a clone leads: pure decisions from what was seen of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trio_update.host.git.folder import GitFolder
from trio_update.host.git.output import Settings, Tag
from trio_update.model import Channel
from trio_update.updaters.git.facts import Seen, Tracking
from trio_update.updaters.git.kind import GitRepoConfig
from trio_update.versions import GitVersion, Maturity, read_tag


@dataclass(frozen=True)
class Chosen:
    """Where an update leads: HEAD itself when there is none, ``None`` when that cannot be told.

    ``commit`` may be the ref of the tracked branch: the log of what lies between begins with the commit it means.
    """

    commit: str | None
    tag: Tag | None = None


def track(config: GitRepoConfig, folder: GitFolder, settings: Settings) -> Tracking | None:
    """The remote branch that the clone follows.

    A detached HEAD follows the primary branch of ``origin`` (or of the only remote), so that it still learns of
    updates; a branch without an upstream follows nothing.
    """
    remotes = settings.remotes()
    if folder.branch is not None:
        found = settings.upstream(folder.branch)
        return Tracking(found[0], found[1], remotes.get(found[0])) if found else None
    if "origin" in remotes or len(remotes) == 1:
        remote = "origin" if "origin" in remotes else next(iter(remotes))
        return Tracking(remote, config.primary_branch, remotes[remote])
    return None


def choose_target(channel: Channel, seen: Seen) -> Chosen:
    """The commit that an upgrade goes to: the pinned one if it is ahead, else the channel's newest."""
    head = seen.tree.head
    if seen.pin is not None:
        return Chosen(seen.pin.commit if seen.pin.ahead else head)
    if head is None or seen.upstream is None or seen.tracking is None:
        return Chosen(None)
    if channel is Channel.DEV:
        # Local commits on top of the branch's tip: there is nothing to bring.
        return Chosen(head if seen.tree.ahead and not seen.tree.behind else seen.upstream)
    tag = choose_tag(channel, seen.tags)
    return Chosen(tag.commit, tag) if tag else Chosen(head)


def choose_tag(channel: Channel, tags: Sequence[Tag]) -> Tag | None:
    """The tag that a channel updates to; ``tags`` newest first.  Tags that are no versions are passed over."""
    lowest = Maturity.FINAL if channel is Channel.STABLE else Maturity.BETA
    for tag in tags:
        version = read_tag(tag.name)
        if version is not None and version.maturity >= lowest:
            return tag
    return None


def follows_from_head(seen: Seen, chosen: Chosen, *, tagged: bool) -> bool:
    """Whether the version of the chosen commit can be told from HEAD's; ``tagged``: a commit between them has a tag."""
    return chosen.tag is not None or chosen.commit in {seen.tree.head, None} or not (seen.tree.ahead or tagged)


def version_ahead(version: GitVersion, head: str, chosen: Chosen, commits: int) -> GitVersion | None:
    """The version of the chosen commit, ``commits`` after HEAD, where it follows from HEAD's ``version``.

    Commits after HEAD that carry no tag add to HEAD's distance from its tag and change nothing else, however they are
    merged: git-describe counts the commits that a tag doesn't reach.
    """
    if chosen.commit is None:
        return None
    if chosen.commit == head:
        return version
    if chosen.tag is not None:
        return GitVersion(chosen.tag.name, 0, chosen.commit[:8])
    return replace(version, count=version.count + commits, hash=chosen.commit[:8])
