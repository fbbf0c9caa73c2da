"""Whatever takes long can be aborted in its middle, and the app is as it was."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.support.releases import behind, photo
from trio_update.demo.github.server import GitHub
from trio_update.engine.manager import Manager
from trio_update.errors import Aborted
from trio_update.model import JobState

KEPT, STAGE = "apps/.app.trio-update/version-*", "apps/.app.trio-update.*"
# What is under way, by the files that are open then: what is asked for, and which kind of app it takes.
STEPS = {
    "reading what is kept": ([f"read {KEPT}/asset"], "rollback", "web"),
    "reading what is brought back": ([f"read {KEPT}/asset"], "recover", "web"),
    "unpacking, by files": ([f"read {STAGE}/new/asset", f"read {STAGE}/tree"], "upgrade", "web"),
    "unpacking, by pieces": (
        [f"read {STAGE}/new/asset", f"read {STAGE}/tree", f"write {STAGE}/tree/*"],
        "upgrade",
        "web",
    ),
    "comparing": ([f"made {STAGE}/tree"], "rollback", "web"),
    "keeping what somebody installed, by files": (
        ["read apps/app", f"write {STAGE}/packed/asset"],
        "first upgrade",
        "web",
    ),
    "keeping what somebody installed, by pieces": (
        ["read apps/app", "read apps/app/*.*", f"write {STAGE}/packed/asset"],
        "first upgrade",
        "web",
    ),
    "reading what was packed": ([f"read {STAGE}/packed/asset"], "first upgrade", "web"),
    "copying a program": (["read apps/app/*/new/asset", "write apps/app/*/tree/tool"], "upgrade", "executable"),
}


def under_way(folder: Path) -> list[str]:
    """What this process reads and writes below ``folder``; when it does neither, which folder it has made."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            details = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
        except FileNotFoundError:  # the one that lists them
            continue
        if path.is_relative_to(folder / "apps"):
            flags = int(details.partition("flags:")[2].split()[0], 8)
            found.append(f"{'read' if flags & os.O_ACCMODE == os.O_RDONLY else 'write'} {path.relative_to(folder)}")
    made = [f"made {path.relative_to(folder)}" for path in (folder / "apps").glob(".*/tree")]
    return sorted(found) or made


def is_like(seen: list[str], wanted: list[str]) -> bool:
    return len(seen) == len(wanted) and all(map(fnmatch, seen, wanted))


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
    wanted, what, kind = STEPS[step]
    site = behind(tmp_path, github, kind)
    reached: list[list[str]] = []
    check_cancelled = trio.from_thread.check_cancelled
    async with site.manager() as (manager, _), trio.open_nursery() as nursery:
        if what != "first upgrade":
            await manager.upgrade("app", who="test")
            site.publish("v3.0.0")
            await manager.refresh(None)
        else:
            site.forget("v1.0.0")

        def check() -> None:
            """Called where a thread asks whether it was cancelled: the moment to abort the job."""
            # Once more before the switch, which comes too late to show that preparing can be aborted.
            preparing = manager.job().state is JobState.PREPARING
            if preparing and not reached and is_like(seen := under_way(tmp_path), wanted):
                reached.append(seen)
                trio.from_thread.run_sync(lambda: nursery.start_soon(manager.abort))
                trio.from_thread.run(trio.testing.wait_all_tasks_blocked)
                with pytest.raises(trio.Cancelled):
                    check_cancelled()
            check_cancelled()

        monkeypatch.setattr(trio.from_thread, "check_cancelled", check)
        before = photo(site.folder / "apps")
        with pytest.raises(Aborted):
            await act(manager, what)
        assert len(reached) == 1
    assert photo(site.folder / "apps") == before
    site.expect_tidy()
