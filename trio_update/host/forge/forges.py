"""All forges of a configuration: GitHub, and whatever `forge_url` names."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import trio

from trio_update.errors import OperationFailed
from trio_update.host.forge.api import Api
from trio_update.host.forge.base import Forge, Forges, Purpose, RateLimited
from trio_update.host.forge.github import FORGEJO_HEADERS, GITHUB_HEADERS, GitHub
from trio_update.host.forge.gitlab import GITLAB_HEADERS, GitLab
from trio_update.host.forge.memory import Memory
from trio_update.host.forge.probes import Probes
from trio_update.host.forge.token import TokenFile
from trio_update.host.http.client import Unreachable, Web
from trio_update.host.processes.runner import Runner
from trio_update.host.store import Store
from trio_update.model import RateLimit, RemoteRelease

_FORGEJO = "forgejo"
_GITLAB = "gitlab"


class _Version(msgspec.Struct):
    """Answer of Forgejo's and Gitea's ``/api/v1/version``."""

    version: str


@asynccontextmanager
async def open_forges(
    store: Store,
    web: Web,
    runner: Runner,
    *,
    github_api_url: str,
    github_url: str,
    token_file: Path | None = None,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Forges]:
    """The forges, with what they said before the last restart.

    GitHub is at these two addresses, and is told the token of ``token_file``.  ``clock`` tells unix seconds; it may be
    wrong.
    """
    parts = _Parts(web, Memory(store), runner, clock)
    token = TokenFile(token_file) if token_file is not None else None
    api = parts.api(github_api_url, GITHUB_HEADERS, token=token)
    await api.load()
    yield _Forges(parts, GitHub(api, parts.probes(github_url)), github_url)


@dataclass
class _Parts:
    """What every forge is made of; those at one host share one lock."""

    web: Web
    memory: Memory
    runner: Runner
    clock: Callable[[], float]
    turns: dict[str, trio.Lock] = field(default_factory=dict)

    def api(self, base: str, headers: dict[str, str], *, token: TokenFile | None = None, advises: bool = True) -> Api:
        turn = self.turns.setdefault(urlsplit(base).netloc.lower(), trio.Lock())
        return Api(base, self.web, self.memory, turn, self.clock, headers, token, advises)

    def probes(self, site: str) -> Probes:
        return Probes(site, self.web, self.memory, self.runner, self.clock)


@dataclass
class _Forges:
    """Implementation of :class:`trio_update.host.forge.base.Forges`."""

    parts: _Parts
    github: GitHub
    github_url: str
    others: dict[str, Forge] = field(default_factory=dict)

    def forge(self, url: str) -> Forge:
        url = url.rstrip("/")
        if url in {"", self.github_url}:
            return self.github
        if url not in self.others:
            self.others[url] = _Undecided(url, self.parts)
        return self.others[url]

    def budget(self) -> RateLimit | None:
        budget = self.github.api.budget
        return None if budget is None else budget.seen

    async def trouble(self) -> str:
        return await self.github.api.trouble()


class _Undecided:
    """A forge of which only the address is known.  Asked once, what it is is kept in the store."""

    def __init__(self, site: str, parts: _Parts) -> None:
        self._site = site
        self._memory = parts.memory
        self._forgejo = parts.api(f"{site}/api/v1", FORGEJO_HEADERS, advises=False)
        self._kinds: dict[str, Forge] = {
            _FORGEJO: GitHub(self._forgejo, parts.probes(site), paging="limit"),
            _GITLAB: GitLab(parts.api(f"{site}/api/v4", GITLAB_HEADERS, advises=False), site),
        }
        self._deciding = trio.Lock()
        self._kept = ""

    async def newest(
        self, repo: str, *, prerelease: bool, known: RemoteRelease | None, purpose: Purpose, installed: str = ""
    ) -> RemoteRelease:
        async with self._decided(purpose) as forge:
            return await forge.newest(repo, prerelease=prerelease, known=known, purpose=purpose, installed=installed)

    async def by_tag(self, repo: str, tag: str, *, purpose: Purpose) -> RemoteRelease:
        async with self._decided(purpose) as forge:
            return await forge.by_tag(repo, tag, purpose=purpose)

    @asynccontextmanager
    async def _decided(self, purpose: Purpose) -> AsyncIterator[Forge]:
        async with self._deciding:
            kind = self._kept or await self._kind(purpose)
        yield self._kinds[kind]
        # "No Forgejo" may have been the answer of a login page: only what answered as it should is kept.
        await self._keep(kind)

    async def _kind(self, purpose: Purpose) -> str:
        kind = await self._memory.recall(self._key, str)
        if kind in self._kinds:
            self._kept = kind
            return kind
        try:
            await self._forgejo.ask("/version", _Version, purpose=purpose, missing="")
        except (RateLimited, Unreachable):
            raise
        except OperationFailed:
            return _GITLAB
        await self._keep(_FORGEJO)
        return _FORGEJO

    async def _keep(self, kind: str) -> None:
        if self._kept != kind:
            self._kept = kind
            await self._memory.keep(self._key, kind)

    @property
    def _key(self) -> str:
        return f"kind:{self._site}"
