"""A process that refreshes apps through the manager, or runs the bare git commands instead, and says what that took.

Run as ``python -m bench.worker CONFIG DATA``.  It reads ``{"refresh": NAME or null}`` or ``{"bare": null}`` a line.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from trio_update import load_config
from trio_update.engine.manager import Manager
from trio_update.engine.opening import open_manager
from trio_update.host.git.command import git_environment
from trio_update.model import Channel
from trio_update.updaters.git.kind import GitRepoConfig

_SAFETY = (
    *("core.fsmonitor=false", "core.hooksPath=/dev/null", "core.quotePath=false", "protocol.ext.allow=never"),
    *("log.showSignature=false", "gc.auto=0", "maintenance.auto=false"),
)
_SAFE_FETCH = ("core.fsync=all", "core.fsyncMethod=batch", "http.lowSpeedLimit=1", "http.lowSpeedTime=60")
_TAG_FORMAT = "--format=%(refname) %(objectname) %(*objectname)"
_LOG_FORMAT = "--format=%x1e%H%x00%an%x00%ct%x00%D%x00%s%x00%b"


class Bare:
    """The commands that any implementation needs to tell the same of a clone, one after another, read by nobody.

    Which ones depends on the clone: a log only where it is behind, tags only where a channel asks for them.  Targets
    are given, although a real implementation has to find them out first.
    """

    def __init__(self, app: GitRepoConfig) -> None:
        self._path = app.path
        laid_over: dict[str, str | None] = {**os.environ, **git_environment(app.path)}
        self._environment = {key: value for key, value in laid_over.items() if value is not None}
        self._tagged = app.channel is not Channel.DEV
        self._head = self._run("rev-parse", "HEAD").decode().strip()
        self._target = self._run("rev-parse", "v1.1.0^{commit}" if self._tagged else "origin/master").decode().strip()

    def refresh(self) -> None:
        self._run("fetch", "--progress", "--force", "--prune", "origin", options=_SAFE_FETCH)
        self._run("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--no-renames")
        if self._tagged:
            reach = ("--merged=origin/master", "--contains=HEAD", "--sort=-creatordate", "--count=100")
            self._run("for-each-ref", *reach, _TAG_FORMAT, "refs/tags")
        if self._target != self._head:
            self._run("log", _LOG_FORMAT, "--decorate=full", f"{self._head}..{self._target}")
        ends = dict.fromkeys((self._head, self._target))
        self._run("describe", "--always", "--tags", "--long", "--abbrev=8", *ends)

    def _run(self, *arguments: str, options: tuple[str, ...] = ()) -> bytes:
        settings = [part for setting in (*_SAFETY, *options) for part in ("-c", setting)]
        argv = ["git", *settings, *arguments]
        return subprocess.run(argv, cwd=self._path, env=self._environment, capture_output=True, check=True).stdout


@dataclass(frozen=True)
class _Cost:
    """Where the clocks stood: wall time, and CPU of this process and of its children that have ended."""

    wall: float
    cpu: float

    @staticmethod
    def now() -> _Cost:
        usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
        return _Cost(time.time(), sum(usage.ru_utime + usage.ru_stime for usage in usages))


async def _work(manager: Manager, bare: list[Bare], question: dict[str, Any]) -> dict[str, float]:
    before = _Cost.now()
    if "bare" in question:
        for app in bare:
            app.refresh()
    else:
        await manager.refresh(question["refresh"])
    after = _Cost.now()
    return {"began": before.wall, "ended": after.wall, "wall": after.wall - before.wall, "cpu": after.cpu - before.cpu}


async def main(config_path: Path, data: Path) -> None:
    config = load_config(config_path)
    async with open_manager(config, data_path=data) as manager:
        await manager.wait_ready()
        # The first refresh after a start reads what later ones remember; it also waits for the start's own.
        await manager.refresh(None)
        bare = [Bare(app) for app in config.apps if isinstance(app, GitRepoConfig)]
        print(json.dumps("ready"), flush=True)
        stdin = trio.lowlevel.FdStream(sys.stdin.fileno())
        # A question a line, and none before the former one is answered: what comes is always one whole line.
        while line := await stdin.receive_some(4096):
            print(json.dumps(await _work(manager, bare, json.loads(line))), flush=True)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), Path(sys.argv[2]))
