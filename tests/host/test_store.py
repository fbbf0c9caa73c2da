"""The database: what it keeps, and what becomes of a damaged one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest
import trio

from trio_update.errors import OperationFailed, StartFailed
from trio_update.host import store as module
from trio_update.host.store import open_store
from trio_update.model import (
    AppName,
    AppOutcome,
    Channel,
    JobId,
    JobKind,
    JobRecord,
    Outcome,
    Release,
    Unknown,
)
from trio_update.updaters.git.kind import GitStatus

ONE, TWO = AppName("one"), AppName("two")


def record(number: int, *apps: AppName, outcome: Outcome = Outcome.SUCCEEDED) -> JobRecord:
    return JobRecord(
        proc_id=JobId(number),
        kind=JobKind.UPGRADE,
        name=apps[0],
        requested_by="test",
        started=float(number),
        duration=1.0,
        outcome=outcome,
        apps=tuple(AppOutcome(name=app, outcome=outcome) for app in apps),
        log=("a line",),
    )


def snapshot(name: AppName) -> GitStatus:
    why = Unknown("of a test")
    return GitStatus(
        name=name,
        channel=Channel.BETA,
        version="v1.0-3",
        remote_version=why,
        rollback_version=why,
        full_version_string=why,
        current_hash=why,
        remote_hash=why,
        remote_alias=why,
        remote_url=why,
        recovery_url=why,
        owner=why,
        repo_name=why,
        branch=why,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "database" / "trio_update.db"


async def test_what_is_written_is_there_after_a_restart(path: Path) -> None:
    async with open_store(path) as (store, notice):
        assert notice is None
        assert await store.last_job() == 0
        await store.save_snapshot(ONE, "digest", snapshot(ONE))
        await store.save_job(record(1, ONE), {ONE: (Release(version="v0", hash="ab"),)})
    async with open_store(path) as (store, notice):
        assert notice is None
        assert await store.snapshots({ONE: GitStatus}) == {ONE: ("digest", snapshot(ONE))}
        assert await store.earlier() == {ONE: (Release(version="v0", hash="ab"),)}
        assert await store.history(None, 10) == (record(1, ONE),)
        assert await store.job(JobId(1)) == record(1, ONE)
        assert await store.job(JobId(2)) is None
        assert await store.last_job() == 1


async def test_history_is_newest_first_filtered_limited_and_pruned(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_JOBS", 5)
    async with open_store(path) as (store, _):
        for number in range(1, 9):
            await store.save_job(record(number, *((ONE, TWO) if number % 2 else (TWO,))), {})
        assert [found.proc_id for found in await store.history(None, 10)] == [8, 7, 6, 5, 4]
        assert [found.proc_id for found in await store.history(ONE, 10)] == [7, 5]
        assert [found.proc_id for found in await store.history(TWO, 2)] == [8, 7]
        assert await store.history(AppName("three"), 10) == ()


async def test_text_that_utf_8_cannot_hold_is_kept_escaped(path: Path) -> None:
    """Names of files whose bytes are no text; losing the history of a job for them would be bad, the server worse."""
    async with open_store(path) as (store, _):
        odd = msgspec.structs.replace(record(1, ONE), message="no \udcff.txt", log=("\udc80", "as it was"))
        await store.save_job(odd, {ONE: (Release(version="\udc80"),)})
        await store.save_snapshot(ONE, "digest", msgspec.structs.replace(snapshot(ONE), version="\udcff"))
        await store.save_note("odd", {"\udcfe": ["\udcff"]})
        (kept,) = await store.history(None, 5)
        assert (kept.message, kept.log) == (r"no \udcff.txt", (r"\udc80", "as it was"))
        assert (await store.snapshots({ONE: GitStatus}))[ONE][1].version == r"\udcff"
        assert (await store.earlier())[ONE] == (Release(version=r"\udc80"),)
        assert await store.note("odd", dict[str, list[str]]) == {r"\udcfe": [r"\udcff"]}


async def test_a_job_written_again_replaces_itself(path: Path) -> None:
    async with open_store(path) as (store, _):
        await store.save_job(record(1, ONE, outcome=Outcome.INTERRUPTED), {})
        await store.save_job(record(1, ONE, TWO), {})
        assert await store.history(TWO, 10) == (record(1, ONE, TWO),)
        assert len(await store.history(None, 10)) == 1


async def test_writers_side_by_side_take_turns(path: Path) -> None:
    async with open_store(path) as (store, _):
        async with trio.open_nursery() as nursery:
            for number in range(1, 21):
                nursery.start_soon(store.save_job, record(number, ONE), {})
        assert len(await store.history(None, 100)) == 20


@pytest.mark.parametrize("damage", ["rubbish", "page", "newer"])
async def test_a_database_that_cannot_be_used_is_set_aside_and_told(path: Path, damage: str) -> None:
    async with open_store(path) as (store, _):
        for number in range(1, 200):
            await store.save_job(record(number, ONE), {})
    if damage == "rubbish":
        path.write_bytes(b"this is no database" * 100)
    elif damage == "page":
        content = bytearray(path.read_bytes())
        content[8192:16384] = b"\xff" * 8192
        path.write_bytes(bytes(content))
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
    before = path.read_bytes()
    async with open_store(path) as (store, notice):
        assert notice is not None
        assert "was set aside as" in notice
        assert await store.history(None, 10) == ()
        await store.save_job(record(1, ONE), {})
    (aside,) = path.parent.glob("trio_update.db.damaged-*[0-9]")
    assert aside.read_bytes() == before
    async with open_store(path) as (store, notice):
        assert notice is None
        assert len(await store.history(None, 10)) == 1


async def test_a_record_of_another_version_costs_only_itself(path: Path) -> None:
    async with open_store(path) as (store, _):
        await store.save_job(record(1, ONE), {})
        await store.save_snapshot(ONE, "digest", snapshot(ONE))
    with sqlite3.connect(path) as connection:
        connection.execute("""INSERT INTO job VALUES (2, '{"proc_id": "two"}')""")
        connection.execute("""INSERT INTO snapshot VALUES ('two', 'x', '{"configured_type": "hologram"}')""")
    connection.close()
    async with open_store(path) as (store, _):
        assert [found.proc_id for found in await store.history(None, 10)] == [1]
        assert list(await store.snapshots({ONE: GitStatus, TWO: GitStatus})) == [ONE]


async def test_answers_are_kept_by_use_number_and_size(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_ANSWERS", 3)
    monkeypatch.setattr(module, "KEPT_ANSWER_BYTES", 100)

    async def kept(store: module.Store) -> list[str]:
        return [key for key in "abcdef" if await store.answer(key)]

    async with open_store(path) as (store, _):
        assert await store.answer("a") is None
        for key in "abc":
            await store.save_answer(key, f"etag {key}", key.encode())
        assert await store.answer("a") == ("etag a", b"a")
    async with open_store(path) as (store, _):
        # Used after `b` and `c`, so that those go first.
        await store.save_answer("d", "", b"d")
        assert await kept(store) == ["a", "c", "d"]
        await store.save_answer("e", "", b"x" * 99)
        assert await kept(store) == ["d", "e"]
        await store.save_answer("f", "", b"x" * 101)
        assert await kept(store) == []
        await store.save_answer("a", "old", b"old")
        await store.save_answer("a", "new", b"new")
        assert await store.answer("a") == ("new", b"new")


async def test_notes_are_kept_by_number(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_NOTES", 3)
    async with open_store(path) as (store, _):
        for key in "abcad":
            await store.save_note(key, {"of": key})
    async with open_store(path) as (store, _):
        assert [key for key in "abcd" if await store.note(key, dict[str, str])] == ["a", "c", "d"]
        assert await store.note("a", dict[str, str]) == {"of": "a"}
        assert await store.note("a", int) is None


async def test_a_database_of_the_version_before_is_taken_along(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, "_MIGRATIONS", module._MIGRATIONS[:1])
        async with open_store(path) as (store, _):
            await store.save_job(record(1, ONE), {})
    async with open_store(path) as (store, notice):
        assert notice is None
        assert await store.job(JobId(1)) == record(1, ONE)
        await store.save_note("key", 1)
        assert await store.note("key", int) == 1


async def test_a_disk_that_refuses_is_an_error_with_the_path(path: Path) -> None:
    async with open_store(path) as (store, _):
        # SQLite's own limit gives the error that a full disk gives.
        store._connection.execute("PRAGMA max_page_count = 8")
        with pytest.raises(OperationFailed, match="database or disk is full") as caught:
            for number in range(1, 1000):
                await store.save_job(record(number, ONE), {})
        assert str(path) in str(caught.value)
        assert len(await store.history(None, 1000)) < 1000


async def test_a_place_where_no_database_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartFailed, match="cannot make a database"):
        async with open_store(tmp_path / "file" / "trio_update.db"):
            raise AssertionError("there is no folder")
