"""What a clone's facts mean: pure decisions, from what was seen to a status or a target.

Texts of anomalies that clients know are worded as the API reference words them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from trio_update.host.git.folder import GitFolder
from trio_update.host.git.output import (
    RemoteAddress,
    Settings,
    Tag,
    WorkTree,
    read_address,
    text,
    without_password,
)
from trio_update.model import Channel, Commit, Unknown
from trio_update.updaters.git.kind import GitRepoConfig, GitStatus
from trio_update.versions import GitVersion, Stage, read_tag

SOURCE_SUFFIXES = (b".py", b".c", b".cpp")
_NAMED = 5


@dataclass(frozen=True)
class Tracking:
    """The branch of a remote that a clone follows; ``url`` is ``None`` when the remote has none."""

    remote: str
    branch: str
    url: str | None

    @property
    def ref(self) -> str:
        return f"refs/remotes/{self.remote}/{self.branch}"


@dataclass(frozen=True)
class Pin:
    """What is known of ``pinned_commit``: its full hash, and whether it lies ahead of HEAD."""

    commit: str | None
    ahead: bool


@dataclass(frozen=True)
class Facts:
    """Everything that was seen of a clone in one look."""

    folder: GitFolder
    settings: Settings
    tree: WorkTree
    tracking: Tracking | None
    upstream: str | None
    target: str | None
    version: GitVersion | None
    target_version: GitVersion | None
    commits: tuple[Commit, ...] = ()
    commits_count: int = 0
    pin: Pin | None = None


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


def choose_tag(channel: Channel, tags: Sequence[Tag]) -> Tag | None:
    """The tag that a channel updates to; ``tags`` newest first.  Tags that are no versions are passed over."""
    lowest = Stage.FINAL if channel is Channel.STABLE else Stage.BETA
    for tag in tags:
        version = read_tag(tag.name)
        if version is not None and version.stage >= lowest:
            return tag
    return None


def judge(config: GitRepoConfig, facts: Facts, known: GitStatus, *, debug: bool) -> GitStatus:
    """The status of a clone that git could read."""
    tree, tracking = facts.tree, facts.tracking
    warnings = find_warnings(config, facts, debug=debug)
    sources = [path for path in tree.untracked if path.endswith(SOURCE_SUFFIXES)]
    url = tracking.url if tracking else None
    address = read_address(url) if url else RemoteAddress("", "")
    version = facts.version
    suffix = ("-dirty" if tree.modified else "") + ("-shallow" if facts.folder.shallow else "")
    no_remote = Unknown("no remote branch is tracked")
    return GitStatus(
        name=config.name,
        channel=config.channel,
        debug_enabled=debug,
        is_valid=not warnings,
        version=version.short if version else Unknown("no commit"),
        remote_version=facts.target_version.short if facts.target_version else no_remote,
        rollback_version=version.short if version else Unknown("no commit"),
        full_version_string=version.full + suffix if version else Unknown("no commit"),
        current_hash=tree.head or Unknown("no commit"),
        remote_hash=facts.target or no_remote,
        remote_alias=tracking.remote if tracking else no_remote,
        remote_url=without_password(url) if url else no_remote,
        recovery_url=_recovery_url(config, facts.settings),
        owner=address.owner or Unknown("the remote URL names no owner"),
        repo_name=address.repo or Unknown("the remote URL names no repository"),
        branch=facts.folder.branch or config.primary_branch,
        is_dirty=bool(tree.modified),
        pristine=not tree.modified and not sources,
        detached=facts.folder.branch is None,
        commits_behind=facts.commits,
        commits_behind_count=facts.commits_count,
        info_tags=config.info_tags,
        warnings=tuple(warnings),
        anomalies=tuple(find_anomalies(config, facts, sources, debug=debug)),
        hold=config.hold,
        refreshed_at=known.refreshed_at,
        unreachable_since=known.unreachable_since,
    )


def _recovery_url(config: GitRepoConfig, settings: Settings) -> str | Unknown:
    url = settings.remotes().get("origin") or config.origin
    return without_password(url) if url else Unknown("neither the clone nor the configuration names an origin")


def find_warnings(config: GitRepoConfig, facts: Facts, *, debug: bool) -> list[str]:
    """What makes an app invalid: updates are refused until it is mended."""
    tree, tracking, folder = facts.tree, facts.tracking, facts.folder
    warnings = []
    if tree.head is None:
        warnings.append("The repository has no commit")
    if tracking is None:
        where = f"branch '{folder.branch}'" if folder.branch else "the detached HEAD"
        warnings.append(f"No tracking remote for {where}")
    elif not tracking.url:
        warnings.append(f"No URL for remote '{tracking.remote}'")
    elif facts.upstream is None:
        warnings.append(f"Branch '{tracking.branch}' not found on remote '{tracking.remote}'")
    if folder.branch is None and not debug:
        warnings.append("Detached HEAD detected")
    if tree.modified:
        warnings.append(f"Repo is dirty, modified files: {_names(tree.modified)}")
    if tree.ahead and tree.behind:
        warnings.append(_diverged(tree))
    if folder.unfinished:
        warnings.append(f"An operation was begun and not ended: {', '.join(folder.unfinished)}")
    return warnings


def find_anomalies(config: GitRepoConfig, facts: Facts, sources: Sequence[bytes], *, debug: bool) -> list[str]:
    """What is unexpected, and does not stop updates."""
    tracking, folder, tree = facts.tracking, facts.folder, facts.tree
    anomalies = []
    if tracking is not None and tracking.url and config.origin:
        official = read_address(config.origin)
        if not read_address(tracking.url).same_as(official):
            anomalies.append(f"Unofficial remote url: {without_password(tracking.url)}")
        if (tracking.remote, tracking.branch) != ("origin", config.primary_branch):
            anomalies.append(
                f"Repo not on official remote/branch, expected: origin/{config.primary_branch}, "
                f"detected: {tracking.remote}/{tracking.branch}"
            )
    if folder.branch is None and debug:
        anomalies.append("Detached HEAD detected")
    if sources:
        anomalies.append(f"Repo has untracked source files: {_names(sources)}")
    if tree.ahead and tree.behind:
        anomalies.append(_diverged(tree))
    if facts.pin is not None and facts.pin.commit is None:
        anomalies.append(f"Pinned commit {config.pinned_commit} is not known to the repo")
    return anomalies


def _diverged(tree: WorkTree) -> str:
    return f"Repo has diverged from remote: {tree.ahead} local and {tree.behind} remote commits"


def _names(paths: Sequence[bytes]) -> str:
    shown = ", ".join(text(path) for path in paths[:_NAMED])
    more = len(paths) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown


def unreadable(config: GitRepoConfig, known: GitStatus, warning: str, output: str, *, corrupt: bool) -> GitStatus:
    """The status of a clone that git could not read: what was known stays, with what is wrong now."""
    return _replaced(
        known,
        config=config,
        is_valid=False,
        corrupt=corrupt,
        pristine=False,
        warnings=(warning,),
        git_messages=tuple(line for line in output.splitlines() if line.strip())[-20:],
        anomalies=(),
        last_error=warning,
    )


def unreachable(status: GitStatus, why: str, since: float) -> GitStatus:
    """The remote did not answer: nothing that was known is lost, and an anomaly says since when and why."""
    when = datetime.fromtimestamp(since).astimezone().strftime("%Y-%m-%d %H:%M")
    note = f"Remote not reached since {when}: {why}"
    return _replaced(
        status,
        anomalies=(*status.anomalies, note),
        git_messages=tuple(line for line in why.splitlines() if line.strip())[-20:],
        last_error=note,
        unreachable_since=since,
    )


def _replaced(status: GitStatus, *, config: GitRepoConfig | None = None, **changes: object) -> GitStatus:
    if config is not None:
        changes |= {"channel": config.channel, "info_tags": config.info_tags, "hold": config.hold}
    return replace(status, **changes)
