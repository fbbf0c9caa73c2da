"""Where an update of a clone leads: pure decisions from what was seen of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from trio_update.host.git.folder import GitFolder
from trio_update.host.git.output import Settings, Tag
from trio_update.model import Channel
from trio_update.updaters.git.facts import Seen, Tracking
from trio_update.updaters.git.kind import GitRepoConfig
from trio_update.versions import GitVersion, Maturity, TagVersion, read_tag


@dataclass(frozen=True)
class Chosen:
    """Where an update leads: HEAD itself when there is none, ``None`` when that cannot be told."""

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
    tag = choose_tag(channel, seen.tags, seen.version)
    return Chosen(tag.commit, tag) if tag else Chosen(head)


def choose_tag(channel: Channel, tags: Sequence[Tag], installed: GitVersion | None = None) -> Tag | None:
    """The tag with the greatest version that the channel takes; ``tags`` newest first, which decides between equals.

    By version and not by date: a tag may be made long after its commit, under a wrong clock, or in the same second as
    another.  Never one that is not above the ``installed`` version.
    """
    lowest = Maturity.FINAL if channel is Channel.STABLE else Maturity.BETA
    read = [(found, tag) for tag in tags if (found := read_name(tag.name)) is not None]
    own = read_name(installed.tag) if installed is not None and not installed.inferred else None
    offered = [(found, tag) for found, tag in _comparable(read, own) if found.version.maturity >= lowest]
    if not offered:
        return None
    best, tag = max(offered, key=lambda pair: pair[0].version.key)
    if own is not None and own.prefix == best.prefix and best.version.key <= own.version.key:
        return None
    return tag


@dataclass(frozen=True)
class Named:
    """A tag's name as a version, and what stands before that (``release-``, ``app/``)."""

    prefix: str
    version: TagVersion


# A word before the number, as in ``release-1.2`` or ``app/v1.2.3``.
_PREFIXED = re.compile(r"(?P<prefix>[A-Za-z][A-Za-z_. +-]*[-_/. ])(?P<version>[vV]?\d.*)")
# ``nightly-2024.01.02`` is a date and no release, whatever it reads as.
_UNFINISHED = re.compile(
    r"(?<![a-z])(?:nightly|daily|weekly|dev|devel|develop|snapshot|canary|edge|test|testing|experimental|unstable|alpha|"
    r"beta|rc|pre|preview|prerelease|wip|ci|build|backup|before|old|archive)(?![a-z])",
    re.IGNORECASE,
)


@lru_cache(maxsize=1 << 14)
def read_name(name: str) -> Named | None:
    """A tag as a version, with or without a word before it; ``None`` when it is none."""
    if (version := read_tag(name)) is not None:
        return Named("", version)
    found = _PREFIXED.fullmatch(name)
    if found is None or _UNFINISHED.search(found["prefix"]):
        return None
    version = read_tag(found["version"])
    return Named(found["prefix"], version) if version is not None else None


def _comparable(read: Sequence[tuple[Named, Tag]], own: Named | None) -> Sequence[tuple[Named, Tag]]:
    """Those of one series: several programs in one repository each count their own versions (``app-1.2``, ``lib-7.0``).

    The installed version's series, or else the one without a word before the number, or else that of the newest tag.
    """
    series = {found.prefix for found, _ in read}
    if own is not None and own.prefix in series:
        wanted = own.prefix
    elif "" in series:
        wanted = ""
    else:
        wanted = read[0][0].prefix if read else ""
    return [pair for pair in read if pair[0].prefix == wanted]


def naming_tags(tags: Sequence[Tag]) -> tuple[Tag, ...]:
    """The tag that names each commit: the greatest version, or else the newest; ``tags`` newest first."""
    best: dict[str, tuple[tuple[object, ...], Tag]] = {}
    for tag in tags:
        found = read_name(tag.name)
        rank = (True, not found.prefix, found.version.key) if found is not None else (False,)
        known = best.get(tag.commit)
        if known is None or rank > known[0]:
            best[tag.commit] = rank, tag
    return tuple(tag for _, tag in best.values())


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
