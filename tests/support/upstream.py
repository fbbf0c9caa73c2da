"""A project on a remote, and clones of it, made with real git."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.raising import Raising
from trio_update.config import Config
from trio_update.engine.manager import Manager
from trio_update.engine.opening import open_manager
from trio_update.model import AppName
from trio_update.updaters.git.kind import GitRepoConfig, GitStatus

NAME = AppName("app")
_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}


def git(cwd: Path, *arguments: str, check: bool = True, environ: dict[str, str] | None = None) -> str:
    """Run git and return what it says."""
    done = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *arguments],
        cwd=cwd,
        env=os.environ | _ENVIRONMENT | (environ or {}),
        check=check,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.stdout.strip()


@dataclass
class Upstream:
    """A repository with a work tree, whose commits are numbered; ``clock`` makes their dates differ."""

    path: Path
    branch: str = "master"
    number: int = 0
    clock: int = field(default=1_700_000_000)

    def __post_init__(self) -> None:
        self.path.mkdir()
        git(self.path, "init", "-q", "-b", self.branch)

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    @property
    def head(self) -> str:
        return git(self.path, "rev-parse", "HEAD")

    def commit(self, files: dict[str, str | None] | None = None, *, tag: str | None = None, light: bool = False) -> str:
        """One more commit: it changes ``main.py``, and ``files`` (``None``: deleted)."""
        self.number += 1
        self.clock += 60
        for name, content in {"main.py": f"version = {self.number}\n", **(files or {})}.items():
            target = self.path / name
            if content is None:
                target.unlink()
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(content)
        dates = {"GIT_AUTHOR_DATE": f"{self.clock} +0000", "GIT_COMMITTER_DATE": f"{self.clock} +0000"}
        git(self.path, "add", "-A", environ=dates)
        git(self.path, "commit", "-qm", f"change {self.number}\n\nWhy {self.number}.", environ=dates)
        if tag is not None:
            git(self.path, "tag", *([] if light else ["-a", "-m", tag]), tag, environ=dates)
        return self.head

    def commits(self, count: int) -> str:
        for _ in range(count):
            self.commit()
        return self.head

    def clone(self, target: Path, *arguments: str) -> Path:
        git(self.path.parent, "clone", "-q", *arguments, self.url, str(target))
        return target


@dataclass
class Bench:
    """One upstream, one clone of it, and how a manager is opened on it."""

    folder: Path
    upstream: Upstream
    path: Path

    @property
    def data_path(self) -> Path:
        return self.folder / "data"

    def config(self, **options: Any) -> GitRepoConfig:
        values: dict[str, Any] = {"name": NAME, "path": self.path, "origin": self.upstream.url}
        return GitRepoConfig(**(values | options))

    @asynccontextmanager
    async def manager(self, *, debug: bool = False, **options: Any) -> AsyncIterator[Manager]:
        config = Config(source=self.folder / "moonraker.conf", apps=(self.config(**options),))
        async with open_manager(config, data_path=self.data_path, debug=debug) as manager:
            yield Raising(manager)

    def git(self, *arguments: str, check: bool = True) -> str:
        return git(self.path, *arguments, check=check)

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def expect_whole(self, commit: str) -> None:
        """Every tracked file is what the commit says, compared by content and not by git's index of the clone."""
        assert self.head == commit
        listed = git(self.upstream.path, "ls-tree", "-r", commit)
        for line in listed.splitlines():
            (mode, kind, oid), name = line.split("\t")[0].split(), line.split("\t")[1]
            if kind == "blob" and mode != "120000":
                assert git(self.upstream.path, "hash-object", "--no-filters", str(self.path / name)) == oid, name
        assert self.git("status", "--porcelain", "--untracked-files=no") == ""
        assert not list((self.path / ".git").rglob("*.lock"))

    def expect_tidy(self) -> None:
        """Nothing is left of a job beside the clone, nor in the journal."""
        assert not list(self.folder.glob(".*trio-update*"))
        assert not list((self.data_path / "trio_update" / "journal").glob("*"))


def reap_inherited() -> None:
    """Take in what a killed server left and its successor ended: this process may be a subreaper, and inherits it."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def status_of(manager: Manager) -> GitStatus:
    status = manager.status().version_info[NAME]
    assert isinstance(status, GitStatus)
    return status
