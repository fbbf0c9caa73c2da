"""Apps that come as assets of releases, at a stand-in for GitHub whose manners can be changed."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.engine.conftest import Listener
from tests.support.raising import Raising
from trio_update.config import Config, ServerConfig
from trio_update.demo.github.server import GitHub, SimAsset, SimRelease
from trio_update.engine.gate import MayUpdate
from trio_update.engine.manager import Manager
from trio_update.engine.opening import open_manager
from trio_update.errors import OperationFailed, Refused
from trio_update.events import Event, JobEnded, JobProgress
from trio_update.model import AppName, Outcome
from trio_update.updaters.release.kind import ExecutableConfig, ReleaseConfig, ReleaseStatus, WebConfig, ZipConfig

NAME = AppName("app")
REPO = "ada/app"
KINDS: dict[str, type[ReleaseConfig]] = {"web": WebConfig, "zip": ZipConfig, "executable": ExecutableConfig}
PROGRAM = "tool"
Files = dict[str, bytes | None]
# What a user can do.
ACTIONS: dict[str, Callable[[Manager], Awaitable[object]]] = {
    "upgrade": lambda manager: manager.upgrade("app", who="test"),
    "rollback": lambda manager: manager.rollback("app", who="test"),
    "soft": lambda manager: manager.recover("app", hard=False, who="test"),
    "hard": lambda manager: manager.recover("app", hard=True, who="test"),
}


def release_info(version: str, *, asset: str = "", owner: str = "ada", name: str = "app", **more: object) -> bytes:
    info: dict[str, object] = {"project_owner": owner, "project_name": name, "version": version}
    return json.dumps(info | ({"asset_name": asset} if asset else {}) | more).encode()


def content_of(version: str) -> dict[str, bytes]:
    """What a web or zip app consists of: some files stay the same, some come and go."""
    number = version.strip("v").split(".")[0]
    return {
        "release_info.json": release_info(version),
        "index.html": f"<!doctype html><title>{version}</title>".encode() + b"<p>text</p>" * 200,
        f"assets/index-{number}.js": f"console.log('{version}')\n".encode() * 300,
        f"assets/only-{number}.css": b"body {}\n",
        "assets/same.svg": b"<svg/>\n",
        "config.json": b'{"release": "default"}\n',
        "run.sh": f"#!/bin/sh\necho {version}\n".encode(),
    }


def make_zip(files: dict[str, bytes], programs: tuple[str, ...] = ("run.sh",)) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6))
            entry.external_attr = (0o100755 if name in programs else 0o100644) << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def program_of(version: str) -> bytes:
    return f"#!/bin/sh\necho {version}\n".encode()


def write_files(folder: Path, files: Files) -> None:
    for name, content in files.items():
        path = folder / name
        if content is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755 if name in {"run.sh", PROGRAM} else 0o644)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file's content; links as what they say."""
    return {
        str(path.relative_to(folder)): str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def photo(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything below ``folder`` bit for bit: what it is, whose, which inode, from when, and what is in it."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        seen = path.lstat()
        marks: tuple[object, ...] = (seen.st_mode, seen.st_uid, seen.st_gid, seen.st_ino, seen.st_nlink)
        if stat.S_ISREG(seen.st_mode):
            marks = (*marks, seen.st_mtime_ns, path.read_bytes())
        elif stat.S_ISLNK(seen.st_mode):
            marks = (*marks, path.readlink())
        found[str(path.relative_to(folder))] = marks
    return found


@dataclass
class ReleaseSite:
    """One app of one kind, installed as somebody else would have done it, and its releases."""

    folder: Path
    github: GitHub
    kind: str
    name: AppName = NAME
    versions: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.folder / "apps" / self.name

    @property
    def data_path(self) -> Path:
        return self.folder / "data"

    @property
    def shelf(self) -> Path:
        return (
            self.path / ".trio-update" if self.kind == "executable" else self.path.parent / f".{self.name}.trio-update"
        )

    def files_of(self, version: str) -> dict[str, bytes]:
        if self.kind == "executable":
            return {PROGRAM: program_of(version), "release_info.json": release_info(version, asset=PROGRAM)}
        return content_of(version)

    def asset_of(self, version: str) -> SimAsset:
        if self.kind == "executable":
            return SimAsset(name=PROGRAM, content=program_of(version), content_type="application/octet-stream")
        return SimAsset(name=f"{self.name}.zip", content=make_zip(content_of(version)))

    def publish(self, version: str, *assets: SimAsset, repo: str = REPO, **options: Any) -> SimRelease:
        release = SimRelease(tag=version, assets=list(assets) or [self.asset_of(version)], **options)
        self.github.add(repo, release)
        return release

    def forget(self, version: str) -> None:
        """Take a release back, so that what it brought cannot be had any more."""
        releases = self.github.repos[REPO].releases
        releases[:] = [release for release in releases if release.tag != version]

    def install(self, version: str) -> None:
        write_files(self.path, dict(self.files_of(version)))

    def config(self, **options: Any) -> ReleaseConfig:
        values: dict[str, Any] = {"name": self.name, "path": self.path, "repo": REPO}
        return KINDS[self.kind](**(values | options))

    @asynccontextmanager
    async def manager(
        self,
        *,
        server: dict[str, Any] | None = None,
        refresh: bool = True,
        may_update: MayUpdate | None = None,
        **options: Any,
    ) -> AsyncIterator[tuple[Manager, Listener]]:
        """A manager that has refreshed once, and what it says from then on."""
        urls = {"github_api_url": self.github.api_url, "github_url": self.github.web_url}
        config = Config(
            source=self.folder / "moonraker.conf",
            apps=(self.config(**options),),
            server=ServerConfig(**(urls | (server or {}))),
        )
        send, receive = trio.open_memory_channel[Event](1000)
        async with open_manager(config, data_path=self.data_path, may_update=may_update) as manager:
            await manager.wait_ready()
            if refresh:
                await manager.refresh(None)
            with manager.hub.attach(send):
                yield Raising(manager), Listener(receive)

    def expect(self, version: str, extra: dict[str, bytes] | None = None) -> None:
        """The app is this version, every file of it and nothing else but ``extra``; nothing is left of a job."""
        found = {name: data for name, data in tree(self.path).items() if not name.startswith(".trio-update/")}
        wanted = {**self.files_of(version), **(extra or {})}
        info, said = (json.loads(content.pop("release_info.json")) for content in (wanted, found))
        assert found == wanted
        assert info == said
        program = self.path / (PROGRAM if self.kind == "executable" else "run.sh")
        assert program.stat().st_mode & 0o777 == 0o755
        self.expect_tidy()

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """What happens meanwhile changes nothing in the app's folder, and leaves nothing beside it."""
        before = photo(self.folder / "apps")
        yield
        assert photo(self.folder / "apps") == before
        self.expect_tidy()
        outside = {path.name for path in self.folder.iterdir()}
        assert outside == {"apps", "data"}, "something was written elsewhere"

    async def expect_failure(self, manager: Manager, *words: str, recover: bool = False) -> str:
        """An upgrade (or a recovery) changes nothing, is on record, and its message has the ``words``."""
        with self.untouched(), pytest.raises((OperationFailed, Refused)) as caught:
            await (manager.recover("app", hard=False, who="test") if recover else manager.upgrade("app", who="test"))
        message = str(caught.value)
        for word in words:
            assert word in message, message
        newest = (await manager.history("app"))[0]
        assert (newest.outcome, newest.message) == (Outcome.FAILED, message)
        assert newest.apps[0].to_version == ""
        assert newest.proc_id == manager.job().proc_id
        return message

    def saved(self) -> dict[str, bytes]:
        """Everything that was saved aside, by its path below the folder of the job."""
        found: dict[str, bytes] = {}
        for folder in sorted((self.data_path / "trio_update" / "saved").glob("*")):
            found |= tree(folder)
        return found

    def expect_tidy(self) -> None:
        stages = list(self.folder.rglob(".*.trio-update.*"))
        assert not stages, stages
        assert not list((self.data_path / "trio_update" / "journal").glob("*"))


def behind(folder: Path, github: GitHub, kind: str) -> ReleaseSite:
    """An app that somebody else installed, one release behind."""
    site = ReleaseSite(folder, github, kind)
    site.install("v1.0.0")
    site.publish("v1.0.0")
    site.publish("v2.0.0", title="The second", notes="Better.")
    return site


def said(listener: Listener) -> str:
    """All messages that came since it was asked last, a line each."""
    return "\n".join(event.line.message for event in listener.drain() if isinstance(event, JobProgress | JobEnded))


def status_of(manager: Manager, name: AppName = NAME) -> ReleaseStatus:
    status = manager.status().version_info[name]
    assert isinstance(status, ReleaseStatus)
    return status
