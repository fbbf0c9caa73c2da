"""What a start does with what a former server left open."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from tests.engine.conftest import Site, git_status
from tests.support.upstream import git, reap_inherited
from trio_update.config import HealthCheck
from trio_update.engine.journal import Entry, Journal, Phase
from trio_update.engine.opening import open_manager
from trio_update.errors import DataPathHeld, OperationFailed, Reason, Refused, StartFailed
from trio_update.model import AppName, JobId, JobKind, Outcome, Step
from trio_update.updaters.base import Target
from trio_update.updaters.git.effects import MoveHead
from trio_update.updaters.kinds import built_in_kinds, effects_of

ONE = AppName("one")
EFFECTS = effects_of(built_in_kinds())

_UPGRADE = """
import sys, trio
from pathlib import Path
from trio_update import Config, GitRepoConfig, open_manager
from trio_update.config import HealthCheck
folder, url = Path(sys.argv[1]), sys.argv[2]
health = HealthCheck(command=("sh", "-c", "echo > ../reached; sleep 60"), timeout=90)
app = GitRepoConfig(name="one", path=folder / "one", origin=url, health=health)
async def main():
    async with open_manager(Config(source=folder / "c", apps=(app,)), data_path=folder / "data") as manager:
        await manager.wait_ready()
        await manager.upgrade("one", who="victim")
trio.run(main)
"""


@contextmanager
def killed_in_the_health_check(site: Site) -> Iterator[None]:
    """A server that is killed after the switch and before the commit; its health command lives on as an orphan."""
    upstream = site.upstreams["one"].path
    git(site.folder / "one", "remote", "set-url", "origin", str(upstream))
    victim = subprocess.Popen([sys.executable, "-c", _UPGRADE, str(site.folder), str(upstream)])
    try:
        until = time.monotonic() + 20
        while not (site.folder / "reached").exists() and time.monotonic() < until:
            os.sched_yield()
        assert (site.folder / "reached").exists()
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        yield
    finally:
        victim.kill()
        victim.wait()
        git(site.folder / "one", "remote", "set-url", "origin", site.server.url("one"))


def marked_processes(owner: Path) -> list[int]:
    mark = f"TRIO_UPDATE_OWNER={owner}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


async def test_a_killed_upgrade_is_put_back_before_anything_is_served(site: Site) -> None:
    await site.add("one")
    before = site.head("one")
    with killed_in_the_health_check(site):
        assert site.head("one") == site.tip("one")
        assert marked_processes(site.folder / "data")
        async with open_manager(site.config(), data_path=site.folder / "data") as manager:
            assert site.head("one") == before
            assert not marked_processes(site.folder / "data")
            (record,) = await manager.history()
            assert (record.outcome, record.requested_by, record.apps[0].outcome) == (
                Outcome.INTERRUPTED,
                "victim",
                Outcome.INTERRUPTED,
            )
            await manager.wait_ready()
            assert manager.status().version_info[ONE].is_valid
            await manager.upgrade("one", who="again")
            assert manager.job().proc_id == record.proc_id + 1
    assert site.head("one") == site.tip("one")
    reap_inherited()


def entry_of(site: Site, **changes: object) -> Entry:
    path = site.folder / "one"
    old, new = site.head("one"), site.tip("one")
    effect = MoveHead(path=str(path), branch="master", old=old, new=new)
    values: dict[str, object] = {
        "job": JobId(41),
        "kind": JobKind.UPGRADE,
        "app": ONE,
        "requested_by": "before",
        "started": 1.0,
        "phase": Phase.OPEN,
        "effects": (effect,),
        "old": Target("v0.0.0-7", old),
        "new": Target("v0.0.0-10", new),
    }
    return Entry(**(values | changes))  # type: ignore[arg-type]  # one dict of the defaults and what a test changes


def bare_entry(app: AppName) -> Entry:
    return Entry(job=JobId(41), kind=JobKind.UPGRADE, app=app, requested_by="before", started=1.0)


async def write_entry(site: Site, entry: Entry) -> None:
    folder = site.folder / "data" / "trio_update" / "journal"
    folder.mkdir(parents=True, exist_ok=True)
    await Journal(folder, EFFECTS).write(entry)


async def test_a_committed_update_is_finished_and_can_be_rolled_back(site: Site) -> None:
    await site.add("one")
    old = site.head("one")
    await write_entry(site, entry_of(site, phase=Phase.COMMITTED))
    git(site.folder / "one", "pull", "-q", "--ff-only", str(site.upstreams["one"].path))
    async with site.manager() as (manager, _):
        assert manager.status().version_info[ONE].rollback_version == "v0.0.0-7"
        (record,) = await manager.history()
        assert (record.proc_id, record.outcome) == (41, Outcome.SUCCEEDED)
        await manager.rollback("one", who="test")
        assert manager.job().proc_id == 42
    assert site.head("one") == old


class Killed(BaseException):
    """The end of a process, as far as one test can have that."""


async def test_a_start_that_is_killed_behind_the_end_of_an_entry_keeps_the_way_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.add("one")
    old = site.head("one")
    await write_entry(site, entry_of(site, phase=Phase.COMMITTED))
    git(site.folder / "one", "pull", "-q", "--ff-only", str(site.upstreams["one"].path))
    with monkeypatch.context() as patched:
        close = Journal.close

        async def close_and_die(journal: Journal, entry: Entry) -> None:
            await close(journal, entry)
            raise Killed

        patched.setattr(Journal, "close", close_and_die)
        with pytest.raises(Killed):
            async with site.manager(refresh=False):
                raise AssertionError("it was killed before")
    async with site.manager(refresh=False) as (manager, _):
        (record,) = await manager.history()
        assert (record.proc_id, record.outcome, record.requested_by) == (41, Outcome.SUCCEEDED, "before")
        await manager.rollback("one", who="test")
    assert site.head("one") == old


async def test_a_stage_of_a_killed_preparation_is_removed(site: Site) -> None:
    await site.add("one")
    stage = site.folder / ".one.trio-update.41"
    (stage / "half").mkdir(parents=True)
    await write_entry(site, entry_of(site, phase=Phase.PREPARING, effects=(), stages=(str(stage),)))
    async with site.manager() as (manager, _):
        assert not stage.exists()
        assert (await manager.history())[0].outcome is Outcome.INTERRUPTED


async def test_what_was_being_saved_at_a_kill_is_removed_and_nothing_else(site: Site) -> None:
    saved = site.folder / "data" / "trio_update" / "saved" / "one-7"
    half = [saved / ".changes.patch.tmp", saved / "files" / ".trio-update.tmp", saved / "late" / ".trio-update.tmp"]
    whole = [saved / "changes.patch", saved / "files" / ".mine.tmp", saved / "files" / "deep" / ".trio-update.tmp"]
    for path in half + whole:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"the user's")
    half[1].unlink()
    half[1].symlink_to("nowhere")
    async with site.manager():
        assert [os.path.lexists(path) for path in half] == [False] * 3
    assert [path.exists() for path in whole] == [True] * 3


async def test_what_cannot_be_settled_is_told_and_tried_again_by_a_recovery(site: Site) -> None:
    await site.add("one")
    await site.add("two")
    old = site.head("one")
    lost = "0123456789" * 4
    await write_entry(
        site, entry_of(site, effects=(MoveHead(path=str(site.folder / "one"), branch="master", old=lost, new=old),))
    )
    for _ in range(4):  # as often as it is started, it stays told; after three tries it is not tried any more
        async with site.manager() as (manager, _):
            status = manager.status().version_info[ONE]
            assert not status.is_valid
            assert "could not be undone" in status.warnings[-1]
            with pytest.raises(Refused) as caught:
                await manager.upgrade("one", who="test")
            assert caught.value.reason is Reason.STUCK
            assert (await manager.plan("one"))[0].refusals == (str(caught.value),)
            assert manager.status().version_info[AppName("two")].is_valid
    entry = (await Journal(site.folder / "data/trio_update/journal", EFFECTS).read()).entries[0]
    assert entry.attempts == 3
    async with site.manager() as (manager, _):
        await manager.upgrade("two", who="test")
        with pytest.raises(OperationFailed):
            await manager.recover("one", hard=False, who="test")
        assert not manager.status().version_info[ONE].is_valid
        await manager.recover("one", hard=True, who="test")
        assert manager.status().version_info[ONE].is_valid, manager.status().version_info[ONE].warnings
    assert not list((site.folder / "data/trio_update/journal").iterdir())
    async with site.manager() as (manager, _):
        assert manager.status().version_info[ONE].is_valid


async def test_the_host_is_asked_before_a_recovery_puts_an_app_back(site: Site) -> None:
    await site.add("one")
    # As many starts have tried as may; only somebody's recovery tries again.
    await write_entry(site, entry_of(site, attempts=3))
    git(site.folder / "one", "pull", "-q", "--ff-only", str(site.upstreams["one"].path))
    changed, printing = site.head("one"), [True]

    async def may_update(app: AppName | None, step: Step) -> str | None:
        return "A print is running" if step is Step.SWITCH and printing[0] else None

    async with site.manager(may_update=may_update) as (manager, _):
        for hard in (False, True):
            with pytest.raises(Refused, match="A print is running"):
                await manager.recover("one", hard=hard, who="test")
            assert site.head("one") == changed
        assert not manager.status().version_info[ONE].is_valid
        printing[0] = False
        await manager.recover("one", hard=False, who="test")
        assert manager.status().version_info[ONE].is_valid
    assert not list((site.folder / "data/trio_update/journal").iterdir())


def damaged(site: Site, how: str) -> bytes:
    """An entry of app one that this version cannot read."""
    entry = msgspec.json.encode(entry_of(site))
    raw = msgspec.json.decode(entry)
    match how:
        case "cut":
            return entry[: len(entry) // 2]
        case "bytes":
            return entry.replace(b"before", b"\xff\xfe")
        case "newer":
            return msgspec.json.encode(raw | {"schema": 2, "phase": "a phase of the future"})
        case "unknown effect":
            return msgspec.json.encode(raw | {"effects": [*raw["effects"], {"type": "flash", "chip": "x"}]})
        case "job":
            return msgspec.json.encode(raw | {"job": 1 << 70})
        case "no effects":
            return msgspec.json.encode(raw | {"effects": 3})
    return b"[" * 100_000


@pytest.mark.parametrize("how", ["cut", "bytes", "newer", "unknown effect", "job", "no effects", "deep"])
async def test_an_entry_that_cannot_be_read_makes_its_app_stuck_and_is_kept(site: Site, how: str) -> None:
    await site.add("one")
    await site.add("two")
    path = site.folder / "data/trio_update/journal/41.one.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content := damaged(site, how))
    before = site.head("one")
    for _ in range(2):
        async with site.manager() as (manager, _):
            status = manager.status().version_info[ONE]
            assert not status.is_valid
            assert str(path) in status.warnings[-1]
            assert status.last_error == status.warnings[-1]
            for attempt in (
                manager.upgrade("one", who="test"),
                manager.recover("one", hard=False, who="test"),
                manager.recover("one", hard=True, who="test"),
                manager.rollback("one", who="test"),
            ):
                with pytest.raises(Refused, match=re.escape(str(path))) as caught:
                    await attempt
                assert caught.value.reason is Reason.STUCK
            assert manager.status().version_info[AppName("two")].is_valid
            # No id is given twice, or a journal entry could be taken for another job's.
            assert manager.job().proc_id > 41
    assert (path.read_bytes(), site.head("one")) == (content, before)
    async with site.manager() as (manager, _):
        path.unlink()
        await manager.recover("one", hard=False, who="test")
        assert manager.status().version_info[ONE].is_valid


async def test_an_entry_waits_for_a_start_that_knows_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.add("one")
    old = site.head("one")
    await write_entry(site, entry_of(site))
    git(site.folder / "one", "pull", "-q", "--ff-only", str(site.upstreams["one"].path))
    path = site.folder / "data/trio_update/journal/41.one.json"
    known = path.read_bytes()
    path.write_bytes(known.replace(b"move_head", b"move_tail"))
    async with site.manager() as (manager, _):
        assert not manager.status().version_info[ONE].is_valid
        assert site.head("one") == site.tip("one")
    path.write_bytes(known)
    async with site.manager() as (manager, _):
        assert site.head("one") == old
        assert manager.status().version_info[ONE].is_valid
        assert (await manager.history())[0].proc_id == 41
    assert not path.exists()


async def test_an_entry_of_an_app_that_is_not_configured_is_told_to_people(site: Site) -> None:
    """As when the package is gone that brought its kind: the section is disabled then."""
    await site.add("one")
    await write_entry(site, bare_entry(AppName("gone")))
    (site.folder / "data/trio_update/journal/8.odd.json").write_text("{")
    async with site.manager() as (manager, _):
        gone, odd = sorted(manager.status().config_warnings)[::-1]
        assert gone.startswith("The interrupted upgrade of gone (job 41) waits, because that app is not configured")
        assert "41.gone.json" in gone
        assert odd.startswith("An interrupted job (8) can neither be undone nor finished")
        assert manager.status().version_info[ONE].is_valid


async def test_what_is_no_entry_stops_nobody(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    await site.add("one")
    journal = site.folder / "data/trio_update/journal"
    (journal / "7.other.json").mkdir(parents=True)
    os.mkfifo(journal / "nothing.json")
    (journal / os.fsdecode(b"8.\xff.json")).write_bytes(b"{")
    async with site.manager() as (manager, _):
        assert manager.status().version_info[ONE].is_valid
    assert len(list(journal.iterdir())) == 3
    assert len([record for record in caplog.records if "can neither be undone nor finished" in record.message]) == 3
    caplog.text.encode()


async def test_no_two_apps_share_a_file_of_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path, EFFECTS)
    names = ["a.b", "a b", "a_b", "a-b", "ab", "A_b", "a%20b", "a.b.json", "1.a", "a_b ", "\u00e4", "a/b"]
    for name in names:
        await journal.write(bare_entry(AppName(name)))
    assert sorted(entry.app for entry in (await journal.read()).entries) == sorted(names)
    assert len(list(tmp_path.iterdir())) == len(names)
    for entry in (await journal.read()).entries:
        await journal.close(entry)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("app", ["a.b", "a b", "a_b"])
async def test_the_names_of_former_versions_are_read(tmp_path: Path, app: str) -> None:
    raw = msgspec.json.decode(msgspec.json.encode(bare_entry(AppName(app))))
    del raw["schema"]
    (tmp_path / "41.a_b.json").write_bytes(msgspec.json.encode(raw))
    journal = Journal(tmp_path, EFFECTS)
    (entry,) = (await journal.read()).entries
    assert (entry.app, entry.schema) == (app, 1)
    await journal.write(replace(entry, attempts=1))
    assert [found.attempts for found in (await journal.read()).entries] == [1]
    await journal.close(entry)
    assert not list(tmp_path.iterdir())


async def test_a_former_name_that_cannot_be_read_concerns_every_app_it_may_be_of(tmp_path: Path) -> None:
    (tmp_path / "41.a_b.json").write_bytes(b"")
    (tmp_path / "42.a%20b.json").write_bytes(b"")
    former, present = (await Journal(tmp_path, EFFECTS).read()).unreadable
    apps = [AppName(name) for name in ("a.b", "a b", "a_b", "ab")]
    assert [former.concerns(app) for app in apps] == [True, True, True, False]
    assert [present.concerns(app) for app in apps] == [False, True, False, False]


async def test_a_data_path_in_use_is_refused(site: Site) -> None:
    await site.add("one")
    async with site.manager():
        with pytest.raises(DataPathHeld, match=f"process {os.getpid()}"):
            async with open_manager(site.config(), data_path=site.folder / "data"):
                raise AssertionError("two managers on one DATA_PATH")


async def test_a_data_path_that_an_update_would_replace_is_refused(site: Site) -> None:
    one = await site.add("one")
    (site.folder / "link").symlink_to(one)
    for place in (one, one / "data", site.folder / "link" / "data"):
        with pytest.raises(StartFailed, match=f"{place} lies in the folder of one, {one}, "):
            async with open_manager(site.config(), data_path=place):
                raise AssertionError("its journal would be gone with the app")
    assert not (one / "data").exists()
    async with open_manager(site.config(), data_path=site.folder / "one-data"):
        pass


async def test_a_stored_snapshot_is_served_at_once(site: Site) -> None:
    await site.add("one")
    async with site.manager() as (manager, _):
        seen = manager.status().version_info[ONE]
    site.behave("one", hang=True)
    async with open_manager(site.config(), data_path=site.folder / "data") as manager:
        served = git_status(manager, ONE)
        assert (served.version, served.commits_behind_count) == (seen.version, 3)


async def test_disk_full_in_the_journal_fails_the_job_before_anything_changes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.add("one")
    before = site.head("one")
    async with site.manager(health=HealthCheck()) as (manager, _):

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OperationFailed, match="No space left on device"):
            await manager.upgrade("one", who="test")
        monkeypatch.undo()
        assert site.head("one") == before
        await manager.upgrade("one", who="test")
    assert site.head("one") == site.tip("one")


async def test_what_a_power_cut_left_of_a_switch_is_written_anew(site: Site) -> None:
    """Seen after real ones: every file of length zero, the branch and the index too, locks left behind."""
    path = await site.add("one")
    old = site.head("one")
    await write_entry(site, entry_of(site))
    for name in git(path, "ls-files").splitlines():
        (path / name).write_bytes(b"")
    (path / ".git/index").write_bytes(b"")
    (path / ".git/refs/heads/master").write_bytes(b"")
    (path / ".git/index.lock").touch()
    (path / "mine").write_text("untracked")
    async with site.manager() as (manager, _):
        assert site.head("one") == old
        assert manager.status().version_info[ONE].is_valid
        for line in git(path, "ls-tree", "-r", "HEAD").splitlines():
            oid, name = line.split("\t")[0].split()[2], line.split("\t")[1]
            assert git(path, "hash-object", "--no-filters", name) == oid
        assert (path / "mine").read_text() == "untracked"
        await manager.upgrade("one", who="test")
    assert site.head("one") == site.tip("one")
