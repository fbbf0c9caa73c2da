"""A clone behind a git server whose manners can be changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.support.raising import Raising
from tests.support.upstream import git
from trio_update.config import Config, UpdateManagerConfig
from trio_update.demo.gitserver import Behaviour, GitServer, serve_git
from trio_update.demo.repos import Upstream, add_commits, clone, make_upstream
from trio_update.engine.gate import MayUpdate
from trio_update.engine.manager import Manager
from trio_update.engine.opening import open_manager
from trio_update.events import Event, JobEnded, JobMessage, JobProgress, StatusChanged, notice_of
from trio_update.model import AppName, Status, Step
from trio_update.updaters.git.kind import GitRepoConfig, GitStatus


@dataclass
class Printer:
    """A host that says no while ``printing``, and remembers what it was asked."""

    printing: bool = False
    asked: list[tuple[AppName | None, Step]] = field(default_factory=list)

    async def __call__(self, app: AppName | None, step: Step) -> str | None:
        self.asked.append((app, step))
        return "A print is running" if self.printing else None


@dataclass
class Listener:
    """Collects what the hub says."""

    receive: trio.MemoryReceiveChannel[Event]

    def drain(self) -> list[Event]:
        events = []
        while True:
            try:
                events.append(self.receive.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                return events

    def shape(self) -> list[tuple[str, bool] | str]:
        """Messages as (application, complete), the status as its name."""
        notices = [notice for event in self.drain() if (notice := notice_of(event)) is not None]
        return [
            "status" if isinstance(notice, StatusChanged) else (notice.application, notice.complete)
            for notice in notices
        ]

    async def until_ended(self) -> Status:
        """The status after the completing message of a job."""
        await self.until_complete()
        return await self.until_status()

    async def until_status(self) -> Status:
        async for event in self.receive:
            if isinstance(event, StatusChanged):
                return event.status
        raise AssertionError("no status came")

    async def until_complete(self) -> None:
        async for event in self.receive:
            if isinstance(event, JobEnded):
                return

    async def until(self, text: str) -> JobMessage:
        async for event in self.receive:
            if isinstance(event, JobProgress | JobEnded) and text in event.line.message:
                return event.line
        raise AssertionError(f"{text!r} was never said")


@dataclass
class Site:
    """Apps on one git server."""

    folder: Path
    server: GitServer
    upstreams: dict[str, Upstream] = field(default_factory=dict)

    async def add(self, name: str, *, behind: int = 3, commits: int = 10) -> Path:
        def make() -> Path:
            upstream = make_upstream(self.folder / "git" / f"{name}.git", commits=commits, tags=())
            self.upstreams[name] = upstream
            return clone(upstream, self.folder / name, url=self.server.url(name), behind=behind)

        return await trio.to_thread.run_sync(make)

    def behave(self, name: str, **manners: Any) -> None:
        self.server.faults[name] = Behaviour(**manners)

    def head(self, name: str) -> str:
        return git(self.folder / name, "rev-parse", "HEAD")

    def tip(self, name: str) -> str:
        return self.upstreams[name].commits()[-1]

    def grow(self, name: str, count: int = 2) -> None:
        add_commits(self.upstreams[name], count)

    def config(self, update_manager: UpdateManagerConfig | None = None, **options: Any) -> Config:
        apps = tuple(self._app(name, options) for name in self.upstreams)
        return Config(
            source=self.folder / "moonraker.conf", apps=apps, update_manager=update_manager or UpdateManagerConfig()
        )

    def _app(self, name: str, options: dict[str, Any]) -> GitRepoConfig:
        values: dict[str, Any] = {
            "name": AppName(name),
            "path": self.folder / name,
            "origin": self.server.url(name),
        }
        return GitRepoConfig(**(values | options))

    @asynccontextmanager
    async def manager(
        self,
        *,
        may_update: MayUpdate | None = None,
        update_manager: UpdateManagerConfig | None = None,
        refresh: bool = True,
        **options: Any,
    ) -> AsyncIterator[tuple[Manager, Listener]]:
        config = self.config(update_manager, **options)
        send, receive = trio.open_memory_channel[Event](1000)
        async with open_manager(config, data_path=self.folder / "data", may_update=may_update) as manager:
            await manager.wait_ready()
            if refresh:
                await manager.refresh(None)
                await trio.testing.wait_all_tasks_blocked()
            with manager.hub.attach(send):
                yield Raising(manager), Listener(receive)


def git_status(manager: Manager, name: AppName) -> GitStatus:
    status = manager.status().version_info[name]
    assert isinstance(status, GitStatus)
    return status


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    (tmp_path / "git").mkdir()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_git, tmp_path / "git"))
        yield Site(tmp_path, server)
        nursery.cancel_scope.cancel()
