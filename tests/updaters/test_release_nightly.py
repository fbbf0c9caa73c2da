"""A tag that moves: its asset is replaced, and its name stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.releases import (
    KINDS,
    NAME,
    ReleaseSite,
    content_of,
    make_zip,
    program_of,
    release_info,
    status_of,
    write_files,
)
from trio_update.config import HealthCheck
from trio_update.demo.github.server import GitHub, SimAsset
from trio_update.errors import OperationFailed
from trio_update.model import Channel

BROKEN = HealthCheck(command=("false",))


class Nightly(ReleaseSite):
    """An app whose only release is rebuilt under the tag of the name ``nightly``."""

    def built(self, number: int, *, tag: str = "nightly", digest: str | None = "auto") -> SimAsset:
        if self.kind == "executable":
            return SimAsset(name="tool", content=program_of(f"build {number}"), digest=digest)
        files = content_of(tag) | {"build": b"%d" % number, "release_info.json": release_info(tag)}
        return SimAsset(name="app.zip", content=make_zip(files), digest=digest)

    def rebuild(self, number: int, *, tag: str = "nightly", digest: str | None = "auto") -> None:
        self.forget(tag) if "ada/app" in self.github.repos else None
        self.publish(tag, self.built(number, tag=tag, digest=digest), prerelease=tag == "nightly")

    def put(self, number: int, tag: str = "nightly") -> None:
        """As somebody else installs it."""
        if self.kind == "executable":
            described = release_info(tag, asset="tool")
            write_files(self.path, {"tool": program_of(f"build {number}"), "release_info.json": described})
        else:
            info = release_info(tag)
            write_files(self.path, {**content_of(tag), "build": b"%d" % number, "release_info.json": info})

    @property
    def number(self) -> int:
        if self.kind == "executable":
            return int((self.path / "tool").read_bytes().split()[-1])
        return int((self.path / "build").read_bytes())


@pytest.fixture(params=KINDS)
def nightly(request: pytest.FixtureRequest, tmp_path: Path, github: GitHub) -> Nightly:
    site = Nightly(tmp_path, github, request.param)
    site.put(1)
    site.rebuild(1)
    return site


async def test_a_build_that_took_the_place_of_another_is_an_update(nightly: Nightly) -> None:
    """First of one that somebody else installed, then of ours; noticed by a refresh, and over a restart."""
    for number in (2, 3):
        async with nightly.manager(channel=Channel.BETA) as (manager, _):
            assert (status_of(manager).version, status_of(manager).remote_version) == ("nightly", "nightly")
            (plan,) = await manager.plan(NAME)
            assert plan.up_to_date
        nightly.rebuild(number)
        async with nightly.manager(channel=Channel.BETA) as (manager, _):
            status = status_of(manager)
            (plan,) = await manager.plan(NAME)
            assert status.version == "nightly"
            assert status.remote_version == f"nightly ({plan.asset_digest.removeprefix('sha256:')[:8]})"
            assert (plan.up_to_date, plan.from_version, plan.to_version) == (False, "nightly", "nightly")
            await manager.upgrade(NAME, who="test", plan_id=plan.plan_id)
            assert nightly.number == number
            assert status_of(manager).remote_version == "nightly"
            assert (await manager.plan(NAME))[0].up_to_date
            nightly.expect_tidy()


@pytest.mark.parametrize("number", [2, 12345])
async def test_without_a_digest_the_size_tells_or_the_time_of_the_upload(nightly: Nightly, number: int) -> None:
    nightly.rebuild(1, digest=None)
    async with nightly.manager(channel=Channel.BETA) as (manager, _):
        nightly.rebuild(number, digest=None)
        await manager.refresh(None)
        assert status_of(manager).remote_version != "nightly"
        await manager.upgrade(NAME, who="test")
        assert nightly.number == number
        await manager.refresh(None)
        assert status_of(manager).remote_version == "nightly"
        # And of what we installed: of a program of the same size the time tells.
        nightly.rebuild(number + 1, digest=None)
        await manager.upgrade(NAME, who="test")
        assert nightly.number == number + 1


async def test_a_version_that_was_published_anew_is_found_by_an_upgrade(nightly: Nightly) -> None:
    nightly.put(1, "v1.0.0")
    nightly.rebuild(1, tag="v1.0.0")
    async with nightly.manager() as (manager, _):
        nightly.rebuild(2, tag="v1.0.0")
        await manager.upgrade(NAME, who="test")
        assert (nightly.number, status_of(manager).version) == (2, "v1.0.0")


async def test_a_build_that_does_not_work_is_undone(nightly: Nightly) -> None:
    async with nightly.manager(channel=Channel.BETA) as (manager, _):
        nightly.rebuild(2)
        await manager.upgrade(NAME, who="test")
    async with nightly.manager(channel=Channel.BETA, health=BROKEN) as (manager, _):
        nightly.rebuild(3)
        with pytest.raises(OperationFailed, match="is back at"):
            await manager.upgrade(NAME, who="test")
        assert nightly.number == 2
        assert str(status_of(manager).remote_version).startswith("nightly (")
        nightly.expect_tidy()


async def test_what_the_user_added_to_a_build_is_saved(nightly: Nightly) -> None:
    if nightly.kind == "executable":
        return
    (nightly.path / "mine.txt").write_bytes(b"mine")
    async with nightly.manager(channel=Channel.BETA) as (manager, _):
        nightly.rebuild(2)
        await manager.upgrade(NAME, who="test")
        assert nightly.saved()["files/mine.txt"] == b"mine"
        (nightly.path / "index.html").write_bytes(b"changed")
        nightly.rebuild(3)
        await manager.upgrade(NAME, who="test")
    assert set(nightly.saved()) == {"files/mine.txt", "files/build", "files/index.html"}


async def test_a_build_with_its_date_in_the_name_of_the_file(nightly: Nightly) -> None:
    if nightly.kind == "executable":
        return
    for number in (1, 2, 3):
        nightly.forget("nightly")
        content = nightly.built(number).content
        nightly.publish("nightly", SimAsset(name=f"app-2026010{number}.zip", content=content), prerelease=True)
        async with nightly.manager(channel=Channel.BETA) as (manager, _):
            assert (status_of(manager).remote_version == "nightly") == (number == 1)
            await manager.upgrade(NAME, who="test")
            assert nightly.number == number


async def test_the_build_of_another_repository_is_no_later_one(nightly: Nightly) -> None:
    """Of an app that moved to a fork, which calls its builds the same."""
    async with nightly.manager(channel=Channel.BETA) as (manager, _):
        info = release_info("nightly", owner="bob", asset="tool" if nightly.kind == "executable" else "")
        (nightly.path / "release_info.json").write_bytes(info)
        nightly.publish("nightly", nightly.built(2), repo="bob/app", prerelease=True)
        for _ in range(2):
            await manager.refresh(None)
            assert status_of(manager).remote_version == "nightly"
