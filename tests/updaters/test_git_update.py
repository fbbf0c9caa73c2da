"""Upgrades and rollbacks of real clones: what changes, what is refused, what is put back."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.support.upstream import NAME, Bench, Upstream, git, status_of
from trio_update.config import HealthCheck
from trio_update.engine.manager import Manager
from trio_update.errors import OperationFailed, Reason, Refused
from trio_update.host.git.repository import Repository
from trio_update.host.git.transfer import bring_blobs, fetch
from trio_update.host.processes.runner import Runner
from trio_update.model import Channel, Outcome


@asynccontextmanager
async def ready(bench: Bench, *, debug: bool = False, **options: object) -> AsyncIterator[Manager]:
    async with bench.manager(debug=debug, **options) as manager:
        await manager.wait_ready()
        yield manager


async def refused(manager: Manager, reason: Reason) -> str:
    with pytest.raises(Refused) as caught:
        await manager.upgrade(NAME, who="test")
    assert caught.value.reason is reason
    return str(caught.value)


async def test_an_upgrade_moves_the_clone_and_keeps_every_file_of_the_user(bench: Bench) -> None:
    (bench.path / "printer.cfg").write_text("mine")
    (bench.path / "lib/notes").mkdir()
    (bench.path / "lib/notes/a").write_text("mine")
    async with ready(bench) as manager:
        before = bench.head
        await manager.upgrade(NAME, who="test")
        bench.expect_whole(bench.upstream.head)
        assert not (bench.path / "lib/one.py").exists()
        assert (bench.path / "printer.cfg").read_text() == (bench.path / "lib/notes/a").read_text() == "mine"
        status = status_of(manager)
        assert (status.version, status.rollback_version) == ("v0.1.0-5", "v0.1.0-2")
        assert status.commits_behind_count == 0
        (record,) = await manager.history()
        (outcome,) = record.apps
        assert (record.outcome, record.requested_by) == (Outcome.SUCCEEDED, "test")
        assert (outcome.from_hash, outcome.to_hash) == (before, bench.upstream.head)
    bench.expect_tidy()


async def test_an_upgrade_of_a_current_app_says_so(bench: Bench) -> None:
    async with ready(bench) as manager:
        await manager.upgrade(NAME, who="test")
        await manager.upgrade(NAME, who="test")
        assert manager.job().log == ("app is up to date: v0.1.0-5", "app had nothing to do")
        assert manager.job().outcome is Outcome.UNCHANGED


async def test_a_channel_leads_to_its_tag_and_the_branch_stays(bench: Bench) -> None:
    wanted = bench.upstream.commit(tag="v0.2.0")
    bench.upstream.commit()
    async with ready(bench, channel=Channel.STABLE) as manager:
        await manager.upgrade(NAME, who="test")
        bench.expect_whole(wanted)
        assert bench.git("symbolic-ref", "HEAD") == "refs/heads/master"
        assert status_of(manager).version == status_of(manager).remote_version == "v0.2.0-0"


async def test_rollbacks_go_back_step_by_step_and_to_any_earlier_release(bench: Bench) -> None:
    start = bench.head
    async with ready(bench) as manager:
        await manager.upgrade(NAME, who="test")
        middle = bench.head
        bench.upstream.commit(tag="v0.2.0")
        await manager.upgrade(NAME, who="test")
        assert status_of(manager).rollback_version == "v0.1.0-5"
        await manager.rollback(NAME, who="test")
        bench.expect_whole(middle)
        assert status_of(manager).rollback_version == "v0.1.0-2"
        assert status_of(manager).commits_behind_count == 1
        await manager.rollback(NAME, who="test")
        bench.expect_whole(start)
        with pytest.raises(Refused, match="not updated yet"):
            await manager.rollback(NAME, who="test")
        await manager.rollback(NAME, version="0.1.0", who="test")
        bench.expect_whole(git(bench.upstream.path, "rev-parse", "v0.1.0^{commit}"))


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("v7", "has no version 'v7'"),
        ("--exec=x", "has no version"),
        ("v0.1.0-2", "has no version"),
        ("HEAD", "has no version"),
    ],
)
async def test_a_rollback_to_something_else_is_refused(bench: Bench, version: str, why: str) -> None:
    async with ready(bench) as manager:
        with pytest.raises(Refused, match=why) as caught:
            await manager.rollback(NAME, version=version, who="test")
        assert caught.value.reason is Reason.BAD_VERSION


async def test_a_rollback_to_a_newer_version_is_refused(bench: Bench) -> None:
    newer = bench.upstream.commit()
    async with ready(bench) as manager:
        await manager.refresh(NAME)
        with pytest.raises(Refused, match="is no earlier version"):
            await manager.rollback(NAME, version=newer, who="test")


async def test_an_invalid_or_held_app_is_not_touched(bench: Bench) -> None:
    (bench.path / "main.py").write_text("mine\n")
    before = bench.head
    async with ready(bench) as manager:
        assert "dirty" in await refused(manager, Reason.INVALID)
    assert (bench.path / "main.py").read_text() == "mine\n"
    bench.git("checkout", "-q", "main.py")
    async with ready(bench, hold="the new board needs 0.1") as manager:
        assert "the new board needs 0.1" in await refused(manager, Reason.HELD)
    assert bench.head == before


@pytest.mark.parametrize("place", ["lib/two.py", "lib/deep"])
async def test_an_untracked_file_in_the_place_of_a_new_one_is_never_overwritten(bench: Bench, place: str) -> None:
    bench.upstream.commit({"lib/deep/three.py": "3\n"})
    (bench.path / ".git/info/exclude").write_text("two.py\n")
    (bench.path / place).write_text("mine")
    before = bench.head
    async with ready(bench) as manager:
        assert place in await refused(manager, Reason.INVALID)
        await manager.refresh(NAME)
        (plan,) = await manager.plan(NAME)
        assert place in plan.refusals[0]
    assert (bench.path / place).read_text() == "mine"
    assert bench.head == before


async def test_a_folder_of_the_user_in_the_place_of_a_new_file_is_never_removed(bench: Bench) -> None:
    bench.upstream.commit({"new": "a file\n"})
    (bench.path / "new").mkdir()
    (bench.path / "new/precious").write_text("mine")
    async with ready(bench) as manager:
        assert "new/precious" in await refused(manager, Reason.INVALID)
    assert (bench.path / "new/precious").read_text() == "mine"


@pytest.mark.parametrize("name", ["main.py", "README"])
async def test_changed_files_that_are_hidden_from_git_are_never_overwritten(bench: Bench, name: str) -> None:
    bench.git("update-index", "--assume-unchanged", name)
    (bench.path / name).write_text("mine\n")
    async with ready(bench) as manager:
        assert f"hidden from git ({name})" in await refused(manager, Reason.INVALID)
    assert (bench.path / name).read_text() == "mine\n"
    bench.expect_tidy()


async def test_a_sparse_file_that_was_made_by_hand_is_never_overwritten(bench: Bench) -> None:
    bench.git("update-index", "--skip-worktree", "README")
    (bench.path / "README").write_text("mine\n")
    async with ready(bench, health=HealthCheck(command=("false",))) as manager:
        with pytest.raises(OperationFailed):
            await manager.upgrade(NAME, who="test")
    assert (bench.path / "README").read_text() == "mine\n"
    bench.upstream.commit({"README": "another\n"})
    async with ready(bench) as manager:
        assert "hidden from git" in await refused(manager, Reason.INVALID)
    assert (bench.path / "README").read_text() == "mine\n"


async def test_changed_requirements_are_refused_while_nobody_installs_them(bench: Bench) -> None:
    bench.upstream.commit({"requirements.txt": "trio\n"})
    async with ready(bench, requirements="requirements.txt") as manager:
        assert "Python requirements change (requirements.txt)" in await refused(manager, Reason.INVALID)


async def test_of_an_install_script_only_its_packages_count(bench: Bench) -> None:
    bench.upstream.commit({"install.sh": "#!/bin/sh\nPKGLIST='git gcc'\n"})
    async with ready(bench, install_script="install.sh") as manager:
        assert "install.sh names further system packages (git, gcc)" in await refused(manager, Reason.INVALID)
    git(bench.path, "pull", "--quiet")
    bench.upstream.commit({"install.sh": "#!/bin/sh\necho hello\nPKGLIST=gcc\n"})
    async with ready(bench, install_script="install.sh") as manager:
        await manager.upgrade(NAME, who="test")
    assert bench.head == bench.upstream.head
    bench.upstream.commit({"install.sh": None})
    async with ready(bench, install_script="install.sh") as manager:
        await manager.upgrade(NAME, who="test")
    assert bench.head == bench.upstream.head


async def test_a_failed_health_check_puts_the_old_version_back(bench: Bench) -> None:
    before = bench.head
    (bench.path / "user").write_text("mine")
    script = "import pathlib, sys; sys.exit('cannot start' if pathlib.Path('lib/two.py').exists() else 0)"
    async with ready(bench, health=HealthCheck(command=(sys.executable, "-c", script))) as manager:
        with pytest.raises(OperationFailed, match="cannot start") as caught:
            await manager.upgrade(NAME, who="test")
        assert "The app is back at v0.1.0-2." in str(caught.value)
        bench.expect_whole(before)
        assert not (bench.path / "lib/two.py").exists()
        assert (bench.path / "user").read_text() == "mine"
        assert status_of(manager).is_valid
        assert status_of(manager).rollback_version == "v0.1.0-2"
        (record,) = await manager.history()
        assert record.outcome is Outcome.FAILED
    bench.expect_tidy()


async def test_a_health_url_is_asked_until_it_answers(bench: Bench) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some(4096)
        calls.append(1)
        status = b"200 OK" if len(calls) > 1 else b"503 Not Yet"
        await stream.send_all(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    calls: list[int] = []
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        async with ready(bench, health=HealthCheck(url=f"http://127.0.0.1:{port}/", timeout=20)) as manager:
            await manager.upgrade(NAME, who="test")
        nursery.cancel_scope.cancel()
    assert len(calls) == 2
    bench.expect_whole(bench.upstream.head)


async def test_an_unreachable_remote_fails_the_job_and_changes_nothing(bench: Bench) -> None:
    before = bench.head
    bench.upstream.path.rename(bench.folder / "away")
    async with ready(bench) as manager:
        with pytest.raises(OperationFailed, match="Nothing was changed"):
            await manager.upgrade(NAME, who="test")
        assert bench.head == before
        assert status_of(manager).is_valid
    bench.expect_tidy()


async def test_submodules_that_the_clone_has_move_along(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "protocol.file.allow")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "always")
    part = Upstream(bench.folder / "part")
    part.commit()
    git(bench.upstream.path, "submodule", "--quiet", "add", part.url, "part")
    bench.upstream.commit()
    bench.git("pull", "-q")
    bench.git("submodule", "--quiet", "update", "--init")
    wanted = part.commit()
    git(bench.upstream.path / "part", "pull", "-q")
    bench.upstream.commit()
    async with ready(bench) as manager:
        await manager.upgrade(NAME, who="test")
        assert git(bench.path / "part", "rev-parse", "HEAD") == wanted
        assert status_of(manager).is_valid
        await manager.rollback(NAME, who="test")
        assert git(bench.path / "part", "rev-parse", "HEAD") != wanted
        assert status_of(manager).is_valid


@pytest.mark.parametrize("arguments", [["--depth=1"], ["--filter=blob:none"]])
async def test_shallow_and_partial_clones_are_upgraded_and_stay_what_they_are(
    bench: Bench, arguments: list[str]
) -> None:
    git(bench.upstream.path, "config", "uploadpack.allowFilter", "true")
    shutil.rmtree(bench.path)
    bench.upstream.clone(bench.path, *arguments)
    wanted = bench.upstream.commit({"big.txt": "x" * 1000})
    async with ready(bench) as manager:
        await manager.upgrade(NAME, who="test")
        bench.expect_whole(wanted)
        assert status_of(manager).is_valid
        await manager.rollback(NAME, who="test")
    assert (bench.path / ".git/shallow").exists() == (arguments == ["--depth=1"])
    assert bool(bench.git("config", "remote.origin.promisor", check=False)) == (arguments != ["--depth=1"])


async def test_a_tag_that_was_moved_upstream_does_not_stop_updates(bench: Bench) -> None:
    git(bench.upstream.path, "tag", "-f", "v0.1.0", "HEAD~2")
    async with ready(bench) as manager:
        await manager.upgrade(NAME, who="test")
        assert status_of(manager).version == "v0.1.0-2"
        bench.expect_whole(bench.upstream.head)
        git(bench.upstream.path, "tag", "v0.2.0", "HEAD~1")
        await manager.refresh(NAME)
        assert status_of(manager).version == "v0.2.0-1"


async def test_a_clone_behind_a_symbolic_link_is_updated_where_it_is(bench: Bench) -> None:
    real = bench.folder / "real"
    bench.path.rename(real)
    bench.path.symlink_to(real)
    async with ready(bench) as manager:
        await manager.upgrade(NAME, who="test")
        await manager.recover(NAME, hard=True, who="test")
    assert bench.path.is_symlink()
    assert os.path.realpath(bench.path) == str(real)
    bench.expect_whole(bench.upstream.head)
    bench.expect_tidy()


async def test_stale_locks_of_killed_commands_do_not_stop_an_upgrade(bench: Bench) -> None:
    async with ready(bench) as manager:
        for lock in ("index.lock", "HEAD.lock", "refs/heads/master.lock", "packed-refs.lock", "shallow.lock"):
            (bench.path / ".git" / lock).touch()
        await manager.upgrade(NAME, who="test")
        assert any("refs/heads/master.lock" in line for line in manager.job().log)
    bench.expect_whole(bench.upstream.head)


async def test_names_that_are_not_utf8_pass(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "upstream")
    upstream.commit({"plain": "1"}, tag="v1.0")
    bench = Bench(tmp_path, upstream, upstream.clone(tmp_path / "app"))
    odd = os.fsdecode(b"odd-\xff-name")
    upstream.commit({odd: "2", 'quo"te\n': "3"})
    async with ready(bench) as manager:
        await manager.upgrade(NAME, who="test")
        assert (bench.path / odd).read_text() == "2"
        await manager.rollback(NAME, who="test")
        assert not os.path.lexists(bench.path / odd)
        (bench.path / odd).write_text("mine")
        assert await refused(manager, Reason.INVALID)


async def test_what_a_partial_clone_lacks_is_fetched_before_the_switch(bench: Bench) -> None:
    git(bench.upstream.path, "config", "uploadpack.allowFilter", "true")
    git(bench.upstream.path, "config", "uploadpack.allowAnySHA1InWant", "true")
    shutil.rmtree(bench.path)
    bench.upstream.clone(bench.path, "--filter=blob:none")
    old, new = bench.head, bench.upstream.commit({"big.txt": "x" * 1000, "lib/two.py": None})
    repository = Repository(bench.path, Runner("test"))
    await fetch(repository, "origin")
    await bring_blobs(repository, "origin", old, new, None)
    bench.upstream.path.rename(bench.folder / "away")
    await repository.reset(new)
    (bench.folder / "away").rename(bench.upstream.path)
    bench.expect_whole(new)
