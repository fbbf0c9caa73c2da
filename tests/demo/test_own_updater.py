"""The example of an updater of one's own, as it stands, registered by an entry point of another distribution."""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.cli import Running, piped_cli, run_cli
from tests.support.upstream import reap_inherited
from tests.support.waiting import until

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIGURATION = """\
[trio_update]
port: 0
[update_manager board]
type: firmware
path: {folder}/board
releases: {folder}/releases
is_system_service: False
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A board with firmware 1.9, and a folder with that and 1.10."""
    for name in ("board", "releases"):
        (tmp_path / name).mkdir()
    (tmp_path / "board" / "firmware.bin").write_text(image("1.9"))
    for version in ("1.9", "1.10"):
        (tmp_path / "releases" / f"{version}.bin").write_text(image(version))
    (tmp_path / "moonraker.conf").write_text(CONFIGURATION.format(folder=tmp_path))
    register(tmp_path, "own-updater", "firmware = own_updater:FIRMWARE\n")
    return tmp_path


def image(version: str) -> str:
    return f"{version}\n{version} in machine code\n"


def register(machine: Path, name: str, entries: str) -> None:
    """Install a distribution that consists of its entry points."""
    folder = machine / "installed" / f"{name.replace('-', '_')}-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[trio_update.kinds]\n{entries}")


def installed(machine: Path) -> dict[str, str]:
    return {"PYTHONPATH": f"{machine / 'installed'}:{EXAMPLES}"}


def configure(machine: Path, health: str) -> None:
    config = machine / "moonraker.conf"
    config.write_text(CONFIGURATION.format(folder=machine) + f"health_command: {health}\n")


@asynccontextmanager
async def serving(machine: Path, *, stops: bool = True) -> AsyncIterator[tuple[Running, dict[str, str]]]:
    """The server, and the environment in which the command line finds it."""
    arguments = ("serve", "-c", str(machine / "moonraker.conf"), "-d", str(machine / "data"))
    async with piped_cli(*arguments, env=installed(machine)) as server:
        await server.until("listening on ")
        await server.until("\n")
        found = re.search(r"listening on (http://\S+)\n", server.output)
        assert found is not None
        yield server, {"TRIO_UPDATE_URL": found[1]}
        if stops:
            server.signal(signal.SIGTERM)
            assert await server.process.wait() == 0


async def status_of(env: dict[str, str]) -> Any:
    await run_cli("refresh", env=env)
    return (await run_cli("status", "board", "--json", env=env)).document


def live(machine: Path) -> str:
    return (machine / "board" / "firmware.bin").read_text()


def tidy(machine: Path) -> bool:
    left = [path.name for path in (machine / "board").iterdir() if path.name != "firmware.bin"]
    return left == [] and not list((machine / "data/trio_update/journal").iterdir())


async def test_it_is_shown_upgraded_and_rolled_back(machine: Path) -> None:
    checked = await run_cli("check", "--json", "-c", str(machine / "moonraker.conf"), env=installed(machine))
    assert checked.code == 0
    assert checked.document["apps"] == [
        {"name": "board", "type": "firmware", "path": f"{machine}/board", "channel": "dev"}
    ]
    async with serving(machine) as (_, env):
        status = await status_of(env)
        assert (status["configured_type"], status["is_valid"]) == ("firmware", True)
        assert (status["version"], status["remote_version"]) == ("1.9", "1.10")
        table = await run_cli("status", env=env)
        assert table.out.split("\t")[:4] == ["board", "firmware", "dev", "1.9 → 1.10"]
        assert (await run_cli("plan", "board", env=env)).out.startswith("board: 1.9 → 1.10\n")
        upgraded = await run_cli("upgrade", "board", env=env)
        assert (upgraded.code, upgraded.err) == (0, "")
        assert (live(machine), tidy(machine)) == (image("1.10"), True)
        assert (await status_of(env))["rollback_version"] == "1.9"
        again = await run_cli("upgrade", "board", "--json", env=env)
        assert again.code == 0
        assert (await run_cli("rollback", "board", env=env)).code == 0
        assert (live(machine), tidy(machine)) == (image("1.9"), True)
        (machine / "board" / "firmware.bin").unlink()
        status = await status_of(env)
        assert not status["is_valid"]
        assert (await run_cli("upgrade", "board", env=env)).code == 4


async def test_what_is_not_well_is_put_back(machine: Path) -> None:
    configure(machine, "false")
    async with serving(machine) as (_, env):
        await run_cli("refresh", env=env)
        failed = await run_cli("upgrade", "board", env=env)
        assert failed.code == 1
        assert "The app is back at 1.9" in failed.err
        assert (live(machine), tidy(machine)) == (image("1.9"), True)


async def test_it_is_aborted(machine: Path) -> None:
    configure(machine, f"sh -c 'echo > {machine}/reached; sleep 60'\nhealth_timeout: 90")
    async with serving(machine) as (_, env), trio.open_nursery() as nursery:
        await run_cli("refresh", env=env)
        nursery.start_soon(lambda: run_cli("upgrade", "board", env=env))
        await until((machine / "reached").exists)
        assert live(machine) == image("1.10")
        assert (await run_cli("abort", env=env)).code == 0
        assert (live(machine), tidy(machine)) == (image("1.9"), True)


async def test_it_is_killed_and_settled(machine: Path) -> None:
    # Behind the switch and before the commit; the parent of the command is the server.
    configure(machine, "sh -c 'kill -9 $PPID; sleep 60'\nhealth_timeout: 90")
    async with serving(machine, stops=False) as (server, env):
        await run_cli("refresh", env=env)
        assert (await run_cli("upgrade", "board", env=env)).code != 0
        assert await server.process.wait() == -signal.SIGKILL
    assert live(machine) == image("1.10")
    # Without its package nothing is guessed about the app: its section is broken, and the entry waits.
    entry = next((machine / "data/trio_update/journal").iterdir()).read_bytes()
    async with piped_cli("serve", "-c", str(machine / "moonraker.conf"), "-d", str(machine / "data")) as other:
        await other.until("listening on ")
        assert "'type' must be one of git_repo, web, zip, executable, python, not `firmware`" in other.output
        other.signal(signal.SIGTERM)
        assert await other.process.wait() == 0
    assert next((machine / "data/trio_update/journal").iterdir()).read_bytes() == entry
    configure(machine, "true")
    async with serving(machine) as (_, env):
        assert (live(machine), tidy(machine)) == (image("1.9"), True)
        history = await run_cli("history", "board", env=env)
        assert "interrupted" in history.out
        await run_cli("refresh", env=env)
        assert (await run_cli("upgrade", "board", env=env)).code == 0
        assert live(machine) == image("1.10")
    reap_inherited()


async def test_a_broken_entry_point_is_told_and_stops_nothing(machine: Path) -> None:
    register(
        machine,
        "broken-one",
        "gone = no_such_module:KIND\nodd = own_updater:LARGE\ntwin = own_updater:Firmware\nclash = clashing:KIND\n",
    )
    (machine / "installed" / "clashing.py").write_text(
        "import msgspec, trio_update\n"
        "from trio_update.config import AppConfig\n"
        "from trio_update.updaters.kinds import Kind\n"
        "class Config(AppConfig, frozen=True, kw_only=True, tag='clash'): pass\n"
        "class Status(trio_update.AppStatus, frozen=True, kw_only=True, tag='clash'): pass\n"
        "class Effect(msgspec.Struct, tag='switch'): pass\n"
        "KIND = Kind(config=Config, status=Status, options={}, effects=lambda: (Effect,), make=print)\n"
    )
    checked = await run_cli("check", "-c", str(machine / "moonraker.conf"), env=installed(machine))
    assert checked.code == 1
    for name, why in (
        ("gone", "ModuleNotFoundError"),
        ("odd", "AttributeError"),
        ("twin", "it is a type and no Kind"),
        ("clash", "two effects have the tag 'switch'"),
    ):
        (line,) = (line for line in checked.out.splitlines() if f"trio_update.kinds:{name}" in line)
        assert why in line
    async with serving(machine) as (server, env):
        assert "trio_update.kinds:gone" in server.output
        status = await status_of(env)
        assert status["version"] == "1.9"
        assert "trio_update.kinds:gone" in (await run_cli("status", env=env)).out


def test_it_is_short() -> None:
    assert len((EXAMPLES / "own_updater.py").read_text().splitlines()) < 100
