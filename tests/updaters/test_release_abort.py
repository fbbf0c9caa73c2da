"""Whatever takes long can be aborted in its middle, and the app is as it was."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.support.releases import behind, photo
from trio_update.demo.github.server import GitHub
from trio_update.engine.manager import Manager
from trio_update.errors import Aborted
from trio_update.updaters.release import files as release_files
from trio_update.updaters.release import keep as release_keep
from trio_update.updaters.release import obtain as release_obtain

# What is under way, by the function that does it: what is asked for, and which kind of app it takes.
STEPS = {
    "reading what is kept": ("sha256_of", "rollback", "web"),
    "reading what is brought back": ("sha256_of", "recover", "web"),
    "unpacking, by files": ("extract", "upgrade", "web"),
    "unpacking, by pieces": ("unpack", "upgrade", "web"),
    "comparing": ("compare", "rollback", "web"),
    "keeping what somebody installed, by files": ("walk", "first upgrade", "web"),
    "keeping what somebody installed, by pieces": ("_pack_file", "first upgrade", "web"),
    "reading what was packed": ("sha256_of", "first upgrade", "web"),
    "copying a program": ("copy_file", "upgrade", "executable"),
}


async def act(manager: Manager, what: str) -> None:
    if what == "rollback":
        await manager.rollback("app", who="test")
    elif what == "recover":
        await manager.recover("app", hard=False, who="test")
    else:
        await manager.upgrade("app", who="test")


@pytest.mark.parametrize("step", STEPS)
async def test_an_abort_in_the_middle_changes_nothing(
    tmp_path: Path, github: GitHub, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    function, what, kind = STEPS[step]
    site = behind(tmp_path, github, kind)
    reached: list[str] = []
    async with site.manager() as (manager, _), trio.open_nursery() as nursery:
        if what != "first upgrade":
            await manager.upgrade("app", who="test")
            site.publish("v3.0.0")
            await manager.refresh(None)
        else:
            site.forget("v1.0.0")

        def check() -> None:
            if sys._getframe(1).f_code.co_name == function and not reached:
                reached.append(function)
                trio.from_thread.run_sync(lambda: nursery.start_soon(manager.abort))
                trio.from_thread.run(trio.testing.wait_all_tasks_blocked)
            trio.from_thread.check_cancelled()

        for module in (release_files, release_keep, release_obtain):
            monkeypatch.setattr(module, "check_cancelled", check)
        before = photo(site.folder / "apps")
        with pytest.raises(Aborted):
            await act(manager, what)
        assert reached == [function]
    assert photo(site.folder / "apps") == before
    site.expect_tidy()
