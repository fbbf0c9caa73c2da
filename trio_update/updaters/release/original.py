"""What the installed version brought, when somebody else installed it: its asset, fetched to tell the user's files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trio

from trio_update.errors import FileTrouble, OperationFailed
from trio_update.host.archive.extract import Archive, read_archive
from trio_update.host.files import durable
from trio_update.host.forge.base import Forge, NoSuchRelease, Purpose
from trio_update.host.http.client import Web
from trio_update.host.http.download import Downloaded, download
from trio_update.host.threads import in_thread
from trio_update.model import AppName, Asset, RemoteRelease
from trio_update.progress import Report
from trio_update.updaters.release.obtain import Obtained
from trio_update.updaters.release.pick import pick_asset
from trio_update.versions import spellings


@dataclass(frozen=True)
class Original:
    """The asset of the installed version, verified as far as its forge tells a digest.  Nothing of it is unpacked.

    ``archive`` is ``None`` for a program.
    """

    release: RemoteRelease
    asset: Asset
    file: Downloaded
    archive: Archive | None

    @property
    def obtained(self) -> Obtained:
        """The same as something for the shelf."""
        done, asset = self.file, self.asset
        return Obtained(
            done.path, self.release.tag, asset.name, done.size, done.sha256, done.path.parent, asset.updated
        )


@dataclass(frozen=True)
class Installed:
    """What is known of an app's installed version: where its releases are, and how its asset is called."""

    app: AppName
    repo: str
    version: str
    asset_name: str = ""
    executable: bool = False


async def fetch_original(
    installed: Installed, forge: Forge, web: Web, folder: Path, *, limit: int, report: Report
) -> Original | None:
    """Download the asset of the ``installed`` version into ``folder``, which is made; ``limit`` in bytes.

    ``None`` when it cannot be had (no such release any more, no network, no room), which is told: then all of the
    app's folder has to count as the user's.  What came of a download stays in ``folder``, for the caller's stage.
    Raises: FileTrouble when ``folder`` cannot be made.
    """
    with durable.translated("make", folder):
        await trio.Path(folder).mkdir(parents=True)
    try:
        release = await _release(installed, forge)
        asset = pick_asset(release, installed.app, installed.asset_name)
        report(f"Fetching what {release.tag} brought, to tell apart what you added")
        file = await download(
            web,
            asset.url,
            folder / "asset",
            name=asset.name,
            size=asset.size,
            digest=asset.digest,
            limit=limit,
            report=report,
        )
        archive = None if installed.executable else await in_thread(_judged, file.path, asset.name)
        return Original(release, asset, file, archive)
    except FileTrouble:
        raise
    except OperationFailed as error:
        report(f"What {installed.version} brought cannot be had, so that everything in the folder is kept: {error}")
        return None


async def _release(installed: Installed, forge: Forge) -> RemoteRelease:
    *others, last = spellings(installed.version)
    for tag in others:
        try:
            return await forge.by_tag(installed.repo, tag, purpose=Purpose.JOB)
        except NoSuchRelease:
            continue
    return await forge.by_tag(installed.repo, last, purpose=Purpose.JOB)


def _judged(path: Path, name: str) -> Archive:
    return read_archive(path, name=name)
