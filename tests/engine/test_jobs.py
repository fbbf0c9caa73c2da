"""Jobs: their lane, their order, their messages, their abort."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from subprocess import PIPE

import pytest
import trio
import trio.testing

from tests.engine.conftest import Printer, Site
from tests.support.upstream import git
from trio_update.config import HealthCheck
from trio_update.engine.opening import open_manager
from trio_update.errors import Aborted, CommandFailed, OperationFailed, Reason, Refused
from trio_update.model import AppName, JobState, Outcome


async def outcome_of(call: Callable[[], Awaitable[object]], results: list[str], name: str) -> None:
    try:
        await call()
        results.append(f"{name} ok")
    except (Refused, OperationFailed, Aborted) as error:
        results.append(f"{name} {type(error).__name__}")


async def test_messages_then_the_completing_one_then_the_status_then_the_reply(site: Site) -> None:
    await site.add("one")
    async with site.manager() as (manager, listener):
        await manager.upgrade("one", who="test")
        events = listener.shape()
    assert events[-2:] == [("one", True), "status"]
    assert all(event == ("one", False) for event in events[:-2])


async def test_busy_is_true_while_a_job_runs_and_false_in_the_last_status(site: Site) -> None:
    await site.add("one")
    site.behave("one", latency=0.3)
    async with site.manager() as (manager, listener), trio.open_nursery() as nursery:
        nursery.start_soon(partial(manager.upgrade, "one", who="test"))
        await trio.testing.wait_all_tasks_blocked()
        assert manager.status().busy
        with pytest.raises(Refused) as caught:
            await manager.refresh(None)
        assert caught.value.reason is Reason.BUSY
        assert not (await listener.until_ended()).busy
        assert not manager.status().busy


async def test_the_same_app_twice_is_refused_and_another_waits_its_turn(site: Site) -> None:
    await site.add("one")
    await site.add("two")
    site.behave("one", latency=0.3)
    results: list[str] = []
    async with site.manager() as (manager, _listener), trio.open_nursery() as nursery:
        nursery.start_soon(outcome_of, partial(manager.upgrade, "one", who="a"), results, "one")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(outcome_of, partial(manager.upgrade, "two", who="b"), results, "two")
        await trio.testing.wait_all_tasks_blocked()
        assert [manager.job(number).state for number in (1, 2)] == [JobState.PREPARING, JobState.WAITING]
        for name in ("one", "two", None):
            with pytest.raises(Refused) as caught:
                await manager.upgrade(name, who="c")
            assert caught.value.reason is Reason.BUSY
    assert results == ["one ok", "two ok"]


async def test_a_refusal_too_ends_with_a_completing_message_and_the_status(site: Site) -> None:
    await site.add("one")
    printer = Printer(printing=False)
    async with site.manager(may_update=printer) as (manager, listener):
        printer.printing = True
        with pytest.raises(Refused) as caught:
            await manager.recover("one", hard=True, who="test")
        assert caught.value.reason is Reason.NOT_NOW
        assert listener.shape() == [("recover_one", False), ("recover_one", True), "status"]
        with pytest.raises(Refused):
            await manager.refresh(None)
        with pytest.raises(Refused, match="no app 'other'"):
            await manager.upgrade("other", who="test")
        assert listener.shape() == [("other", False), ("other", True), "status"]


async def test_a_full_update_tries_everything_in_order_and_fails_at_the_end(site: Site) -> None:
    for name in ("one", "two", "three"):
        await site.add(name)
    tracked = git(site.folder / "two", "ls-files").splitlines()[0]
    (site.folder / "two" / tracked).write_text("mine")
    async with site.manager() as (manager, listener):
        with pytest.raises(OperationFailed, match="1 of 3 apps were not updated: two"):
            await manager.upgrade(None, who="test")
        assert {event[0] for event in listener.shape() if event != "status"} == {"full"}
        (record,) = await manager.history()
        assert [(app.name, app.outcome) for app in record.apps] == [
            ("one", Outcome.SUCCEEDED),
            ("two", Outcome.FAILED),
            ("three", Outcome.SUCCEEDED),
        ]
        assert (await manager.history("three"))[0].proc_id == record.proc_id
    assert site.head("one") == site.tip("one")
    assert site.head("three") == site.tip("three")


async def test_an_abort_during_a_slow_fetch_returns_the_clone_to_its_commit(site: Site) -> None:
    await site.add("one")
    async with site.manager() as (manager, listener), trio.open_nursery() as nursery:
        before = site.head("one")
        site.grow("one")
        site.behave("one", rate=2000.0)
        results: list[str] = []
        nursery.start_soon(outcome_of, partial(manager.upgrade, "one", who="a"), results, "one")
        # The third request is for the pack; the first two tell the server's abilities and its branches.
        await site.server.requests_reach("one", site.server.requests["one"] + 3)
        await manager.abort()
        await trio.testing.wait_all_tasks_blocked()
        assert results == ["one Aborted"]
        assert site.head("one") == before
        assert not manager.status().busy
        assert manager.job().outcome is Outcome.ABORTED
        assert listener.shape()[-2:] == [("one", True), "status"]
        site.behave("one")
        await manager.upgrade("one", who="b")
    assert site.head("one") == site.tip("one")
    assert not list((site.folder / "one/.git").rglob("tmp_pack*"))


async def test_an_abort_after_the_switch_puts_the_app_back(site: Site) -> None:
    await site.add("one")
    before = site.head("one")
    async with site.manager(health=HealthCheck(command=("sleep", "60"))) as (manager, listener):
        async with trio.open_nursery() as nursery:
            results: list[str] = []
            nursery.start_soon(outcome_of, partial(manager.upgrade, "one", who="a"), results, "one")
            await listener.until("Checking the app's health")
            assert site.head("one") == site.tip("one")
            await manager.abort()
            assert site.head("one") == before
        assert results == ["one Aborted"]
        assert manager.status().version_info[AppName("one")].is_valid


async def test_a_waiting_job_can_be_aborted(site: Site) -> None:
    await site.add("one")
    await site.add("two")
    site.behave("one", hang=True)
    async with site.manager(refresh=False) as (manager, _), trio.open_nursery() as nursery:
        results: list[str] = []
        nursery.start_soon(outcome_of, partial(manager.upgrade, "one", who="a"), results, "one")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(outcome_of, partial(manager.upgrade, "two", who="b"), results, "two")
        await trio.testing.wait_all_tasks_blocked()
        await manager.abort(2)
        await trio.testing.wait_all_tasks_blocked()
        assert results == ["two Aborted"]
        await manager.abort(1)
    assert results == ["two Aborted", "one Aborted"]


async def test_abort_without_a_job_is_refused(site: Site) -> None:
    await site.add("one")
    async with site.manager() as (manager, _):
        for number in (None, 7):
            with pytest.raises(Refused) as caught:
                await manager.abort(number)
            assert caught.value.reason is Reason.NO_JOB
        with pytest.raises(Refused) as caught:
            manager.job()
        assert caught.value.reason is Reason.NO_JOB
        with pytest.raises(Refused) as caught:
            manager.job(7)
        assert caught.value.reason is Reason.UNKNOWN_JOB


async def test_a_caller_that_goes_away_does_not_end_the_job(site: Site) -> None:
    await site.add("one")
    site.behave("one", latency=0.2)
    async with site.manager() as (manager, listener):
        with trio.move_on_after(0.05):
            await manager.upgrade("one", who="test")
        assert manager.status().busy
        await listener.until("has succeeded")
    assert site.head("one") == site.tip("one")


async def test_the_end_of_the_manager_puts_a_running_job_back(site: Site) -> None:
    await site.add("one")
    before = site.head("one")
    results: list[str] = []
    health = HealthCheck(command=("sleep", "60"))
    async with site.manager(health=health) as (manager, listener), trio.open_nursery() as nursery:
        nursery.start_soon(outcome_of, partial(manager.upgrade, "one", who="a"), results, "one")
        await listener.until("Checking")
        manager.stop()
        with pytest.raises(Refused, match="stopping"):
            await manager.upgrade("one", who="b")
    assert results == ["one Aborted"]
    assert site.head("one") == before
    assert not list((site.folder / "data/trio_update/journal").iterdir())


async def test_a_password_that_is_asked_for_fails_at_once_with_advice(site: Site) -> None:
    path = await site.add("one")
    trap = site.folder / "askpass"
    trap.write_text(f"#!/bin/sh\ntouch {site.folder}/asked\necho me\n")
    trap.chmod(0o755)
    git(path, "config", "core.askPass", str(trap))
    site.behave("one", status=401)
    async with site.manager() as (manager, _):
        with pytest.raises(OperationFailed, match="asks for a password"):
            await manager.upgrade("one", who="test")
    assert not (site.folder / "asked").exists()


async def test_a_remote_that_hangs_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_update.host.git.remote.FETCH_SILENCE", 0.3)
    await site.add("one")
    before = site.head("one")
    site.behave("one", hang=True)
    async with site.manager() as (manager, _):
        with pytest.raises(OperationFailed, match="no sign of life"):
            await manager.upgrade("one", who="test")
    assert site.head("one") == before


async def test_history_and_ids_survive_a_restart_and_a_lost_database(site: Site) -> None:
    await site.add("one")
    async with site.manager() as (manager, _):
        await manager.upgrade("one", who="first")
    async with site.manager() as (manager, _):
        assert manager.status().version_info[AppName("one")].rollback_version == "v0.0.0-7"
        await manager.rollback("one", who="second")
        assert [record.requested_by for record in await manager.history()] == ["second", "first"]
        assert [record.proc_id for record in await manager.history(limit=1)] == [2]
    database = site.folder / "data/database/trio_update.db"
    for name in database.parent.glob("trio_update.db-*"):
        name.unlink()
    database.write_bytes(b"SQLite format 3\0" + b"rubbish" * 500)
    async with site.manager() as (manager, _):
        assert await manager.history() == ()
        assert any("was set aside as" in notice for notice in manager.status().config_warnings)
        await manager.upgrade("one", who="third")
    assert list(database.parent.glob("trio_update.db.damaged-*"))


async def test_a_job_takes_the_app_from_a_refresh_that_hangs(site: Site) -> None:
    await site.add("one")
    async with site.manager() as (manager, _), trio.open_nursery() as nursery:
        site.behave("one", hang=True)
        nursery.start_soon(manager.refresh, "one")
        await site.server.requests_reach("one", site.server.requests["one"] + 1)
        site.behave("one")
        with trio.fail_after(10):
            await manager.upgrade("one", who="test")
    assert site.head("one") == site.tip("one")


async def test_an_unexpected_error_ends_its_job_only(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.add("one")
    async with site.manager() as (manager, listener):
        monkeypatch.setattr("trio_update.updaters.git.change.collisions", lambda *_: 1 / 0)
        with pytest.raises(OperationFailed, match="failed unexpectedly: ZeroDivisionError"):
            await manager.upgrade("one", who="test")
        assert listener.shape()[-2:] == [("one", True), "status"]
        monkeypatch.undo()
        await manager.upgrade("one", who="test")
    assert site.head("one") == site.tip("one")


async def test_a_waiting_job_says_what_it_waits_for(site: Site) -> None:
    await site.add("one")
    await site.add("two")
    site.behave("one", latency=0.2)
    async with site.manager() as (manager, listener), trio.open_nursery() as nursery:
        nursery.start_soon(partial(manager.upgrade, "one", who="a"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(partial(manager.upgrade, "two", who="b"))
        assert (await listener.until("Waiting for one (job 1)")).application == "two"


async def test_git_at_work_in_the_clone_fails_the_job_and_leaves_nobody_stuck(site: Site) -> None:
    path = await site.add("one")
    async with site.manager() as (manager, _), trio.open_nursery() as nursery:
        (path / ".git" / "index.lock").touch()
        user = await nursery.start(partial(trio.run_process, ["git", "cat-file", "--batch"], cwd=path, stdin=PIPE))
        with pytest.raises(OperationFailed, match=f"git works on {path} right now \\(process {user.pid}\\)"):
            await manager.upgrade("one", who="test")
        assert manager.status().version_info[AppName("one")].is_valid
        assert (path / ".git" / "index.lock").exists()
        await user.stdin.aclose()
        await user.wait()
        await manager.upgrade("one", who="test")
    assert site.head("one") == site.tip("one")


async def test_no_refresh_begins_on_an_app_that_a_job_works_on(site: Site) -> None:
    await site.add("one")
    async with site.manager() as (manager, _):
        pass
    # With another configuration the start asks the remote as soon as it has looked at the disk: after the job began.
    health = HealthCheck(command=("sleep", "0.5"))
    async with open_manager(site.config(health=health), data_path=site.folder / "data") as manager:
        before = site.server.requests["one"]
        await manager.upgrade("one", who="test")
        assert manager.job().outcome is Outcome.SUCCEEDED
    assert site.head("one") == site.tip("one")
    assert site.server.requests["one"] - before <= 3  # one fetch


def test_passwords_in_addresses_are_not_told() -> None:
    failed = CommandFailed(["git", "clone", "https://me:secret@example.org/x.git"], 128, "to https://me:secret@h/x: no")
    assert "secret" not in str(failed)
    assert "example.org/x.git" in str(failed)


async def test_a_recovery_that_can_only_be_finished_cannot_be_aborted_any_more(site: Site) -> None:
    path = await site.add("one")
    tracked = git(path, "ls-files").splitlines()[0]
    (path / tracked).write_text("mine")
    async with site.manager(health=HealthCheck(command=("sleep", "0.5"))) as (manager, listener):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(manager.recover, "one", hard=False, who="a"))
            await listener.until("Checking the app's health")
            assert not manager.job().abortable
            with pytest.raises(Refused, match="can only be finished") as caught:
                await manager.abort()
            assert caught.value.reason is Reason.CANNOT_ABORT
        assert manager.job().outcome is Outcome.SUCCEEDED
