"""Do one thing to the clone below a folder in a process of its own, by somebody who may not write everywhere.

Run as ``python -m tests.support.git_once FOLDER ACTION``: ``upgrade``, ``unhealthy`` (an upgrade whose health check
fails), ``rollback``, ``soft``, ``hard``, or ``settle:OLD:NEW`` (what a start does with an upgrade that was killed).
Prints what was said and whether the app is valid afterwards as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import trio

from tests.support.tools import plain_tools
from tests.support.upstream import NAME, Bench, Upstream, status_of
from trio_update.config import HealthCheck
from trio_update.engine.manager import Manager
from trio_update.errors import OperationFailed, Refused
from trio_update.updaters.git.effects import MoveHead


async def settle(bench: Bench, old: str, new: str) -> None:
    effect = MoveHead(path=str(bench.path), branch="master", old=old, new=new)
    await effect.settle(plain_tools(), print)


async def act(manager: Manager, action: str) -> None:
    match action:
        case "upgrade" | "unhealthy":
            await manager.upgrade(NAME, who="test")
        case "rollback":
            await manager.rollback(NAME, version="v0.1.0", who="test")
        case "soft" | "hard":
            await manager.recover(NAME, hard=action == "hard", who="test")


async def main(folder: Path, action: str) -> None:
    upstream = Upstream.__new__(Upstream)
    upstream.path = folder / "upstream"
    bench = Bench(folder, upstream, folder / "app")
    said = ""
    if action.startswith("settle:"):
        await settle(bench, *action.split(":")[1:])
        return
    options: dict[str, Any] = {"health": HealthCheck(command=("false",))} if action == "unhealthy" else {}
    async with bench.manager(**options) as manager:
        await manager.wait_ready()
        try:
            await act(manager, action)
        except (OperationFailed, Refused) as failed:
            said = str(failed)
        await manager.refresh(NAME)
        print(json.dumps({"said": said, "valid": status_of(manager).is_valid}))


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2])
