"""Plan and upgrade the clone below a folder in a process of its own, and print both sets of reasons as JSON.

Run as ``python -m tests.support.plan_and_upgrade FOLDER``, by somebody who may not write everywhere.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import trio

from tests.support.upstream import NAME, Bench, Upstream
from trio_update.errors import Refused


async def main(folder: Path) -> None:
    upstream = Upstream.__new__(Upstream)
    upstream.path = folder / "upstream"
    bench = Bench(folder, upstream, folder / "app")
    async with bench.manager() as manager:
        await manager.wait_ready()
        await manager.refresh(NAME)
        (plan,) = await manager.plan(NAME)
        try:
            await manager.upgrade(NAME, who="test")
        except Refused as refused:
            print(json.dumps({"plan": plan.refusals, "job": str(refused)}))


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
