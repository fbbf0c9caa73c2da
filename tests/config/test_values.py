"""Values as they arrive in the configuration."""

from __future__ import annotations

import datetime
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck as Check
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.conftest import problems_of
from trio_update import load_config
from trio_update.config import Config, ConfigInvalid, HealthCheck, RefreshWindow
from trio_update.config.kinds import by_type
from trio_update.config.options import any_app_table, foreign_tables, server_table, update_manager_table
from trio_update.config.render import BadValue
from trio_update.model import AppName, Channel
from trio_update.updaters.git.kind import GitRepoConfig
from trio_update.updaters.kinds import built_in_kinds
from trio_update.updaters.release.kind import ExecutableConfig, WebConfig, ZipConfig

KINDS = by_type(built_in_kinds())
Load = Callable[[str], Config]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder for tests that draw many examples, and therefore cannot use the one of a single test."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "app").mkdir()
        yield Path(name)


def test_every_option_of_a_git_app(home: Path, load: Load) -> None:
    (home / "app").mkdir()
    config = load(
        """
[update_manager my app]
TYPE: Git_Repo
channel: Stable
path: ~/app
origin: ~/upstream.git
primary_branch: feature/x
pinned_commit: ABCDEF0123
moved_origin: git@example.org:a/b.git
virtualenv: ~/env
env: ~/other/bin/python
venv_args: -p 'python 3'
requirements: scripts/r.txt
system_dependencies: scripts/./s.json
install_script: install.sh
enable_node_updates: yes
pip_environment_variables:
    # for a build from source
    CFLAGS=-O2 -g=1

    EMPTY =
refresh_interval: 0.5
info_tags:
    desc=My # comment
    plain
report_anomalies: off
managed_services:
    klipper
    klipper moonraker
is_system_service: 0
health_command: curl -f "http://a b"
health_url: http://127.0.0.1:8080/health/?full=1
health_timeout: 2.5
keep_versions: 0
hold: until the new board
    is here
"""
    )
    assert config.problems == ()
    assert config.apps == (
        GitRepoConfig(
            name=AppName("my app"),
            path=home / "app",
            channel=Channel.STABLE,
            origin=str(home / "upstream.git"),
            primary_branch="feature/x",
            pinned_commit="abcdef0123",
            moved_origin="git@example.org:a/b.git",
            virtualenv=home / "env",
            venv_args="-p 'python 3'",
            requirements="scripts/r.txt",
            system_dependencies="scripts/s.json",
            install_script="install.sh",
            enable_node_updates=True,
            pip_environment_variables=(("CFLAGS", "-O2 -g=1"), ("EMPTY", "")),
            refresh_interval=datetime.timedelta(minutes=30),
            info_tags=("desc=My", "plain"),
            report_anomalies=False,
            managed_services=("klipper", "moonraker"),
            health=HealthCheck(
                command=("curl", "-f", "http://a b"), url="http://127.0.0.1:8080/health/?full=1", timeout=2.5
            ),
            keep_versions=0,
            hold="until the new board is here",
        ),
    )


@pytest.mark.parametrize(
    ("lines", "services"),
    [
        ("", ("app",)),
        ("is_system_service: True", ("app",)),
        ("is_system_service: False", ()),
        ("managed_services:", ()),
        ("managed_services: klipper app", ("klipper", "app")),
        ("is_system_service: False\nmanaged_services: app", ("app",)),
    ],
)
def test_managed_services(home: Path, load: Load, lines: str, services: tuple[str, ...]) -> None:
    (home / "app").mkdir()
    (app,) = load(f"[update_manager app]\ntype: git_repo\npath: ~/app\norigin: /srv/a\n{lines}").apps
    assert app.managed_services == services


def test_overrides_of_klipper_and_moonraker(home: Path, load: Load) -> None:
    (home / "klipper").mkdir()
    (home / "moonraker").mkdir()
    config = load(
        "[update_manager moonraker]\nhold: wait\nhealth_timeout: 9\npinned_commit: 01234567\n"
        "[update_manager]\nchannel: beta\n[update_manager klipper]\nchannel: stable\n"
    )
    klipper, moonraker = config.apps
    assert isinstance(moonraker, GitRepoConfig)
    assert (klipper.name, klipper.channel, klipper.hold) == ("klipper", Channel.STABLE, "")
    assert (moonraker.channel, moonraker.hold, moonraker.pinned_commit) == (Channel.BETA, "wait", "01234567")
    assert moonraker.health == HealthCheck(timeout=9)
    assert config.problems == ()


def test_the_server_section(home: Path, load: Load) -> None:
    (home / "token").touch()
    server = load(
        "[trio_update]\nhost: [::1]\nport: 0\nmoonraker_url: http://printer.local:7125/\ngithub_token_file: ~/token\n"
        "max_concurrent_refreshes: 1\nmax_websocket_connections: 2\nservice_provider: NONE\n"
    ).server
    assert (server.host, server.port, server.moonraker_url) == ("::1", 0, "http://printer.local:7125")
    assert server.github_token_file == home / "token"
    assert (server.max_concurrent_refreshes, server.max_websocket_connections) == (1, 2)
    assert server.service_provider == "none"


@pytest.mark.parametrize(
    ("lines", "api", "web"),
    [
        ("", "https://api.github.com", "https://github.com"),
        ("github_api_url: https://api.github.com/", "https://api.github.com", "https://github.com"),
        ("github_api_url: http://127.0.0.1:99/api/v3", "http://127.0.0.1:99/api/v3", "http://127.0.0.1:99"),
        ("github_url: https://a\ngithub_api_url: https://b", "https://b", "https://a"),
    ],
)
def test_where_github_is(load: Load, lines: str, api: str, web: str) -> None:
    server = load(f"[trio_update]\n{lines}").server
    assert (server.github_api_url, server.github_url) == (api, web)


def test_foreign_sections_in_several_parts(load: Load) -> None:
    server = load(
        "[authorization]\ntrusted_clients: Host_1.local\n[server]\nport: 1\n[authorization]\nenable_api_key: no\n"
        "[server]\nklippy_uds_address: /run/k\n"
    ).server
    assert (server.trusted_clients, server.enable_api_key) == (("Host_1.local",), False)
    assert server.klippy_uds_address == Path("/run/k")


@pytest.mark.parametrize(("text", "value"), [(word, True) for word in ("True", "yes", "ON", "1")])
@pytest.mark.parametrize("negative", ["False", "no", "OFF", "0"])
def test_flags(load: Load, text: str, value: bool, negative: str) -> None:
    config = load(f"[update_manager]\nenable_auto_refresh: {text}\nenable_system_updates: {negative}\n")
    assert config.update_manager.enable_auto_refresh is value
    assert config.update_manager.enable_system_updates is not value


@given(start=st.integers(0, 23), end=st.integers(0, 23), space=st.sampled_from(["", " ", "\t"]))
def test_windows(start: int, end: int, space: str) -> None:
    convert = update_manager_table()["refresh_window"]
    text = f"{start}{space}-{space}{end}"
    if start == end:
        with pytest.raises(BadValue):
            convert(text)
    else:
        assert convert(text) == RefreshWindow(start, end)


_WORD = st.text(alphabet="abcXYZ019._-", min_size=1, max_size=12)
_LINE = st.text(alphabet=st.characters(exclude_categories=("C", "Z"), exclude_characters="#;"), min_size=1)


@settings(suppress_health_check=[Check.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    tags=st.lists(st.lists(_LINE, min_size=1, max_size=3).map(" ".join), max_size=4),
    variables=st.lists(st.tuples(st.from_regex(r"[A-Za-z_]\w{0,8}", fullmatch=True).filter(str.isascii), _WORD)),
    command=st.lists(_WORD, min_size=1, max_size=4),
    pin=st.text(alphabet="0123456789abcdef", min_size=8, max_size=40),
    hours=st.integers(1, 80000),
    channel=st.sampled_from(list(Channel)),
    indent=st.sampled_from([" ", "    ", "\t"]),
    delimiter=st.sampled_from([":", "=", ": ", " = ", "\t:\t"]),
    end=st.sampled_from(["\n", "\r\n", "\n\n", "\n; comment\n", " # comment\n"]),
)
def test_what_is_written_is_what_is_read(
    folder: Path,
    tags: list[str],
    variables: list[tuple[str, str]],
    command: list[str],
    pin: str,
    hours: int,
    channel: Channel,
    indent: str,
    delimiter: str,
    end: str,
) -> None:
    def option(name: str, *lines: str) -> str:
        return f"{name}{delimiter}" + (lines[0] if len(lines) == 1 else f"{end}{indent}".join(("", *lines))) + end

    text = f"[update_manager app]{end}" + "".join(
        (
            option("type", "git_repo"),
            option("path", f"{folder}/app"),
            option("origin", "/srv/a"),
            option("info_tags", *tags),
            option("pip_environment_variables", *(f"{key}={value}" for key, value in variables)),
            option("health_command", " ".join(command)),
            option("pinned_commit", pin),
            option("refresh_interval", str(hours)),
            option("channel", channel),
        )
    )
    path = folder / "moonraker.conf"
    path.write_bytes(text.encode())

    config = load_config(path)

    assert config.problems == ()
    (app,) = config.apps
    assert isinstance(app, GitRepoConfig)
    assert app.info_tags == tuple(tags)
    assert app.pip_environment_variables == tuple(variables)
    assert app.health.command == tuple(command)
    assert app.pinned_commit == pin
    assert app.refresh_interval == datetime.timedelta(hours=hours)
    assert app.channel is channel


_OPTIONS = sorted(
    {
        *any_app_table("app", lambda _: None, KINDS),
        *server_table(lambda _: None),
        *update_manager_table(),
        *(option for table in foreign_tables().values() for option in table),
    }
)
_PIECE = st.one_of(
    st.sampled_from(
        [
            "[update_manager]\n",
            "[update_manager app]\n",
            "[update_manager client x/y]\n",
            "[update_manager klipper]\n",
            "[trio_update]\n",
            "[authorization]\n",
            "[server]\n",
            "[include moonraker.conf]\n",
            "[include gone.conf]\n",
            "[include",
            "[foreign",
            "\n",
            "\r",
            "  ",
            "\t",
            ": ",
            "= ",
            "type: git_repo\n",
            "type: python\n",
            "path: ~/app\n",
            "origin: /x\n",
        ]
    ),
    st.sampled_from(_OPTIONS).map("{}: ".format),
    st.text(max_size=20),
)


@settings(suppress_health_check=[Check.function_scoped_fixture], deadline=None, max_examples=300)
@given(st.lists(_PIECE, max_size=25).map("".join))
def test_no_text_raises_anything_but_config_invalid(folder: Path, text: str) -> None:
    path = folder / "moonraker.conf"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    lines = text.count("\n") + text.count("\r") + 1
    problems = problems_of(path)
    assert [problem.line for problem in problems] == sorted(problem.line for problem in problems)
    assert all(problem.file == str(path) and 0 <= problem.line <= lines for problem in problems)


@settings(suppress_health_check=[Check.function_scoped_fixture], deadline=None, max_examples=100)
@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_but_config_invalid(folder: Path, data: bytes) -> None:
    path = folder / "moonraker.conf"
    path.write_bytes(data)
    try:
        load_config(path)
    except ConfigInvalid as exc:
        assert exc.problems


@settings(max_examples=400, deadline=None)
@given(option=st.sampled_from(_OPTIONS), value=st.text(alphabet=st.sampled_from("ab01.:/@[]%~-= \t\n\x00é'\"\\²")))
def test_converters_raise_nothing_but_bad_value(option: str, value: str) -> None:
    tables = [any_app_table("app", lambda _: None, KINDS), server_table(lambda _: None), *foreign_tables().values()]
    for table in (*tables, update_manager_table()):
        if option in table:
            try:
                table[option](value)
            except BadValue as exc:
                assert 0 <= exc.offset <= value.count("\n")


def test_the_import_is_light() -> None:
    code = (
        "import sys, trio_update.config; "
        "print(*sorted({m.partition('.')[0] for m in sys.modules} & "
        "{'trio', 'httpx', 'rich', 'click', 'quart', 'hypercorn', 'asyncio', 'sqlite3', 'packaging', 'configparser'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_release_apps(home: Path, load: Load) -> None:
    for folder in ("mainsail", "cam", "tool"):
        (home / folder).mkdir()
    config = load(
        "[update_manager client mainsail]\ntype: web\npath: ~/mainsail\nrepo: mainsail-crew/mainsail\n"
        "persistent_files:\n  config.json\n  sub/dir/x\n"
        "[update_manager cam]\ntype: zip\npath: ~/cam\nrepo: a/b\nchannel: beta\nvirtualenv: ~/cam/env\n"
        "requirements: r.txt\nsystem_dependencies: s.json\nenable_node_updates: 1\nkeep_versions: 0\n"
        "[update_manager tool]\ntype: executable\npath: ~/tool\nrepo: a/tool\nforge_url: https://codeberg.org/\n"
        "is_system_service: False\n"
    )
    assert config.problems == ()
    mainsail, cam, tool = config.apps
    assert isinstance(mainsail, WebConfig)
    assert mainsail == WebConfig(
        name=AppName("mainsail"),
        path=home / "mainsail",
        repo="mainsail-crew/mainsail",
        persistent_files=("config.json", "sub/dir/x"),
    )
    assert isinstance(cam, ZipConfig)
    assert (cam.channel, cam.virtualenv, cam.requirements) == (Channel.BETA, home / "cam" / "env", "r.txt")
    assert (cam.enable_node_updates, cam.keep_versions, cam.managed_services) == (True, 0, ("cam",))
    assert isinstance(tool, ExecutableConfig)
    assert (tool.forge_url, tool.channel, tool.managed_services) == ("https://codeberg.org", Channel.STABLE, ())
