"""What a clone's facts mean: pure decisions, from what was seen to a status or a target.

Texts of anomalies that clients know are worded as the API reference words them.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from trio_update.host.git.address import RemoteAddress, read_address
from trio_update.host.git.output import Settings, WorkTree
from trio_update.model import Unknown
from trio_update.text import LINE_SIZE, bounded, moment, named, shorten, without_secrets
from trio_update.updaters.git.facts import Facts, Seen, Tracking
from trio_update.updaters.git.kind import GitRepoConfig, GitStatus

SOURCE_SUFFIXES = (b".py", b".c", b".cpp")


def judge(config: GitRepoConfig, facts: Facts, known: GitStatus, *, debug: bool) -> GitStatus:
    """The status of a clone that git could read."""
    tree, tracking = facts.seen.tree, facts.seen.tracking
    warnings = find_warnings(config, facts.seen, debug=debug)
    sources = [path for path in tree.untracked if path.endswith(SOURCE_SUFFIXES)]
    url = tracking.url if tracking else None
    address = read_address(without_secrets(url)) if url else RemoteAddress("", "")
    version = facts.version
    suffix = ("-dirty" if tree.modified else "") + ("-shallow" if facts.seen.folder.shallow else "")
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
        remote_url=without_secrets(url) if url else no_remote,
        recovery_url=_recovery_url(config, facts.seen.settings),
        owner=address.owner or Unknown("the remote URL names no owner"),
        repo_name=address.repo or Unknown("the remote URL names no repository"),
        branch=facts.seen.folder.branch or config.primary_branch,
        is_dirty=bool(tree.modified),
        pristine=not tree.modified and not sources,
        detached=facts.seen.folder.branch is None,
        commits_behind=facts.commits,
        commits_behind_count=facts.commits_count,
        info_tags=config.info_tags,
        warnings=bounded(warnings),
        anomalies=bounded(find_anomalies(config, facts.seen, sources, debug=debug)),
        hold=config.hold,
        refreshed_at=known.refreshed_at,
        unreachable_since=known.unreachable_since,
    )


def _recovery_url(config: GitRepoConfig, settings: Settings) -> str | Unknown:
    url = settings.remotes().get("origin") or config.origin
    return without_secrets(url) if url else Unknown("neither the clone nor the configuration names an origin")


def find_warnings(config: GitRepoConfig, seen: Seen, *, debug: bool) -> list[str]:
    """What makes an app invalid: updates are refused until it is mended."""
    tree, tracking, folder = seen.tree, seen.tracking, seen.folder
    warnings = []
    if tree.head is None:
        warnings.append("The repository has no commit")
    if tracking is None:
        where = f"branch '{folder.branch}'" if folder.branch else "the detached HEAD"
        warnings.append(f"No tracking remote for {where}")
    elif not tracking.url:
        warnings.append(f"No URL for remote '{tracking.remote}'")
    elif seen.upstream is None:
        warnings.append(not_found(config, tracking, seen.default))
    if folder.branch is None and not debug:
        warnings.append("Detached HEAD detected")
    if tree.modified:
        warnings.append(f"Repo is dirty, modified files: {named(tree.modified)}")
    if tree.ahead and tree.behind:
        warnings.append(f"{_diverged(tree)}. {_way_back(seen)}")
    if folder.unfinished:
        warnings.append(f"An operation was begun and not ended: {', '.join(folder.unfinished)}")
    return warnings


def find_anomalies(config: GitRepoConfig, seen: Seen, sources: Sequence[bytes], *, debug: bool) -> list[str]:
    """What is unexpected, and does not stop updates."""
    tracking, folder, tree = seen.tracking, seen.folder, seen.tree
    anomalies = []
    if tracking is not None and tracking.url and config.origin:
        official = read_address(config.origin)
        if not read_address(tracking.url).same_as(official):
            anomalies.append(f"Unofficial remote url: {without_secrets(tracking.url)}")
        if (tracking.remote, tracking.branch) != ("origin", config.primary_branch):
            anomalies.append(
                f"Repo not on official remote/branch, expected: origin/{config.primary_branch}, "
                f"detected: {tracking.remote}/{tracking.branch}"
            )
    if folder.branch is None and debug:
        anomalies.append("Detached HEAD detected")
    if sources:
        anomalies.append(f"Repo has untracked source files: {named(sources)}")
    if tree.ahead and tree.behind:
        anomalies.append(_diverged(tree))
    if seen.pin is not None and seen.pin.commit is None:
        anomalies.append(f"Pinned commit {config.pinned_commit} is not known to the repo")
    return anomalies


def not_found(config: GitRepoConfig, tracking: Tracking, default: str | None) -> str:
    """That a branch is gone on the remote, and where the project may have gone."""
    told = f"Branch '{tracking.branch}' not found on remote '{tracking.remote}'"
    if default is None:
        return told
    if default == config.primary_branch:
        return f"{told}, its default branch is '{default}': recover the app to go there"
    return f"{told}, its default branch is '{default}': set 'primary_branch: {default}' and recover the app to go there"


def _way_back(seen: Seen) -> str:
    if seen.related:
        return "Recover the app to go to the remote's commits: your own are saved before"
    return (
        "The two have no commit in common, so the remote's history was probably made anew: recover the app to go "
        "there, your own commits are saved before"
    )


def _diverged(tree: WorkTree) -> str:
    return f"Repo has diverged from remote: {tree.ahead} local and {tree.behind} remote commits"


def unreadable(config: GitRepoConfig, known: GitStatus, warning: str, output: str, *, corrupt: bool) -> GitStatus:
    """The status of a clone that git could not read: what was known stays, with what is wrong now."""
    return _replaced(
        known,
        config=config,
        is_valid=False,
        corrupt=corrupt,
        pristine=False,
        warnings=bounded((warning,)),
        git_messages=bounded([line for line in output.splitlines() if line.strip()][-20:]),
        anomalies=(),
        last_error=shorten(warning, LINE_SIZE),
    )


def unreachable(status: GitStatus, why: str, since: float) -> GitStatus:
    """The remote did not answer: nothing that was known is lost, and an anomaly says since when and why."""
    note = shorten(f"Remote not reached since {moment(since)}: {why}", LINE_SIZE)
    return _replaced(
        status,
        anomalies=(*status.anomalies, note),
        git_messages=bounded([line for line in why.splitlines() if line.strip()][-20:]),
        last_error=note,
        unreachable_since=since,
    )


def _replaced(status: GitStatus, *, config: GitRepoConfig | None = None, **changes: object) -> GitStatus:
    if config is not None:
        changes |= {"channel": config.channel, "info_tags": config.info_tags, "hold": config.hold}
    return replace(status, **changes)
