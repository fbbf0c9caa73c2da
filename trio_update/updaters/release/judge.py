"""From what was seen of a release app to its status: a pure decision."""

from __future__ import annotations

from msgspec.structs import replace

from trio_update.errors import OperationFailed
from trio_update.model import Asset, Channel, RemoteRelease, Unknown
from trio_update.text import moment, named
from trio_update.updaters.place import nothing_to_install, will_install
from trio_update.updaters.release.first import choose_asset
from trio_update.updaters.release.goal import is_published_anew, record_of_installed
from trio_update.updaters.release.kind import Assumed, ReleaseConfig, ReleaseStatus
from trio_update.updaters.release.look import Look
from trio_update.updaters.release.pick import is_update
from trio_update.versions import ABSENT_VERSION, NOT_INSTALLED, is_earlier, same_version


def initial_status(config: ReleaseConfig, *, debug: bool) -> ReleaseStatus:
    """What is known before anything was looked at."""
    unseen = Unknown("not looked at yet")
    owner, _, name = config.repo.partition("/")
    return config.status(
        name=config.name,
        channel=config.channel,
        channel_invalid=config.channel is Channel.DEV,
        debug_enabled=debug,
        owner=owner,
        repo_name=name,
        version=unseen,
        remote_version=unseen,
        rollback_version=unseen,
        info_tags=config.info_tags,
        hold=config.hold,
    )


def judge(
    config: ReleaseConfig,
    seen: Look,
    known: ReleaseStatus,
    remote: RemoteRelease | None,
    *,
    debug: bool,
    published: float | None = None,
) -> ReleaseStatus:
    """The status of an app that was looked at; ``remote`` is the newest release of its channel, if it is known.

    ``published``: when the installed version was, in unix seconds, where only that can tell which is the later one.
    """
    fresh = initial_status(config, debug=debug)
    owner, _, name = repo_of(config, seen).partition("/")
    if seen.vacancy is not None:
        return _absent(config, seen, known, remote, fresh)
    warnings = (*seen.obstacles, *((seen.broken,) if seen.broken else ()))
    version = seen.info.version if seen.info is not None else Unknown(seen.broken or "; ".join(seen.obstacles))
    kept = tuple(kept.record.version for kept in seen.kept if kept.record.version != version)
    asset = _asset_of(config, seen, remote)
    theirs = f"{known.owner}/{known.repo_name}" == repo_of(config, seen)
    assumed = _assumed(seen, known.assumed if theirs else None, remote, asset)
    earlier = [one for one in kept if isinstance(version, str) and is_earlier(one, version)]
    return replace(
        fresh,
        owner=owner,
        repo_name=name,
        version=version,
        remote_version=(
            _named_anew(remote, asset)
            if remote is not None and asset is not None and is_published_anew(seen, remote, asset, assumed)
            else _remote_version(version, remote, published)
        ),
        rollback_version=earlier[-1] if earlier else version,
        is_valid=not warnings,
        warnings=warnings,
        anomalies=tuple(_anomalies(config, seen, remote, published)),
        remote=remote,
        remote_title=remote.title if remote is not None else "",
        kept_versions=kept,
        assumed=assumed,
        refreshed_at=known.refreshed_at,
    )


def _absent(
    config: ReleaseConfig, seen: Look, known: ReleaseStatus, remote: RemoteRelease | None, fresh: ReleaseStatus
) -> ReleaseStatus:
    """Of an app that is not there; see :data:`~trio_update.versions.ABSENT_VERSION` for why it is valid."""
    remote_version = remote.tag if remote is not None else Unknown("the releases have not been asked for yet")
    told = seen.obstacles
    if isinstance(remote_version, Unknown) and not told:
        told = (nothing_to_install(config.path, remote_version.reason),)
    return replace(
        fresh,
        installed=False,
        version=ABSENT_VERSION,
        remote_version=remote_version,
        rollback_version=Unknown(NOT_INSTALLED),
        is_valid=not told,
        warnings=told,
        anomalies=(
            *(() if told else (will_install(config.name, config.path),)),
            *_anomalies(config, seen, remote, None),
        ),
        remote=remote,
        remote_title=remote.title if remote is not None else "",
        kept_versions=tuple(kept.record.version for kept in seen.kept),
        refreshed_at=known.refreshed_at,
    )


def repo_of(config: ReleaseConfig, seen: Look) -> str:
    """Where to look for releases: what the app says wins over the configuration."""
    return seen.info.repo if seen.info is not None else config.repo


def lacks_asset(config: ReleaseConfig, seen: Look, release: RemoteRelease) -> str:
    """Why a release cannot be installed; empty when it can."""
    try:
        choose_asset(config, seen, release)
    except OperationFailed as error:
        return str(error)
    return ""


def _asset_of(config: ReleaseConfig, seen: Look, release: RemoteRelease | None) -> Asset | None:
    try:
        return choose_asset(config, seen, release) if release is not None else None
    except OperationFailed:
        return None


def _assumed(seen: Look, known: Assumed | None, remote: RemoteRelease | None, asset: Asset | None) -> Assumed | None:
    """What somebody else installed is taken for what its release held when that was first looked at."""
    if seen.info is None or record_of_installed(seen) is not None:
        return None
    if known is not None and known.version == seen.info.version:
        return known
    if remote is None or asset is None or not same_version(remote.tag, seen.info.version):
        return None
    return Assumed(version=seen.info.version, asset=asset)


def _named_anew(release: RemoteRelease, asset: Asset) -> str:
    """Clients go by names: of two builds with one tag the new one needs another."""
    return f"{release.tag} ({asset.digest.removeprefix('sha256:')[:8] or asset.updated or f'{asset.size} bytes'})"


def _remote_version(version: str | Unknown, remote: RemoteRelease | None, published: float | None) -> str | Unknown:
    if remote is None:
        return Unknown("the releases have not been asked for yet")
    # Ahead of its channel, as after a change from beta to stable: an older version is no update.
    if isinstance(version, str) and not is_update(remote, version, published):
        return version
    return remote.tag


def _anomalies(config: ReleaseConfig, seen: Look, remote: RemoteRelease | None, published: float | None) -> list[str]:
    found = []
    repo = repo_of(config, seen)
    if config.channel is Channel.DEV:
        found.append("Channel 'dev' does not exist for this type of app, 'stable' is used: set 'channel'")
    if repo.lower() != config.repo.lower():
        found.append(f"The installed release is of {repo}, configured is {config.repo}: {repo} is used")
    if remote is not None and remote.repo.lower() != repo.lower():
        found.append(f"The project has moved from {repo} to {remote.repo}: set 'repo'")
    wanted = seen.vacancy is not None
    if remote is not None and seen.info is not None:
        wanted = is_update(remote, seen.info.version, published)
    update = remote if wanted else None
    if update is not None and (why := lacks_asset(config, seen, update)):
        found.append(f"There is an update that cannot be installed: {why}")
    if seen.damage:
        found.append(f"Files are missing or changed, a recovery brings them back: {named(seen.damage)}")
    return found


def with_trouble(status: ReleaseStatus, trouble: str) -> ReleaseStatus:
    """The same, telling why the forge is asked without the token that was configured; the app is no worse for it."""
    if not trouble:
        return status
    return replace(status, anomalies=(*status.anomalies, f"The releases are asked for without a token: {trouble}"))


def unreachable(status: ReleaseStatus, why: str, since: float) -> ReleaseStatus:
    """The same with what is wrong with the remote; nothing that was known is lost."""
    at = moment(since)
    anomaly = f"The releases could not be asked for since {at}: {why}"
    return replace(status, anomalies=(*status.anomalies, anomaly), last_error=why, unreachable_since=since)
