"""What is wrong in a configuration is told with its line, all of it at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.config.conftest import Told, Write, problems_of
from trio_update import load_config
from trio_update.config import Config, ConfigInvalid, ServerConfig, UpdateManagerConfig
from trio_update.errors import TrioUpdateError
from trio_update.model import Channel

Load = Callable[[str], Config]

APP = "[update_manager app]\ntype: git_repo\npath: ~/app\norigin: https://example.org/a.git\n"
FORMS = "an https, http, ssh, git or file URL, `user@host:path`, or an absolute path"


@pytest.fixture(autouse=True)
def _installed(home: Path) -> None:
    (home / "app").mkdir()
    (home / "file").touch()
    (home / "round").symlink_to(home)
    (home / "loop").symlink_to(home / "loop")


@pytest.mark.parametrize(
    ("line", "why", "held"),
    [
        ("pth: x", "unknown option 'pth': did you mean 'path'?", False),
        ("primary_brnch: x", "unknown option 'primary_brnch': did you mean 'primary_branch'?", False),
        ("zzz: x", "unknown option 'zzz'", False),
        ("repo: a/b", "unknown option 'repo'", False),
        ("just words", "this line is not an option (`name: value`)", False),
        ("origin: /srv/b", "duplicate option 'origin': already on line 4", False),
        ("channel: nightly", "'channel' must be one of stable, beta, dev, not `nightly`", True),
        ("channel:", "'channel' has no value", True),
        ("enable_node_updates: maybe", "'enable_node_updates' must be True or False, not `maybe`", True),
        ("refresh_interval: nan", "'refresh_interval' must be a number of hours, not `nan`", False),
        ("refresh_interval: 1e9", "'refresh_interval' must be a number of hours, not `1e9`", False),
        ("refresh_interval: 999999", "'refresh_interval' must be at most ten years in hours, not `999999`", False),
        (
            "primary_branch: --upload-pack=x",
            "'primary_branch' begins with `-`, which git would take for an option",
            True,
        ),
        ("primary_branch: a..b", "'primary_branch' holds `..` or `@{`", True),
        (
            "moved_origin: ext::sh -c x",
            f"'moved_origin' names a transport helper (`NAME::…`), which can run any command; give {FORMS}",
            False,
        ),
        ("moved_origin: -x", "'moved_origin' begins with `-`, which git would take for an option", False),
        (
            "moved_origin: ~nobody-of-that-name/x",
            "'moved_origin' begins with `~`, and that user's home is not known",
            False,
        ),
        (
            "pinned_commit: 1234567",
            "'pinned_commit' must be a commit's hash: at least 8 hexadecimal digits, at most 40 (or 64)",
            True,
        ),
        (
            "pinned_commit: v0.12.0-rc1",
            "'pinned_commit' must be a commit's hash: at least 8 hexadecimal digits, at most 40 (or 64)",
            True,
        ),
        ("env: ~/env", "'env' must be the path of an interpreter in a virtual environment (`…/bin/python`)", True),
        ("venv_args: -p 'x", "'venv_args' cannot be split into arguments: No closing quotation", True),
        (
            "requirements: ../r.txt",
            "'requirements' must be a path below the app's folder, without `..`, or an absolute path",
            False,
        ),
        ("managed_services: app cron", "'managed_services' may name app, klipper, moonraker, not `cron`", False),
        ("pip_environment_variables: A", "'pip_environment_variables' must hold one `NAME=value` a line", False),
        ("pip_environment_variables: 1A=x", "'pip_environment_variables' must hold one `NAME=value` a line", False),
        ('health_command: curl "x', "'health_command' cannot be split into arguments: No closing quotation", True),
        ("health_command: ''", "'health_command' names no command", True),
        ("health_url: ftp://x/", "'health_url' must be an http or https URL", True),
        ("health_url: http://a:b@x/", "'health_url' must not carry a user name or password", True),
        ("health_timeout: -1", "'health_timeout' must be a number greater than 0, not `-1`", False),
        ("keep_versions: -1", "'keep_versions' must be a whole number from 0 to 1000, not `-1`", False),
        ("hold:", "'hold' takes the reason as text; leave the option out when nothing holds the app", True),
        ("hold: no", "'hold' takes the reason as text; leave the option out when nothing holds the app", True),
        ("info_tags: a\x1b[2J", "'info_tags' holds a control character", False),
        ("\x1b[2J: x", "unknown option '\\x1b[2j'", False),
    ],
)
def test_a_line_costs_as_little_as_is_safe(load: Load, line: str, why: str, held: bool) -> None:
    config = load(f"{APP}{line}\n[update_manager other]\n{APP.partition(chr(10))[2]}")

    cost = "held back: " if held else ""
    assert [(problem.line, problem.message) for problem in config.problems] == [
        (5, f"[update_manager app] {cost}{why}")
    ]
    assert config.disabled == ()
    app, other = config.apps
    assert (app.name, app.hold) == ("app", f"{config.source}:5: {why}" if held else "")
    assert (other.name, other.hold) == ("other", "")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("~/file", "'path' {home}/file is not a folder"),
        ("~/loop", "'path' {home}/loop cannot be looked at: Too many levels of symbolic links"),
        ("~/" + "x" * 300, "'path' {home}/" + "x" * 300 + " cannot be looked at: File name too long"),
        ("app", "'path' must be an absolute path, or begin with `~/`"),
        ("~", "'path' {home} is the home folder itself: a hard recovery would replace all of it"),
        ("~/app/..", "'path' {home}/app/.. is the home folder itself: a hard recovery would replace all of it"),
        ("~/round", "'path' {home}/round is the home folder itself: a hard recovery would replace all of it"),
        ("~/..", "'path' {home}/.. holds the home folder: a hard recovery would replace all of it"),
        ("/", "'path' / is the root of the file system: a hard recovery would replace all of it"),
        ("~\x00", "'path' holds a control character"),
    ],
)
def test_paths_that_cannot_be_an_apps_folder(load: Load, home: Path, path: str, why: str) -> None:
    config = load(APP.replace("~/app", path))
    (disabled,), (problem,) = config.disabled, config.problems
    (reason,) = disabled.reasons
    assert problem.message == f"[update_manager app] disabled: {reason}"
    expected = why.format(home=home)
    # A long path is cut short in the middle of the message.
    assert reason == expected or ("…" in reason and expected.startswith(reason.partition("…")[0]))


@pytest.mark.parametrize(
    ("kind", "danger"),
    [
        ("git_repo", "a hard recovery would replace all of it"),
        ("web", "an update would replace all of it"),
        ("executable", "what is the app's could not be told from what is yours, give it a folder of its own"),
    ],
)
def test_what_would_happen_to_the_home_is_true_for_the_type(load: Load, home: Path, kind: str, danger: str) -> None:
    (disabled,) = load(f"[update_manager it]\ntype: {kind}\npath: ~\norigin: /srv/a\nrepo: a/b\n").disabled
    assert disabled.reasons == (f"'path' {home} is the home folder itself: {danger}",)


@pytest.mark.parametrize("path", ["~/gone", "~/file/below"])
def test_an_app_that_is_not_installed_is_told_and_managed(load: Load, home: Path, path: str) -> None:
    config = load(APP.replace("~/app", path))
    where = path.replace("~", str(home))
    assert [(problem.line, problem.message) for problem in config.problems] == [
        (3, f"[update_manager app] 'path' {where} does not exist: the app is not installed")
    ]
    assert config.disabled == ()
    assert [app.path for app in config.apps] == [Path(where)]


WEB = "[update_manager web]\ntype: web\nrepo: ada/web\npath: ~/web\n"


@pytest.mark.parametrize(
    ("path", "persistent", "apart"),
    [
        ("~/web/themes", "", False),
        ("~/web/themes", "config.json\n  themes/mine\n  them", False),
        ("~/alias", "", False),
        ("~/web/themes", "config.json\n  themes", True),
        ("~/web/themes/mine", "themes", True),
        ("~/web-themes", "", True),
        ("~/web", "", True),
    ],
)
def test_an_app_inside_another_is_not_replaced_with_it(
    load: Load, home: Path, path: str, persistent: str, apart: bool
) -> None:
    (home / "web" / "themes" / "mine").mkdir(parents=True)
    (home / "web-themes").mkdir()
    (home / "alias").symlink_to("web/themes")
    options = f"persistent_files:\n  {persistent}\n" if persistent else ""
    config = load(f"{WEB}{options}{APP.replace('~/app', path)}")
    if apart:
        assert (config.problems, [app.name for app in config.apps]) == ((), ["web", "app"])
        return
    (problem,) = config.problems
    (disabled,) = config.disabled
    where = path.replace("~", str(home))
    why = f"'path' {home}/web holds the folder of app, {where}: an update would replace that too. "
    assert (problem.line, disabled.name, disabled.type) == (4, "web", "web")
    assert problem.message.startswith(f"[update_manager web] disabled: {why}")
    assert [app.name for app in config.apps] == ["app"]


@pytest.mark.parametrize(
    ("kind", "path", "danger"),
    [
        ("git_repo", "~/printer_data", "a hard recovery"),
        ("web", "~/printer_data", "an update"),
        ("zip", "~/alias", "an update"),
        ("executable", "~/printer_data", None),
        ("web", "~/printer_data/web", None),
    ],
)
def test_an_app_whose_folder_holds_the_servers_data_is_not_managed(
    load: Load, home: Path, kind: str, path: str, danger: str | None
) -> None:
    (home / "printer_data" / "web").mkdir(parents=True)
    (home / "alias").symlink_to("printer_data")
    source = "origin: /srv/x" if kind == "git_repo" else "repo: a/b"
    config = load(f"[update_manager it]\ntype: {kind}\npath: {path}\n{source}\n")
    assert len(config.problems) == len(config.disabled) == (danger is not None)
    for disabled in config.disabled:
        assert disabled.reasons[0].startswith(f"'path' {path.replace('~', str(home))} holds DATA_PATH, {home}/printer")
        assert f": {danger} would replace that too" in disabled.reasons[0]


def test_lines_within_a_value_are_told(told: Told) -> None:
    assert told(
        f"{APP}managed_services:\n  app\n\n  # comment\n  cron\n"
        "pip_environment_variables:\n  A=b\n  oops\n"
        "channel:\n\n  nightly\n"
        "primary_branch: main\n  keep_versions: 3\n"
    ) == [
        "9: [update_manager app] 'managed_services' may name app, klipper, moonraker, not `cron`",
        "12: [update_manager app] 'pip_environment_variables' must hold one `NAME=value` a line",
        "15: [update_manager app] held back: 'channel' must be one of stable, beta, dev, not `nightly`",
        "17: [update_manager app] 'primary_branch' takes one line and goes on here: "
        "an option of its own must not be indented",
    ]


def test_everything_is_told_in_file_order(told: Told) -> None:
    assert told(
        "[update_manager]\nchanel: dev\n"
        "[update_manager b]\n"
        "[update_manager client c/d]\ntype: git_repo\npath: ~/app\norigin: /srv/x\n"
        "[trio_update]\nport: 65536\n"
        "[update_manager klipper]\npath: x\nchanel: dev\n"
        "[update_manager a]\ntype: zip_beta\nbogus: 1\nrepo: x\n"
        "[authorization]\ntrusted_clients:\n  10.0.0.0/8\n  10.0.0.1/8\n"
    ) == [
        "2: [update_manager] unknown option 'chanel': did you mean 'channel'?",
        "3: [update_manager b] disabled: the option 'type' is missing",
        "4: [update_manager client c/d] disabled: the name 'c/d' may hold letters, digits, `_`, `.`, `-` and spaces, "
        "and must begin with a letter or a digit",
        "9: [trio_update] 'port' must be a whole number from 0 to 65535, not `65536`",
        "11: [update_manager klipper] disabled: 'path' must be an absolute path, or begin with `~/`",
        "12: [update_manager klipper] unknown option 'chanel': did you mean 'channel'?",
        "14: [update_manager a] disabled: 'type' must be one of git_repo, web, zip, executable, python, not `zip_beta`",
        "15: [update_manager a] unknown option 'bogus'",
        "16: [update_manager a] 'repo' must be `owner/name`, not `x`",
        "20: [authorization] 'trusted_clients' `10.0.0.1/8` is an address with a network's length: "
        "give the address, or `10.0.0.0/8`",
    ]


def test_only_what_says_what_an_app_is_may_not_be_missing(load: Load, home: Path) -> None:
    config = load("\n[update_manager app]\ntype: git_repo\n[update_manager clone]\ntype: git_repo\npath: ~/app\n")
    assert [(problem.line, problem.message) for problem in config.problems] == [
        (2, "[update_manager app] disabled: the option 'path' is missing"),
        (
            2,
            "[update_manager app] the option 'origin' is missing: "
            "a clone that is damaged beyond repair cannot be made anew without it",
        ),
        (
            4,
            "[update_manager clone] the option 'origin' is missing: "
            "a clone that is damaged beyond repair cannot be made anew without it",
        ),
    ]
    assert config.disabled[0].reasons == ("the option 'path' is missing",)
    assert [(app.name, app.path) for app in config.apps] == [("clone", home / "app")]


@pytest.mark.parametrize("second", ["update_manager app", "update_manager   client\tapp"])
def test_a_name_that_comes_twice_in_one_file_is_told_and_the_first_counts(load: Load, second: str) -> None:
    config = load(f"{APP}[{second}]\ntype: web\npath: ~/other\nrepo: a/b\npinned_commit: x\n")

    why = f"duplicate name 'app': already at {config.source}:1; the first counts, remove one of them"
    assert [(problem.line, problem.message.partition("] ")[2]) for problem in config.problems] == [(5, why)]
    assert config.disabled == ()
    assert [(app.name, app.path.name, app.hold) for app in config.apps] == [("app", "app", "")]


def test_an_option_that_comes_twice_and_differs_is_not_guessed_where_that_matters(load: Load) -> None:
    config = load(f"{APP}channel: dev\nkeep_versions: 1\nchannel: stable\nkeep_versions: 2\nchannel:  stable\n")
    why = "'channel' is given twice, each time with another value: it is not known which one was meant"
    assert [(problem.line, problem.message.partition("] ")[2]) for problem in config.problems] == [
        (5, f"held back: {why}"),
        (7, "duplicate option 'channel': already on line 5"),
        (8, "duplicate option 'keep_versions': already on line 6"),
        (9, "duplicate option 'channel': already on line 5"),
    ]
    (app,) = config.apps
    assert (app.channel, app.keep_versions) == ("dev", 1)
    assert app.hold == f"{config.source}:5: {why}"


def test_a_doubled_klipper_is_what_the_first_section_says(load: Load, home: Path) -> None:
    (home / "klipper").mkdir()
    config = load("[update_manager klipper]\nhold: old\n[update_manager klipper]\nchannel: dev\n")
    assert [problem.line for problem in config.problems] == [3]
    (klipper,) = config.apps
    assert (klipper.name, klipper.hold, config.disabled) == ("klipper", "old", ())


def test_the_name_system_is_reserved(load: Load) -> None:
    config = load(APP.replace("app]", "system]"))
    assert config.apps == ()
    assert config.disabled[0].reasons == (
        "the name 'system' is reserved for the packages of the system; give the app another one",
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("python", "virtualenv: ~/v\nproject_name: pkg[extra]\nprimary_branch: main"),
    ],
)
def test_types_that_are_not_built_yet_are_disabled_and_nothing_else(load: Load, kind: str, options: str) -> None:
    config = load(
        f"{APP}[update_manager it]\ntype: {kind}\npath: ~/app\n{options}\n"
        "keep_versions: 1\nhold: x\nhealth_timeout: 5\n"
    )

    why = f"apps of type {kind} are not supported by this version yet"
    assert [(problem.line, problem.message) for problem in config.problems] == [
        (5, f"[update_manager it] disabled: {why}")
    ]
    assert (config.disabled[0].name, config.disabled[0].type, config.disabled[0].reasons) == ("it", kind, (why,))
    assert [app.name for app in config.apps] == ["app"]


@pytest.mark.parametrize(
    ("kind", "line", "why"),
    [
        ("web", "persistent_files: .version", "'persistent_files' `.version` belongs to the release"),
        ("zip", "persistent_files: ./release_info.json", "'persistent_files' `release_info.json` belongs to"),
        ("web", "persistent_files:\n  ok\n  ../up", "'persistent_files' must be a path below the app's folder"),
        ("web", "persistent_files: /etc/passwd", "'persistent_files' must be a path below the app's folder"),
        ("web", "virtualenv: ~/x", "unknown option 'virtualenv'"),
        ("executable", "requirements: x", "unknown option 'requirements'"),
        ("zip", "forge_url: http://x/?q", "disabled: 'forge_url' must be an http or https URL without `?` or `#`"),
        ("web", "channel: dev", "'channel' dev does not exist for apps of type web, only stable, beta: stable is used"),
        ("web", "persistent_files: **/*", "held back: 'persistent_files' `**/*` keeps everything, so that an"),
        ("web", "persistent_files: .", "held back: 'persistent_files' must be a path below the app's folder"),
        ("web", "persistent_files: a\udcff", "held back: 'persistent_files' holds a byte that is not UTF-8"),
        ("git_repo", "repo: a/b", "unknown option 'repo'"),
    ],
)
def test_options_are_judged_by_the_type(write: Write, kind: str, line: str, why: str) -> None:
    source = "origin: /srv/a" if kind == "git_repo" else "repo: a/b"
    text = f"[update_manager it]\ntype: {kind}\npath: ~/app\n{source}\n{line}\n"
    config = load_config(write(text.encode("utf-8", "surrogateescape")))
    (problem,) = config.problems
    assert problem.message.startswith(f"[update_manager it] {why}")
    assert bool(config.disabled) == why.startswith("disabled")
    assert [bool(app.hold) for app in config.apps] == [why.startswith("held back")] * len(config.apps)


@pytest.mark.parametrize("entry", ["*.json", "plugins/**", "m*.json, n?.ini", "'*.json'"])
def test_a_pattern_that_can_be_honoured_holds_nothing_back(write: Write, entry: str) -> None:
    text = f"[update_manager it]\ntype: web\npath: ~/app\nrepo: a/b\npersistent_files: {entry}\n"
    config = load_config(write(text.encode()))
    assert not config.problems
    assert [app.hold for app in config.apps] == [""]


@pytest.mark.parametrize(("line", "why"), [("project_name: --index-url=x", "'project_name' must be a project's name")])
def test_options_of_a_type_that_is_not_built_yet(told: Told, line: str, why: str) -> None:
    text = f"[update_manager it]\ntype: python\npath: ~/app\nvirtualenv: ~/v\n{line}\norigin: /x\n"
    assert [one.partition("] ")[2].partition(",")[0] for one in told(text)] == [
        "disabled: apps of type python are not supported by this version yet",
        why,
        "unknown option 'origin'",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[update_manager]\nrefresh_window: 5-5", "2: [update_manager] 'refresh_window' must be two different hours"),
        ("[update_manager]\nrefresh_window: 0-24", "2: [update_manager] 'refresh_window' must be two different hours"),
        ("[update_manager]\nenable_packagekit: x", "2: [update_manager] 'enable_packagekit' must be True or False"),
        ("[update_manager]\nwords", "2: [update_manager] this line is not an option"),
        ("[update_manager]\n[update_manager]", "2: [update_manager] duplicate section: already at "),
        ("[update_manager\nchannel: dev", "1: [update_manager] the section header has no closing `]`"),
        ("[trio_update]\nmoonraker_url: ws://x", "2: [trio_update] 'moonraker_url' must be an http or https URL"),
        ("[trio_update]\ngithub_url: https://x:99999", "2: [trio_update] 'github_url' must be an http or https URL"),
        ("[trio_update]\ngithub_token_file: ~/gone", "2: [trio_update] 'github_token_file' "),
        ("[trio_update]\nmax_concurrent_refreshes: 0", "2: [trio_update] 'max_concurrent_refreshes' must be a whole"),
        ("[trio_update]\nservice_provider: openrc", "2: [trio_update] 'service_provider' must be one of systemd_dbus,"),
        ("[trio_update]\ngithub_token: ghp_x", "2: [trio_update] unknown option 'github_token': did you mean 'github_"),
        ("[authorization]\ntrusted_clients: 10.0.0.0/33", "2: [authorization] 'trusted_clients' `10.0.0.0/33` is"),
        ("[authorization]\ntrusted_clients: 10.0.0.1, ::1", "2: [authorization] 'trusted_clients' is neither"),
        ("[authorization]\ncors_domains: *.local, *.lan", "2: [authorization] 'cors_domains' must hold one pattern"),
        ("[authorization]\nenable_api_key: x", "2: [authorization] 'enable_api_key' must be True or False"),
        (
            "[authorization]\nenable_api_key: 1\n[authorization]\nenable_api_key: 0",
            "4: [authorization] duplicate option 'enable_api_key': already at ",
        ),
        ("[server]\nklippy_uds_address: klippy", "2: [server] 'klippy_uds_address' must be an absolute path"),
        ("[trio_update]\nport: 0\n[trio_update]\nport: x", "3: [trio_update] duplicate section: already at "),
    ],
)
def test_a_broken_section_of_the_server_is_told_and_has_safe_defaults(
    load: Load, told: Told, text: str, problem: str
) -> None:
    (found,) = told(text)
    assert found.startswith(problem)
    config = load(text)
    server = ServerConfig(port=0) if "port: 0" in text else ServerConfig()
    assert config.server == server
    assert config.update_manager == UpdateManagerConfig(channel=Channel.DEV)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[trio_update]\nhost: a b", "2: [trio_update] 'host' is neither an IP address nor a host name: `a b`"),
        ("[trio_update]\nhost: 1.2.3", "2: [trio_update] 'host' is not an IP address: `1.2.3`"),
        ("[trio_update]\nport: 7126x", "2: [trio_update] 'port' must be a whole number from 0 to 65535"),
        ("[trio_update]\nport 7127", "2: [trio_update] 'port' is not followed by `:` and its value"),
    ],
)
def test_an_address_of_ours_that_cannot_be_used_stops_the_start(
    write: Write, told: Told, text: str, problem: str
) -> None:
    path = write(f"{text}\n[update_manager]\nrefresh_window: 5-5\n")
    with pytest.raises(ConfigInvalid) as caught:
        load_config(path)
    found, other = told(path.read_text())
    assert found.startswith(problem)
    assert isinstance(caught.value, TrioUpdateError)
    assert caught.value.problems == problems_of(path)
    assert caught.value.stops == caught.value.problems[:1]
    assert str(caught.value).endswith(f"\n  {path}:{found}\n  {path}:{other}")


@pytest.mark.parametrize(
    ("option", "section", "values"),
    [
        ("enable_auto_refresh: Treu", "update_manager", {"enable_auto_refresh": False}),
        ("enable_system_updates: Flase", "update_manager", {"enable_system_updates": False}),
        ("github_api_url: github.example.com", "trio_update", {"github_api_url": "https://github.invalid"}),
        ("github_api_url: github.example.com", "trio_update", {"github_url": "https://github.invalid"}),
        (
            "trusted_clients:\n  10.0.0.0/8\n  10.0.0.0/33\n  ::1",
            "authorization",
            {"trusted_clients": ("10.0.0.0/8", "::1")},
        ),
        ("cors_domains:\n  *.local\n  *.a, *.b", "authorization", {"cors_domains": ("*.local",)}),
        ("enable_api_key: nope", "authorization", {"enable_api_key": True}),
        ("keep_versions: all", "update_manager app", {"keep_versions": 1000}),
    ],
)
def test_what_stands_in_for_a_value_is_the_safe_one(
    load: Load, option: str, section: str, values: dict[str, object]
) -> None:
    config = load(f"{APP}[{section}]\n{option}\n" if section != "update_manager app" else f"{APP}{option}\n")
    assert len(config.problems) == 1
    (app,) = config.apps
    of = {"update_manager": config.update_manager, "update_manager app": app}.get(section, config.server)
    assert {name: getattr(of, name) for name in values} == values


def test_a_channel_for_klipper_that_cannot_be_used_holds_it_back(load: Load, home: Path) -> None:
    (home / "klipper").mkdir()
    (home / "moonraker").mkdir()
    config = load("[update_manager]\nchannel: stabel\n[update_manager moonraker]\nchannel: beta\n")
    why = "'channel' must be one of stable, beta, dev, not `stabel`"
    assert [problem.message for problem in config.problems] == [
        f"[update_manager] klipper and moonraker held back: {why}"
    ]
    klipper, moonraker = config.apps
    assert klipper.hold == f"{config.source}:2: {why}"
    assert (moonraker.channel, moonraker.hold) == ("beta", "")


def test_the_reason_for_a_hold_is_the_users_and_ours(load: Load) -> None:
    (app,) = load(f"{APP}hold: new board\npinned_commit: v1\nchannel: x\n").apps
    first, second, third = app.hold.split("; ")
    assert first == "new board"
    assert ":6: 'pinned_commit' must be a commit's hash" in second
    assert ":7: 'channel' must be one of" in third


@pytest.mark.parametrize(
    ("lines", "why", "held"),
    [
        ("pinned_commit abcdef0123", "5: held back: 'pinned_commit' is not followed by `:` and its value", True),
        ("keep_versions 7", "5: 'keep_versions' is not followed by `:` and its value", False),
        ("keep_versions: 3\n  pinned_commit: abcdef01", "6: held back: 'keep_versions' takes one line", True),
        ("keep_versions: 3\n  info_tags: x", "6: 'keep_versions' takes one line", False),
        ("health_command: true\n  --now", "6: held back: 'health_command' takes one line", True),
    ],
)
def test_lost_lines_cost_what_the_option_costs_that_is_lost(
    load: Load, told: Told, lines: str, why: str, held: bool
) -> None:
    (problem,) = told(f"{APP}{lines}\n")
    assert problem.replace("[update_manager app] ", "").startswith(why)
    (app,) = load(f"{APP}{lines}\n").apps
    assert bool(app.hold) is held
    assert app.keep_versions in (2, 3, 1000)


def test_secrets_are_not_repeated(told: Told) -> None:
    for text in (
        "[trio_update]\ngithub_token: hunter2",
        "[trio_update]\nhunter2",
        "[trio_update]\nport: 1\n  hunter2",
        "[trio_update]\nmoonraker_url: http://me:hunter2@host",
        f"{APP}moved_origin: foo://me:hunter2@host/x",
        f"{APP}health_url: https://me:hunter2@host/x",
    ):
        (problem,) = told(text)
        assert "hunter2" not in problem


@pytest.mark.parametrize("provider", ["systemd_dbus", "systemd_cli", "supervisord_cli"])
def test_a_provider_that_is_not_built_yet_is_told_and_does_not_stop_the_start(load: Load, provider: str) -> None:
    config = load(f"[trio_update]\nport: 0\nservice_provider: {provider}\n")
    assert config.server.service_provider == provider
    assert config.server.port == 0
    assert [(problem.line, problem.message) for problem in config.problems] == [
        (
            3,
            "[trio_update] services are not restarted: "
            f"service_provider {provider} is not supported by this version yet",
        )
    ]


def test_foreign_sections_may_hold_anything(load: Load) -> None:
    config = load(
        "[gcode_macro X]\ngcode:\n{% if x %}\n  a\nno option\n{% endif %}\n: x\nx: 1\nx: 2\n"
        "[gcode_macro X]\n[gcode_macro X]\n[broken\n"
        "[server] trailing\nport: x\nwords\n[authorization]\nlogin_timeout: x\n"
        "[update_managers x]\nfoo: 1\n[trio_update_more]\nx: 1"
    )
    assert config.problems == ()


def test_lines_in_no_section_are_told(load: Load, told: Told) -> None:
    text = "channel: dev\nwords\n[update_manager]\n"
    assert told(text) == ["1: this line stands above the first `[section]` and belongs to none"]
    assert load(text).disabled == ()


def test_what_has_no_effect_yet_is_noted_and_no_problem(load: Load, home: Path) -> None:
    (home / "app").mkdir(exist_ok=True)
    (home / "app" / "r.txt").touch()
    (home / "v").mkdir()
    (home / "klipper").mkdir()
    config = load(
        f"{APP}venv_args: -x\nvirtualenv: ~/v\nrequirements: r.txt\n"
        "[update_manager]\nenable_packagekit: False\n"
        "[trio_update]\nmoonraker_url: http://a\nservice_provider: none\nport: 1\n"
        "[server]\nklippy_uds_address: /k\nport: 7125\n"
        "[authorization]\ntrusted_clients: 10.0.0.1\ncors_domains: a\n"
    )
    assert (config.problems, config.disabled) == ((), ())
    assert [app.name for app in config.apps] == ["app", "klipper"]
    assert [note.message for note in config.notes] == [
        f"[{section}] '{option}' is accepted and not used by this version yet"
        for section, option in (
            ("update_manager app", "venv_args"),
            ("update_manager app", "virtualenv"),
            ("update_manager", "enable_packagekit"),
            ("trio_update", "moonraker_url"),
            ("server", "klippy_uds_address"),
            ("authorization", "trusted_clients"),
        )
    ]
    assert [note.line for note in config.notes] == sorted(note.line for note in config.notes)


def test_a_section_that_is_disabled_has_problems_and_no_notes(load: Load) -> None:
    config = load("[update_manager app]\ntype: git_repo\npath: x\norigin: https://example.org/a/b\nvenv_args: -x\n")
    assert len(config.problems) == len(config.disabled) == 1
    assert config.notes == ()


def test_a_file_whose_name_would_end_with_a_blank_is_told(told: Told) -> None:
    (problem,) = told("[update_manager it]\ntype: git_repo\npath: ~/app\norigin: /x\nsystem_dependencies: / /.\n")
    assert "'system_dependencies' must not end with a blank" in problem
