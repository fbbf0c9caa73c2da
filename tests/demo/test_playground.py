"""The playground as users start it, and what they can do with it."""

from __future__ import annotations

import signal
import socket
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.support.cli import piped_cli, run_cli
from tests.support.playground_client import playground, started
from tests.support.waiting import until
from trio_update.demo.git import git
from trio_update.demo.gitserver import serve_git
from trio_update.demo.repos import clone, make_upstream
from trio_update.demo.site import SLOW, Site, keep_slow_busy

# Version, remote version, commits behind, valid.  The history's tags are described in trio_update.demo.repos.
EXPECTED = {
    "behind": ("v1.0.0-5", "v1.3.0-alpha1-5", 40, True),
    "current": ("v1.3.0-alpha1-5", "v1.3.0-alpha1-5", 0, True),
    "stable": ("v1.0.0-0", "v1.1.0-0", 20, True),
    "beta": ("v1.1.0-0", "v1.2.0-rc1-0", 15, True),
    "pinned": ("v1.0.0-5", "v1.1.0-5", 20, True),
    "dirty": ("v1.3.0-alpha1-5", "v1.3.0-alpha1-5", 0, False),
    "diverged": ("v1.3.0-alpha1-4", "v1.3.0-alpha1-5", 2, False),
    "detached": ("v1.3.0-alpha1-5", "v1.3.0-alpha1-5", 0, False),
    "untracked": ("v1.0.0-5", "v1.3.0-alpha1-5", 40, True),
    # The tags below it are not in its history.
    "shallow": ("v0.0.0-3", "v1.3.0-alpha1-5", 40, True),
    "blobless": ("v1.0.0-5", "v1.3.0-alpha1-5", 40, True),
    "corrupt": ("v1.3.0-alpha1-5", "v1.3.0-alpha1-5", 0, True),
    "slow": ("v1.3.0-alpha1-2", "v1.3.0-alpha1-5", 3, True),
    "unhealthy": ("v1.3.0-alpha1-6", "v1.3.0-alpha1-9", 3, True),
}
# Version and remote version, all valid.
EXPECTED_RELEASES = {
    "webclient": ("v1.0.0", "v2.0.0"),
    "zipapp": ("v1.0.0", "v1.2.0-beta.1"),
    "tool": ("v1.0.0", "v1.2.0"),
    "bigdownload": ("v1.0.0", "v1.1.0"),
    "damaged": ("v1.0.0", "v1.1.0"),
}


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


async def test_every_app_is_in_its_state(tmp_path: Path, temporary: Path) -> None:
    hostile = tmp_path / "gitconfig"
    hostile.write_text('[url "http://127.0.0.1:1/"]\n  insteadOf = http://127.0.0.1\n[http]\n  proxy = 127.0.0.1:1\n')
    async with playground(temporary, "--port", "0", GIT_CONFIG_GLOBAL=str(hostile)) as it:
        everything = await it.refreshed()
        assert {app["last_error"] for app in everything.values()} == {""}
        apps = {name: app for name, app in everything.items() if app["configured_type"] == "git_repo"}
        shown = {
            name: (app["version"], app["remote_version"], app["commits_behind_count"], app["is_valid"])
            for name, app in apps.items()
        }
        assert shown == EXPECTED
        assert apps["detached"]["detached"]
        assert apps["dirty"]["is_dirty"]
        releases = {name: app for name, app in everything.items() if name not in apps}
        versions = {name: (app["version"], app["remote_version"]) for name, app in releases.items()}
        assert versions == EXPECTED_RELEASES
        assert all(app["is_valid"] and not app["anomalies"] for app in releases.values())
        for name, app in apps.items():
            assert app["current_hash"] == git("rev-parse", "HEAD", cwd=it.apps / name)
        assert (await it.cli("status")).out.count("\n") >= len(everything)
        await it.stop(signal.SIGINT)


async def test_what_it_says_to_try(temporary: Path) -> None:
    async with playground(temporary, "--port", "0") as it:
        await it.refreshed()
        assert (await it.cli("upgrade", "behind")).code == 0
        assert (it.apps / "behind" / "VERSION").read_text() == "60\n"
        assert (await it.cli("rollback", "behind")).code == 0
        assert (it.apps / "behind" / "VERSION").read_text() == "20\n"
        failed = await it.cli("upgrade", "unhealthy")
        assert failed.code == 1
        assert "the new version cannot find its printer" in failed.err
        assert (it.apps / "unhealthy" / "VERSION").read_text() == "61\n"
        assert (await it.cli("recover", "dirty")).code == 0
        assert git("status", "--porcelain", cwd=it.apps / "dirty") == ""
        assert (await it.cli("recover", "diverged", "--hard")).code == 0
        status = await it.cli("status", "--json")
        invalid = {name for name, app in status.document["version_info"].items() if not app["is_valid"]}
        assert invalid == {"detached"}
        await it.stop(signal.SIGTERM)


async def test_the_slow_app_can_be_aborted(temporary: Path) -> None:
    async with playground(temporary, "--port", "0") as it:
        before = (await it.refreshed())["slow"]["current_hash"]
        async with piped_cli("upgrade", "slow", "--url", it.url) as upgrade:
            await upgrade.until("KiB/s")
            assert "Receiving objects: 100%" not in upgrade.output
            assert (await it.cli("abort")).code == 0
            assert await upgrade.process.wait() == 5
        assert git("rev-parse", "HEAD", cwd=it.apps / "slow") == before
        assert git("status", "--porcelain", cwd=it.apps / "slow") == ""
        # Once more: what was fetched before the abort has not used it up.
        async with piped_cli("upgrade", "slow", "--url", it.url) as upgrade:
            await upgrade.until("Receiving objects:")
            await it.stop(signal.SIGINT)
            assert await upgrade.process.wait() in (3, 5)


async def test_a_signal_while_it_is_being_built_ends_it_too(temporary: Path) -> None:
    async with started(temporary, "--port", "0") as it:
        await until(lambda: any(temporary.glob("*/apps/*")))
        await it.stop(signal.SIGINT)
        assert "The playground is at" not in it.running.output


async def test_a_taken_port(temporary: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = await run_cli("demo", "--port", port, env={"TMPDIR": str(temporary)})
    assert (ended.code, ended.out) == (1, "")
    assert port in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err
    assert list(temporary.iterdir()) == []


async def test_another_port_is_chosen_when_the_usual_one_is_taken(temporary: Path) -> None:
    # When this cannot listen on it, somebody else does.
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 7126))
            taken.listen()
        except OSError:
            pass
        async with playground(temporary) as it:
            assert not it.url.endswith(":7126")
            assert f"TRIO_UPDATE_URL={it.url} trio-update status\n" in it.running.output
            await it.stop(signal.SIGTERM)


async def test_git_is_missing(tmp_path: Path, temporary: Path) -> None:
    ended = await run_cli("demo", "--port", "0", env={"TMPDIR": str(temporary), "PATH": str(tmp_path)})
    assert ended.code == 1
    assert "'git'" in ended.err
    assert "Traceback" not in ended.err
    assert list(temporary.iterdir()) == []


async def test_the_slow_upstream_moves_on_when_all_of_it_was_fetched_until_it_cannot(tmp_path: Path) -> None:
    site = Site(tmp_path)
    upstream = make_upstream(site.upstreams / f"{SLOW}.git", commits=3)
    tips = [upstream.commits()[-1]]

    async def fetch() -> None:
        await trio.to_thread.run_sync(partial(clone, upstream, tmp_path / str(len(tips)), url=server.url(SLOW)))

    async with trio.open_nursery() as serving:
        server = await serving.start(serve_git, site.upstreams)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_slow_busy, site, server)
            for _ in range(2):
                await trio.testing.wait_all_tasks_blocked()
                await fetch()
                await until(lambda: upstream.commits()[-1] != tips[-1])
                tips.append(upstream.commits()[-1])
            # Users break things.  It gives up, and nothing else ends.
            (upstream.path / "refs" / "heads" / "master.lock").touch()
            await fetch()
        assert upstream.commits()[-1] == tips[-1]
        await trio.to_thread.run_sync(partial(git, "ls-remote", server.url(SLOW), cwd=tmp_path))
        serving.cancel_scope.cancel()
