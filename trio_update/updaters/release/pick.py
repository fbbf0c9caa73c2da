"""Which release, and which of its assets: pure decisions."""

from __future__ import annotations

from packaging.version import InvalidVersion, Version

from trio_update.errors import OperationFailed
from trio_update.model import AppName, Asset, RemoteRelease
from trio_update.text import named


def same_version(one: str, other: str) -> bool:
    """Whether two versions are one: ``v1.2`` and ``1.2`` are."""
    return _comparable(one) == _comparable(other)


def is_newer(candidate: str, than: str) -> bool:
    """Whether ``candidate`` is an update for ``than``.

    Versions that PEP 440 cannot order (``nightly-7``): any other one is, because the forge says which is its newest.
    """
    if same_version(candidate, than):
        return False
    one, other = _comparable(candidate), _comparable(than)
    return one > other if isinstance(one, Version) and isinstance(other, Version) else True


def is_earlier(candidate: str, than: str) -> bool:
    """Whether going from ``than`` to ``candidate`` is going back; so it is where PEP 440 cannot tell."""
    return is_newer(than, candidate)


def _comparable(version: str) -> Version | str:
    try:
        return Version(version)
    except InvalidVersion:
        return version.strip().removeprefix("v")


def spellings(version: str) -> tuple[str, ...]:
    """The tags that a version may have: as it is, and with or without ``v``."""
    return (version, version[1:] if version.startswith("v") else f"v{version}")


def pick_asset(release: RemoteRelease, app: AppName, asset_name: str) -> Asset:
    """The asset called ``asset_name``; when that is empty ``APP.zip``, or else the only zip.

    Raises: OperationFailed, with the names that there are.
    """
    where = f"release {release.tag} of {release.repo}"
    if not release.assets:
        raise OperationFailed(f"{where} has no assets yet: try again later, or ask its authors")
    wanted = asset_name or f"{app}.zip"
    if exact := [asset for asset in release.assets if asset.name == wanted]:
        return exact[0]
    zips = [] if asset_name else [asset for asset in release.assets if asset.name.lower().endswith(".zip")]
    if len(zips) == 1:
        return zips[0]
    if zips:
        raise OperationFailed(
            f"{where} has several zips and none is called {wanted}, so it is not known which one to take: "
            f"{named([asset.name for asset in zips], 8)}. Set 'asset_name' in the app's release_info.json"
        )
    what = f"asset {asset_name}" if asset_name else "zip"
    raise OperationFailed(f"{where} has no {what}, only {named([asset.name for asset in release.assets], 8)}")
