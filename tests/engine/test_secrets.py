"""A secret in the address of a remote stays on this machine: it is in nothing that the manager hands out or logs."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

import msgspec
import pytest
import trio
import trio.testing

from tests.engine.conftest import Listener, Site, git_status
from tests.support.upstream import git
from trio_update.config import Config
from trio_update.engine.manager import Manager
from trio_update.engine.opening import open_manager
from trio_update.errors import TrioUpdateError
from trio_update.events import Event
from trio_update.model import AppName, AppStatus
from trio_update.progress import Report
from trio_update.updaters.base import Request
from trio_update.updaters.git.decision import GitDecision
from trio_update.updaters.git.effects import MoveHead
from trio_update.updaters.git.kind import GitRepoConfig, GitStatus
from trio_update.updaters.git.updater import GitRepo
from trio_update.updaters.kinds import Kind
from trio_update.web.api.wire import Wire

APP = AppName("app")
# Pieces that stand in nothing else, so that half of a secret is found too.
USER_INFOS = {
    "a password with @ and /": ("ada:p@s5zq/w0rdzq", ("s5zq", "w0rdzq")),
    "a bare token": ("t0kenzq", ("t0kenzq",)),
    "no user": (":s3cretzq", ("s3cretzq",)),
}


class Told:
    """Everything that leaves."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self._pieces: list[str] = []

    def add(self, value: object) -> None:
        # Both: what an embedding application sees, and what goes over the wire.
        self._pieces += [repr(value), Wire().text(value)]

    def error(self, error: TrioUpdateError) -> None:
        self._pieces += [str(error), repr(error)]

    def all(self) -> str:
        records = [f"{record.getMessage()} {vars(record)}" for record in self._caplog.records]
        return "\n".join([*self._pieces, self._caplog.text, *records])


async def attempt(told: Told, work: Callable[[], Awaitable[object]]) -> None:
    try:
        told.add(await work())
    except TrioUpdateError as error:
        told.error(error)


async def everything(manager: Manager, told: Told) -> None:
    """Ask for all that there is; what fails must fail without the secret."""
    send, receive = trio.open_memory_channel[Event](1000)
    with manager.hub.attach(send):
        for work in (
            manager.refresh,
            manager.plan,
            partial(manager.upgrade, "app"),
            partial(manager.upgrade, None),
            partial(manager.recover, "app"),
            partial(manager.recover, "app", hard=True),
            partial(manager.rollback, "app"),
            manager.history,
        ):
            await attempt(told, work)
            told.add(manager.status())
        told.add(manager.job())
        for event in Listener(receive).drain():
            told.add(event)


def config_of(site: Site, url: str) -> Config:
    app = GitRepoConfig(name=APP, path=site.folder / "app", origin=url)
    return Config(source=site.folder / "moonraker.conf", apps=(app,))


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    caplog.set_level(logging.DEBUG, logger="trio_update")
    return Told(caplog)


@pytest.mark.parametrize("user", USER_INFOS)
async def test_a_clone_with_a_secret_in_its_remote_tells_it_to_nobody(site: Site, told: Told, user: str) -> None:
    info, pieces = USER_INFOS[user]
    path = await site.add("app", behind=3)
    url = site.server.url("app").replace("://", f"://{info}@")
    git(path, "remote", "set-url", "origin", url)
    # Another official one, so that the anomaly quotes the clone's own.
    async with open_manager(config_of(site, site.server.url("other")), data_path=site.folder / "data") as manager:
        await manager.wait_ready()
        told.add(manager.status())
        await everything(manager, told)
        site.behave("app", status=401)
        await everything(manager, told)
    text = told.all()
    assert "127.0.0.1" in text
    assert "Unofficial remote url" in text
    assert not [piece for piece in pieces if piece in text]
    # The clone itself keeps what it needs.
    assert git(path, "remote", "get-url", "origin") == url


@pytest.mark.parametrize("user", ["a bare token", "no user"])
async def test_an_origin_with_a_secret_is_not_told_before_the_first_clone(site: Site, told: Told, user: str) -> None:
    info, pieces = USER_INFOS[user]
    await site.add("app")
    url = site.server.url("app").replace("://", f"://{info}@")
    (site.folder / "app").rename(site.folder / "away")
    async with open_manager(config_of(site, url), data_path=site.folder / "data") as manager:
        told.add(manager.status())
        await manager.wait_ready()
        told.add(manager.status())
        assert git_status(manager, APP).recovery_url == site.server.url("app")
        await everything(manager, told)
        assert (site.folder / "app" / ".git").is_dir()
    assert not [piece for piece in pieces if piece in told.all()]


class LeakyConfig(GitRepoConfig, frozen=True, kw_only=True, tag="leaky"):
    """A kind of app of another package, whose author has not thought of secrets."""


class LeakyStatus(GitStatus, frozen=True, kw_only=True, tag="leaky"):
    """As that of a clone."""


def leaky(status: GitStatus) -> LeakyStatus:
    return LeakyStatus(**{name: getattr(status, name) for name in LeakyStatus.__struct_fields__})


class Leaky(GitRepo):
    def initial(self) -> GitStatus:
        return leaky(super().initial())

    async def inspect(self, known: AppStatus) -> GitStatus:
        return leaky(await super().inspect(known))

    async def check(self, known: AppStatus) -> GitStatus:
        return leaky(await super().check(known))

    async def decide(self, request: Request, known: AppStatus, *, fetch: Report | None = None) -> GitDecision:
        decision = await super().decide(request, known, fetch=fetch)
        return replace(decision, plan=msgspec.structs.replace(decision.plan, warnings=("https://t0kenzq@x/a",)))


LEAKY = Kind(config=LeakyConfig, status=LeakyStatus, options={}, effects=lambda: (MoveHead,), make=Leaky)


async def test_the_plan_of_a_kind_that_another_package_brings_tells_no_secret(site: Site) -> None:
    await site.add("app")
    app = LeakyConfig(name=APP, path=site.folder / "app", origin=site.server.url("app"))
    config = Config(source=site.folder / "moonraker.conf", apps=(app,))
    async with open_manager(config, kinds=(LEAKY,), data_path=site.folder / "data") as manager:
        await manager.wait_ready()
        (plan,) = await manager.plan("app")
    assert plan.warnings == ("https://x/a",)
