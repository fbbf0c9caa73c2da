"""The playground as a process of its own, and the command line that is asked about it."""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from tests.support.cli import Ended, Running, piped_cli, run_cli


@dataclass
class Playground:
    """A running one; ``temporary`` is where it may put things."""

    running: Running
    temporary: Path

    @property
    def url(self) -> str:
        found = re.search(r"The playground is at (http://127\.0\.0\.1:\d+)\n", self.running.output)
        assert found is not None
        return found[1]

    @property
    def folder(self) -> Path:
        (folder,) = self.temporary.iterdir()
        return folder

    @property
    def apps(self) -> Path:
        return self.folder / "apps"

    async def cli(self, *arguments: str) -> Ended:
        return await run_cli(*arguments, "--url", self.url)

    async def refreshed(self) -> dict[str, Any]:
        """The apps' status, once each remote has answered."""
        with trio.fail_after(30):
            while True:
                apps: dict[str, Any] = (await self.cli("status", "--json")).document["version_info"]
                if all(app["refreshed_at"] is not None for app in apps.values()):
                    return apps
                # Each look is a process; another program's status is no event.
                await trio.sleep(0.1)

    async def stop(self, number: signal.Signals) -> None:
        """It ends well, and nothing is left."""
        self.running.signal(number)
        assert await self.running.process.wait() == 0
        assert list(self.temporary.iterdir()) == []
        await self.running.drained.wait()
        assert "Traceback" not in self.running.output


@asynccontextmanager
async def started(temporary: Path, *arguments: str, **variables: str) -> AsyncIterator[Playground]:
    async with piped_cli("demo", *arguments, env={"TMPDIR": str(temporary), **variables}) as running:
        yield Playground(running, temporary)


@asynccontextmanager
async def playground(temporary: Path, *arguments: str, **variables: str) -> AsyncIterator[Playground]:
    async with started(temporary, *arguments, **variables) as it:
        await it.running.until("Ctrl-C ends it.")
        yield it
