"""Releases of GitHub, and of Forgejo and Gitea, which answer the same questions in the same words.

https://docs.github.com/rest/releases/releases and https://forgejo.org/docs/latest/user/api-usage
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, TypeVar
from urllib.parse import unquote, urlencode, urlsplit

import msgspec

from trio_update.host.forge.api import Api, quoted
from trio_update.host.forge.base import NoSuchRelease, Purpose
from trio_update.host.forge.probes import Probes, TagList
from trio_update.host.http.client import BadAnswer, Unreachable, shown
from trio_update.logs import get_logger
from trio_update.model import Asset, RemoteRelease
from trio_update.versions import follows, newest_of

GITHUB_HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
FORGEJO_HEADERS = {"Accept": "application/json"}

_LISTED = 30
# Of so many pages some release must be no draft, and no nightly build.
_PAGES = 4
_PLACE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/releases/")
_DIGEST = "sha256:"
_log = get_logger(__name__)
T = TypeVar("T")
Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Asset(msgspec.Struct):
    name: Text
    browser_download_url: Text
    size: Annotated[int, msgspec.Meta(ge=0)] | None = None
    state: str | None = "uploaded"
    digest: str | None = None
    updated_at: str | None = None


class _Release(msgspec.Struct):
    tag_name: Text
    name: str | None = None
    body: str | None = None
    draft: bool | None = False
    prerelease: bool | None = False
    html_url: str | None = ""
    published_at: str | None = None
    # One that cannot be read makes no other useless.
    assets: list[msgspec.Raw] | None = None


@dataclass(frozen=True)
class GitHub:
    """A forge of GitHub's kind.  ``paging`` names the parameter for the number of entries, which differs."""

    api: Api
    probes: Probes
    paging: str = "per_page"

    async def newest(
        self, repo: str, *, prerelease: bool, known: RemoteRelease | None, purpose: Purpose, installed: str = ""
    ) -> RemoteRelease:
        """As :meth:`.base.Forge.newest`: one request to the API at most, but for a moved repository.

        A release without files is not taken for settled: they are often uploaded after it is published.
        """
        # A job wants the truth: files of a release can be replaced, which no probe tells.
        if purpose is Purpose.JOB:
            return await (self._highest(repo, installed, purpose) if prerelease else self._latest(repo, purpose))
        if known is not None and not known.assets:
            known = None
        return await (self._beta(repo, known, installed) if prerelease else self._stable(repo, known))

    async def _stable(self, repo: str, known: RemoteRelease | None) -> RemoteRelease:
        unanswered = False
        if known is not None and not await self.probes.resting("latest", known.repo):
            tag = await self.probes.latest_tag(known.repo)
            if tag == known.tag:
                return known
            unanswered = tag is None
        asking = self._latest(repo, Purpose.REFRESH)
        return await self._instead(asking, "latest" if unanswered else "", known.repo if known else repo)

    async def _beta(self, repo: str, known: RemoteRelease | None, installed: str) -> RemoteRelease:
        place = known.repo if known else repo
        tags: TagList | None = None
        unanswered = False
        if not await self.probes.resting("tags", place):
            tags = await self.probes.tags(place)
            if tags is not None and known is not None and await self.probes.unchanged(place, known.tag, tags):
                return known
            unanswered = tags is None
        asking = self._highest(repo, installed, Purpose.REFRESH)
        release = await self._instead(asking, "tags" if unanswered else "", place)
        if tags is not None:
            await self.probes.belongs(release.repo, release.tag, tags)
        return release

    async def _instead(self, asking: Awaitable[RemoteRelease], unanswered: str, place: str) -> RemoteRelease:
        """Ask the API because a probe could not tell.  Without a network no probe is to blame for not answering."""
        try:
            return await asking
        except Unreachable:
            unanswered = ""
            raise
        finally:
            if unanswered:
                await self.probes.rest(unanswered, place)

    async def _latest(self, repo: str, purpose: Purpose) -> RemoteRelease:
        """What the project itself calls its latest: that it may be a backport is its authors' word, and on its page."""
        missing = f"{self._missing(repo)}; where there are pre-releases only, `channel: beta` takes them"
        found = await self.api.ask(f"{_path(repo)}/releases/latest", _Release, purpose=purpose, missing=missing)
        return self._release(repo, found, missing)

    async def _highest(self, repo: str, installed: str, purpose: Purpose) -> RemoteRelease:
        """The highest version of the list, which GitHub sorts by the dates of commits, drafts of its owner on top."""
        published: list[_Release] = []
        for page in range(1, _PAGES + 1):
            query = urlencode({self.paging: _LISTED} | ({"page": page} if page > 1 else {}))
            listed = await self.api.ask(
                f"{_path(repo)}/releases?{query}", list[msgspec.Raw], purpose=purpose, missing=self._missing(repo)
            )
            read = [release for raw in listed if (release := _read(raw, _Release)) is not None]
            published += [release for release in read if not release.draft]
            if listed and not read:
                raise BadAnswer(f"{self._where(repo)} lists releases that cannot be read: it is no GitHub or Forgejo")
            if len(listed) < _LISTED or any(follows(release.tag_name, installed) for release in published):
                break
        # Stable: those without a date stay where they are, behind.
        published.sort(key=lambda release: _seconds(release.published_at) or 0.0, reverse=True)
        newest = newest_of([release.tag_name for release in published], installed)
        if newest is None:
            raise NoSuchRelease(self._missing(repo))
        return self._release(repo, published[newest], self._missing(repo))

    def _missing(self, repo: str) -> str:
        return f"{self._where(repo)} has no release, or there is no such repository: check `repo`"

    async def by_tag(self, repo: str, tag: str, *, purpose: Purpose) -> RemoteRelease:
        """As :meth:`trio_update.host.forge.base.Forge.by_tag`."""
        missing = f"{self._where(repo)} has no published release {tag}: it may have been deleted"
        path = f"{_path(repo)}/releases/tags/{quoted(tag)}"
        return self._release(repo, await self.api.ask(path, _Release, purpose=purpose, missing=missing), missing)

    def _release(self, repo: str, found: _Release, missing: str) -> RemoteRelease:
        if found.draft:
            raise NoSuchRelease(missing)
        return RemoteRelease(
            repo=_place(found.html_url or "") or repo,
            tag=found.tag_name,
            title=found.name or "",
            notes=found.body or "",
            prerelease=bool(found.prerelease),
            published=_seconds(found.published_at),
            assets=tuple(_assets(found)),
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


def _read(raw: msgspec.Raw, kind: type[T]) -> T | None:
    """One of many; ``None`` for what is not of the shape that it should be, which must not hide the others."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _log.warning("passed over what a forge lists, for it cannot be read: %s", error)
        return None


def _seconds(when: str | None) -> float | None:
    try:
        return datetime.fromisoformat(when).timestamp() if when else None
    except (ValueError, OverflowError):
        return None


def _assets(found: _Release) -> Iterator[Asset]:
    for raw in found.assets or ():
        asset = _read(raw, _Asset)
        if asset is not None and asset.state in {"uploaded", None}:
            yield _asset(asset)


def _asset(found: _Asset) -> Asset:
    digest = found.digest or ""
    # Another kind of hash cannot be checked, and a size can; a false sha256 fails the download, as it should.
    digest = digest.lower() if digest.lower().startswith(_DIGEST) else ""
    return Asset(
        name=found.name, url=found.browser_download_url, size=found.size, digest=digest, updated=found.updated_at or ""
    )
