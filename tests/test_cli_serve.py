"""The command line's two ends together: `serve` runs the real server, the client commands talk to it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.cli import Running, piped_cli, run_cli

CONFIGURATION = """\
[update_manager]
[update_manager app]
type: git_repo
path: {folder}/app
origin: {folder}/upstream
primary_branch: master
is_system_service: False
[trio_update]
port: 1
"""


def run_git(folder: Path, *arguments: str) -> str:
    """Run git in ``folder``, apart from the user's own settings."""
    who = {f"GIT_{role}_{part}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", **who}
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, env=os.environ | alone)
    return done.stdout.decode().strip()


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder with an app that is three commits behind, and a configuration that manages it."""
    upstream = tmp_path / "upstream"
    upstream.mkdir()
    run_git(upstream, "init", "-q", "-b", "master")
    for number in range(4):
        (upstream / "file").write_text(f"{number}\n")
        run_git(upstream, "add", "file")
        run_git(upstream, "commit", "-q", "-m", f"Change {number}")
        if number == 0:
            run_git(upstream, "tag", "v1.0.0")
            run_git(tmp_path, "clone", "-q", "upstream", "app")
    run_git(upstream, "tag", "v1.1.0")
    (tmp_path / "moonraker.conf").write_text(CONFIGURATION.format(folder=tmp_path))
    return tmp_path


@asynccontextmanager
async def serving(machine: Path) -> AsyncIterator[tuple[Running, str]]:
    """The server, and its URL."""
    arguments = ("serve", "-c", str(machine / "moonraker.conf"), "-d", str(machine / "data"), "--port", "0")
    async with piped_cli(*arguments) as server:
        await server.until("listening on http://127.0.0.1:")
        await server.until("\n")
        found = re.search(r"listening on (http://127\.0\.0\.1:\d+)\n", server.output)
        assert found is not None
        yield server, found[1]
        if server.process.poll() is None:
            server.signal(signal.SIGTERM)
        assert await server.process.wait() == 0


async def test_an_app_is_updated_and_put_back(machine: Path) -> None:
    async with serving(machine) as (_, url):
        env = {"TRIO_UPDATE_URL": url}
        refreshed = await run_cli("refresh", env=env)
        assert refreshed.out.split("\t")[:5] == ["app", "git_repo", "dev", "v1.0.0-0 → v1.1.0-0", "3"]
        plan = await run_cli("plan", "app", env=env)
        assert plan.out.startswith("app: v1.0.0-0 → v1.1.0-0\n")
        assert "Change 3 (v1.1.0)" in plan.out
        upgraded = await run_cli("upgrade", "app", env=env)
        assert (upgraded.code, upgraded.err) == (0, "")
        assert (machine / "app" / "file").read_text() == "3\n"
        again = await run_cli("rollback", "app", env=env)
        assert again.code == 0
        assert (machine / "app" / "file").read_text() == "0\n"
        by_version = await run_cli("rollback", "app", "v1.0.7", env=env)
        assert by_version.code == 1
        full = await run_cli("upgrade", "--json", env=env)
        assert (full.code, full.document["application"], full.document["result"]) == (0, "full", "ok")
        (machine / "app" / "file").write_text("changed\n")
        await run_cli("refresh", env=env)
        refused = await run_cli("upgrade", "app", env=env)
        assert refused.code == 4
        assert "dirty" in refused.err
        recovered = await run_cli("recover", "app", env=env)
        assert recovered.code == 0
        status = await run_cli("status", "app", "--json", env=env)
        assert (status.document["is_dirty"], status.document["version"]) == (False, "v1.1.0-0")
        history = await run_cli("history", env=env)
        assert [line.split("\t")[1] for line in history.out.splitlines() if "\t" in line] == [
            "recover app",
            "upgrade app",
            "full",
            "rollback app",
            "rollback app",
            "upgrade app",
        ]


async def test_refusals_of_the_real_server(machine: Path) -> None:
    async with serving(machine) as (_, url):
        assert (await run_cli("upgrade", "nope", "--url", url)).code == 1
        assert (await run_cli("refresh", "nope", "--url", url)).code == 1
        assert (await run_cli("abort", "--url", url)).code == 4


async def test_watch_follows_what_another_client_does(machine: Path) -> None:
    async with serving(machine) as (_, url), piped_cli("watch", "--url", url) as watcher:
        # Nothing tells a watcher's readiness from outside, so refresh until it has seen one.
        while "status:" not in watcher.output:
            await run_cli("refresh", "--url", url)
        await run_cli("upgrade", "app", "--url", url)
        await watcher.until("app: ")
        watcher.signal(signal.SIGINT)
        assert await watcher.process.wait() == 0


async def test_a_server_that_stops_ends_its_watchers(machine: Path) -> None:
    async with serving(machine) as (server, url), piped_cli("watch", "--url", url) as watcher:
        while "status:" not in watcher.output:
            await run_cli("refresh", "--url", url)
        server.signal(signal.SIGINT)
        assert await watcher.process.wait() == 3
        assert await server.process.wait() == 0
    assert "the server is stopping" in watcher.output


async def test_two_servers_on_one_data_path(machine: Path) -> None:
    config = str(machine / "moonraker.conf")
    async with serving(machine) as (_, url):
        held = await run_cli("serve", "-c", config, "-d", str(machine / "data"), "--port", "0")
        port = url.rsplit(":", 1)[1]
        taken = await run_cli("serve", "-c", config, "-d", str(machine / "elsewhere"), "--port", port)
    assert (held.code, taken.code) == (1, 1)
    assert held.err.count("\n") == 1
    assert str(machine / "data") in held.err
    assert port in taken.err.splitlines()[-1]


async def test_a_server_starts_in_spite_of_a_broken_app_and_tells_of_it(machine: Path) -> None:
    config = machine / "moonraker.conf"
    config.write_text(config.read_text() + "[update_manager broken]\ntype: git_repo\npath: /none\n")
    line = len(config.read_text().splitlines())
    async with serving(machine) as (server, url):
        status = await run_cli("status", "--url", url)
    assert f"{config}:{line}: " in server.output
    assert f"{config}:{line}: " in status.out


async def test_what_has_no_effect_yet_is_logged_and_no_warning_for_clients(machine: Path) -> None:
    config = machine / "moonraker.conf"
    config.write_text(config.read_text() + "moonraker_url: http://127.0.0.1:7125\n")
    async with serving(machine) as (server, url):
        status = await run_cli("status", "--json", "--url", url)
    assert "INFO " in server.output
    assert "'moonraker_url' is accepted and not used by this version yet" in server.output
    assert status.document["config_warnings"] == []


async def test_a_server_does_not_start_with_a_broken_section_of_its_own(machine: Path) -> None:
    config = machine / "moonraker.conf"
    config.write_text(config.read_text().replace("port: 1", "port: high"))
    ended = await run_cli("serve", "-c", str(config), "-d", str(machine / "data"))
    assert ended.code == 1
    assert f"{config}:9: " in ended.err
    assert not (machine / "data").exists()


async def test_an_open_address_is_refused(machine: Path) -> None:
    arguments = ("serve", "-c", str(machine / "moonraker.conf"), "-d", str(machine / "data"), "--host", "0.0.0.0")
    ended = await run_cli(*arguments)
    assert ended.code == 1
    assert "0.0.0.0" in ended.err
