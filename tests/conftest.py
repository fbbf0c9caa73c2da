"""What holds for every test: git knows nothing of the user, and no process is left behind."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from trio_update.host.processes.runner import become_subreaper

_GIT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}
# What says how to reach a server is the machine's and stays; the rest would lead git elsewhere (a hook that runs
# the tests sets GIT_DIR).
_MACHINES = ("GIT_SSL_", "GIT_PROXY_", "GIT_EXEC_PATH")


@pytest.fixture(scope="session", autouse=True)
def _isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Fixtures of every scope work in this environment; what a command leaves becomes our child, and is seen."""
    become_subreaper()
    homes = tmp_path_factory.mktemp("homes")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("GIT_", "XDG_")) and not name.startswith(_MACHINES):
                patch.delenv(name)
        for name, value in _GIT.items():
            patch.setenv(name, value)
        patch.setenv("HOME", str(homes))
        yield homes


@pytest.fixture(autouse=True)
def _own_home(_isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", tempfile.mkdtemp(dir=_isolated))


@pytest.fixture(autouse=True)
def _no_process_left() -> Iterator[None]:
    """Fail a test that leaves a child, running or zombie; those of fixtures with a wider scope were there before."""
    before = _children()
    yield
    left = {pid: what for pid, what in _children().items() if before.get(pid) != what}
    for pid in left:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert not left, f"left behind: {left}"


def _children() -> dict[int, str]:
    """Children of this process by pid: start time, state (Z: a zombie) and command."""
    try:
        # One system call tells that there is none, which is nearly always so.
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return {}
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name, _, fields = (process / "stat").read_text(errors="replace").rpartition(") ")
            state, parent, *others = fields.split()
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == os.getpid():
            # The state is told but is no part of what a process is: one that was there before may have ended.
            found[int(process.name)] = f"{name.partition('(')[2]}: {command or state}, started at {others[17]}"
    return found
