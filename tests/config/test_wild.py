"""Files as installers, images of whole systems and years of use leave them: what is told of each, and nothing else.

A line that is told of ends with what is said: ``#! problem: …`` or ``#! note: …``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from trio_update import load_config
from trio_update.config import AppConfig, Config
from trio_update.model import Channel
from trio_update.updaters.kinds import judge_config

SAMPLES = Path(__file__).parent / "samples"
WILD = sorted(
    path.relative_to(SAMPLES).as_posix()
    for path in (*SAMPLES.glob("*.conf"), *SAMPLES.glob("*/moonraker.conf"))
    if "#!" in path.read_text("latin-1")
)
_MARK = re.compile(r"\s#! (problem|note): (.*?)\s*$")


def installed(home: Path, name: str) -> tuple[Config, set[str]]:
    """A sample on a machine where everything is in its place, and what it marks as told."""
    config = home / "printer_data" / "config"
    sample = SAMPLES / name
    if sample.name == "moonraker.conf":
        shutil.copytree(sample.parent, config, dirs_exist_ok=True)
    else:
        config.mkdir(parents=True)
        shutil.copy(sample, config / "moonraker.conf")
    marks = set()
    for file in config.rglob("*.conf"):
        text = file.read_bytes().replace(b"/usr/data", os_bytes(home)).replace(b"/home/pi/", os_bytes(home) + b"/")
        file.write_bytes(text)
        for number, line in enumerate(text.decode("latin-1").splitlines(), start=1):
            marks |= {f"{kind} {file}:{number}: {said}" for kind, said in _MARK.findall(line)}
    for name in ("klipper", "moonraker"):
        (home / name).mkdir(exist_ok=True)
    for app in load_config(config / "moonraker.conf").apps:
        _install(app)
    return load_config(config / "moonraker.conf"), marks


def os_bytes(path: Path) -> bytes:
    return str(path).encode()


def _install(app: AppConfig) -> None:
    app.path.mkdir(parents=True, exist_ok=True)
    if (environment := getattr(app, "virtualenv", None)) is not None:
        environment.mkdir(parents=True, exist_ok=True)
    for option in ("requirements", "system_dependencies", "install_script"):
        if name := getattr(app, option, ""):
            (app.path / name).parent.mkdir(parents=True, exist_ok=True)
            (app.path / name).touch()


def _unmarked(config: Config, marks: set[str]) -> Iterator[str]:
    """What is told and not marked; marks that were told are taken out."""
    told = [*(f"problem {one}" for one in config.problems), *(f"note {one}" for one in config.notes)]
    for line in told:
        place = re.match(r"\w+ \S+:\d+: ", line)
        fitting = {mark for mark in marks if place and mark.startswith(place[0]) and mark[place.end() :] in line}
        if not fitting:
            yield line
        marks -= fitting


@pytest.mark.parametrize("name", WILD)
def test_only_what_helps_is_told(home: Path, name: str) -> None:
    config, marks = installed(home, name)
    assert (list(_unmarked(config, marks)), marks) == ([], set())
    assert len(config.apps) >= 2
    assert judge_config(config) == config


def test_there_are_samples() -> None:
    assert len(WILD) >= 10


def test_an_image_that_is_refined_by_its_user(home: Path) -> None:
    config, _ = installed(home, "ratos/moonraker.conf")
    apps: dict[str, AppConfig] = {app.name: app for app in config.apps}
    assert list(apps) == ["RatOS", "RatOSConfigurator", "beacon", "klipper", "moonraker"]
    assert apps["RatOS"].channel is Channel.BETA
    assert apps["RatOS"].path == home / "printer_data/config/RatOS"
    assert config.server.cors_domains == ("*.local", "*://app.fluidd.xyz")
    assert config.server.trusted_clients == ("192.168.0.0/16",)
    assert config.server.klippy_uds_address == home / "printer_data/comms/klippy.sock"
    assert not config.update_manager.refresh_interval
    assert apps["RatOSConfigurator"].kept_inside == (".env.local", "node_modules")


def test_mistakes_cost_little(home: Path) -> None:
    config, _ = installed(home, "mistakes.conf")
    apps: dict[str, AppConfig] = {app.name: app for app in config.apps}
    assert list(apps) == ["one", "two", "three", "six", "klipper", "moonraker"]
    assert [app.name for app in config.disabled] == ["four"]
    assert [name for name, app in apps.items() if app.hold] == ["one", "six"]
    assert apps["one"].managed_services == ("one", "klipper")
    assert getattr(apps["three"], "repo", None) == "example/three"
