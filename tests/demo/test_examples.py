"""The examples do what they say, against a real server and real clones."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.support.cli import Ended, environment, piped_cli
from trio_update import load_config
from trio_update.config.kinds import by_type
from trio_update.config.options import OVERRIDES, app_table
from trio_update.demo.repos import State, make_clone, make_upstream
from trio_update.updaters.kinds import built_in_kinds

EXAMPLES = Path(__file__).parents[2] / "examples"

CONFIGURATION = """\
[trio_update]
port: 0
[update_manager late]
type: git_repo
path: {folder}/late
origin: file://{folder}/app.git
is_system_service: False
[update_manager changed]
type: git_repo
path: {folder}/changed
origin: file://{folder}/app.git
is_system_service: False
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    upstream = make_upstream(tmp_path / "app.git")
    make_clone(State.BEHIND, upstream, tmp_path / "late")
    make_clone(State.DIRTY, upstream, tmp_path / "changed")
    (tmp_path / "moonraker.conf").write_text(CONFIGURATION.format(folder=tmp_path))
    return tmp_path


async def run_example(name: str, *arguments: str) -> Ended:
    done = await trio.run_process(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env=environment(PYTHONPATH=str(EXAMPLES.parent)),
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


@asynccontextmanager
async def serving(machine: Path) -> AsyncIterator[str]:
    """A server's WebSocket address."""
    async with piped_cli("serve", "-c", str(machine / "moonraker.conf"), "-d", str(machine / "data")) as server:
        await server.until("listening on ")
        await server.until("\n")
        found = re.search(r"listening on http://(127\.0\.0\.1:\d+)\n", server.output)
        assert found is not None
        yield f"ws://{found[1]}/websocket"
        server.signal(signal.SIGTERM)
        assert await server.process.wait() == 0


async def test_jsonrpc_status_shows_and_upgrades(machine: Path) -> None:
    async with serving(machine) as url:
        upgraded = await run_example("jsonrpc_status.py", "--url", url, "--upgrade", "late")
        assert (upgraded.code, upgraded.err) == (0, "")
        said, _, table = upgraded.out.partition("NAME ")
        lines = said.splitlines()
        assert all(line.startswith("[late #") for line in lines)
        assert [line for line in lines if line.endswith(" (end)")] == lines[-1:]
        assert re.search(r"^late +git_repo +v1\.3\.0-alpha1-5 +v1\.3\.0-alpha1-5 +0 +ok$", table, re.MULTILINE)
        refused = await run_example("jsonrpc_status.py", "--url", url, "--upgrade", "changed")
    assert refused.code == 1
    assert refused.err.startswith("refused: ")
    unreachable = await run_example("jsonrpc_status.py", "--url", url)
    assert unreachable.code == 1
    assert unreachable.err.startswith(f"cannot reach {url}: ")
    assert "Traceback" not in unreachable.err


async def test_embed_shows_and_upgrades(machine: Path) -> None:
    config, data = str(machine / "moonraker.conf"), str(machine / "data")
    ended = await run_example("embed.py", config, data, "late", "changed")
    assert ended.code == 1
    lines = ended.out.splitlines()
    assert "late: v1.0.0-5 → v1.3.0-alpha1-5" in lines
    assert any(line.startswith("changed: v1.3.0-alpha1-5 → v1.3.0-alpha1-5  (") for line in lines)
    assert any(line.startswith("  late: ") for line in lines)
    assert [line.partition(" ")[0] for line in ended.err.splitlines()] == ["changed"]
    assert (machine / "late" / "VERSION").read_text() == "60\n"
    again = await run_example("embed.py", config, data)
    assert (again.code, again.err) == (0, "")
    assert "late: v1.3.0-alpha1-5 → v1.3.0-alpha1-5" in again.out.splitlines()


async def test_embed_says_why_it_cannot(machine: Path) -> None:
    config = machine / "moonraker.conf"
    async with serving(machine):
        held = await run_example("embed.py", str(config), str(machine / "data"))
    config.write_text("[trio_update]\nport: high\n")
    invalid = await run_example("embed.py", str(config), str(machine / "data"))
    for ended, named in ((held, str(machine / "data")), (invalid, f"{config}:2: ")):
        assert (ended.code, ended.out) == (1, "")
        assert named in ended.err
        assert "Traceback" not in ended.err


def test_the_configuration_is_valid_and_explains_every_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    own = ["mainsail-config", "filament-scale", "mainsail", "spool-server", "label-printer"]
    for name in ("klipper", "moonraker", *own):
        (tmp_path / name).mkdir()
    config = load_config(EXAMPLES / "moonraker.conf")
    assert config.problems == ()
    assert [app.name for app in config.apps] == [*own, "klipper", "moonraker"]
    shown = set(re.findall(r"^#?([a-z_]+):", (EXAMPLES / "moonraker.conf").read_text(), re.MULTILINE))
    kinds = by_type(built_in_kinds())
    for kind in kinds:
        # Deprecated ones are not for new configurations.
        assert set(app_table(kind, "app", lambda path: None, kinds)) - {"env", "install_script"} <= shown
    assert set(OVERRIDES) <= shown
