"""Which version a request is about: pure decisions for an upgrade, a rollback, a recovery."""

from __future__ import annotations

from dataclasses import dataclass

from trio_update.errors import Reason, Refusal
from trio_update.model import Asset, RemoteRelease
from trio_update.updaters.base import Rollback
from trio_update.updaters.release.kind import Assumed, ReleaseConfig, ReleaseStatus
from trio_update.updaters.release.look import Look
from trio_update.updaters.release.pick import is_other_asset, is_update, was_replaced
from trio_update.updaters.release.shelf import Kept, Record
from trio_update.versions import is_earlier, same_version


@dataclass(frozen=True)
class Goal:
    """The version that is wanted.

    ``kept``: it is on the shelf.  ``release`` and its ``asset``: as far as they are known.
    """

    version: str
    kept: Kept | None = None
    release: RemoteRelease | None = None
    asset: Asset | None = None


def find_kept(kept: tuple[Kept, ...], version: str) -> Kept | None:
    """What is kept of a version, however it is spelled."""
    return next((one for one in kept if same_version(one.record.version, version)), None)


def upgrade_goal(
    seen: Look,
    release: RemoteRelease,
    asset: Asset | None,
    published: float | None = None,
    assumed: Assumed | None = None,
) -> Goal | None:
    """``None``: the installed version is current.  ``asset``: the one of ``release`` that fits, if there is one.

    ``published``: when the installed version was, where only that can tell.  A kept copy is used when it is what the
    release holds today: a version can be published anew, and is an update then.
    """
    if is_published_anew(seen, release, asset, assumed):
        return Goal(release.tag, release=release, asset=asset)
    if seen.vacancy is None and (seen.info is None or not is_update(release, seen.info.version, published)):
        return None
    kept = find_kept(seen.kept, release.tag)
    same = kept is not None and asset is not None and asset.digest.lower() == f"sha256:{kept.record.sha256}"
    return Goal(release.tag, kept=kept if same else None, release=release, asset=asset)


def is_published_anew(seen: Look, release: RemoteRelease, asset: Asset | None, assumed: Assumed | None) -> bool:
    """Whether ``release`` is the installed one by its tag, and its ``asset`` is another by now, as of a nightly build.

    ``assumed``: what the installed version is taken for, where no record of ours says it.
    """
    if seen.info is None or asset is None or not same_version(release.tag, seen.info.version):
        return False
    if (record := record_of_installed(seen)) is not None:
        return is_other_asset(asset, sha256=record.sha256, size=record.size, updated=record.updated)
    return assumed is not None and assumed.version == seen.info.version and was_replaced(asset, assumed.asset)


def record_of_installed(seen: Look) -> Record | None:
    """What we installed; ``None`` where somebody else did."""
    version = seen.info.version if seen.info is not None else ""
    ours = (one.record for one in seen.kept if one.record.version == version and not one.record.packed)
    return next(ours, None)


def rollback_version(config: ReleaseConfig, seen: Look, request: Rollback) -> str | Refusal:
    """The version that a rollback goes to, or why it cannot."""
    installed = seen.info.version if seen.info is not None else ""
    wanted = request.version or _version_before(seen, request, installed)
    if wanted is None:
        why = f"{config.name} was not updated yet: there is no earlier version to go back to"
    elif same_version(wanted, installed):
        why = f"{config.name} is at {wanted} already"
    elif not is_earlier(wanted, installed):
        why = f"'{wanted}' is no earlier version of {config.name}: use an upgrade"
    else:
        return wanted
    return Refusal(Reason.BAD_VERSION, why)


def _version_before(seen: Look, request: Rollback, installed: str) -> str | None:
    """Where a rollback goes that names no version."""
    # A nightly build that followed on another has the name of that.
    others = [target.version for target in request.earlier if not same_version(target.version, installed)]
    if others:
        return others[-1]
    kept = [one.record.version for one in seen.kept if is_earlier(one.record.version, installed)]
    return kept[-1] if kept else None


def recovery_version(seen: Look, known: ReleaseStatus) -> str | None:
    """The installed version; ``None`` when nothing says which that was."""
    if seen.info is not None:
        return seen.info.version
    if seen.kept:
        return seen.kept[-1].record.version
    return known.version if isinstance(known.version, str) and known.installed else None
