"""Refreshes: how long beside the slowest single app, how many processes, how much CPU beside bare git."""

from __future__ import annotations

import re
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.report import Figure, Limit, median_figure
from bench.scene import APPS, Helper, Scene, clone_all, helper, make_upstreams, mixed_scene
from trio_update.config.values import ServerConfig
from trio_update.demo import repos

_GROUP = "refresh"
_LATENCY = 0.1
_DEFAULT_SLOTS = ServerConfig().max_concurrent_refreshes


def measure(*, quick: bool) -> Iterator[Figure]:
    """All figures of this module."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield from _far_remotes(Path(folder), rounds=3 if quick else 9)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield from _local_remotes(Path(folder), rounds=4 if quick else 16)


def _far_remotes(root: Path, rounds: int) -> Iterator[Figure]:
    upstreams = make_upstreams(root / "upstreams")
    with helper("bench.remote", str(root / "upstreams"), str(_LATENCY)) as remote:
        port = remote.hear()
        scene = clone_all(
            root,
            upstreams,
            # Half of each: a clone on dev is current, and one on stable looks at its tags.
            channel=lambda number: "stable" if number % 2 else "dev",
            behind=lambda _: 0,
            url=lambda upstream: f"http://127.0.0.1:{port}/{upstream.path.name}",
        )
        for slots, limit in ((APPS, Limit("at most", 1.5)), (_DEFAULT_SLOTS, None)):
            yield _wall(scene, slots, rounds, limit)
        yield from _processes(scene, remote)


def _wall(scene: Scene, slots: int, rounds: int, limit: Limit | None) -> Figure:
    scene.configure(max_concurrent_refreshes=slots)
    ratios, walls = [], []
    with helper("bench.worker", str(scene.config), str(scene.data)) as worker:
        worker.hear()
        for _ in range(rounds):
            together = worker.ask({"refresh": None})["wall"]
            slowest = max(worker.ask({"refresh": app.name})["wall"] for app in scene.apps)
            walls.append(together)
            ratios.append(together / slowest)
    name = f"{APPS} apps, remotes {_LATENCY * 1000:.0f} ms away, max_concurrent_refreshes {slots}: wall, × slowest app"
    note = f"{statistics.median(walls) * 1000:.0f} ms together"
    if slots < APPS:
        note += f"; {-(-APPS // slots)} rounds of latency, so at least {-(-APPS // slots)} ×"
    return median_figure(_GROUP, name, ratios, "×", limit, note)


def _processes(scene: Scene, remote: Helper) -> Iterator[Figure]:
    """Count the processes of one app's refresh for each case.

    strace follows every descendant and writes a file for each thread, in which every call stands whole on a line.
    A process is a clone, fork or vfork that succeeded and did not make a thread; the worker's own clock readings
    before and after the refresh say which belong to it.  The remote is another process, and not traced.
    """
    limit = Limit("at most", 7)
    if shutil.which("strace") is None:
        yield Figure(_GROUP, "processes an app", None, limit=limit, note="strace is not installed")
        return
    scene.configure()
    traces = scene.root / "traces"
    traces.mkdir()
    wrapper = ("strace", "-ff", "-qq", "-ttt", "--trace=clone,clone3,fork,vfork", f"--output={traces}/trace")
    with helper("bench.worker", str(scene.config), str(scene.data), wrapper=wrapper) as worker:
        worker.hear()
        windows = [(f"nothing new, {app.channel}", worker.ask({"refresh": app.name})) for app in scene.apps]
        for app in scene.apps:
            stable = app.channel == "stable"
            tags = (repos.Tag("v2.0.0", repos.STANDARD_COMMITS + 3),) if stable else ()
            repos.add_commits(app.upstream, 3, tags=tags)
        remote.ask("forget")
        for app in scene.apps:
            case = "a new tag" if app.channel == "stable" else "new commits"
            windows.append((f"{case}, {app.channel}", worker.ask({"refresh": app.name})))
    spawned = _read_traces(traces)
    for case in dict.fromkeys(case for case, _ in windows):
        # No average: the limit is for each app.
        most = max(_count(spawned, window) for name, window in windows if name == case)
        yield Figure(_GROUP, f"processes an app: {case}", most, limit=limit, note="those that git starts included")


def _count(spawned: list[float], window: dict[str, float]) -> int:
    """Processes that were started within the window."""
    return sum(window["began"] <= moment <= window["ended"] for moment in spawned)


_CALL = re.compile(r"(?P<moment>\d+\.\d+) (?:clone3?|v?fork)\((?P<arguments>.*)\) += \d+$")


def _read_traces(folder: Path) -> list[float]:
    """When processes were started; threads are none."""
    return [
        float(call["moment"])
        for file in folder.iterdir()
        for call in filter(None, map(_CALL.match, file.read_text(errors="replace").splitlines()))
        if "CLONE_THREAD" not in call["arguments"]
    ]


def _local_remotes(root: Path, rounds: int) -> Iterator[Figure]:
    scene = mixed_scene(root)
    scene.configure()
    ratios, ours = [], []
    with helper("bench.worker", str(scene.config), str(scene.data)) as worker:
        worker.hear()
        worker.ask({"bare": None})
        for number in range(rounds):
            # In turn first and second: what the other workload leaves in the caches must not favour one side.
            order = ({"refresh": None}, {"bare": None})[:: -1 if number % 2 else 1]
            costs = {next(iter(question)): worker.ask(question)["cpu"] for question in order}
            ratios.append(costs["refresh"] / costs["bare"])
            ours.append(costs["refresh"])
    yield median_figure(
        _GROUP,
        f"{APPS} local apps: CPU, × bare git commands",
        ratios,
        "×",
        Limit("at most", 1.5),
        f"{statistics.median(ours) / APPS * 1000:.1f} ms an app, git included",
    )
