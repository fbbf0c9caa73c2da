"""Commands: what is told of them, and that nothing of them is left (which is looked at after every test)."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.support.waiting import until
from trio_update.errors import CommandFailed, CommandNotFound, CommandSilent, FileTrouble, OperationFailed
from trio_update.host.processes.runner import Runner

RUNNER = Runner("test-processes")
# `sleep` inherits the ignored signal, and its parent does not wait for it.
STUBBORN_STRAY = "(trap '' TERM; exec sleep 60) & "


@pytest.fixture(autouse=True)
def no_descriptor_left() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


async def test_output_and_input_pass_whole() -> None:
    big = bytes(range(256)) * 4096
    done = await RUNNER.run(shell("cat; echo trouble >&2"), stdin=big)
    assert (done.returncode, done.stdout, done.stderr) == (0, big, b"trouble\n")
    assert done.argv == ("sh", "-c", "cat; echo trouble >&2")


async def test_both_pipes_are_read_at_the_same_time() -> None:
    done = await RUNNER.run(shell("head -c 500000 /dev/zero >&2; head -c 500000 /dev/zero"), timeout=20)
    assert (len(done.stdout), len(done.stderr)) == (500_000, 500_000)


async def test_standard_input_is_the_null_device_by_default() -> None:
    assert (await RUNNER.run(["readlink", "/proc/self/fd/0"])).stdout == b"/dev/null\n"


async def test_a_command_has_a_session_of_its_own() -> None:
    done = await RUNNER.run(shell("echo $$; cut -d' ' -f5,6 /proc/$$/stat"))
    leader, group, session = done.stdout.split()
    assert leader == group == session
    assert int(session) != os.getsid(0)


async def test_environments_are_laid_over_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KEPT", "CHANGED", "REMOVED"):
        monkeypatch.setenv(name, "old")
    runner = Runner("somebody", {"CHANGED": "runner", "CALL": "runner", "REMOVED": None})
    done = await runner.run(["env"], env={"CALL": "call"}, cwd=tmp_path)
    found = dict(line.split("=", 1) for line in done.stdout.decode().splitlines() if "=" in line)
    assert [found.get(name) for name in ("KEPT", "CHANGED", "CALL", "REMOVED")] == ["old", "runner", "call", None]
    assert found["TRIO_UPDATE_OWNER"] == "somebody"
    assert (await runner.run(["pwd"], cwd=tmp_path)).stdout.decode().strip() == str(tmp_path.resolve())


async def test_lines_come_while_the_command_runs(tmp_path: Path) -> None:
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        if line == "last":
            (tmp_path / "heard").touch()

    script = (
        r"printf '10%%\r20%%\r\n\n  \nthr\303\251\377\nlast\n' >&2; until [ -e heard ]; do sleep 0.01; done; echo end"
    )
    done = await RUNNER.run(shell(script), cwd=tmp_path, on_line=on_line, timeout=20)
    assert lines == ["10%", "20%", "thré\ufffd", "last"]
    assert done.stdout == b"end\n"


async def test_the_last_line_needs_no_end_and_an_endless_one_comes_in_pieces() -> None:
    lines: list[str] = []
    await RUNNER.run(shell("head -c 300000 /dev/zero | tr '\\0' x >&2"), on_line=lines.append)
    assert len(lines) > 1
    assert "".join(lines) == "x" * 300_000


async def test_stdout_can_be_told_by_lines_and_passed_on() -> None:
    lines: list[str] = []
    chunks: list[bytes] = []
    script = "printf 'a\\nb\\n'; echo err >&2"
    done = await RUNNER.run(shell(script), on_stdout_line=lines.append, stdout_sink=chunks.append, max_output=4)
    assert (lines, b"".join(chunks)) == (["a", "b"], b"a\nb\n")
    assert (done.stdout, done.stderr) == (b"", b"err\n")


async def test_an_unexpected_status_carries_what_was_said() -> None:
    with pytest.raises(CommandFailed) as caught:
        await RUNNER.run(shell("echo out; printf '1%%\\r99%%\\r100%%, done\\nfatal: no\\n' >&2; exit 3"))
    assert (caught.value.returncode, caught.value.output) == (3, "100%, done\nfatal: no")
    with pytest.raises(CommandFailed) as caught:
        await RUNNER.run(shell("echo only out; kill -KILL $$"))
    assert (caught.value.returncode, caught.value.output) == (-signal.SIGKILL, "only out")


async def test_only_the_end_of_a_long_complaint_is_kept() -> None:
    with pytest.raises(CommandFailed) as caught:
        await RUNNER.run(shell("head -c 100000 /dev/zero | tr '\\0' x >&2; echo . >&2; echo end >&2; false"))
    assert caught.value.output.endswith("x.\nend")
    assert len(caught.value.output) <= 4096


async def test_expected_statuses_are_no_failure() -> None:
    assert (await RUNNER.run(["false"], check=False)).returncode == 1
    assert (await RUNNER.run(["false"], check=(0, 1))).returncode == 1
    with pytest.raises(CommandFailed):
        await RUNNER.run(["true"], check={1})


async def test_what_cannot_be_started_is_told(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    with pytest.raises(CommandNotFound, match=r"no-such-program.*No such file") as caught:
        await RUNNER.run(["no-such-program"], cwd=tmp_path)
    assert caught.value.program == "no-such-program"
    with pytest.raises(CommandNotFound, match="Permission denied"):
        await RUNNER.run([str(plain)])
    with pytest.raises(FileTrouble, match="missing") as trouble:
        await RUNNER.run(["true"], cwd=tmp_path / "missing")
    assert trouble.value.errno == errno.ENOENT
    with pytest.raises(OperationFailed, match="null byte"):
        await RUNNER.run(["echo", "a\0b"])


async def test_silence_ends_a_command() -> None:
    with trio.fail_after(20), pytest.raises(CommandSilent) as caught:
        await RUNNER.run(shell("echo first; sleep 60"), silence=0.2)
    assert caught.value.seconds == 0.2
    assert "no sign of life" in str(caught.value)


async def test_a_byte_on_either_pipe_is_a_sign_of_life() -> None:
    script = "for i in 1 2 3 4 5 6; do echo .; sleep 0.2; echo . >&2; sleep 0.2; done"
    done = await RUNNER.run(shell(script), silence=1.2)
    assert done.stdout == b".\n" * 6


async def test_the_total_time_is_bounded_for_one_that_talks() -> None:
    with trio.fail_after(20), pytest.raises(CommandSilent, match=r"did not end within 0\.3 s"):
        await RUNNER.run(["yes"], silence=10, timeout=0.3, stdout_sink=lambda _: None)


async def test_output_is_bounded() -> None:
    with trio.fail_after(20), pytest.raises(OperationFailed, match="more than 100000 bytes"):
        await RUNNER.run(["yes"], max_output=100_000)


async def test_a_cancelled_command_gets_time_to_clean_up(tmp_path: Path) -> None:
    # What it says while it ends must not fill the pipe and stop it.
    script = "trap 'head -c 1000000 /dev/zero; echo clean > cleaned; exit' TERM; touch ready; sleep 60 & wait"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: RUNNER.run(shell(script), cwd=tmp_path, grace=20))
        await until((tmp_path / "ready").exists)
        nursery.cancel_scope.cancel()
    assert (tmp_path / "cleaned").read_text() == "clean\n"


async def test_a_cancelled_command_that_ignores_it_is_killed_with_its_grandchildren(tmp_path: Path) -> None:
    script = f"trap '' TERM; ({STUBBORN_STRAY} echo $! > pid.part; mv pid.part pid; wait) & wait"
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: RUNNER.run(shell(script), cwd=tmp_path, grace=0.1))
            await until((tmp_path / "pid").exists)
            grandchild = Path("/proc") / (tmp_path / "pid").read_text().strip()
            assert grandchild.exists()
            nursery.cancel_scope.cancel()
    assert not grandchild.exists()


async def test_grandchildren_of_a_polite_leader_are_killed_too(tmp_path: Path) -> None:
    script = f"{STUBBORN_STRAY} touch ready; exec sleep 60"
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: RUNNER.run(shell(script), cwd=tmp_path, grace=0.1))
            await until((tmp_path / "ready").exists)
            nursery.cancel_scope.cancel()


async def test_a_cancelled_task_starts_nothing(tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await RUNNER.run(["touch", "started"], cwd=tmp_path)
    assert scope.cancelled_caught
    assert not (tmp_path / "started").exists()


async def test_a_listener_that_fails_ends_the_command() -> None:
    def fail(line: str) -> None:
        raise LookupError(line)

    with trio.fail_after(20), pytest.raises(LookupError, match="word"):
        await RUNNER.run(shell("echo word >&2; sleep 60"), on_line=fail)


@pytest.mark.parametrize("output", ["", ">/dev/null 2>&1"], ids=["holding the output", "without output"])
async def test_strays_of_a_finished_command_are_ended(output: str) -> None:
    with trio.fail_after(20):
        done = await RUNNER.run(
            shell(f"sleep 60 {output} & (trap '' TERM; exec sleep 60) {output} & echo out; exit 7"), check={7}
        )
    assert (done.returncode, done.stdout) == (7, b"out\n")


async def test_what_a_stray_still_says_soon_after_the_end_is_heard() -> None:
    done = await RUNNER.run(shell("(sleep 0.05; echo late) & echo first"))
    assert done.stdout == b"first\nlate\n"


async def test_commands_side_by_side_do_not_take_each_other_s_status() -> None:
    found: dict[int, int] = {}

    async def one(number: int) -> None:
        done = await RUNNER.run(shell(f"sleep 60 >/dev/null 2>&1 & exit {number}"), check=False)
        found[number] = done.returncode

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(one, number)
    assert found == {number: number for number in range(12)}
