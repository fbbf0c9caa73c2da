"""The command line on pipes, run for real against a scripted server."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import trio

from tests.support.cli import (
    COMMAND,
    Fault,
    ScriptedServer,
    environment,
    fault,
    git,
    piped_cli,
    result,
    run_cli,
    scripted_server,
    status_of,
)
from trio_update import __version__
from trio_update.cli.display import exit_code_of
from trio_update.cli.follow import follow
from trio_update.cli.output import PlainOutput
from trio_update.cli.requests import StartJob
from trio_update.cli.session import Interrupts, Session
from trio_update.client import Client, Notification

STATUS = status_of(
    git(commits_behind_count=40, commits_behind=[{"sha": "c" * 40, "subject": "One", "tag": None}]),
    git(name="current", remote_version="v0.12.0-1", remote_hash="a" * 40),
    git(name="dirty", is_valid=False, is_dirty=True, warnings=["Repo is dirty"], anomalies=["Repo is dirty"]),
    git(name="broken", is_valid=False, corrupt=True, is_dirty=True),
    git(name="loose", is_valid=False, detached=True, warnings=["Detached HEAD detected"]),
    git(name="debug", detached=True, remote_hash="a" * 40, anomalies=["Detached HEAD detected"]),
    git(name="forked", is_valid=False, warnings=["Repo has diverged from remote: 1 local and 2 remote commits"]),
    git(name="elsewhere", is_valid=False, warnings=["the path does not exist"]),
    git(name="kept", hold="waits for the new board"),
    git(name="silent", remote_version="?", remote_hash="?", last_error="no route to host"),
    {"name": "panel", "configured_type": "web", "version": "v2.10.0", "remote_version": "v2.9.1", "is_valid": True},
    {"name": "system", "configured_type": "system", "package_count": 4, "package_list": ["a", "b", "c", "d"]},
)


async def ask(server: ScriptedServer, *arguments: str) -> Any:
    return await run_cli(*arguments, env={"TRIO_UPDATE_URL": server.url})


async def test_status_tells_each_app_in_a_line_and_what_is_wrong_below() -> None:
    async with scripted_server({"machine.update.status": result(STATUS)}) as server:
        ended = await ask(server, "status")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "klipper\tgit_repo\tdev\tv0.12.0-1 → v0.12.0-41\t40\tupdate available"
    states = {line.split("\t")[0]: line.split("\t")[-1] for line in lines if "\t" in line}
    assert states == {
        "klipper": "update available",
        "current": "up to date",
        "dirty": "dirty",
        "broken": "corrupt",
        "loose": "detached",
        "debug": "up to date",
        "forked": "diverged",
        "elsewhere": "invalid",
        "kept": "held",
        "silent": "unknown",
        "panel": "up to date",
        "system": "update available",
    }
    for note in (
        "dirty: Repo is dirty",
        "debug: Detached HEAD detected",
        "kept: held: waits for the new board",
        "silent: no route to host",
    ):
        assert note in lines[len(states) :]
    assert lines.count("dirty: Repo is dirty") == 1
    assert "\x1b" not in ended.out


async def test_status_of_one_app() -> None:
    async with scripted_server({"machine.update.status": result(STATUS)}) as server:
        ended = await ask(server, "status", "dirty")
        document = await ask(server, "status", "dirty", "--json")
        unknown = await ask(server, "status", "nope")
        unknown_document = await ask(server, "--json", "status", "nope")
    assert [line.split("\t")[0] for line in ended.out.splitlines()] == ["dirty", "dirty: Repo is dirty"]
    assert document.document == STATUS["version_info"]["dirty"]
    assert unknown.code == 1
    assert unknown.out == ""
    assert "no app named 'nope'" in unknown.err
    assert "klipper" in unknown.err
    assert unknown_document.code == 1
    assert unknown_document.document["error"]["reason"] == "unknown_app"


async def test_status_of_a_release_app_tells_where_it_can_go_and_no_trouble_twice() -> None:
    why = "cannot reach github.com: Connection refused"
    panel = {
        "name": "panel",
        "configured_type": "web",
        "channel": "stable",
        "is_valid": True,
        "version": "v2.0.0",
        "remote_version": "v3.0.0",
        "rollback_version": "v1.9.0",
        "remote_title": "The big one",
        "kept_versions": ["v1.8.0", "v1.9.0"],
        "anomalies": [f"The releases could not be asked for since 1970-01-01 00:01: {why}"],
        "last_error": why,
        "unreachable_since": 60.0,
    }
    fresh = panel | {"rollback_version": "v2.0.0", "remote_title": "v3.0.0", "kept_versions": [], "anomalies": []}
    async with scripted_server({"machine.update.status": result(status_of(panel, git()))}) as server:
        alone = await ask(server, "status", "panel")
        everything = await ask(server, "status")
    async with scripted_server({"machine.update.status": result(status_of(fresh))}) as server:
        terse = await ask(server, "status")
    assert alone.out.splitlines() == [
        "panel\tweb\tstable\tv2.0.0 → v3.0.0\t\tupdate available",
        f"panel: The releases could not be asked for since 1970-01-01 00:01: {why}",
        "panel: v3.0.0 is called The big one",
        "panel: a rollback goes to v1.9.0",
        "panel: kept on the disk, to go to without a network: v1.8.0, v1.9.0",
    ]
    assert "rollback" not in everything.out
    assert terse.out.splitlines()[1:] == [f"panel: {why}", "panel: the remote has not answered since 1970-01-01 00:01"]


async def test_json_is_the_answer_as_it_came() -> None:
    strange = STATUS | {"added_later": {"nested": [1, None, "\x1b[31m"]}, "version_info": {"x": {"version": 5}}}
    async with scripted_server({"machine.update.status": result(strange)}) as server:
        document = await ask(server, "status", "--json")
        read = await ask(server, "status")
    assert (document.code, document.document) == (0, strange)
    assert read.code == 1
    assert "machine.update.status" in read.err
    assert "--json" in read.err


@pytest.mark.parametrize("before", [True, False])
async def test_options_before_and_after_the_command(before: bool) -> None:
    async with scripted_server({"machine.update.status": result(STATUS)}) as server:
        options = ("--url", server.url, "--api-key", "k3y", "--json")
        arguments = (*options, "status") if before else ("status", *options)
        ended = await run_cli(*arguments, env={"TRIO_UPDATE_URL": "http://127.0.0.1:1", "TRIO_UPDATE_API_KEY": "no"})
    assert (ended.code, ended.document) == (0, STATUS)
    assert server.handshakes[0]["x-api-key"] == "k3y"


async def test_the_option_of_the_command_wins_over_that_of_the_group() -> None:
    async with scripted_server({"machine.update.status": result(STATUS)}) as server:
        ended = await run_cli("--url", "http://127.0.0.1:1", "status", "--url", server.url)
    assert ended.code == 0


async def test_variables_name_the_server_and_the_key() -> None:
    async with scripted_server({"machine.update.status": result(STATUS)}) as server:
        ended = await run_cli("status", env={"TRIO_UPDATE_URL": server.url + "/", "TRIO_UPDATE_API_KEY": "fr0m-env"})
    assert ended.code == 0
    assert server.handshakes[0]["x-api-key"] == "fr0m-env"


async def test_it_says_who_it_is() -> None:
    async with scripted_server({"machine.update.status": result(STATUS)}) as server:
        await ask(server, "status")
    method, params = server.requests[0]
    assert method == "server.connection.identify"
    assert params["url"].startswith("https://")
    assert {key: params[key] for key in ("client_name", "version", "type")} == {
        "client_name": "trio-update",
        "version": __version__,
        "type": "other",
    }
    assert "x-api-key" not in server.handshakes[0]


@pytest.mark.parametrize(
    ("arguments", "method", "params"),
    [
        (["status"], "machine.update.status", {}),
        (["refresh"], "machine.update.refresh", {}),
        (["refresh", "klipper"], "machine.update.refresh", {"name": "klipper"}),
        (["plan", "klipper"], "machine.update.plan", {"name": "klipper"}),
        (["plan"], "machine.update.plan", {}),
        (["upgrade"], "machine.update.upgrade", {}),
        (["upgrade", "klipper"], "machine.update.upgrade", {"name": "klipper"}),
        (["upgrade", "klipper", "--plan", "0a"], "machine.update.upgrade", {"name": "klipper", "plan_id": "0a"}),
        (["rollback", "klipper"], "machine.update.rollback", {"name": "klipper"}),
        (["rollback", "klipper", "v1"], "machine.update.rollback", {"name": "klipper", "version": "v1"}),
        (["recover", "klipper"], "machine.update.recover", {"name": "klipper", "hard": False}),
        (["recover", "--hard", "klipper"], "machine.update.recover", {"name": "klipper", "hard": True}),
        (["abort"], "machine.update.abort", {}),
        (["history"], "machine.update.history", {}),
        (["history", "klipper", "--limit", "3"], "machine.update.history", {"name": "klipper", "limit": 3}),
    ],
)
async def test_what_each_command_asks(arguments: list[str], method: str, params: dict[str, Any]) -> None:
    answer = STATUS if method.endswith(("status", "refresh")) else [] if method.endswith(("plan", "history")) else "ok"
    async with scripted_server({method: result(answer)}) as server:
        ended = await ask(server, *arguments)
    assert (ended.code, ended.err) == (0, "")
    assert server.params_of(method) == [params]


async def test_a_file_is_not_flooded_with_progress() -> None:
    async def upgrade(server: ScriptedServer, params: dict[str, Any]) -> str:
        for name in ("a.zip", "b.zip"):
            await server.say("panel", *(f"Downloading {name}: {done} KiB / 9 KiB [{done * 11}%]" for done in range(9)))
            await server.say("panel", f"Downloading {name}: 9 KiB / 9 KiB [100%]")
        await server.say("panel", *(f"Receiving objects: {percent}% (1/20)" for percent in range(9)))
        await server.say("panel", "Receiving objects: 100% (20/20), done.")
        await server.say("panel", *("Receiving objects: 7%", "no route, trying again", "Receiving objects: 8%"))
        await server.say("panel", "Receiving objects: 44%", complete=True)
        return "ok"

    async with scripted_server({"machine.update.upgrade": upgrade}) as server:
        plain = await ask(server, "upgrade", "panel")
    assert plain.out.splitlines() == [
        "Downloading a.zip: 0 KiB / 9 KiB [0%]",
        "Downloading a.zip: 9 KiB / 9 KiB [100%]",
        "Downloading b.zip: 0 KiB / 9 KiB [0%]",
        "Downloading b.zip: 9 KiB / 9 KiB [100%]",
        "Receiving objects: 0% (1/20)",
        "Receiving objects: 100% (20/20), done.",
        "Receiving objects: 7%",
        "no route, trying again",
        "Receiving objects: 8%",
        "Receiving objects: 44%",
    ]


async def test_upgrade_prints_a_line_for_each_message_of_its_job() -> None:
    async def upgrade(server: ScriptedServer, params: dict[str, Any]) -> str:
        await server.say("other", "not ours", proc_id=8)
        await server.say("klipper", "Updating", "Receiving objects:  45% (9/20)", "a\nb\tc", "Upgraded", complete=True)
        await server.notify("notify_update_refreshed", STATUS)
        return "ok"

    async with scripted_server({"machine.update.upgrade": upgrade}) as server:
        plain = await ask(server, "upgrade", "klipper")
        document = await ask(server, "upgrade", "klipper", "--json")
    assert (plain.code, plain.err) == (0, "")
    assert plain.out == "Updating\nReceiving objects:  45% (9/20)\na\\nb   c\nUpgraded\n"
    assert document.code == 0
    assert document.document == {
        "result": "ok",
        "application": "klipper",
        "proc_id": 7,
        "messages": ["Updating", "Receiving objects:  45% (9/20)", "a\nb\tc", "Upgraded"],
    }


async def test_more_messages_than_any_buffer_holds_arrive_whole() -> None:
    async def upgrade(server: ScriptedServer, params: dict[str, Any]) -> str:
        await server.say("full", *(f"line {number}" for number in range(3000)), complete=True)
        return "ok"

    async with scripted_server({"machine.update.upgrade": upgrade}) as server:
        ended = await ask(server, "upgrade")
    assert ended.out.splitlines() == [f"line {number}" for number in range(3000)]


async def test_messages_that_come_with_the_answer_are_shown_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Over a socket this depends on the scheduler's mood, so here both are there at once."""

    class AllAtOnce:
        @contextmanager
        def subscribe(self) -> Iterator[trio.MemoryReceiveChannel[Notification]]:
            self.inlet, outlet = trio.open_memory_channel[Notification](10)
            with self.inlet, outlet:
                yield outlet

        async def call(self, method: str, params: dict[str, Any]) -> str:
            for number, text in enumerate(("one", "two")):
                message = {"application": "klipper", "proc_id": 1, "message": text, "complete": text == "two"}
                self.inlet.send_nowait(Notification(number, "notify_update_response", [message]))
            return "ok"

    session = Session(cast(Client, AllAtOnce()), PlainOutput(), Interrupts(trio.CancelScope()))
    assert await follow(session, StartJob("machine.update.upgrade", {"name": "klipper"}, "klipper", "upgrade")) == 0
    assert capsys.readouterr().out == "one\ntwo\n"


async def test_what_a_terminal_would_obey_is_not_passed_on() -> None:
    hostile = "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J \r\u202egpj.exe\u2028 \ud800 [bold]b[/bold]"

    async def upgrade(server: ScriptedServer, params: dict[str, Any]) -> str:
        await server.say("klipper", hostile.replace("\ud800", ""), "end", complete=True)
        raise Fault(500, hostile.replace("\ud800", "") + "\nsecond", "failed")

    async with scripted_server({"machine.update.upgrade": upgrade}) as server:
        ended = await ask(server, "upgrade", "klipper")
    expected = "red \\x1b]0;title\\x07 \\x9b2J \\r\\u202egpj.exe\\u2028  [bold]b[/bold]"
    assert ended.out.splitlines() == [expected, "end"]
    for char in "\x1b\x07\x9b\r\u202e\u2028":
        assert char not in ended.out + ended.err
    assert ended.err.splitlines()[-1] == "  second"


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("busy", 4),
        ("printing", 4),
        ("not_ready", 4),
        ("invalid", 4),
        ("held", 4),
        ("no_job", 4),
        ("cannot_abort", 4),
        ("stuck", 4),
        ("unknown_app", 1),
        ("unknown_job", 1),
        ("not_supported", 1),
        ("bad_version", 1),
        ("failed", 1),
        ("aborted", 5),
        ("of a later version", 1),
        (None, 1),
    ],
)
def test_exit_codes_of_reasons(reason: str | None, code: int) -> None:
    assert exit_code_of(reason) == code


@pytest.mark.parametrize(
    ("reason", "code"), [("busy", 4), ("bad_version", 1), ("failed", 1), ("aborted", 5), (None, 1)]
)
async def test_an_error_ends_the_command_with_its_code(reason: str | None, code: int) -> None:
    async def upgrade(server: ScriptedServer, params: dict[str, Any]) -> None:
        await server.say("klipper", "No good", "No good", complete=True)
        raise Fault(409, "No good: try later", reason)

    async with scripted_server({"machine.update.upgrade": upgrade}) as server:
        plain = await ask(server, "upgrade", "klipper")
        document = await ask(server, "upgrade", "klipper", "--json")
    assert (plain.code, plain.out) == (code, "No good\n")
    assert plain.err == "trio-update: No good: try later\n"
    assert document.code == code
    assert document.document == {"error": {"code": 409, "message": "No good: try later", "reason": reason}}


async def test_unauthorised_says_how_to_give_the_key() -> None:
    async with scripted_server({"server.connection.identify": fault(-32602, "Unauthorized")}) as server:
        ended = await ask(server, "status")
    assert ended.code == 1
    assert "TRIO_UPDATE_API_KEY" in ended.err


@pytest.mark.parametrize("json", [True, False])
async def test_a_server_that_dies_mid_job(json: bool) -> None:
    async def upgrade(server: ScriptedServer, params: dict[str, Any]) -> None:
        await server.say("klipper", "half-way")
        server.die()
        await trio.sleep_forever()

    async with scripted_server({"machine.update.upgrade": upgrade}) as server:
        ended = await ask(server, "upgrade", "klipper", *(["--json"] if json else []))
    assert ended.code == 3
    if json:
        assert ended.document["error"]["reason"] == "connection_lost"
        message = ended.document["error"]["message"]
    else:
        assert ended.out == "half-way\n"
        message = ended.err
    assert "not known how the job ended" in message
    assert "`trio-update history klipper`" in message
    assert "`trio-update watch`" in message


async def test_nothing_listens_there() -> None:
    async with scripted_server() as server:
        pass
    plain = await run_cli("status", "--url", server.url)
    document = await run_cli("status", "--url", server.url, "--json")
    assert (plain.code, plain.out) == (3, "")
    assert plain.err.startswith(f"trio-update: cannot reach {server.url}: ")
    assert "trio-update serve" in plain.err
    assert "TRIO_UPDATE_URL" in plain.err
    assert document.code == 3
    assert document.document["error"]["reason"] == "unreachable"


@pytest.mark.parametrize(("status", "hint"), [(401, "API key"), (403, "API key"), (404, "no update API"), (500, "500")])
async def test_a_refused_handshake(status: int, hint: str) -> None:
    async with scripted_server() as server:
        server.refuse_with = status
        ended = await ask(server, "status")
    assert ended.code == 3
    assert server.url in ended.err
    assert hint in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "--url", "ftp://127.0.0.1"],
        ["status", "--url", "127.0.0.1:7126"],
        ["status", "--url", "http://user:word@127.0.0.1"],
        ["status", "--url", "http://127.0.0.1:x"],
        ["status", "--api-key", "two\nlines"],
        ["nonsense"],
        ["rollback"],
        ["upgrade", "--plan", "0123456789abcdef"],
        ["history", "--limit", "0"],
        ["status", "--nonsense"],
        ["recover", "klipper", "--deps"],
        [],
    ],
)
async def test_usage_errors(arguments: list[str]) -> None:
    plain = await run_cli(*arguments)
    assert (plain.code, plain.out) == (2, "")
    assert plain.err
    assert "Traceback" not in plain.err


@pytest.mark.parametrize("arguments", [["status", "--url", "ftp://x"], ["rollback"], ["status", "--nonsense"]])
async def test_usage_errors_as_json(arguments: list[str]) -> None:
    ended = await run_cli(*arguments, "--json")
    assert ended.code == 2
    assert ended.document["error"]["message"]
    assert ended.document["error"]["reason"] in {"usage", "bad_address"}


async def test_help_and_version() -> None:
    for flag in ("-V", "--version"):
        assert (await run_cli(flag)).out == f"trio-update {__version__}\n"
    for arguments in (["-h"], ["upgrade", "-h"], ["--help"]):
        ended = await run_cli(*arguments)
        assert ended.code == 0
        assert "Usage: trio-update" in ended.out


async def test_plan_tells_everything_that_would_happen() -> None:
    plan = {
        "name": "klipper",
        "plan_id": "0123456789abcdef",
        "up_to_date": False,
        "from_version": "v1",
        "to_version": "v2",
        "commits": [{"sha": f"{number:040x}", "subject": f"Change {number}", "tag": "v2"} for number in range(15)],
        "commits_count": 40,
        "download_bytes": 1_234_567,
        "packages_install": ["one", "two"],
        "packages_remove": ["three"],
        "services": ["klipper"],
        "disk_needed": "?",
        "disk_free": 5_000_000_000,
        "warnings": ["shallow clone"],
    }
    refused = {"name": "w", "from_version": "?", "to_version": "?", "refusals": ["Repo is dirty"]}
    current = {"name": "c", "up_to_date": True, "from_version": "v9", "to_version": "v9"}
    async with scripted_server({"machine.update.plan": result([plan, refused, current])}) as server:
        ended = await ask(server, "plan")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0] == "klipper: v1 → v2"
    for line in (
        "  warning: shallow clone",
        "  plan: 0123456789abcdef",
        "  downloads: 1.2 MB",
        "  installs: one, two",
        "  removes: three",
        "  restarts: klipper",
        "  needs on disk: unknown",
        "  free on disk: 5.0 GB",
        "  40 commits:",
        "    00000000 Change 0 (v2)",
        "    and 30 more",
        "w: an upgrade would be refused",
        "  Repo is dirty",
        "c: up to date (v9)",
    ):
        assert line in lines
    assert not any("upgrades" in line for line in lines)


async def test_plan_shows_release_notes_up_to_a_point() -> None:
    plan = {"name": "panel", "from_version": "v1", "to_version": "v2", "download_bytes": 5, "asset_name": "panel.zip"}
    plan["disk_needed"] = 2_000_000
    facts = ["panel: v1 → v2", "  asset: panel.zip", "  downloads: 5 B", "  needs on disk: at most 2.0 MB"]
    notes = "\r\n".join(["", "# New", "", *(f"- {number}" for number in range(100)), ""])
    plans = [plan | {"release_notes": notes}, plan | {"release_notes": ""}]
    async with scripted_server({"machine.update.plan": result(plans)}) as server:
        lines = (await ask(server, "plan")).out.splitlines()
    assert lines[:7] == [*facts, "  release notes:", "    # New", ""]
    assert lines[-6:] == ["    - 27", "    and 72 lines more", *facts]


async def test_history_is_a_line_for_each_job() -> None:
    done = {
        "proc_id": 3,
        "kind": "upgrade",
        "name": "klipper",
        "requested_by": "127.0.0.1",
        "started": 0.0,
        "duration": 2.25,
        "outcome": "succeeded",
        "apps": [{"name": "klipper", "outcome": "succeeded", "from_version": "v1", "to_version": "v2"}],
        "log": ["x"],
    }
    failed = done | {"proc_id": 2, "kind": "full", "name": None, "outcome": "failed", "message": "no disk", "apps": []}
    async with scripted_server({"machine.update.history": result([done, failed])}) as server:
        ended = await ask(server, "history")
        document = await ask(server, "history", "--json")
    assert ended.out.splitlines() == [
        "1970-01-01 00:00\tupgrade klipper\tv1 → v2\tsucceeded\t2.2\t127.0.0.1",
        "1970-01-01 00:00\tfull\t\tfailed\t2.2\t127.0.0.1",
        "job 2: no disk",
    ]
    assert document.document == [done, failed]


async def test_interrupted_off_a_terminal_leaves_the_job_running() -> None:
    for signum in (signal.SIGINT, signal.SIGTERM):
        async with scripted_server({"machine.update.upgrade": _says_and_waits}) as server:
            async with piped_cli("upgrade", "klipper", "--url", server.url) as running:
                await running.until("half-way")
                running.signal(signum)
                assert await running.process.wait() == 1
            assert "the job goes on; `trio-update watch` follows it" in running.output
            assert server.params_of("machine.update.abort") == []


async def test_interrupted_with_json_is_still_one_document() -> None:
    async with (
        scripted_server({"machine.update.upgrade": _says_and_waits}) as server,
        piped_cli("upgrade", "klipper", "--json", "--url", server.url) as running,
    ):
        await server.until_asked("machine.update.upgrade")
        running.signal(signal.SIGINT)
        assert await running.process.wait() == 1
    assert msgspec.json.decode(running.output)["error"]["reason"] == "left_running"


async def test_interrupted_while_it_waits_for_an_answer() -> None:
    async def never(server: ScriptedServer, params: dict[str, Any]) -> None:
        await trio.sleep_forever()

    async with (
        scripted_server({"machine.update.status": never}) as server,
        piped_cli("status", "--url", server.url) as running,
    ):
        await server.until_asked("machine.update.status")
        running.signal(signal.SIGINT)
        assert await running.process.wait() == 130
    assert running.output == "trio-update: interrupted\n"


async def _says_and_waits(server: ScriptedServer, params: dict[str, Any]) -> None:
    await server.say("klipper", "half-way")
    await trio.sleep_forever()


async def test_watch_shows_the_running_job_from_its_beginning_and_no_line_twice() -> None:
    async def job(server: ScriptedServer, params: dict[str, Any]) -> dict[str, Any]:
        # Said after the client began to listen, and before the answer: it comes as a notification and in the log.
        await server.say("klipper", "second", proc_id=5)
        return {"proc_id": 5, "application": "klipper", "state": "applying", "log": ["first", "second"]}

    async with (
        scripted_server({"machine.update.job": job}) as server,
        piped_cli("watch", "--url", server.url) as running,
    ):
        await running.until("second")
        await server.say("klipper", "third", "done", proc_id=5, complete=True)
        await server.notify("notify_proc_stat_update", {"cpu": 1})
        await server.notify("notify_update_refreshed", STATUS)
        await server.say("rollback_w", "other", proc_id=6)
        await running.until("other")
        running.signal(signal.SIGINT)
        assert await running.process.wait() == 0
    assert running.output.splitlines() == [
        "klipper: first",
        "klipper: second",
        "klipper: third",
        "klipper: done",
        "status: updates for klipper, system; not valid: dirty, broken, loose, forked, elsewhere",
        "rollback_w: other",
    ]


async def test_watch_does_not_show_a_job_that_has_ended() -> None:
    ended_job = {"proc_id": 5, "application": "klipper", "state": "ended", "log": ["old"]}
    for answer in (result(ended_job), fault(409, "no job has run", "no_job")):
        async with (
            scripted_server({"machine.update.job": answer}) as server,
            piped_cli("watch", "--url", server.url) as running,
        ):
            await server.until_asked("machine.update.job")
            await server.say("w", "new", proc_id=6)
            await running.until("new")
        assert running.output == "w: new\n"


async def test_watch_json_is_a_document_a_line() -> None:
    running_job = {"proc_id": 5, "application": "klipper", "state": "preparing", "log": ["first"]}
    async with (
        scripted_server({"machine.update.job": result(running_job)}) as server,
        piped_cli("watch", "--json", "--url", server.url) as running,
    ):
        await running.until("first")
        await server.say("klipper", "second", proc_id=5)
        await running.until("second")
        server.die()
        assert await running.process.wait() == 3
    documents = [msgspec.json.decode(line) for line in running.output.splitlines()]
    message = {"application": "klipper", "proc_id": 5, "message": "second", "complete": False}
    assert documents[:2] == [{"job": running_job}, {"method": "notify_update_response", "params": [message]}]
    assert documents[2]["error"]["reason"] == "connection_lost"


async def test_watch_says_when_the_connection_is_lost() -> None:
    async with (
        scripted_server({"machine.update.job": fault(409, "no job has run", "no_job")}) as server,
        piped_cli("watch", "--url", server.url) as running,
    ):
        await server.until_asked("machine.update.job")
        server.die()
        assert await running.process.wait() == 3
    assert f"lost the connection to {server.url}" in running.output
    assert "start `watch` again" in running.output


async def test_a_reader_that_goes_away_is_no_traceback() -> None:
    many = status_of(*(git(name=f"app{number}") for number in range(5000)))
    async with scripted_server({"machine.update.status": result(many)}) as server:
        script = f"{subprocess.list2cmdline([*COMMAND, 'status', '--url', server.url])} | head -n 1"
        done = await trio.run_process(
            ["sh", "-c", script], capture_stdout=True, capture_stderr=True, env=environment(), check=False
        )
    assert done.stdout.decode().startswith("app0\t")
    assert done.stderr == b""


async def test_the_command_line_imports_nothing_heavy_to_answer_help() -> None:
    heavy = "'rich', 'trio', 'quart', 'httpx', 'packaging'"
    code = f"import sys, trio_update.cli; print([name for name in ({heavy}) if name in sys.modules])"
    done = await trio.run_process([sys.executable, "-c", code], capture_stdout=True, env=environment())
    assert done.stdout == b"[]\n"


CONFIGURATION = """\
[update_manager]
refresh_interval: 24

[trio_update]
port: 7999

[update_manager app]
type: git_repo
path: {path}
origin: https://example.org/app.git
is_system_service: False
"""


async def test_check_of_a_good_configuration(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    config = tmp_path / "moonraker.conf"
    config.write_text(CONFIGURATION.format(path=app))
    plain = await run_cli("check", "-c", str(config))
    document = await run_cli("check", "--json", "-c", str(config))
    assert (plain.code, plain.err) == (0, "")
    assert f"app\tgit_repo\tdev\t{app}" in plain.out.splitlines()
    assert "http://127.0.0.1:7999" in plain.out
    assert document.code == 0
    assert document.document == {
        "valid": True,
        "starts": True,
        "problems": [],
        "notes": [],
        "apps": [{"name": "app", "type": "git_repo", "path": str(app), "channel": "dev"}],
        "disabled": [],
    }


async def test_check_notes_what_has_no_effect_yet(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    config = tmp_path / "moonraker.conf"
    config.write_text(CONFIGURATION.format(path=tmp_path / "app") + "\n[server]\nklippy_uds_address: /k\n")
    number = len(config.read_text().splitlines())
    message = "[server] 'klippy_uds_address' is accepted and not used by this version yet"
    plain = await run_cli("check", "-c", str(config))
    assert (plain.code, plain.err) == (0, "")
    assert plain.out.splitlines()[-1] == f"{config}:{number}: {message}"
    document = await run_cli("check", "--json", "-c", str(config))
    assert document.code == 0
    assert document.document["valid"]
    assert document.document["notes"] == [{"file": str(config), "line": number, "message": message}]


async def test_check_tells_every_problem_with_its_place(tmp_path: Path) -> None:
    config = tmp_path / "moonraker.conf"
    text = CONFIGURATION.format(path=tmp_path / "missing").replace("24", "soon") + "colour: blue\n"
    config.write_text(text)
    plain = await run_cli("check", "-c", str(config))
    document = await run_cli("--json", "check", "-c", str(config))
    assert plain.code == 1
    places = [line.rsplit(": ", 1)[0].removeprefix(f"{config}:").split(":")[0] for line in plain.out.splitlines()]
    for needle in ("refresh_interval", "path", "colour"):
        number = next(index for index, line in enumerate(text.splitlines(), 1) if line.startswith(needle))
        assert str(number) in places
    assert document.code == 1
    assert document.document["valid"] is False
    assert {str(problem["line"]) for problem in document.document["problems"]} == set(places)


@pytest.mark.parametrize("command", ["check", "serve"])
async def test_a_configuration_that_cannot_be_read(command: str, tmp_path: Path) -> None:
    ended = await run_cli(command, "-c", str(tmp_path / "none.conf"))
    assert ended.code == 1
    assert "none.conf" in ended.out + ended.err
    assert "Traceback" not in ended.err


async def test_names_that_the_locale_cannot_write() -> None:
    status = status_of(git(name="drücker"))
    async with scripted_server({"machine.update.status": result(status)}) as server:
        ended = await run_cli("status", "--url", server.url, env={"PYTHONIOENCODING": "ascii"})
        document = await run_cli("status", "--json", "--url", server.url, env={"PYTHONIOENCODING": "ascii"})
    assert ended.code == 0
    assert ended.out.startswith("dr\\xfccker\t")
    assert document.document == status
