"""Which of a release's assets: a pure decision."""

from __future__ import annotations

from trio_update.errors import OperationFailed
from trio_update.model import AppName, Asset, RemoteRelease
from trio_update.text import named


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
