"""The status stays small enough for every client, whatever upstreams, files and updaters say."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

import trio_update as tu
from tests.support.upstream import Upstream, git
from trio_update.config import AppConfig
from trio_update.engine.bounds import APP_SIZE, bounded_status
from trio_update.progress import Report
from trio_update.updaters.base import Decision, Prepared, Request, WorkArea
from trio_update.updaters.git.kind import GitStatus
from trio_update.updaters.kinds import Kind
from trio_update.web.api.wire import to_wire

MEBIBYTE = 1024 * 1024
# What JSON and HTML make longest: six bytes for each.
LONG = "\x01\"'" * 6000


def wire_length(value: object) -> int:
    return len(msgspec.json.encode(to_wire(value, escaped=True)))


def hostile_history(upstream: Upstream, count: int) -> None:
    """Commits with long messages and many tags, and one with a message of 12 MB."""
    upstream.commit()

    def stream() -> Iterator[bytes]:
        for number in range(count):
            text = ("x" * 12_000_000 if number == count - 3 else LONG).encode()
            author = b"A" * 5000 + b" <a@b> %d +0000" % (1_700_100_000 + number)
            yield b"commit refs/heads/master\nmark :%d\ncommitter %s\n" % (number + 1, author)
            yield b"data %d\n%s\n" % (len(text), text)
            if number == 0:
                yield b"from refs/heads/master^0\n"
            yield b"M 100644 inline n\ndata 4\n%04d\n\n" % number
            yield b"reset refs/tags/v1.%d.%s\nfrom :%d\n\n" % (number, b"t" * 200, number + 1)

    subprocess.run(["git", "fast-import", "--quiet"], cwd=upstream.path, input=b"".join(stream()), check=True)


async def test_whatever_upstream_wrote(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "upstream")
    upstream.commit()
    names = [f"app{number}" for number in range(12)]
    for name in names:
        upstream.clone(tmp_path / name)
        (tmp_path / name / "main.py").write_text("changed")
    hostile_history(upstream, 300)
    apps = tuple(
        tu.GitRepoConfig(name=tu.AppName(name), path=tmp_path / name, origin=upstream.url, channel=tu.Channel.DEV)
        for name in names
    )
    with trio.fail_after(120):
        async with tu.open_manager(tu.Config(apps=apps), data_path=tmp_path / "data") as manager:
            await manager.wait_ready()
            await manager.refresh()
            status = manager.status()
    assert wire_length(status) <= MEBIBYTE
    for app in status.version_info.values():
        assert isinstance(app, GitStatus)
        assert app.commits_behind_count == 301
        assert wire_length(app) <= APP_SIZE
        # The cut is told.
        assert any(commit.subject.endswith("…") for commit in app.commits_behind)
    git(upstream.path, "fsck")


class WildConfig(AppConfig, frozen=True, kw_only=True, tag="wild"):
    pass


class WildStatus(tu.AppStatus, frozen=True, kw_only=True, tag="wild"):
    more: Any = None


@dataclass
class Wild:
    config: WildConfig

    def initial(self) -> WildStatus:
        return WildStatus(name=self.config.name, channel=self.config.channel)

    async def tidy(self) -> tuple[str, ...]:
        return ()

    async def inspect(self, known: tu.AppStatus) -> WildStatus:
        return WildStatus(
            name=known.name,
            channel=known.channel,
            version=LONG,
            warnings=tuple(f"{number} {LONG}" for number in range(60)),
            anomalies=("a\udc80" * 10_000,),
            more={"list": [LONG] * 40, **{f"{number}": {"deep": LONG} for number in range(40)}},
        )

    async def check(self, known: tu.AppStatus) -> WildStatus:
        return await self.inspect(known)

    async def decide(self, request: Request, known: tu.AppStatus, *, fetch: Report | None = None) -> Decision:
        raise tu.OperationFailed("never asked")

    async def prepare(self, decision: Decision, area: WorkArea, report: Report) -> Prepared:
        raise tu.OperationFailed("never asked")


WILD = Kind(
    config=WildConfig, status=WildStatus, options={}, effects=lambda: (), make=lambda config, tools: Wild(config)
)


@pytest.mark.parametrize("count", [1, 25])
async def test_whatever_an_updater_says(tmp_path: Path, count: int) -> None:
    names = [tu.AppName(f"app{number}") for number in range(count)]
    for name in names:
        (tmp_path / name).mkdir()
    config = tu.Config(apps=tuple(WildConfig(name=name, path=tmp_path / name) for name in names))
    with trio.fail_after(60):
        async with tu.open_manager(config, data_path=tmp_path / "data", kinds=[WILD]) as manager:
            await manager.wait_ready()
            status = manager.status()
            assert manager.status() is status
    # As the wire writes what no UTF-8 holds.
    text = str(to_wire(status, escaped=True)).encode("utf-8", "backslashreplace")
    assert len(text) <= MEBIBYTE
    for app in status.version_info.values():
        assert app.warnings[0].startswith("0 ")
        assert app.warnings[0].endswith("…")


def test_what_is_short_is_left_as_it_is() -> None:
    status = WildStatus(name=tu.AppName("app"), channel=tu.Channel.DEV, warnings=("short",), more={"key": [1, None]})
    assert bounded_status(status, APP_SIZE) is status
