"""What it costs to have the server running: start, memory, idle CPU, and a notification to a hundred clients."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, sleep

from bench.load import Client, clients, frame
from bench.report import Figure, median_figure
from bench.scene import APPS, environment, mixed_scene
from bench.server import Server, activity, pss_mib, rss_mib, serving, settle

_GROUP = "footprint"
_IMPORTS = "import trio, hypercorn, quart_trio"
_SHOW_RSS = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))"
_SOCKETS = 100
_REFUSED_CALL = {"jsonrpc": "2.0", "method": "machine.update.upgrade", "params": {"name": "no-such-app"}, "id": 2}


def measure(*, quick: bool) -> Iterator[Figure]:
    """All figures of this module; none has a limit."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        scene = mixed_scene(Path(folder))
        scene.configure(max_websocket_connections=_SOCKETS + 10)
        with serving(scene) as server:
            # The first start ever asks all remotes; those that are measured find their state in the database.
            settle(server.port)
        starts, imports = [], []
        for _ in range(3 if quick else 9):
            with serving(scene) as server:
                starts.append(server.seconds_to_answer * 1000)
            imports.append(_import_stack())
        times, sizes = zip(*imports, strict=True)
        beside = f'python -c "{_IMPORTS}"'
        yield median_figure(_GROUP, f"start until the first answer, {APPS} apps", starts, "ms")
        yield median_figure(_GROUP, f"time of {beside}", times, "ms")
        with serving(scene) as server:
            settle(server.port)
            yield Figure(_GROUP, f"RSS of {beside}", statistics.median(sizes), "MiB")
            yield from _idle(server, 5 if quick else 30)
            yield from _notify(server, 5 if quick else 20)


def _import_stack() -> tuple[float, float]:
    """Milliseconds and MiB of a Python that has imported the stack and nothing else."""
    began = perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", f"{_IMPORTS}; {_SHOW_RSS}"], env=environment(), check=True, stdout=subprocess.PIPE
    )
    return (perf_counter() - began) * 1000, int(done.stdout) / 1024


def _idle(server: Server, seconds: float) -> Iterator[Figure]:
    sleep(5)
    yield Figure(_GROUP, "idle: proportional set size (PSS)", pss_mib(server.pid), "MiB")
    yield Figure(_GROUP, "idle: resident set size (RSS)", rss_mib(server.pid), "MiB")
    # Trio keeps its idle threads for ten seconds; after that the process has come to rest.
    sleep(6)
    since = activity(server.pid)
    sleep(seconds)
    idle = since()
    note = f"in {seconds:g} s, no client connected"
    yield Figure(_GROUP, "idle: times that a thread was woken", idle.wake_ups, note=note)
    yield Figure(_GROUP, "idle: CPU", idle.cpu * 1000, "ms", note=note)


def _notify(server: Server, rounds: int) -> Iterator[Figure]:
    """An upgrade that is refused at once makes the server notify everyone: two lines of the job, then the status."""
    lines, statuses = [], []
    size = 0
    with clients(server.port, 1, websocket=True) as (asker,), clients(server.port, _SOCKETS, websocket=True) as all_:
        call = frame(json.dumps(_REFUSED_CALL).encode())
        for _ in range(rounds):
            began = perf_counter()
            asker.socket.sendall(call)
            for client in all_:
                client.message()
            lines.append((perf_counter() - began) * 1000)
            size = max(_rest(client) for client in all_)
            statuses.append((perf_counter() - began) * 1000)
            for _ in range(4):  # its own three, and the refusal
                asker.message()
    name = f"a notification to {_SOCKETS} sockets, until the last has it"
    yield median_figure(_GROUP, f"{name}: a job's line", lines, "ms", note="the first of three that are sent at once")
    yield median_figure(_GROUP, f"{name}: the status", statuses, "ms", note=f"{size / 1000:.0f} kB for each socket")


def _rest(client: Client) -> int:
    """Take the completing line and the status; the status's size."""
    client.message()
    return client.message()[0]
