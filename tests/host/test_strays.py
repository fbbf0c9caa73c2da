"""Processes that outlive a killed server, and processes that use a directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from tests.support.waiting import until
from trio_update.host.processes.runner import end_orphans, processes_in

Start = Callable[..., "subprocess.Popen[bytes]"]

SERVER = """
import sys, trio
from trio_update.host.processes.runner import Runner, become_subreaper
become_subreaper()
trio.run(lambda: Runner(sys.argv[1]).run(["sh", "-c", sys.argv[2]]))
"""
SETTLER = """
import sys, trio
from trio_update.host.processes.runner import end_orphans
print(trio.run(end_orphans, sys.argv[1]))
"""


@pytest.fixture
def owner() -> str:
    return f"test-{uuid.uuid4()}"


@pytest.fixture
def start() -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def start(argv: list[str], **options: object) -> subprocess.Popen[bytes]:
            process: subprocess.Popen[bytes] = subprocess.Popen(argv, **options)  # type: ignore[call-overload]  # passed on
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


def marked(owner: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"TRIO_UPDATE_OWNER={owner}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


async def kill_a_server(start: Start, owner: str, script: str, ready: Path) -> None:
    server = start([sys.executable, "-c", SERVER, owner, script], cwd=ready.parent)
    await until(ready.exists)
    server.kill()
    server.wait()


@pytest.mark.parametrize(
    "script",
    [
        "touch ready; exec sleep 60",
        "trap '' TERM; setsid sleep 60 & (sleep 60 & wait) & touch ready; wait",
        "touch ready; while :; do sleep 60 & i=0; while [ $i -lt 200 ]; do i=$((i+1)); done; done",
    ],
    ids=["one", "a family, one in a session of its own", "one that always starts another"],
)
async def test_what_a_killed_server_left_running_is_ended(
    start: Start, owner: str, tmp_path: Path, script: str
) -> None:
    await kill_a_server(start, owner, script, tmp_path / "ready")
    expected = len(marked(owner))
    assert expected >= 1
    assert await end_orphans(owner) >= 1
    assert marked(owner) == []
    assert await end_orphans(owner) == 0


async def test_processes_of_others_are_left_alone(start: Start, owner: str) -> None:
    for mark in (f"{owner}-other", owner[:-1], ""):
        start(["sleep", "60"], env={**os.environ, "TRIO_UPDATE_OWNER": mark, "HINT": f"TRIO_UPDATE_OWNER={owner}"})
    unmarked = start(["sleep", "60"])
    assert await end_orphans(owner) == 0
    assert unmarked.poll() is None
    assert len(marked(f"{owner}-other")) == 1


async def test_who_asks_and_its_ancestors_are_spared(owner: str) -> None:
    # The shell has to wait for its child, or it would be replaced by it.
    done = await trio.run_process(
        ["sh", "-c", '"$@"; echo survived', "sh", sys.executable, "-c", SETTLER, owner],
        capture_stdout=True,
        env={**os.environ, "TRIO_UPDATE_OWNER": owner},
    )
    assert done.stdout.split() == [b"0", b"survived"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "repo"
    subprocess.run(["git", "init", "--quiet", path], check=True)
    return path


def waiting_git(start: Start, *options: str, cwd: Path) -> int:
    """A git that has started for good: it answers a question, and waits for the next."""
    process = start(["git", *options, "cat-file", "--batch"], cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"no-such-object\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"no-such-object missing\n"
    return process.pid


def test_git_processes_of_a_clone_are_found(start: Start, repository: Path) -> None:
    (repository / "sub").mkdir()
    outside = repository.parent
    expected = {
        waiting_git(start, cwd=repository),
        waiting_git(start, cwd=repository / "sub"),
        waiting_git(start, "-C", str(repository), cwd=outside),
        waiting_git(start, f"--git-dir={repository}/.git", cwd=outside),
        waiting_git(start, "--git-dir=repo/.git", cwd=outside),
    }
    alias = outside / "alias"
    alias.symlink_to(repository)
    assert set(processes_in(repository, "git")) == expected
    assert set(processes_in(alias, "git")) == expected


def test_other_processes_are_not_counted(start: Start, repository: Path) -> None:
    beside = repository.with_name("repo-two")
    shutil.copytree(repository, beside)
    waiting_git(start, cwd=beside)
    start(["sleep", "60"], cwd=repository)
    assert processes_in(repository, "git") == []


def test_a_process_that_has_ended_is_not_counted(start: Start, repository: Path) -> None:
    process = start(["git", "cat-file", "--batch"], cwd=repository, stdin=subprocess.PIPE)
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{process.pid}").exists(), "it is a zombie"
    assert processes_in(repository, "git") == []


def test_a_process_that_cannot_be_looked_at_counts() -> None:
    init = Path("/proc/1/comm").read_text().strip()
    script = (
        "import os, sys; from pathlib import Path; from trio_update.host.processes.runner import processes_in\n"
        "if os.geteuid() == 0: os.setgid(65534), os.setuid(65534)\n"
        "print(1 in processes_in(Path('/no/such/place'), sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", script, init], capture_output=True, check=True)
    assert done.stdout == b"True\n"
