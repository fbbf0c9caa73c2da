"""What users can do with the playground's apps that come as a release."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from tests.support.cli import piped_cli
from tests.support.playground_client import Playground, playground
from tests.support.releases import photo, tree
from tests.support.waiting import until
from trio_update import load_config
from trio_update.demo.github.server import GitHub
from trio_update.demo.releases import BIG, DAMAGED, RELEASE_APPS, TOOL, WEB_CLIENT, ZIP_APP, publish


@dataclass(frozen=True)
class Case:
    """An app, where its upgrade leads, a file to break it with, and a file of the user's."""

    name: str
    newest: str
    broken: str
    own: str


CASES = (
    Case(WEB_CLIENT, "v2.0.0", "index.html", "config.json"),
    Case(ZIP_APP, "v1.2.0-beta.1", "run.sh", "data/user.json"),
    Case(TOOL, "v1.2.0", "tool", "notes.txt"),
)


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in tree(folder).items() if not name.startswith(".trio-update/")}


def version_of(folder: Path) -> str:
    return str(json.loads((folder / "release_info.json").read_bytes())["version"])


async def go_offline(it: Playground) -> int:
    """Returns the port where the stand-in's API was."""
    (it.folder / "offline").touch()
    await it.running.until("The stand-in for GitHub has stopped")
    config = await trio.to_thread.run_sync(load_config, it.folder / "moonraker.conf")
    port = int(config.server.github_api_url.rpartition(":")[2])
    with pytest.raises(OSError, match=str(port)):
        await trio.open_tcp_stream("127.0.0.1", port)
    return port


async def upgrade_break_and_recover(it: Playground, case: Case) -> None:
    folder = it.apps / case.name
    own = (folder / case.own).read_bytes()
    assert (await it.cli("upgrade", case.name)).code == 0
    assert version_of(folder) == case.newest
    assert (folder / case.own).read_bytes() == own
    upgraded = files_of(folder)
    (folder / case.broken).unlink()
    assert f"a recovery brings them back: {case.broken}" in (await it.cli("refresh", case.name)).out
    assert (await it.cli("recover", case.name)).code == 0
    assert files_of(folder) == upgraded


async def test_upgrade_break_recover_and_roll_back_without_github(temporary: Path) -> None:
    async with playground(temporary, "--port", "0") as it:
        await it.refreshed()
        before = {case.name: files_of(it.apps / case.name) for case in CASES}
        plan = (await it.cli("plan", WEB_CLIENT)).out.splitlines()
        assert plan[0] == f"{WEB_CLIENT}: v1.0.0 → v2.0.0"
        assert "    - Dark by default" in plan[plan.index("  release notes:") :]
        for case in CASES:
            await upgrade_break_and_recover(it, case)
        assert f"{WEB_CLIENT}: a rollback goes to v1.0.0" in (await it.cli("status", WEB_CLIENT)).out
        greeting = await trio.run_process(["./run.sh"], cwd=it.apps / ZIP_APP, capture_stdout=True)
        assert greeting.stdout == b"zipapp v1.2.0-beta.1 greets Ada\n"
        await go_offline(it)
        for case in CASES:
            assert (await it.cli("rollback", case.name)).code == 0
            assert files_of(it.apps / case.name) == before[case.name]
        tool = await trio.run_process([it.apps / TOOL / TOOL, "--version"], capture_stdout=True)
        assert tool.stdout == b"tool v1.0.0\n"
        await it.stop(signal.SIGINT)
        assert "sig=" not in it.running.output, "who reads the log could use the signed links of downloads"


async def test_a_download_is_aborted_and_a_damaged_one_refused(temporary: Path) -> None:
    github = GitHub()
    publish(github)
    (asset,) = github.repos[f"playground/{DAMAGED}"].releases[-1].assets
    assert isinstance(asset.content, bytes)
    async with playground(temporary, "--port", "0") as it:
        await it.refreshed()
        names = {path.name for path in it.apps.iterdir()}
        photos = {name: photo(it.apps / name) for name in (BIG, DAMAGED)}
        async with piped_cli("upgrade", BIG, "--url", it.url) as upgrade:
            await upgrade.until("KiB [")
            assert {path.name for path in it.apps.iterdir()} > names, "it is downloaded beside the app"
            assert (await it.cli("abort")).code == 0
            assert await upgrade.process.wait() == 5
        failed = await it.cli("upgrade", DAMAGED)
        assert failed.code == 1
        assert f"expected {asset.digest}, got sha256:{hashlib.sha256(asset.content).hexdigest()}" in failed.err
        assert failed.err.lower().count("nothing was changed") == 1
        assert {name: photo(it.apps / name) for name in (BIG, DAMAGED)} == photos
        assert {path.name for path in it.apps.iterdir()} == names
        status = (await it.cli("status", "--json")).document["version_info"]
        assert {status[name]["version"] for name in (BIG, DAMAGED)} == {"v1.0.0"}
        assert all(status[name]["is_valid"] for name in (BIG, DAMAGED))
        await it.stop(signal.SIGTERM)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_any_download_can_be_made_to_hang_and_aborted(temporary: Path, case: Case) -> None:
    async with playground(temporary, "--port", "0") as it:
        await it.refreshed()
        before = photo(it.apps)
        (it.folder / "hang").touch()
        await it.running.until("Downloads hang")
        async with piped_cli("upgrade", case.name, "--url", it.url) as upgrade:
            await upgrade.until("KiB [")
            assert (await it.cli("abort")).code == 0
            assert await upgrade.process.wait() == 5
        assert photo(it.apps) == before
        (it.folder / "hang").unlink()
        await it.running.until("do not hang any more")
        assert (await it.cli("upgrade", case.name)).code == 0
        assert version_of(it.apps / case.name) == case.newest
        await it.stop(signal.SIGINT)


async def test_github_goes_in_the_middle_of_a_download_and_comes_back(temporary: Path) -> None:
    async with playground(temporary, "--port", "0") as it:
        await it.refreshed()
        async with piped_cli("upgrade", BIG, "--url", it.url) as upgrade:
            await until(lambda: re.search(r"KiB \[[1-9]", upgrade.output) is not None)
            port = await go_offline(it)
            await upgrade.until("trying again in")
            # Somebody else listens there when it wants to come back.
            with socket.socket() as taken:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                taken.bind(("127.0.0.1", port))
                taken.listen()
                (it.folder / "offline").unlink()
                await it.running.until("cannot listen again yet")
            await it.running.until("The stand-in for GitHub answers again.")
            said = len(upgrade.output)
            await until(lambda: re.search(r": \d+ KiB / ", upgrade.output[said:]) is not None)
            resumed = re.findall(r": (\d+) KiB / ", upgrade.output[said:])
            assert int(resumed[0]) > 0, "it went on where it was cut"
            await it.stop(signal.SIGINT)
            assert await upgrade.process.wait() in (3, 5)


async def test_assets_are_the_same_in_every_run_and_all_but_one_fit_their_digest() -> None:
    first, second = GitHub(), GitHub()
    publish(first)
    publish(second)
    assert first.repos == second.repos
    spoilt = {
        name
        for name, repo in first.repos.items()
        for release in repo.releases
        for asset in release.assets
        if asset.digest not in ("auto", f"sha256:{(await asset.measure()).sha256}")
    }
    assert spoilt == {f"playground/{DAMAGED}"}
    assert {app.repo for app in RELEASE_APPS} == set(first.repos)
