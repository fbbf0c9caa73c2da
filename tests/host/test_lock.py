"""One manager for each DATA_PATH, told by a lock that ends with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trio_update.errors import DataPathHeld, FileTrouble
from trio_update.host.lock import InstanceLock
from trio_update.host.processes.runner import become_subreaper


def lock_path(tmp_path: Path) -> Path:
    (tmp_path / "data" / "database").mkdir(parents=True)
    return tmp_path / "data" / "database" / "lock"


def test_a_second_instance_is_told_who_is_there(tmp_path: Path) -> None:
    path = lock_path(tmp_path)
    with InstanceLock(path):
        with (
            pytest.raises(DataPathHeld, match=rf"{tmp_path}/data is in use .*process {os.getpid()}\)"),
            InstanceLock(path),
        ):
            pass
        with pytest.raises(DataPathHeld), InstanceLock(path):
            pass
    assert path.read_bytes() == b""
    with InstanceLock(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_lock_ends_with_its_process_and_not_with_its_commands(tmp_path: Path) -> None:
    become_subreaper()
    path = lock_path(tmp_path)
    script = (
        "import subprocess, sys; from pathlib import Path; from trio_update.host.lock import InstanceLock\n"
        "with InstanceLock(Path(sys.argv[1])):\n"
        "    child = subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL)\n"
        "    print(child.pid, flush=True); child.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            with pytest.raises(DataPathHeld, match=f"process {holder.pid}"), InstanceLock(path):
                pass
            holder.kill()
            holder.wait()
            with InstanceLock(path):
                os.kill(child, 0)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_a_lock_that_cannot_be_made_is_no_second_instance(tmp_path: Path) -> None:
    with pytest.raises(FileTrouble, match="missing"), InstanceLock(tmp_path / "missing" / "lock"):
        pass
