"""The command line on a pseudo-terminal: what it looks like there, and what Ctrl-C does."""

from __future__ import annotations

import re
from typing import Any

import pytest
import trio

from tests.support.cli import (
    Fault,
    OnTerminal,
    ScriptedServer,
    git,
    result,
    scripted_server,
    status_of,
    terminal_cli,
)

CTRL_C = "\x03"
QUESTION = "Abort the job (a) or leave it running (l)?"
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


def visible(output: str) -> str:
    """What was written, without colours and movements of the cursor."""
    return _CONTROL.sub("", output)


def remaining(output: str) -> list[str]:
    """The lines that stay on the screen: a line that was begun anew shows what was written to it last."""
    lines = output.replace("\r\x1b[1A\x1b[2K", "\x00").split("\n")
    kept: list[str] = []
    for line in lines:
        if "\x00" in line and kept:
            kept.pop()
        kept.append(visible(line.replace("\x00", "").rstrip("\r").rsplit("\r", 1)[-1]).rstrip())
    return [line for line in kept if line]


async def ended(terminal: OnTerminal) -> int:
    """The exit code, once everything that was written has been read."""
    code = await terminal.process.wait()
    await terminal.drained.wait()
    return code


async def test_status_is_a_table() -> None:
    status = status_of(git(commits_behind_count=40, anomalies=["[bold]odd[/bold] :smile:"]))
    async with scripted_server({"machine.update.status": result(status)}) as server:
        async with terminal_cli("status", "--url", server.url) as terminal:
            assert await ended(terminal) == 0
        async with terminal_cli("status", "--url", server.url, env={"NO_COLOR": "1"}) as colourless:
            assert await ended(colourless) == 0
        async with terminal_cli("status", "--url", server.url, env={"TERM": "dumb"}) as dumb:
            assert await ended(dumb) == 0
    lines = [re.split(r"\s{2,}", line.strip()) for line in visible(terminal.output).splitlines()]
    assert ["name", "type", "channel", "version", "behind", "state"] in lines
    assert ["klipper", "git_repo", "dev", "v0.12.0-1 → v0.12.0-41", "40", "update available"] in lines
    assert "klipper: [bold]odd[/bold] :smile:" in visible(terminal.output)
    assert "\x1b[36m" in terminal.output
    assert "\x1b[36m" not in colourless.output
    assert "\x1b" not in dumb.output


async def test_percentages_move_a_bar_and_messages_stay() -> None:
    seen = trio.Event()

    async def upgrade(server: ScriptedServer, params: dict[str, Any]) -> str:
        await server.say("klipper", "Updating [red]x[/red] \x1b]0;title\x07")
        await server.say("klipper", "Receiving objects:  45% (9/20), 1.2 MiB | 3 MiB/s")
        await seen.wait()
        await server.say("klipper", "Receiving objects: 100% (20/20), done.", "disk: 95% of it is used")
        await server.say("klipper", "Upgraded", complete=True)
        return "ok"

    async with (
        scripted_server({"machine.update.upgrade": upgrade}) as server,
        terminal_cli("upgrade", "klipper", "--url", server.url) as terminal,
    ):
        await terminal.until("45%")
        seen.set()
        assert await ended(terminal) == 0
    assert "━" in terminal.output
    assert remaining(terminal.output) == [
        "Updating [red]x[/red] \\x1b]0;title\\x07",
        "Receiving objects: 100% (20/20), done.",
        "disk: 95% of it is used",
        "Upgraded",
    ]
    assert "\x1b]" not in terminal.output
    # Shown after it was hidden for the last time; a bar that Ctrl-C ended while it began is shown without.
    assert terminal.output.rfind("\x1b[?25l") < terminal.output.rfind("\x1b[?25h")


async def test_a_download_moves_the_bar_too() -> None:
    seen = [trio.Event() for _ in range(2)]

    async def upgrade(server: ScriptedServer, params: dict[str, Any]) -> str:
        await server.say("panel", "Downloading [b] 100%: panel.zip: 1200 KiB / 3000 KiB [40%]")
        await seen[0].wait()
        await server.say("panel", "Downloading other.zip: 77 KiB")
        await seen[1].wait()
        await server.say("panel", "Downloading panel.zip: no route; trying again in 2 s")
        await server.say("panel", "Downloading panel.zip: 3000 KiB / 3000 KiB [100%]", "Upgraded", complete=True)
        return "ok"

    async with (
        scripted_server({"machine.update.upgrade": upgrade}) as server,
        terminal_cli("upgrade", "panel", "--url", server.url) as terminal,
    ):
        await terminal.until("40% of 3000 KiB")
        assert "━" in terminal.output
        seen[0].set()
        await terminal.until("77 KiB")
        assert "━" not in terminal.output[terminal.output.rindex("other.zip") :]
        seen[1].set()
        assert await ended(terminal) == 0
    assert remaining(terminal.output) == [
        "Downloading panel.zip: no route; trying again in 2 s",
        "Downloading panel.zip: 3000 KiB / 3000 KiB [100%]",
        "Upgraded",
    ]


async def test_error_of_several_lines() -> None:
    async def upgrade(server: ScriptedServer, params: dict[str, Any]) -> None:
        raise Fault(500, "`git fetch` failed:\nfatal: no\x1b[2J", "failed")

    async with (
        scripted_server({"machine.update.upgrade": upgrade}) as server,
        terminal_cli("upgrade", "klipper", "--url", server.url) as terminal,
    ):
        assert await ended(terminal) == 1
    assert visible(terminal.output).splitlines() == ["trio-update: `git fetch` failed:", "  fatal: no"]
    assert "\x1b[2J" not in terminal.output


class Upgrade:
    """A job that waits for its end: `machine.update.upgrade`, `…abort` and `…job` of a scripted server."""

    def __init__(self, *, silent: bool = False, refuses: bool = False, application: str = "klipper") -> None:
        self.silent = silent
        self.refuses = refuses
        self.application = application
        self.finish = trio.Event()
        self.aborted = False

    @property
    def handlers(self) -> dict[str, Any]:
        return {
            "machine.update.upgrade": self.upgrade,
            "machine.update.abort": self.abort,
            "machine.update.job": self.job,
        }

    async def upgrade(self, server: ScriptedServer, params: dict[str, Any]) -> str:
        if not self.silent:
            await server.say("klipper", "half-way", proc_id=12)
        await self.finish.wait()
        if not self.aborted:
            await server.say("klipper", "Upgraded", proc_id=12, complete=True)
            return "ok"
        await server.say("klipper", "was aborted", proc_id=12, complete=True)
        raise Fault(500, "the upgrade was aborted", "aborted")

    async def abort(self, server: ScriptedServer, params: dict[str, Any]) -> str:
        if self.refuses:
            raise Fault(409, "packages are being installed", "cannot_abort")
        self.aborted = True
        self.finish.set()
        return "ok"

    async def job(self, server: ScriptedServer, params: dict[str, Any]) -> dict[str, Any]:
        return {"proc_id": 12, "application": self.application, "state": "preparing", "log": []}


@pytest.mark.parametrize("silent", [False, True])
async def test_ctrl_c_and_abort(silent: bool) -> None:
    job = Upgrade(silent=silent)
    async with (
        scripted_server(job.handlers) as server,
        terminal_cli("upgrade", "klipper", "--url", server.url) as terminal,
    ):
        await server.until_asked("machine.update.upgrade")
        if not silent:
            await terminal.until("half-way")
        await terminal.type(CTRL_C)
        await terminal.until(QUESTION)
        await terminal.type("a\n")
        assert await ended(terminal) == 5
    assert server.params_of("machine.update.abort") == [{"proc_id": 12}]
    assert "the upgrade was aborted" in terminal.output


async def test_abort_spares_the_job_of_somebody_else() -> None:
    job = Upgrade(silent=True, application="rollback_other")
    async with (
        scripted_server(job.handlers) as server,
        terminal_cli("upgrade", "klipper", "--url", server.url) as terminal,
    ):
        await server.until_asked("machine.update.upgrade")
        await terminal.type(CTRL_C)
        await terminal.until(QUESTION)
        await terminal.type("a\n")
        await terminal.until("not aborted")
        job.finish.set()
        assert await ended(terminal) == 0
    assert server.params_of("machine.update.abort") == []


@pytest.mark.parametrize("answer", ["l\n", "\n", "\x04", CTRL_C])
async def test_ctrl_c_and_leave_it_running(answer: str) -> None:
    job = Upgrade()
    async with (
        scripted_server(job.handlers) as server,
        terminal_cli("upgrade", "klipper", "--url", server.url) as terminal,
    ):
        await terminal.until("half-way")
        await terminal.type(CTRL_C)
        await terminal.until(QUESTION)
        await terminal.type(answer)
        assert await ended(terminal) == 1
    assert "the job goes on; `trio-update watch` follows it" in visible(terminal.output)
    assert server.params_of("machine.update.abort") == []
    # Shown after it was hidden for the last time; a bar that Ctrl-C ended while it began is shown without.
    assert terminal.output.rfind("\x1b[?25l") < terminal.output.rfind("\x1b[?25h")


async def test_it_asks_once_and_a_refused_abort_goes_on() -> None:
    job = Upgrade(refuses=True)
    async with (
        scripted_server(job.handlers) as server,
        terminal_cli("upgrade", "klipper", "--url", server.url) as terminal,
    ):
        await terminal.until("half-way")
        await terminal.type(CTRL_C)
        await terminal.until(QUESTION)
        await terminal.type("a\n")
        await terminal.until("packages are being installed")
        await terminal.type(CTRL_C)
        assert await ended(terminal) == 1
    assert terminal.output.count(QUESTION) == 1
    assert "the job goes on" in terminal.output


async def test_messages_wait_while_the_question_stands_and_the_end_takes_it_away() -> None:
    job = Upgrade()
    async with (
        scripted_server(job.handlers) as server,
        terminal_cli("upgrade", "klipper", "--url", server.url) as terminal,
    ):
        await terminal.until("half-way")
        await terminal.type(CTRL_C)
        await terminal.until(QUESTION)
        await server.say("klipper", "Checking out", proc_id=12)
        job.finish.set()
        assert await ended(terminal) == 0
    after = visible(terminal.output).split(QUESTION)[1]
    assert [line.strip() for line in after.splitlines() if line.strip()][-2:] == ["Checking out", "Upgraded"]


async def test_watch_on_a_terminal_ends_by_ctrl_c() -> None:
    async with (
        scripted_server(Upgrade().handlers) as server,
        terminal_cli("watch", "--url", server.url) as terminal,
    ):
        await server.until_asked("machine.update.job")
        await server.say("klipper", "Receiving objects:  45% (9/20)", "plain", proc_id=12)
        await terminal.until("klipper: plain")
        assert "\x1b[?25h" not in terminal.output
        await server.say("klipper", "Upgraded", proc_id=12, complete=True)
        await terminal.until("\x1b[?25h")  # the bar is gone, and the cursor back
        await terminal.type(CTRL_C)
        assert await ended(terminal) == 0
    assert f"watching {server.url}" in visible(terminal.output)
    # Shown after it was hidden for the last time; a bar that Ctrl-C ended while it began is shown without.
    assert terminal.output.rfind("\x1b[?25l") < terminal.output.rfind("\x1b[?25h")
