"""What is wrong in a configuration is told with its line, all of it at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.config.conftest import Told, Write, problems_of
from trio_update import load_config
from trio_update.config import Config, ConfigInvalid
from trio_update.errors import TrioUpdateError

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
    ("line", "why"),
    [
        ("pth: x", "unknown option 'pth': did you mean 'path'?"),
        ("primary_brnch: x", "unknown option 'primary_brnch': did you mean 'primary_branch'?"),
        ("zzz: x", "unknown option 'zzz'"),
        ("repo: a/b", "unknown option 'repo'"),
        ("just words", "this line is not an option (`name: value`)"),
        ("origin: /srv/b", "duplicate option 'origin': already on line 4"),
        ("channel: nightly", "'channel' must be one of stable, beta, dev, not `nightly`"),
        ("channel:", "'channel' has no value"),
        ("enable_node_updates: maybe", "'enable_node_updates' must be True or False, not `maybe`"),
        ("refresh_interval: 0", "'refresh_interval' must be a number greater than 0, not `0`"),
        ("refresh_interval: nan", "'refresh_interval' must be a number greater than 0, not `nan`"),
        ("refresh_interval: 1e9", "'refresh_interval' must be a number greater than 0, not `1e9`"),
        ("refresh_interval: 999999", "'refresh_interval' must be at most ten years in hours, not `999999`"),
        ("primary_branch: --upload-pack=x", "'primary_branch' begins with `-`, which git would take for an option"),
        ("primary_branch: a..b", "'primary_branch' holds `..` or `@{`"),
        (
            "moved_origin: ext::sh -c x",
            f"'moved_origin' names a transport helper (`NAME::…`), which can run any command; give {FORMS}",
        ),
        ("moved_origin: -x", "'moved_origin' begins with `-`, which git would take for an option"),
        (
            "moved_origin: ~nobody-of-that-name/x",
            "'moved_origin' begins with `~`, and that user's home is not known",
        ),
        (
            "pinned_commit: 1234567",
            "'pinned_commit' must be a commit's hash: at least 8 hexadecimal digits, at most 40 (or 64)",
        ),
        (
            "pinned_commit: v0.12.0-rc1",
            "'pinned_commit' must be a commit's hash: at least 8 hexadecimal digits, at most 40 (or 64)",
        ),
        ("virtualenv: env", "'virtualenv' must be an absolute path, or begin with `~/`"),
        (
            "env: ~/env",
            "'env' must be the path of an interpreter in a virtual environment (`…/bin/python`)",
        ),
        ("venv_args: -p 'x", "'venv_args' cannot be split into arguments: No closing quotation"),
        ("requirements: ../r.txt", "'requirements' must be a path below the app's folder, without `..`"),
        ("install_script: /x.sh", "'install_script' must be a path below the app's folder, without `..`"),
        ("system_dependencies: ~/x", "'system_dependencies' must be a path below the app's folder, without `..`"),
        ("managed_services: app cron", "'managed_services' may name app, klipper, moonraker, not `cron`"),
        ("pip_environment_variables: A", "'pip_environment_variables' must hold one `NAME=value` a line"),
        ("pip_environment_variables: 1A=x", "'pip_environment_variables' must hold one `NAME=value` a line"),
        ('health_command: curl "x', "'health_command' cannot be split into arguments: No closing quotation"),
        ("health_command: ''", "'health_command' names no command"),
        ("health_url: ftp://x/", "'health_url' must be an http or https URL"),
        ("health_url: http://a:b@x/", "'health_url' must not carry a user name or password"),
        ("health_timeout: -1", "'health_timeout' must be a number greater than 0, not `-1`"),
        ("keep_versions: -1", "'keep_versions' must be a whole number from 0 to 1000, not `-1`"),
        ("hold:", "'hold' takes the reason as text; leave the option out when nothing holds the app"),
        ("hold: no", "'hold' takes the reason as text; leave the option out when nothing holds the app"),
        ("info_tags: a\x1b[2J", "'info_tags' holds a control character"),
        ("\x1b[2J: x", "unknown option '\\x1b[2j'"),
    ],
)
def test_an_app_is_disabled_by_one_line(load: Load, line: str, why: str) -> None:
    config = load(f"{APP}{line}\n[update_manager other]\n{APP.partition(chr(10))[2]}")

    assert [(problem.line, problem.message) for problem in config.problems] == [(5, f"[update_manager app] {why}")]
    (disabled,) = config.disabled
    assert (disabled.name, disabled.type, disabled.reasons) == ("app", "git_repo", (why,))
    assert [app.name for app in config.apps] == ["other"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("~/gone", "'path' {home}/gone does not exist"),
        ("~/file/below", "'path' {home}/file/below does not exist"),
        ("~/file", "'path' {home}/file is not a folder"),
        ("~/loop", "'path' {home}/loop cannot be looked at: Too many levels of symbolic links"),
        ("~/" + "x" * 300, "'path' {home}/" + "x" * 300 + " cannot be looked at: File name too long"),
        ("app", "'path' must be an absolute path, or begin with `~/`"),
        ("~", "'path' {home} is the home folder itself: an update would replace all of it"),
        ("~/app/..", "'path' {home}/app/.. is the home folder itself: an update would replace all of it"),
        ("~/round", "'path' {home}/round is the home folder itself: an update would replace all of it"),
        ("~/..", "'path' {home}/.. holds the home folder: an update would replace all of it"),
        ("/", "'path' / is the root of the file system: an update would replace all of it"),
        ("~\x00", "'path' holds a control character"),
    ],
)
def test_paths_that_cannot_be_an_apps_folder(load: Load, home: Path, path: str, why: str) -> None:
    (disabled,) = load(APP.replace("~/app", path)).disabled
    (reason,) = disabled.reasons
    expected = why.format(home=home)
    # A long path is cut short in the middle of the message.
    assert reason == expected or ("…" in reason and expected.startswith(reason.partition("…")[0]))


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
    assert problem.message.startswith(f"[update_manager web] {why}")
    assert [app.name for app in config.apps] == ["app"]


def test_lines_within_a_value_are_told(told: Told) -> None:
    assert told(
        f"{APP}managed_services:\n  app\n\n  # comment\n  cron\n"
        "pip_environment_variables:\n  A=b\n  oops\n"
        "channel:\n\n  nightly\n"
        "primary_branch: main\n  keep_versions: 3\n"
    ) == [
        "9: [update_manager app] 'managed_services' may name app, klipper, moonraker, not `cron`",
        "12: [update_manager app] 'pip_environment_variables' must hold one `NAME=value` a line",
        "15: [update_manager app] 'channel' must be one of stable, beta, dev, not `nightly`",
        "17: [update_manager app] 'primary_branch' takes one line and goes on here: "
        "an option of its own must not be indented",
    ]


def test_everything_is_told_in_file_order(told: Told) -> None:
    assert told(
        "[update_manager]\nchanel: dev\n"
        "[update_manager b]\n"
        "[update_manager client c/d]\ntype: git_repo\npath: ~/app\norigin: /srv/x\n"
        "[trio_update]\nport: 65536\n"
        "[update_manager klipper]\npath: ~/x\nchanel: dev\n"
        "[update_manager a]\ntype: zip_beta\nbogus: 1\nrepo: x\n"
        "[authorization]\ntrusted_clients:\n  10.0.0.0/8\n  10.0.0.1/8\n"
    ) == [
        "2: [update_manager] unknown option 'chanel': did you mean 'channel'?",
        "3: [update_manager b] the option 'type' is missing",
        "4: [update_manager client c/d] the name 'c/d' may hold letters, digits, `_`, `.`, `-` and spaces, "
        "and must begin with a letter or a digit",
        "9: [trio_update] 'port' must be a whole number from 0 to 65535, not `65536`",
        "11: [update_manager klipper] 'path' cannot be set for this app, only channel, pinned_commit, "
        "refresh_interval, report_anomalies, hold, health_command, health_url, health_timeout, keep_versions can",
        "12: [update_manager klipper] unknown option 'chanel': did you mean 'channel'?",
        "14: [update_manager a] 'type' must be one of git_repo, web, zip, executable, python, not `zip_beta`",
        "15: [update_manager a] unknown option 'bogus'",
        "16: [update_manager a] 'repo' must be `owner/name`, not `x`",
        "20: [authorization] 'trusted_clients' `10.0.0.1/8` is an address with a network's length: "
        "give the address, or `10.0.0.0/8`",
    ]


def test_missing_options(load: Load) -> None:
    config = load("\n[update_manager app]\ntype: git_repo\n")
    assert [(problem.line, problem.message) for problem in config.problems] == [
        (2, "[update_manager app] the option 'path' is missing"),
        (2, "[update_manager app] the option 'origin' is missing"),
    ]
    assert config.disabled[0].reasons == ("the option 'path' is missing", "the option 'origin' is missing")


@pytest.mark.parametrize("second", ["update_manager app", "update_manager   client\tapp"])
def test_a_name_that_comes_twice_disables_the_app(load: Load, write: Write, second: str) -> None:
    config = load(f"{APP}[{second}]\ntype: git_repo\npath: ~/app\norigin: /srv/a\npinned_commit: x\n")

    why = f"duplicate name 'app': already at {write('', 'x').parent}/moonraker.conf:1; keep one of the sections"
    pin = "'pinned_commit' must be a commit's hash: at least 8 hexadecimal digits, at most 40 (or 64)"
    assert [(problem.line, problem.message.partition("] ")[2]) for problem in config.problems] == [(5, why), (9, pin)]
    assert config.apps == ()
    (disabled,) = config.disabled
    assert (disabled.name, disabled.reasons) == ("app", (why, pin))


def test_a_doubled_klipper_is_disabled(load: Load, home: Path) -> None:
    (home / "klipper").mkdir()
    config = load("[update_manager klipper]\nhold: old\n[update_manager klipper]\nchannel: dev\n")
    assert [problem.line for problem in config.problems] == [3]
    assert config.apps == ()
    assert config.disabled[0].name == "klipper"


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
    assert [(problem.line, problem.message) for problem in config.problems] == [(5, f"[update_manager it] {why}")]
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
        ("python", "project_name: --index-url=x", "'project_name' must be a project's name"),
        ("python", "origin: /x", "unknown option 'origin'"),
        ("zip", "forge_url: http://x/?q", "'forge_url' must be an http or https URL without `?` or `#`"),
    ],
)
def test_options_are_judged_by_the_type(load: Load, kind: str, line: str, why: str) -> None:
    config = load(f"[update_manager it]\ntype: {kind}\npath: ~/app\nrepo: a/b\nvirtualenv: ~/v\n{line}\n")
    (disabled,) = config.disabled
    assert any(reason.startswith(why) for reason in disabled.reasons)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[update_manager]\nrefresh_window: 5-5", "2: [update_manager] 'refresh_window' must be two different hours"),
        ("[update_manager]\nrefresh_window: 0-24", "2: [update_manager] 'refresh_window' must be two different hours"),
        ("[update_manager]\nenable_packagekit: x", "2: [update_manager] 'enable_packagekit' must be True or False"),
        ("[update_manager]\nwords", "2: [update_manager] this line is not an option"),
        ("[update_manager]\n[update_manager]", "2: [update_manager] duplicate section: already at "),
        ("[update_manager\nchannel: dev", "1: [update_manager] the section header has no closing `]`"),
        ("[trio_update]\nhost: a b", "2: [trio_update] 'host' is neither an IP address nor a host name: `a b`"),
        ("[trio_update]\nhost: 1.2.3", "2: [trio_update] 'host' is not an IP address: `1.2.3`"),
        ("[trio_update]\nport: 7126x", "2: [trio_update] 'port' must be a whole number from 0 to 65535"),
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
    ],
)
def test_a_broken_section_of_the_server_stops_the_start(write: Write, told: Told, text: str, problem: str) -> None:
    path = write(text)
    with pytest.raises(ConfigInvalid) as caught:
        load_config(path)
    (found,) = told(text)
    assert found.startswith(problem)
    assert isinstance(caught.value, TrioUpdateError)
    assert caught.value.problems == problems_of(path)
    assert str(caught.value).endswith(f"\n  {path}:{found}")


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
    config = load(f"{APP}venv_args: -x\ncolour: blue\n")
    assert len(config.problems) == 1
    assert config.notes == ()
