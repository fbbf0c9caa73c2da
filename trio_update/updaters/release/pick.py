"""Which of a release's assets: a pure decision."""

from __future__ import annotations

from msgspec.structs import replace

from trio_update.errors import OperationFailed
from trio_update.model import AppName, Asset, RemoteRelease
from trio_update.text import named
from trio_update.versions import Order, compare


def needs_dates(newest: RemoteRelease, installed: str) -> bool:
    """Whether only a date can tell if the ``newest`` release is an update for the ``installed`` version."""
    return newest.published is not None and compare(newest.tag, installed) is Order.UNKNOWN


def is_update(newest: RemoteRelease, installed: str, published: float | None = None) -> bool:
    """Whether an upgrade goes from ``installed`` to what the forge says is ``newest``.

    Where the names have no order it is one unless it was published earlier than the installed version
    (``published``, in unix seconds, if that is known): an upgrade never goes back.
    """
    order = compare(newest.tag, installed)
    if order is Order.UNKNOWN and newest.published is not None and published is not None:
        return newest.published > published
    return order in {Order.NEWER, Order.UNKNOWN}


def is_other_asset(asset: Asset, *, sha256: str, size: int, updated: str = "") -> bool:
    """Whether the asset of an installed tag is another one by now, as that of a nightly build is each night.

    ``sha256``, ``size`` and ``updated`` are of the one that was installed.  Without a digest the size tells, and then
    the time of the upload where both are known: a file of the same size is the more likely the same.
    """
    if asset.digest:
        return asset.digest.lower() != f"sha256:{sha256.lower()}"
    if asset.size is not None and asset.size != size:
        return True
    return bool(asset.updated and updated) and asset.updated != updated


def was_replaced(asset: Asset, before: Asset) -> bool:
    """Whether an ``asset`` is another one than it was ``before``, as far as the forge tells.

    Its name tells nothing: builds of each night often have their date in it.
    """
    if not before.digest:
        asset = replace(asset, digest="")
    size = before.size if before.size is not None else asset.size or 0
    sha256 = before.digest.lower().removeprefix("sha256:")
    return is_other_asset(asset, sha256=sha256, size=size, updated=before.updated)


def pick_asset(release: RemoteRelease, app: AppName, asset_name: str) -> Asset:
    """The asset called ``asset_name``; when that is empty ``APP.zip``, or else the only zip.

    A name that differs in case alone will do where there is no exact one.

    Raises: OperationFailed, with the names that there are.
    """
    where = f"release {release.tag} of {release.repo}"
    if not release.assets:
        raise OperationFailed(f"{where} has no assets yet: try again later, or ask its authors")
    wanted = asset_name or f"{app}.zip"
    if exact := [asset for asset in release.assets if asset.name == wanted]:
        return exact[0]
    # Projects that rename App.zip to app.zip do not know that somebody counts on the case.
    alike = [asset for asset in release.assets if asset.name.casefold() == wanted.casefold()]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise OperationFailed(
            f"{where} has several assets that differ from {wanted} in case alone, so it is not known which one to "
            f"take: {named([asset.name for asset in alike], 8)}. Set 'asset_name' in the app's release_info.json"
        )
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
