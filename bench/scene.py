"""What is measured on: twelve upstreams, their clones, a configuration; and helper processes to measure with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from trio_update.demo import repos
from trio_update.demo.git import git

APPS = 12


@dataclass(frozen=True)
class App:
    """One clone, and how it is configured."""

    name: str
    upstream: repos.Upstream
    path: Path
    channel: str


@dataclass(frozen=True)
class Scene:
    """Apps under ``root``, with a configuration that manages them."""

    root: Path
    apps: tuple[App, ...]

    @property
    def config(self) -> Path:
        return self.root / "moonraker.conf"

    @property
    def data(self) -> Path:
        return self.root / "data"

    def configure(self, **server: object) -> None:
        """Write the configuration; ``server`` are options of its ``[trio_update]`` section."""
        lines = ["[trio_update]", *(f"{option}: {value}" for option, value in server.items())]
        for app in self.apps:
            lines += [
                f"[update_manager {app.name}]",
                "type: git_repo",
                f"path: {app.path}",
                f"origin: {git('remote', 'get-url', 'origin', cwd=app.path)}",
                f"channel: {app.channel}",
                "is_system_service: False",
            ]
        self.config.write_text("\n".join(lines) + "\n")


def make_upstreams(folder: Path) -> tuple[repos.Upstream, ...]:
    """One for each app, as bare repositories ``APP.git``."""
    return tuple(repos.make_upstream(folder / f"app{number}.git") for number in range(APPS))


def clone_all(
    root: Path,
    upstreams: Sequence[repos.Upstream],
    *,
    channel: Callable[[int], str],
    behind: Callable[[int], int],
    url: Callable[[repos.Upstream], str] = lambda _: "",
) -> Scene:
    """Clone every upstream under ``root``; the functions say how, by the app's number."""
    apps = []
    for number, upstream in enumerate(upstreams):
        path = root / upstream.path.stem
        repos.clone(upstream, path, url=url(upstream), behind=behind(number))
        apps.append(App(path.name, upstream, path, channel(number)))
    return Scene(root, tuple(apps))


def mixed_scene(root: Path) -> Scene:
    """Local clones as a machine has them: a third current, a third behind on dev, a third behind a stable tag."""
    upstreams = make_upstreams(root / "upstreams")
    after_tag = repos.STANDARD_COMMITS - 15  # so many commits behind, a clone is on v1.0.0; v1.1.0 is its update
    behind = (0, repos.BEHIND, after_tag)
    return clone_all(
        root,
        upstreams,
        channel=lambda number: "stable" if number % 3 == 2 else "dev",
        behind=lambda number: behind[number % 3],
    )


class Helper:
    """A process that takes a JSON document a line, and answers each with one."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._to: IO[bytes] = process.stdin
        self._from: IO[bytes] = process.stdout

    @property
    def pid(self) -> int:
        return self._process.pid

    def hear(self) -> Any:
        """Its next answer; the first one comes by itself, when it is ready."""
        line = self._from.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with status {self._process.wait()}")
        return json.loads(line)

    def ask(self, question: object) -> Any:
        self._to.write(json.dumps(question).encode() + b"\n")
        self._to.flush()
        return self.hear()

    def end(self) -> None:
        """Close its standard input, which is what it ends at, and wait."""
        self._to.close()
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.wait()
            self._from.close()


@contextmanager
def helper(module: str, *arguments: str, wrapper: Sequence[str] = ()) -> Iterator[Helper]:
    """Run ``python -m MODULE`` and yield it; ``wrapper`` goes in front of the command (``strace …``)."""
    running = Helper(
        subprocess.Popen(
            [*wrapper, sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
        )
    )
    try:
        yield running
    finally:
        running.end()


def environment() -> dict[str, str]:
    """Nobody's git configuration, no proxy, and this package and the other one importable from anywhere."""
    root = str(Path(__file__).parent.parent)
    return os.environ | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "NO_PROXY": "*",
        "no_proxy": "*",
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
    }


def answer_lines(answer: Callable[[Any], object]) -> None:
    """The other end of :class:`Helper`, for processes that block."""
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
