"""Releases of GitHub, and of Forgejo and Gitea, which answer the same questions in the same words.

https://docs.github.com/rest/releases/releases and https://forgejo.org/docs/latest/user/api-usage
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import unquote, urlencode, urlsplit

import msgspec

from trio_update.host.forge.api import Api, quoted
from trio_update.host.forge.base import NoSuchRelease, Purpose
from trio_update.host.forge.probes import Probes, TagList
from trio_update.host.http.client import Unreachable, shown
from trio_update.model import Asset, RemoteRelease

GITHUB_HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
FORGEJO_HEADERS = {"Accept": "application/json"}

_LISTED = 10
_PLACE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/releases/")
_DIGEST = "sha256:"
Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Asset(msgspec.Struct):
    name: Text
    browser_download_url: Text
    size: Annotated[int, msgspec.Meta(ge=0)] | None = None
    state: str = "uploaded"
    digest: str | None = None


class _Release(msgspec.Struct):
    tag_name: Text
    name: str | None = None
    body: str | None = None
    draft: bool = False
    prerelease: bool = False
    html_url: str = ""
    assets: list[_Asset] = []


@dataclass(frozen=True)
class GitHub:
    """A forge of GitHub's kind.  ``paging`` names the parameter for the number of entries, which differs."""

    api: Api
    probes: Probes
    paging: str = "per_page"

    async def newest(
        self, repo: str, *, prerelease: bool, known: RemoteRelease | None, purpose: Purpose
    ) -> RemoteRelease:
        """As :meth:`.base.Forge.newest`: one request to the API at most, but for a moved repository.

        A release without files is not taken for settled: they are often uploaded after it is published.
        """
        # A job wants the truth: files of a release can be replaced, which no probe tells.
        if purpose is Purpose.JOB:
            return await self._asked(repo, prerelease, purpose)
        if known is not None and not known.assets:
            known = None
        return await (self._beta if prerelease else self._stable)(repo, known)

    async def _stable(self, repo: str, known: RemoteRelease | None) -> RemoteRelease:
        unanswered = False
        if known is not None and not await self.probes.resting("latest", known.repo):
            tag = await self.probes.latest_tag(known.repo)
            if tag == known.tag:
                return known
            unanswered = tag is None
        return await self._instead(repo, False, "latest" if unanswered else "", known.repo if known else repo)

    async def _beta(self, repo: str, known: RemoteRelease | None) -> RemoteRelease:
        place = known.repo if known else repo
        tags: TagList | None = None
        unanswered = False
        if not await self.probes.resting("tags", place):
            tags = await self.probes.tags(place)
            if tags is not None and known is not None and await self.probes.unchanged(place, known.tag, tags):
                return known
            unanswered = tags is None
        release = await self._instead(repo, True, "tags" if unanswered else "", place)
        if tags is not None:
            await self.probes.belongs(release.repo, release.tag, tags)
        return release

    async def _instead(self, repo: str, prerelease: bool, unanswered: str, place: str) -> RemoteRelease:
        """Ask the API because a probe could not tell.  Without a network no probe is to blame for not answering."""
        try:
            return await self._asked(repo, prerelease, Purpose.REFRESH)
        except Unreachable:
            unanswered = ""
            raise
        finally:
            if unanswered:
                await self.probes.rest(unanswered, place)

    async def _asked(self, repo: str, prerelease: bool, purpose: Purpose) -> RemoteRelease:
        path = f"{_path(repo)}/releases"
        missing = f"{self._where(repo)} has no release, or there is no such repository: check `repo`"
        if not prerelease:
            missing += "; where there are pre-releases only, `channel: beta` takes them"
            found = await self.api.ask(f"{path}/latest", _Release, purpose=purpose, missing=missing)
            return self._release(repo, found, missing)
        query = urlencode({self.paging: _LISTED})
        listed = await self.api.ask(f"{path}?{query}", list[_Release], purpose=purpose, missing=missing)
        published = next((release for release in listed if not release.draft), None)
        if published is None:
            raise NoSuchRelease(missing)
        return self._release(repo, published, missing)

    async def by_tag(self, repo: str, tag: str, *, purpose: Purpose) -> RemoteRelease:
        """As :meth:`trio_update.host.forge.base.Forge.by_tag`."""
        missing = f"{self._where(repo)} has no published release {tag}: it may have been deleted"
        path = f"{_path(repo)}/releases/tags/{quoted(tag)}"
        return self._release(repo, await self.api.ask(path, _Release, purpose=purpose, missing=missing), missing)

    def _release(self, repo: str, found: _Release, missing: str) -> RemoteRelease:
        if found.draft:
            raise NoSuchRelease(missing)
        return RemoteRelease(
            repo=_place(found.html_url) or repo,
            tag=found.tag_name,
            title=found.name or "",
            notes=found.body or "",
            prerelease=found.prerelease,
            assets=tuple(_asset(asset) for asset in found.assets if asset.state == "uploaded"),
        )

    def _where(self, repo: str) -> str:
        return f"{repo} at {shown(self.probes.site)}"


def _path(repo: str) -> str:
    owner, _, name = repo.partition("/")
    return f"/repos/{quoted(owner)}/{quoted(name)}"


def _place(page: str) -> str:
    """``owner/name`` of the repository that a release's page belongs to; empty when the address doesn't tell."""
    found = _PLACE.search(urlsplit(page).path)
    return unquote(found["repo"]) if found else ""


def _asset(found: _Asset) -> Asset:
    digest = found.digest or ""
    # Another kind of hash cannot be checked, and a size can; a false sha256 fails the download, as it should.
    digest = digest.lower() if digest.lower().startswith(_DIGEST) else ""
    return Asset(name=found.name, url=found.browser_download_url, size=found.size, digest=digest)
