"""Configurations made in code go through the judges of those from files."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.test_samples import SAMPLES
from trio_update import (
    AppName,
    Channel,
    Config,
    ConfigInvalid,
    ExecutableConfig,
    GitRepoConfig,
    WebConfig,
    ZipConfig,
    load_config,
    open_manager,
    parse_config,
)
from trio_update.config import HealthCheck, RefreshWindow, ServerConfig, UpdateManagerConfig
from trio_update.updaters.kinds import judge_config


def git_app(**options: Any) -> GitRepoConfig:
    values: dict[str, Any] = {"name": "app", "path": "~/app", "origin": "/srv/app.git"}
    return GitRepoConfig(**(values | options))


def refused(*apps: Any, **parts: Any) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        judge_config(Config(apps=apps, **parts))
    for problem in caught.value.problems:
        assert str(problem) in str(caught.value)
    return [str(problem) for problem in caught.value.problems]


def test_what_is_read_of_other_servers_sections_is_not_passed_over_in_code() -> None:
    odd: Any = {"10.0.0.0/8"}
    assert refused(server=ServerConfig(trusted_clients=odd, cors_domains=odd)) == [
        "Config.server: [authorization] 'trusted_clients' must be a tuple, not a value of type set",
        "Config.server: [authorization] 'cors_domains' must be a tuple, not a value of type set",
    ]


def test_text_that_no_file_could_hold_is_refused() -> None:
    (told,) = refused(git_app(path="/srv/\udcff"))
    assert told == "Config.apps[0]: [update_manager app] 'path' holds bytes that are not UTF-8"


def test_what_is_no_configuration_is_refused_as_one() -> None:
    anything: Any
    for anything in (None, {}, Config):
        with pytest.raises(ConfigInvalid, match="must be a Config, not a value of type"):
            judge_config(anything)


def test_plain_values_become_what_they_say(home: Path) -> None:
    app = git_app(
        channel="stable",
        pinned_commit="ABCDEF0123",
        virtualenv="~/env",
        refresh_interval=2,
        report_anomalies="no",
        keep_versions="3",
        info_tags=["a", "b"],
        pip_environment_variables=[("CFLAGS", "-O2"), "LDFLAGS=-s"],
        health=HealthCheck(command="curl -f 'a b'", timeout="2.5"),  # type: ignore[arg-type]  # as a beginner writes
    )
    (judged,) = judge_config(Config(apps=(app,))).apps
    assert judged == GitRepoConfig(
        name=AppName("app"),
        path=home / "app",
        origin="/srv/app.git",
        channel=Channel.STABLE,
        pinned_commit="abcdef0123",
        virtualenv=home / "env",
        refresh_interval=datetime.timedelta(hours=2),
        report_anomalies=False,
        keep_versions=3,
        info_tags=("a", "b"),
        pip_environment_variables=(("CFLAGS", "-O2"), ("LDFLAGS", "-s")),
        health=HealthCheck(command=("curl", "-f", "a b"), timeout=2.5),
        managed_services=("app",),
    )
    assert isinstance(judged, GitRepoConfig)
    assert judged.channel is Channel.STABLE


def test_defaults_are_those_of_a_file(home: Path) -> None:
    for folder in ("git", "web", "zip", "program"):
        (home / folder).mkdir()
    loaded = parse_config(
        "[update_manager git]\ntype: git_repo\npath: ~/git\norigin: /srv/x\n"
        "[update_manager web]\ntype: web\npath: ~/web\nrepo: a/b\n"
        "[update_manager zip]\ntype: zip\npath: ~/zip\nrepo: a/b\n"
        "[update_manager program]\ntype: executable\npath: ~/program\nrepo: a/b\n"
    )
    assert loaded.problems == ()
    apps: Any = (
        GitRepoConfig(name=AppName("git"), path=home / "git", origin="/srv/x"),
        WebConfig(name=AppName("web"), path=home / "web", repo="a/b"),
        ZipConfig(name=AppName("zip"), path=home / "zip", repo="a/b"),
        ExecutableConfig(name=AppName("program"), path=home / "program", repo="a/b"),
    )
    assert judge_config(Config(apps=apps)) == loaded
    assert [app.managed_services for app in apps] == [("git",), (), ("zip",), ("program",)]
    assert git_app(managed_services=()).managed_services == ()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"channel": "nightly"}, "'channel' must be one of stable, beta, dev, not `nightly`"),
        ({"channel": 3}, "'channel' must be one of stable, beta, dev, not `3`"),
        ({"path": "app"}, "'path' must be an absolute path, or begin with `~/`"),
        ({"path": "~"}, "is the home folder itself: a hard recovery would replace all of it"),
        ({"path": "~/x/.."}, "is the home folder itself: a hard recovery would replace all of it"),
        ({"path": "/"}, "is the root of the file system: a hard recovery would replace all of it"),
        ({"path": b"/x"}, "'path' cannot be a value of type bytes"),
        ({"path": None}, "the option 'path' is missing"),
        ({"name": "../x"}, "the name '../x' may hold letters"),
        ({"name": "system"}, "the name 'system' is reserved"),
        ({"name": 5}, "'name' must be a str, not a value of type int"),
        ({"origin": "ext::sh -c x"}, "'origin' names a transport helper"),
        ({"requirements": "../x"}, "'requirements' must be a path below the app's folder, without `..`"),
        ({"info_tags": "one\ntwo", "keep_versions": -1}, "'keep_versions' must be a whole number from 0 to 1000, not"),
        ({"info_tags": ("one\ntwo",)}, "'info_tags' must not hold an end of line"),
        ({"info_tags": ("",)}, "'info_tags' must not hold an empty entry"),
        ({"info_tags": {"one"}}, "'info_tags' must be a tuple, not a value of type set"),
        ({"primary_branch": "a\nb"}, "'primary_branch' must not hold an end of line"),
        ({"report_anomalies": 2}, "'report_anomalies' must be True or False, not `2`"),
        ({"keep_versions": True}, "'keep_versions' must be a whole number from 0 to 1000, not `True`"),
        ({"refresh_interval": datetime.timedelta(hours=-1)}, "'refresh_interval' must be a number of hours"),
        ({"managed_services": ("cron",)}, "'managed_services' may name app, klipper, moonraker, not `cron`"),
        ({"health": HealthCheck(timeout=float("nan"))}, "'health_timeout' cannot be a value of type float"),
        ({"health": {"url": "x"}}, "'health' must be a HealthCheck, not a value of type dict"),
        ({"hold": 1}, "'hold' must be a text, not a value of type int"),
        ({"pip_environment_variables": (("A", "b", "c"),)}, "must hold pairs of a name and a value"),
    ],
)
def test_what_a_file_may_not_say_code_may_not_either(home: Path, options: dict[str, Any], why: str) -> None:
    (home / "x").mkdir()
    (told,) = refused(git_app(**options))
    assert told.startswith("Config.apps[0]: ")
    assert why in told


def test_everything_is_told_at_once(home: Path) -> None:
    (home / "web" / "inner").mkdir(parents=True)
    told = refused(
        git_app(channel="nightly", origin="-x"),
        git_app(),
        WebConfig(name=AppName("web"), path=home / "web", repo="a/b"),
        git_app(name="inner", path=home / "web" / "inner"),
        "no app",
        update_manager=UpdateManagerConfig(refresh_window="5-5"),  # type: ignore[arg-type]  # what is wrong here
        server=ServerConfig(host="?", port=70000, github_token_file=home / "none"),
    )
    assert [line.partition(": ")[0] for line in told] == [
        "Config.update_manager",
        *["Config.server"] * 3,
        *["Config.apps[0]", "Config.apps[0]", "Config.apps[1]"],
        *["Config.apps[2]", "Config.apps[4]"],
    ]
    assert any("duplicate name 'app': already at Config.apps[0]; keep one of the sections" in line for line in told)
    assert any("holds the folder of inner" in line for line in told)


async def test_a_manager_judges_what_it_is_given(home: Path, tmp_path: Path) -> None:
    for channel in ("nightly", "Stable"):
        config = Config(apps=(git_app(channel=channel),))
        try:
            async with open_manager(config, data_path=tmp_path / "data") as manager:
                (app,) = manager.config.apps
                assert (app.channel, app.path) == (Channel.STABLE, home / "app")
                assert app.channel is Channel.STABLE
        except ConfigInvalid as invalid:
            assert channel == "nightly"
            assert not (tmp_path / "data").exists(), invalid


def test_a_folder_that_is_not_there_is_the_status_business(home: Path) -> None:
    assert judge_config(Config(apps=(git_app(path="~/gone"),))).apps[0].path == home / "gone"


def test_structs_of_no_known_kind_are_refused(home: Path) -> None:
    class Odd(GitRepoConfig, frozen=True, kw_only=True, tag="git_repo"):
        """Says that it is a git app, and has what no judge has looked at."""

        more: str = ""

    assert refused(Odd(name=AppName("app"), path=home, origin="/x")) == [
        "Config.apps[0]: Odd belongs to no known kind of app: give its Kind in `kinds`"
    ]
    with pytest.raises(ConfigInvalid, match=r"Config\.apps: must be a tuple, not a value of type NoneType"):
        judge_config(Config(apps=None))  # type: ignore[arg-type]  # what is wrong here
    assert refused(update_manager=None) == [
        "Config.update_manager: must be a UpdateManagerConfig, not a value of type NoneType"
    ]


@pytest.mark.parametrize("sample", ["mainsail.conf", "klipperscreen.conf", "update-manager.conf"])
def test_samples_come_back_unchanged(home: Path, sample: str) -> None:
    text = (SAMPLES / sample).read_text()
    for line in text.splitlines():
        if line.startswith("path:"):
            Path(os.path.expanduser(line.partition(":")[2].split("#")[0].strip())).mkdir(parents=True, exist_ok=True)
    (home / "klipper").mkdir(exist_ok=True)
    config = parse_config("\n".join(line for line in text.splitlines() if not line.startswith("[include")))
    assert config.apps
    assert judge_config(config) == config


_TEXT = st.text(alphabet=st.characters(exclude_categories=("C", "Z"), exclude_characters="#;"), min_size=1, max_size=9)
_WORDS = st.lists(_TEXT, min_size=1, max_size=3).map(" ".join)
_LINES = st.lists(_WORDS, max_size=3).map(lambda lines: "".join(f"\n  {line}" for line in lines))
_NUMBER = st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,12})?", fullmatch=True).filter(lambda text: float(text) > 0)
_FLAG = st.sampled_from(["True", "no", "ON", "0"])
_FILE = st.lists(st.text(alphabet="ab. -é", min_size=1, max_size=4), min_size=1, max_size=3).map("/".join)
_OPTIONS = {
    "channel": st.sampled_from(["stable", "Beta", "DEV"]),
    "refresh_interval": _NUMBER,
    "info_tags": _LINES,
    "report_anomalies": _FLAG,
    "managed_services": st.sampled_from(["", "app", "klipper moonraker", "\n  my app\n  klipper"]),
    "is_system_service": _FLAG,
    "health_command": st.one_of(_WORDS, st.sampled_from(["a 'b c' \"d\"", "x ''", "tab\tbed '\t'"])),
    "health_url": st.just("http://a/b?c#d"),
    "health_timeout": _NUMBER,
    "keep_versions": st.integers(0, 1000).map(str),
    "hold": st.one_of(_WORDS, _LINES),
    "primary_branch": _WORDS,
    "pinned_commit": st.just("ABCDEF0123"),
    "moved_origin": st.sampled_from(["git@h:a/b", "~/x y", "https://h/x.git"]),
    "virtualenv": st.sampled_from(["~/env", "/a b/é"]),
    "env": st.just("~/other/bin/python"),
    "venv_args": st.one_of(_WORDS, st.just("-p 'python 3'")),
    "requirements": _FILE,
    "system_dependencies": _FILE,
    "install_script": _FILE,
    "enable_node_updates": _FLAG,
    "pip_environment_variables": st.lists(_WORDS, max_size=2).map(
        lambda values: "".join(f"\n  V{number} = {value}" for number, value in enumerate(values))
    ),
    "repo": st.just("owner/name"),
    "persistent_files": st.lists(_FILE, max_size=3).map(lambda files: "".join(f"\n  {file}" for file in files)),
    "forge_url": st.just("https://codeberg.org/"),
}
_SERVER = {
    "host": st.sampled_from(["::1", "[::1]", "127.0.0.1", "Printer.local"]),
    "port": st.integers(0, 65535).map(str),
    "moonraker_url": st.just("http://h:1/"),
    "github_api_url": st.sampled_from(["https://api.github.com/", "http://h:1/api/v3"]),
    "github_url": st.just("https://h"),
    "max_concurrent_refreshes": st.just("3"),
}


def _options(names: dict[str, st.SearchStrategy[str]]) -> st.SearchStrategy[str]:
    return st.fixed_dictionaries({}, optional=names).map(
        lambda options: "".join(f"{name}: {value}\n" for name, value in options.items())
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("place")
    (folder / "app").mkdir()
    yield folder


@settings(deadline=None, max_examples=150)
@given(
    kind=st.sampled_from(["git_repo", "web", "zip", "executable"]),
    name=st.sampled_from(["app", "my app", "klipper moonraker", "a.b"]),
    options=_options(_OPTIONS),
    server=_options(_SERVER),
    window=st.sampled_from(["0-5", "22 - 4"]),
    interval=_NUMBER,
)
def test_what_was_loaded_comes_back_unchanged(
    place: Path, kind: str, name: str, options: str, server: str, window: str, interval: str
) -> None:
    config = parse_config(
        f"[update_manager {name}]\ntype: {kind}\npath: {place}/app\norigin: /srv/x\nrepo: a/b\n{options}"
        f"[update_manager other]\ntype: git_repo\npath: {place}/app\norigin: /srv/x\n"
        f"[trio_update]\n{server}[update_manager]\nrefresh_window: {window}\nrefresh_interval: {interval}\n"
        "[authorization]\ntrusted_clients:\n  10.0.0.0/8\n  Host.lan\ncors_domains:\n  *.local\n"
    )
    assert judge_config(config) == config


_SOUND = {
    "channel": "dev",
    "health_url": "http://a",
    "managed_services": "app",
    "hold": "x",
    "pinned_commit": "01234567",
    "moved_origin": "/x",
    "virtualenv": "/x",
    "env": "/a/b/bin/python",
    "pip_environment_variables": "A=b",
    "forge_url": "http://a",
}


def usable(kind: str, place: Path) -> dict[str, st.SearchStrategy[str]]:
    """The options that sections of this kind have."""
    base = _section(kind, place)
    options = {
        option: values
        for option, values in _OPTIONS.items()
        if option != "repo" and not parse_config(f"{base}{option}: {_SOUND.get(option, '1')}\n").disabled
    }
    assert len(options) > 10
    return options


def _section(kind: str, place: Path) -> str:
    from_where = "origin: /srv/x" if kind == "git_repo" else "repo: a/b"
    return f"[update_manager app]\ntype: {kind}\npath: {place}/app\n{from_where}\n"


@pytest.mark.parametrize("kind", ["git_repo", "web", "zip", "executable"])
def test_the_same_for_sections_without_a_fault(place: Path, kind: str) -> None:
    @settings(deadline=None, max_examples=100)
    @given(options=_options(usable(kind, place)))
    def check(options: str) -> None:
        config = parse_config(_section(kind, place) + options)
        assert judge_config(config) == config

    check()


def test_a_text_is_read_as_a_file_and_includes_nothing(home: Path) -> None:
    config = parse_config("[update_manager]\nrefresh_window: 22-4\n")
    assert (config.source, config.problems) == (None, ())
    assert config.update_manager.refresh_window == RefreshWindow(22, 4)
    with pytest.raises(ConfigInvalid, match="the text:2: a configuration that is in no file cannot include one"):
        parse_config("\n[include other.conf]\n")
    path = home / "moonraker.conf"
    path.write_text("[update_manager]\nrefresh_window: 22-4\n")
    assert load_config(path).update_manager == config.update_manager
