"""The status of a clone stays small, whatever names and messages it holds."""

from __future__ import annotations

import msgspec

from tests.support.upstream import Bench, git, status_of
from tests.updaters.test_git_update import ready
from trio_update.web.api.wire import to_wire


async def test_a_status_is_bounded_whatever_files_are_called(bench: Bench) -> None:
    deep = "/".join(["\x01" * 250] * 12)
    for folder in ("a", "b", "c", "d", "e", "f"):
        (bench.path / folder / deep).mkdir(parents=True)
        (bench.path / folder / deep / ("\x02" * 240 + ".py")).write_text("x")
    git(bench.path, "add", *("abc"))
    git(bench.path, "commit", "-qm", "mine")
    for folder in "abc":
        (bench.path / folder / deep / ("\x02" * 240 + ".py")).write_text("y")
    async with ready(bench) as manager:
        status = status_of(manager)
        assert status.warnings
        assert status.anomalies
        assert len(msgspec.json.encode(to_wire(status, escaped=True))) < 100 * 1024


async def test_a_refresh_that_fails_at_length_is_bounded(bench: Bench) -> None:
    async with ready(bench) as manager:
        bench.git("config", "remote.origin.url", "file:///nowhere/" + "\x03" * 3000)
        await manager.refresh("app")
        status = status_of(manager)
        assert status.last_error
        assert len(msgspec.json.encode(to_wire(status, escaped=True))) < 100 * 1024
