"""What a manager makes of configurations that were read with something wrong in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.raising import Raising
from tests.support.upstream import Upstream, git
from trio_update import AppName, load_config
from trio_update.engine.opening import open_manager
from trio_update.errors import OperationFailed, Reason, Refused

# Port 9 answers nobody.
OFFLINE = "[trio_update]\ngithub_api_url: http://127.0.0.1:9\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "moonraker.conf"
    path.write_text(OFFLINE + text.format(folder=folder))
    return path


@pytest.mark.parametrize("parent", ["", "gone/"])
@pytest.mark.parametrize("kind", ["git_repo", "web", "zip", "executable"])
async def test_an_app_that_is_not_installed_is_shown_as_invalid(tmp_path: Path, kind: str, parent: str) -> None:
    source = "origin: {folder}/none.git" if kind == "git_repo" else "repo: a/b"
    more = "virtualenv: .venv\nrequirements: r.txt\n" if kind in ("git_repo", "zip") else ""
    path = write(tmp_path, f"[update_manager app]\ntype: {kind}\npath: {{folder}}/{parent}app\n{source}\n{more}")
    async with open_manager(load_config(path), data_path=tmp_path / "data") as manager:
        await manager.wait_ready()
        await manager.refresh("app")
        status = manager.status()
        app = status.version_info[AppName("app")]
        assert not app.is_valid
        assert any(str(tmp_path / parent / "app") in warning for warning in app.warnings)
        assert any("does not exist: the app is not installed" in warning for warning in status.config_warnings)
        (plan,) = await manager.plan("app")
        assert plan.refusals
        with pytest.raises((Refused, OperationFailed), match=str(tmp_path / parent / "app")):
            await Raising(manager).upgrade("app", who="a test")
    assert not (tmp_path / "gone").exists()


async def test_an_app_is_held_back_by_what_is_wrong_in_its_section(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "upstream")
    upstream.commit(tag="v1.0")
    upstream.clone(tmp_path / "app")
    upstream.commits(2)
    path = write(
        tmp_path,
        f"[update_manager app]\ntype: git_repo\npath: {{folder}}/app\norigin: {upstream.url}\n"
        "is_system_service: False\nrequirements: /etc/hostname\npinned_commit: v1.0\n",
    )
    async with open_manager(load_config(path), data_path=tmp_path / "data") as manager:
        await manager.wait_ready()
        await manager.refresh("app")
        app = manager.status().version_info[AppName("app")]
        assert app.is_valid
        assert app.hold.startswith(f"{path}:9: 'pinned_commit' must be a commit's hash")
        with pytest.raises(Refused) as refused:
            await Raising(manager).upgrade("app", who="a test")
        assert refused.value.reason is Reason.HELD
        assert f"{path}:9: " in str(refused.value)
    # The same without the line that is wrong: what lies outside the app's folder is in nobody's way.
    path.write_text(path.read_text().replace("pinned_commit: v1.0", ""))
    async with open_manager(load_config(path), data_path=tmp_path / "data") as manager:
        await manager.wait_ready()
        await manager.refresh("app")
        await Raising(manager).upgrade("app", who="a test")
        assert git(tmp_path / "app", "rev-parse", "HEAD") == upstream.head
