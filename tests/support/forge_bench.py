"""Forges that talk to the stand-in for GitHub, with a clock that the test turns."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from tests.support.http_server import Handler, Site, serving
from trio_update.demo.github.server import GitHub, SimAsset, SimRelease, serve_github
from trio_update.host.forge.base import Forge, Forges, Purpose
from trio_update.host.forge.forges import open_forges
from trio_update.host.http.client import open_web
from trio_update.host.processes.runner import Runner
from trio_update.host.store import open_store
from trio_update.model import RemoteRelease

REPO = "ada/engine"
NOW = 1_800_000_000.0
TOKEN = "ghp_0123456789abcdefABCDEF"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@dataclass
class Clock:
    """A wall clock that stands still until it is set."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    """The stand-in, and how forges are opened on it: the database in ``folder`` stays between two openings."""

    folder: Path
    github: GitHub
    clock: Clock = field(default_factory=Clock)
    token_file: Path | None = None

    @asynccontextmanager
    async def forges(self) -> AsyncIterator[Forges]:
        async with (
            open_store(self.folder / "trio_update.db") as (store, _),
            open_web() as web,
            open_forges(
                store,
                web,
                Runner("test"),
                github_api_url=self.github.api_url,
                github_url=self.github.web_url,
                token_file=self.token_file,
                clock=self.clock,
            ) as forges,
        ):
            yield forges

    def use_token(self, token: str = TOKEN) -> Path:
        self.github.token = token
        self.token_file = self.folder / "token"
        self.token_file.write_text(f"{token}\n")
        self.token_file.chmod(0o600)
        return self.token_file

    @property
    def api_requests(self) -> int:
        return len(self.github.asked("api"))

    @property
    def quota_spent(self) -> int:
        return sum(request.counted for request in self.github.requests)


@asynccontextmanager
async def opened_bench(folder: Path) -> AsyncIterator[Bench]:
    clock = Clock()
    async with trio.open_nursery() as nursery:
        github = GitHub(clock=clock)
        await nursery.start(serve_github, github)
        yield Bench(folder, github, clock)
        nursery.cancel_scope.cancel()


def release(
    tag: str = "v1.0", *, prerelease: bool = False, draft: bool = False, name: str = "engine.zip"
) -> SimRelease:
    return SimRelease(
        tag=tag,
        title=f"Title {tag}",
        notes="Notes",
        prerelease=prerelease,
        draft=draft,
        assets=[SimAsset(name=name, content=tag.encode())],
    )


async def refresh(
    forge: Forge, known: RemoteRelease | None = None, *, repo: str = REPO, prerelease: bool = False
) -> RemoteRelease:
    return await forge.newest(repo, prerelease=prerelease, known=known, purpose=Purpose.REFRESH)


async def for_job(forge: Forge, *, repo: str = REPO, prerelease: bool = False) -> RemoteRelease:
    return await forge.newest(repo, prerelease=prerelease, known=None, purpose=Purpose.JOB)


GOOD = {"tag_name": "v1", "html_url": f"https://x/{REPO}/releases/tag/v1", "assets": []}


@asynccontextmanager
async def asking(folder: Path, handler: Handler) -> AsyncIterator[tuple[Forges, Site]]:
    """Forges for which ``handler`` answers, whichever is asked."""
    async with serving(handler) as site, open_store(folder / "db") as (store, _), open_web() as web:
        here = site.url("")
        async with open_forges(store, web, Runner("test"), github_api_url=here, github_url=here) as forges:
            yield forges, site
