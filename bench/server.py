"""The real server, as users start it, in a process of its own; and what the kernel says of a process."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

from bench.load import Client
from bench.scene import Scene, environment


@dataclass(frozen=True)
class Server:
    """A running server, and the seconds from its start to its first answer."""

    pid: int
    port: int
    seconds_to_answer: float


@contextmanager
def serving(scene: Scene) -> Iterator[Server]:
    """Run ``trio-update serve`` on a scene whose configuration has been written; gone when the context ends."""
    port = _free_port()
    argv = [sys.executable, "-m", "trio_update", "serve", "--port", str(port)]
    argv += ["-c", str(scene.config), "-d", str(scene.data)]
    began = perf_counter()
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment())
    assert process.stderr is not None
    try:
        # The line that says so comes once requests are answered, so that nobody needs to try until one is.
        while b"listening on" not in (line := process.stderr.readline()):
            if not line:
                raise RuntimeError(f"the server ended with status {process.wait()}")
        with closing(Client(port, websocket=False)) as client:
            client.ask()
        yield Server(process.pid, port, perf_counter() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()
            process.stderr.close()


def settle(port: int) -> None:
    """Return when every app's remote has been asked."""
    with closing(Client(port, websocket=False)) as client:
        while True:
            apps = json.loads(client.ask()[1])["result"]["version_info"].values()
            if all(app["refreshed_at"] is not None for app in apps):
                return
            sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Activity:
    """What the threads of a process have done: seconds of CPU, to the nanosecond, and how often they were woken."""

    cpu: float
    wake_ups: int


def activity(pid: int) -> Callable[[], Activity]:
    """Measure from here to the call of what this returns.

    Thread by thread, because the kernel's sums forget the threads that have ended, and Trio's end when they are idle.
    What a thread does that begins or ends in between is counted in full, or not at all.
    """
    before = _threads(pid)

    def since() -> Activity:
        spent, woken = 0, 0
        for thread, (cpu, wake_ups) in _threads(pid).items():
            cpu_before, wake_ups_before = before.get(thread, (0, 0))
            spent += cpu - cpu_before
            woken += wake_ups - wake_ups_before
        return Activity(spent / 1e9, woken)

    return since


def _threads(pid: int) -> dict[str, tuple[int, int]]:
    """Nanoseconds of CPU, and voluntary context switches, which are the times that it slept; see proc(5)."""
    return {
        task.name: (
            int(task.joinpath("schedstat").read_text().split()[0]),
            _field(task / "status", "voluntary_ctxt_switches"),
        )
        for task in Path(f"/proc/{pid}/task").iterdir()
    }


def rss_mib(pid: int) -> float:
    """Resident memory, shared libraries included."""
    return _field(Path(f"/proc/{pid}/status"), "VmRSS") / 1024


def pss_mib(pid: int) -> float:
    """Resident memory, shared pages divided by those who share them."""
    return _field(Path(f"/proc/{pid}/smaps_rollup"), "Pss") / 1024


def _field(file: Path, name: str) -> int:
    found = next(line for line in file.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(found.split()[1])
