"""A manager of release apps in a process of its own.

Run as ``python -m bench.release_worker CONFIG DATA``.  Takes ``{"refresh": NAME or null}`` or ``{"upgrade": NAME}`` a
line, and answers with the seconds of wall clock and of CPU that it took.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import trio

from trio_update import load_config
from trio_update.engine.manager import Manager
from trio_update.engine.opening import open_manager


async def _work(manager: Manager, question: dict[str, Any]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    if "upgrade" in question:
        await manager.upgrade(question["upgrade"], who="bench")
    else:
        await manager.refresh(question["refresh"])
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


async def main(config: Path, data: Path) -> None:
    async with open_manager(load_config(config), data_path=data) as manager:
        await manager.wait_ready()
        # Whatever is imported late, and the start's own refresh, is over then.
        await manager.refresh(None)
        print(json.dumps("ready"), flush=True)
        stdin = trio.lowlevel.FdStream(sys.stdin.fileno())
        # A question a line, and none before the former one is answered: what comes is always one whole line.
        while line := await stdin.receive_some(4096):
            print(json.dumps(await _work(manager, json.loads(line))), flush=True)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), Path(sys.argv[2]))
