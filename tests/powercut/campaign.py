"""Cut the power behind every call of an operation, and judge what is left."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.crash.project import make_project
from tests.crash.release_files import OLDEST
from tests.crash.servers import Server, Zygote
from tests.powercut.apps import App, GitApp, Operation, ReleaseApp, environment_of
from tests.powercut.disk import Disk, copy_image, mounted
from tests.powercut.stops import stopping
from tests.powercut.verdict import Cut, Kind, Verdict, judge
from trio_update.demo.github.server import GitHub, serve_github

_UNLIMITED = 1_000_000


@dataclass
class Tally:
    operation: str
    stops: int = 0
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def faulty(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.faults]

    @property
    def spoiled(self) -> list[Verdict]:
        """Those that left neither version."""
        return [verdict for verdict in self.verdicts if verdict.kinds & {Kind.MIXED, Kind.EMPTY}]

    def __str__(self) -> str:
        versions = Counter(verdict.version or "neither" for verdict in self.verdicts)
        told = ", ".join(f"{count} {version}" for version, count in sorted(versions.items()))
        return (
            f"{self.operation}: {len(self.verdicts)} cuts at {self.stops} calls ({told}), "
            f"{len(self.faulty)} with faults, {len(self.spoiled)} with a mixture or files of length zero"
        )


@dataclass(frozen=True)
class Campaign:
    """One operation on one disk.  ``tell`` hears each verdict."""

    app: App
    zygote: Zygote
    tell: Callable[[Verdict], None]

    async def run(self, cuts: int | None, *, without_syncfs: bool) -> Tally:
        """``cuts``: at most so many, evenly from beginning to end; ``None``: all there are."""
        await self._make_scene()
        taken: list[tuple[Cut, Path]] = []
        for committed in (False, True):
            taken += await self._record(committed, without_syncfs)
        tally = Tally(self.app.operation.name, max(cut.number for cut, _ in taken))
        for cut, image in _evenly(taken, cuts):
            verdict = await self._judge(cut, image)
            tally.verdicts.append(verdict)
            self.tell(verdict)
        return tally

    async def _make_scene(self) -> None:
        disk, operation = self.app.disk, self.app.operation
        await trio.to_thread.run_sync(disk.make)
        async with mounted(disk, disk.image):
            self.app.install()
            async with self._server() as server:
                await self._ask(server, "refresh?name=app")
                if operation.old != OLDEST:
                    self.app.publish(operation.old)
                    await self._ask(server, "upgrade?name=app")
                assert await server.stop() == "0", server.log
            assert not self.app.wrong(operation.old), self.app.wrong(operation.old)
        self.app.publish(operation.newest)
        os.replace(disk.image, self._scene)

    async def _record(self, committed: bool, without_syncfs: bool) -> list[tuple[Cut, Path]]:
        """Let the operation happen once, and copy the disk behind each call."""
        disk, taken = self.app.disk, list[tuple[Cut, Path]]()

        def take(behind: str, told: bool = False) -> None:
            if committed:
                disk.commit()
            cut = Cut(len(taken), behind, committed, told)
            image = disk.root / f"{'committed' if committed else 'plain'}-{cut.number}.ext4"
            disk.photograph(image)
            taken.append((cut, image))

        copy_image(self._scene, disk.image)
        async with mounted(disk, disk.image), self._server() as server:
            await self._ask(server, "refresh?name=app")
            await server.ask("history", "GET")  # behind whatever the database was doing
            take("nothing")
            async with stopping(server, take, without_syncfs=without_syncfs):
                await self._ask(server, self.app.operation.request)
                # The job is over; what would be written a moment later is not there yet.
                await trio.sleep(0.1)
                take("the answer", told=True)
            assert not self.app.wrong(self.app.operation.new), "the operation itself went wrong"
        return taken

    async def _judge(self, cut: Cut, image: Path) -> Verdict:
        try:
            async with mounted(self.app.disk, image):
                return await judge(self.app, self.zygote, cut)
        finally:
            image.unlink()

    @property
    def _scene(self) -> Path:
        return self.app.disk.root / "scene.ext4"

    @asynccontextmanager
    async def _server(self) -> AsyncIterator[Server]:
        async with self.zygote.server(self.app.disk, environment_of(self.app.disk)) as server:
            await server.listening()
            yield server

    @staticmethod
    async def _ask(server: Server, request: str) -> None:
        answer = await server.when_ready(request)
        assert answer.code == 200, f"{request}: {answer.text} {server.log}"


def _evenly(taken: list[tuple[Cut, Path]], cuts: int | None) -> list[tuple[Cut, Path]]:
    """The first and the last are among them, if there are to be more than one."""
    if cuts is None or cuts >= len(taken):
        return taken
    last = len(taken) - 1
    return [taken[last * number // max(cuts - 1, 1)] for number in range(cuts)]


@asynccontextmanager
async def open_app(folder: Path, operation: Operation) -> AsyncIterator[App]:
    """What ``operation`` updates, on a disk of its own below ``folder``; its releases can be had meanwhile."""
    folder.mkdir()
    disk = Disk(folder, bound=operation.bound)
    if operation.kind == "git_repo":
        yield GitApp(disk, operation, await trio.to_thread.run_sync(make_project, folder))
        return
    async with trio.open_nursery() as nursery:
        github = GitHub(limit_anonymous=_UNLIMITED)
        await nursery.start(serve_github, github)
        yield ReleaseApp(disk, operation, github)
        nursery.cancel_scope.cancel()
