"""Whole files as users have them load verbatim."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

from tests.config.conftest import Write
from trio_update import load_config
from trio_update.config import RefreshWindow
from trio_update.model import Channel
from trio_update.updaters.git.kind import GitRepoConfig

SAMPLES = Path(__file__).parent / "samples"


def _install(home: Path, name: str, *folders: str) -> Path:
    for folder in folders:
        (home / folder).mkdir()
    target = home / "config" / "moonraker.conf"
    target.parent.mkdir(exist_ok=True)
    shutil.copy(SAMPLES / name, target)
    return target


def test_mainsail(home: Path) -> None:
    path = _install(
        home, "mainsail.conf", "mainsail-config", "crowsnest", "sonar", "moonraker-timelapse", "klipper", "moonraker"
    )

    config = load_config(path)

    assert config.problems == ()
    assert config.disabled == ()
    assert config.source == path
    assert [app.name for app in config.apps] == [
        "mainsail-config",
        "crowsnest",
        "sonar",
        "timelapse",
        "klipper",
        "moonraker",
    ]
    assert config.update_manager.enable_auto_refresh
    assert config.update_manager.refresh_interval == datetime.timedelta(days=7)
    assert config.server.klippy_uds_address == home / "printer_data/comms/klippy.sock"
    assert config.server.host == "127.0.0.1"
    assert config.server.port == 7126
    assert config.server.cors_domains == (
        "https://my.mainsail.xyz",
        "http://my.mainsail.xyz",
        "http://*.local",
        "http://*.lan",
    )
    assert config.server.trusted_clients == (
        "10.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fe80::/10",
        "::1/128",
        "workshop-pc.lan",
    )
    assert config.apps[1] == GitRepoConfig(
        name=config.apps[1].name,
        path=home / "crowsnest",
        origin="https://github.com/mainsail-crew/crowsnest.git",
        managed_services=("crowsnest",),
        install_script="tools/pkglist.sh",
    )
    assert config.apps[3].managed_services == ("klipper", "moonraker")


def test_klipperscreen_and_friends(home: Path) -> None:
    path = _install(
        home,
        "klipperscreen.conf",
        "KlipperScreen",
        "mobileraker_companion",
        "klipper_tmc_autotune",
        "Klipper-Adaptive-Meshing-Purging",
        "klipper",
        "moonraker",
    )

    config = load_config(path)

    assert config.problems == ()
    apps = {app.name: app for app in config.apps}
    assert list(apps)[-2:] == ["klipper", "moonraker"]
    assert not config.server.enable_api_key
    assert config.server.trusted_clients == ("127.0.0.1", "192.168.1.0/24")
    assert config.server.cors_domains == ("*.local", "*.lan", "*://app.fluidd.xyz", "*://localhost:*")
    assert config.update_manager.refresh_window == RefreshWindow(22, 4)
    assert not config.update_manager.enable_packagekit
    assert {
        name: app.virtualenv for name, app in apps.items() if isinstance(app, GitRepoConfig) and app.virtualenv
    } == {
        "KlipperScreen": home / ".KlipperScreen-env",
        "mobileraker": home / "mobileraker-env",
        "klipper": home / "klippy-env",
        "moonraker": home / "moonraker-env",
    }
    meshing = config.apps[3]
    assert meshing.info_tags == ("desc=Adaptive meshing", "action=purge = line")
    assert meshing.managed_services == ("klipper",)
    assert [app.channel for app in config.apps] == [Channel.DEV] * 4 + [Channel.BETA, Channel.STABLE]
    assert config.apps[4].refresh_interval == datetime.timedelta(days=2)
    assert config.apps[4].report_anomalies
    assert not config.apps[5].report_anomalies


def test_split_over_files(home: Path, write: Write) -> None:
    path = _install(home, "split.conf", "klipper-led_effect", "katapult", "klipper")
    shutil.copy(SAMPLES / "update-manager.conf", path.parent)
    write(
        b"\xef\xbb\xbf[authorization]\r\ntrusted_clients:\r\n\t192.168.0.0/16\r\n\r\n"
        b"[server]\r\nklippy_uds_address: /tmp/klippy_uds\r\n",
        "shared/network.conf",
    )

    config = load_config(path)

    assert config.problems == ()
    assert config.server.trusted_clients == ("192.168.0.0/16",)
    assert str(config.server.klippy_uds_address) == "/tmp/klippy_uds"
    assert [(app.name, app.channel, app.managed_services) for app in config.apps] == [
        ("led_effect", Channel.DEV, ()),
        ("Katapult", Channel.DEV, ()),
        ("klipper", Channel.STABLE, ("klipper",)),
    ]


def test_defaults_of_klipper_and_moonraker(home: Path, write: Write) -> None:
    for name in ("klipper", "moonraker"):
        (home / name).mkdir()

    config = load_config(write("[update_manager]\n"))

    assert config.apps == (
        GitRepoConfig(
            name=config.apps[0].name,
            path=home / "klipper",
            origin="https://github.com/Klipper3d/klipper.git",
            virtualenv=home / "klippy-env",
            requirements="scripts/klippy-requirements.txt",
            managed_services=("klipper",),
        ),
        GitRepoConfig(
            name=config.apps[1].name,
            path=home / "moonraker",
            origin="https://github.com/Arksine/moonraker.git",
            virtualenv=home / "moonraker-env",
            requirements="scripts/moonraker-requirements.txt",
            managed_services=("moonraker",),
        ),
    )
    assert [app.name for app in config.apps] == ["klipper", "moonraker"]


def test_klipper_that_is_not_installed_is_not_registered(home: Path, write: Write) -> None:
    (home / "moonraker").write_text("not a folder")
    config = load_config(write("[update_manager klipper]\nchannel: beta\n"))
    assert (config.apps, config.disabled, config.problems) == ((), (), ())
