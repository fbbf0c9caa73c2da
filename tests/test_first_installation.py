"""An app that is configured and not installed, over the wire and on the command line; and the services of one."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from tests.support.cli import run_cli
from tests.support.raising import Raising
from tests.support.upstream import Upstream
from trio_update import load_config
from trio_update.engine.opening import open_manager
from trio_update.errors import OperationFailed
from trio_update.service import serve


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    upstream = Upstream(tmp_path / "upstream")
    upstream.commit(tag="v1.0.0")
    return upstream


def write(folder: Path, upstream: Upstream, *lines: str) -> Path:
    path = folder / "moonraker.conf"
    section = ("[update_manager app]", "type: git_repo", f"path: {folder}/apps/app", f"origin: {upstream.url}")
    path.write_text("\n".join(("[trio_update]", "host: 127.0.0.1", "port: 0", *section, *lines)) + "\n")
    return path


async def test_clients_and_the_command_line_show_it_and_install_it(tmp_path: Path, upstream: Upstream) -> None:
    config = load_config(write(tmp_path, upstream, "is_system_service: False"))
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(serve, config, data_path=tmp_path / "data"))
        ask = partial(run_cli, env={"TRIO_UPDATE_URL": url})
        assert (await ask("refresh")).code == 0
        async with httpx.AsyncClient(base_url=url) as client:
            answer = await client.get("/machine/update/status")
        app = answer.json()["result"]["version_info"]["app"]
        # What Mainsail and Fluidd go by when they show an update's ordinary button.
        assert (app["is_valid"], app["installed"], app["warnings"]) == (True, False, [])
        assert (app["version"], app["remote_version"]) == ("0.0.0-0.not-installed", "v1.0.0-0")
        assert app["commits_behind"][0]["sha"] == app["remote_hash"] == upstream.head
        assert (app["current_hash"], app["rollback_version"]) == ("?", "?")
        told = (await ask("status")).out.splitlines()
        assert told[0] == "app\tgit_repo\tdev\t→ v1.0.0-0\t1\tnot installed"
        assert "installs it in" in told[1]
        assert "app: not installed → v1.0.0-0" in (await ask("plan", "app")).out
        assert (await ask("upgrade")).code == 0
        assert (tmp_path / "apps/app/main.py").is_file()
        assert (await ask("status")).out.splitlines()[0].endswith("up to date")
        assert "not installed → v1.0.0-0" in (await ask("history")).out
        nursery.cancel_scope.cancel()


@dataclass
class ServiceManager:
    """Knows some services, and no others."""

    known: tuple[str, ...]
    manages: bool = True
    restarted: list[str] = field(default_factory=list)

    async def restart(self, name: str) -> None:
        if name not in self.known:
            raise OperationFailed(f"Unit {name}.service not found")
        self.restarted.append(name)

    async def is_active(self, name: str) -> bool:
        return name in self.known


async def test_services_that_are_there_are_started_and_others_told(tmp_path: Path, upstream: Upstream) -> None:
    config = load_config(write(tmp_path, upstream, "managed_services: app klipper"))
    services = ServiceManager(("klipper",))
    async with open_manager(config, data_path=tmp_path / "data", services=services) as opened:
        manager = Raising(opened)
        await manager.wait_ready()
        await manager.upgrade("app")
        said = manager.job().log
    assert services.restarted == ["klipper"]
    assert any("Not started, set up the service if it is not there yet: Unit app.service" in line for line in said)


async def test_services_of_an_app_that_is_absent_again_are_left_alone(tmp_path: Path, upstream: Upstream) -> None:
    config = load_config(write(tmp_path, upstream, "managed_services: klipper", "health_command: /bin/false"))
    services = ServiceManager(("klipper",))
    async with open_manager(config, data_path=tmp_path / "data", services=services) as opened:
        await opened.wait_ready()
        record = await opened.upgrade("app")
        assert "The app is not installed, as before." in record.message
    assert services.restarted == ["klipper"]
    assert not (tmp_path / "apps").exists()
