"""Releases of GitLab: https://docs.gitlab.com/api/releases."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlencode, urlsplit

import msgspec

from trio_update.host.forge.api import Api, quoted
from trio_update.host.forge.base import NoSuchRelease, Purpose
from trio_update.host.forge.github import Text
from trio_update.host.http.client import shown
from trio_update.model import Asset, RemoteRelease
from trio_update.versions import Maturity, read_tag

GITLAB_HEADERS = {"Accept": "application/json"}

# There is no question for the newest final release: it has to be among so many.
_LISTED = 30
_PLACE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/-/releases/")


class _Link(msgspec.Struct):
    name: Text
    url: Text
    direct_asset_url: str | None = None


class _Assets(msgspec.Struct):
    links: list[_Link] = []


class _Links(msgspec.Struct):
    self: str = ""


class _Release(msgspec.Struct):
    tag_name: Text
    name: str | None = None
    description: str | None = None
    upcoming_release: bool = False
    assets: _Assets = msgspec.field(default_factory=_Assets)
    links: _Links = msgspec.field(default_factory=_Links, name="_links")


@dataclass(frozen=True)
class GitLab:
    """The GitLab at ``site``.  Only a tag tells what is a pre-release: GitLab itself has no word for it."""

    api: Api
    site: str

    async def newest(
        self, repo: str, *, prerelease: bool, known: RemoteRelease | None, purpose: Purpose
    ) -> RemoteRelease:
        """As :meth:`.base.Forge.newest`; always one request, out of memory when GitLab says so."""
        missing = f"{self._where(repo)} has no release, or there is no such repository: check `repo` and `forge_url`"
        if not prerelease:
            missing += "; where there are pre-releases only, `channel: beta` takes them"
        query = urlencode({"per_page": _LISTED, "order_by": "released_at", "sort": "desc"})
        found = await self.api.ask(f"{_path(repo)}/releases?{query}", list[_Release], purpose=purpose, missing=missing)
        for release in found:
            if not release.upcoming_release and (prerelease or not _is_prerelease(release.tag_name)):
                return _release(repo, release)
        raise NoSuchRelease(missing)

    async def by_tag(self, repo: str, tag: str, *, purpose: Purpose) -> RemoteRelease:
        """As :meth:`trio_update.host.forge.base.Forge.by_tag`."""
        missing = f"{self._where(repo)} has no release {tag}: it may have been deleted"
        path = f"{_path(repo)}/releases/{quoted(tag)}"
        return _release(repo, await self.api.ask(path, _Release, purpose=purpose, missing=missing))

    def _where(self, repo: str) -> str:
        return f"{repo} at {shown(self.site)}"


def _path(repo: str) -> str:
    return f"/projects/{quoted(repo)}"


def _is_prerelease(tag: str) -> bool:
    version = read_tag(tag)
    return version is not None and version.maturity is not Maturity.FINAL


def _release(repo: str, found: _Release) -> RemoteRelease:
    place = _PLACE.fullmatch(urlsplit(found.links.self).path.rpartition("/")[0] + "/")
    return RemoteRelease(
        repo=unquote(place["repo"]) if place else repo,
        tag=found.tag_name,
        title=found.name or "",
        notes=found.description or "",
        prerelease=_is_prerelease(found.tag_name),
        assets=tuple(Asset(name=link.name, url=link.direct_asset_url or link.url) for link in found.assets.links),
    )
