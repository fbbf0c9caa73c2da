"""Release apps: a large upgrade beside a shell's, readers during many upgrades, and what refreshes cost."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import msgspec

from bench.release_reader import Seen
from bench.release_site import Forge, WebApp, forge, managing, of_version, pack, pack_large, small_files
from bench.report import Figure, Limit, median_figure
from bench.scene import Helper, environment, helper

_NONE = Limit("at most", 0)
_UNLIMITED = 100_000
_GITHUBS = 60
_APPS = 20
_FILES = 300
_PIPELINE = """
set -e
curl -sSfLo asset.zip "$1"
echo "$2  asset.zip" | sha256sum -c --status
unzip -q asset.zip -d tree
sync -f tree
mv live old
mv tree live
"""

_TOOLS = ("curl", "sha256sum", "unzip", "sync")
_RATIO = Limit("at most", 1.2)
_GROWTH = Limit("at most", 16)
_SMALL, _LARGE, _SHELL = "small", "large", "shell"


def asset(*, quick: bool) -> Iterator[Figure]:
    """An upgrade to an asset of 200 MB."""
    name = "upgrade to a zip of 200 MB: whole job, × curl, sha256sum, unzip, sync -f, mv"
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        yield Figure("asset", name, None, "×", _RATIO, note=f"not installed: {', '.join(missing)}")
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, forge(limit=_UNLIMITED) as served_by:
        root = Path(folder)
        apps = [WebApp(f"app{number}", root / "apps" / f"app{number}") for number in range(3 if quick else 9)]
        for app in apps:
            files = small_files(app, "v1.0.0")
            app.install(files)
            served_by.publish(app, "v1.0.0", pack(root / f"{app.name}.zip", files))
        archive, unpacked = pack_large(root / "large.zip")
        with managing(root, served_by, apps) as worker:
            race = _Race(root, archive, served_by, worker)
            for number, app in enumerate(apps):
                race.run(app, number)
        what = f"{unpacked / 1e6:.0f} MB unpacked"
        yield from race.ratios(name, _SMALL, f"{what}; from a version of two files")
        yield from race.ratios(name, _LARGE, f"{what}; from one as large, which is kept: hashed and compared too")
        yield Figure("asset", "resident memory during the job: growth, worst", max(race.growth), "MiB", _GROWTH)


class _Race:
    """The manager and the shell in turn, and in turn one of them is first: warm caches and quiet moments help both."""

    def __init__(self, root: Path, archive: Path, served_by: Forge, worker: Helper) -> None:
        self._root = root / "round"
        self._archive = archive
        self._forge = served_by
        self._worker = worker
        self._walls: dict[str, list[float]] = {_SMALL: [], _LARGE: [], _SHELL: []}
        self.growth: list[float] = []

    def run(self, app: WebApp, number: int) -> None:
        """One round; nothing of it is left on the disk."""
        self._root.mkdir()
        order = [_SMALL, _LARGE]
        order.insert(number % 3, _SHELL)
        published = self._publish(app, "v2.0.0")
        for runner in order:
            if runner == _LARGE:
                self._publish(app, "v3.0.0")
            # What others have written is not written out at their expense.
            os.sync()
            seconds = self._shell(*published) if runner == _SHELL else self._upgrade(app)
            self._walls[runner].append(seconds)
        for folder in (self._root, *app.path.parent.iterdir()):
            if folder == self._root or app.name in folder.name.split("."):
                shutil.rmtree(folder)

    def _publish(self, app: WebApp, version: str) -> tuple[str, str]:
        return self._forge.publish(app, version, of_version(self._archive, app, version, self._root / f"{version}.zip"))

    def _upgrade(self, app: WebApp) -> float:
        Path(f"/proc/{self._worker.pid}/clear_refs").write_text("5")
        before = _peak_mib(self._worker.pid)
        seconds: float = self._worker.ask({"upgrade": app.name})["wall"]
        self.growth.append(_peak_mib(self._worker.pid) - before)
        return seconds

    def _shell(self, url: str, sha256: str) -> float:
        work = self._root / "shell"
        (work / "live").mkdir(parents=True)
        began = perf_counter()
        subprocess.run(["sh", "-c", _PIPELINE, "sh", url, sha256], cwd=work, env=environment(), check=True)
        return perf_counter() - began

    def ratios(self, name: str, runner: str, note: str) -> Iterator[Figure]:
        mine, theirs = self._walls[runner], self._walls[_SHELL]
        walls = f"{statistics.median(mine):.2f} s, the shell {statistics.median(theirs):.2f} s"
        ratios = [one / other for one, other in zip(mine, theirs, strict=True)]
        yield median_figure("asset", name, ratios, "×", _RATIO, f"{walls}; {note}")


def _peak_mib(pid: int) -> float:
    """The most resident memory since ``clear_refs`` was told 5, which makes it the present one; see proc(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def served(*, quick: bool) -> Iterator[Figure]:
    """What readers see of many upgrades."""
    upgrades = 15 if quick else 50
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, forge(limit=_UNLIMITED) as served_by:
        root = Path(folder)
        app = WebApp("app", root / "apps" / "app")
        files = small_files(app, "v0.0.0", _FILES)
        app.install(files)
        served_by.publish(app, "v0.0.0", pack(root / "v0.zip", files))
        with (
            managing(root, served_by, [app]) as worker,
            helper("bench.release_reader", "folder", str(app.path)) as inside,
            helper("bench.release_reader", "path", str(app.path)) as outside,
        ):
            seen = _passes(inside, outside)
            for number in range(1, upgrades + 1):
                version = f"v{number}.0.0"
                served_by.publish(app, version, pack(root / f"v{number}.zip", small_files(app, version, _FILES)))
                worker.ask({"upgrade": app.name})
                seen = _passes(inside, outside)
    yield from _seen("folder opened once", seen[0], upgrades)
    yield Figure(
        "served", "folder opened once: passes that were overtaken", seen[0].overtaken, limit=Limit("at least", 1)
    )
    yield from _seen("index.html by its path", seen[1], upgrades)


def _passes(*readers: Helper) -> list[Seen]:
    """What they saw.  Each of them has made a whole pass since the call, and its next one has not begun before."""
    for reader in readers:
        reader.ask(None)
    return [msgspec.convert(reader.ask(None), Seen) for reader in readers]


def _seen(reader: str, seen: Seen, upgrades: int) -> Iterator[Figure]:
    note = f"{seen.reads:,} files in {seen.passes:,} passes"
    yield Figure("served", f"{reader}: missing files", seen.missing, limit=_NONE, note=note)
    yield Figure("served", f"{reader}: files that were cut", seen.cut, limit=_NONE)
    yield Figure("served", f"{reader}: passes that saw several versions", seen.mixed, limit=_NONE)
    every = Limit("at least", upgrades + 1)
    yield Figure("served", f"{reader}: versions seen", seen.versions, limit=every, note=f"{upgrades} upgrades")


def quota(*, quick: bool) -> Iterator[Figure]:
    """Refreshes of apps of which nothing new was published, without a token."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, forge(limit=_GITHUBS) as served_by:
        root = Path(folder)
        apps = [
            WebApp(f"app{number}", root / "apps" / f"app{number}", "beta" if number % 4 == 3 else "stable")
            for number in range(_APPS)
        ]
        for app in apps:
            version = "v1.1.0-beta.1" if app.channel == "beta" else "v1.0.0"
            files = small_files(app, version)
            app.install(files)
            archive = pack(root / f"{app.name}.zip", files)
            served_by.publish(app, version, archive, prerelease=app.channel == "beta")
        with managing(root, served_by, apps) as worker:
            yield _spent("first start", served_by)
            worker.ask({"refresh": None})
            yield _spent("refresh", served_by, _NONE)
        with managing(root, served_by, apps):
            yield _spent("start with what is known, and a refresh", served_by, _NONE)


def _spent(what: str, served_by: Forge, limit: Limit | None = None) -> Figure:
    counts = served_by.count()
    note = ", ".join(f"{host} {requests}" for host, (requests, _) in counts.items())
    name = f"{what}, {_APPS} unchanged apps, no token: quota"
    return Figure("quota", name, sum(counted for _, counted in counts.values()), "", limit, note=f"requests: {note}")
