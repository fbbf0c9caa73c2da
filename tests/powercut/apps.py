"""What is updated on a disk whose power is cut, and what each version of it consists of."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.crash import git_app, release_app
from tests.crash.project import USER, Project, Tree, differences, environment, expected, git, publish, put, take
from tests.crash.release_files import FORMER, MINE, NEWEST, OLDEST, VERSIONS, release
from tests.crash.release_files import publish as publish_releases
from tests.crash.release_verdict import SHELF
from tests.powercut.disk import Disk
from trio_update.demo.github.server import GitHub


@dataclass(frozen=True)
class Operation:
    """``request`` leads from ``old`` to ``new``, ``back`` the other way.

    Somebody else installed the oldest version; when ``old`` is another, the server has updated the app to it.
    ``bound``: the app's folder is a mount point, which cannot change places.
    """

    name: str
    kind: str
    old: str
    new: str
    request: str = "upgrade?name=app"
    back: str = "rollback?name=app"
    bound: bool = False

    @property
    def newest(self) -> str:
        return max(self.old, self.new)


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("web-upgrade", "web", OLDEST, FORMER),
        Operation("zip-upgrade", "zip", FORMER, NEWEST),
        Operation("executable-upgrade", "executable", OLDEST, FORMER),
        Operation("web-rollback", "web", FORMER, OLDEST, "rollback?name=app", "upgrade?name=app"),
        Operation("zip-refill", "zip", FORMER, NEWEST, bound=True),
        Operation("git-upgrade", "git_repo", OLDEST, NEWEST),
    )
}


@dataclass(frozen=True)
class ReleaseApp:
    """A web or zip app, or an executable, whose releases are at the stand-in for GitHub; those of the crash suite."""

    disk: Disk
    operation: Operation
    github: GitHub

    def install(self) -> None:
        kind = self.operation.kind
        (self.disk.run / "moonraker.conf").write_text(release_app.configuration(self.disk, kind, self.github))
        release_app.install(self.disk, kind, {})
        self.publish(OLDEST)

    def publish(self, version: str) -> None:
        publish_releases(self.github, *VERSIONS[: VERSIONS.index(version) + 1])

    def wrong(self, version: str) -> list[str]:
        """What is not as in ``version``, in words."""
        wanted = release(self.operation.kind, version) | MINE[self.operation.kind]
        return _in_words(differences(take(self.disk.app, SHELF), wanted, exact=True))

    def lost(self) -> list[str]:
        """Which of the user's files are not as they were."""
        return _not_as_in(MINE[self.operation.kind], take(self.disk.app, SHELF))

    def says(self, app: Mapping[str, object], version: str) -> bool:
        return app["version"] == version and app["remote_version"] == self.operation.newest

    @property
    def shelf(self) -> Path:
        return self.disk.app / ".trio-update" if self.operation.kind == "executable" else self.disk.shelf


def _in_words(told: Sequence[str]) -> list[str]:
    return [one.replace("(0 bytes)", "has length zero") for one in told]


def _not_as_in(precious: Tree, found: Tree) -> list[str]:
    return [os.fsdecode(name) for name, item in precious.items() if found.get(name) != item]


@dataclass(frozen=True)
class GitApp:
    """A clone of the crash suite's project, with files of the user's in it."""

    disk: Disk
    operation: Operation
    project: Project

    def install(self) -> None:
        disk = self.disk
        (disk.run / "moonraker.conf").write_text(git_app.configuration(disk, self.project))
        disk.app.parent.mkdir()
        git("clone", "--quiet", self.project.url, str(disk.app), cwd=disk.run)
        put(disk.app, USER)

    def publish(self, version: str) -> None:
        publish(self.project, self._commit(version))

    def wrong(self, version: str) -> list[str]:
        wanted = expected(self.project.tree(self._commit(version)), USER)
        return _in_words(differences(take(self.disk.app), wanted))

    def lost(self) -> list[str]:
        return _not_as_in(USER, take(self.disk.app))

    def says(self, app: Mapping[str, object], version: str) -> bool:
        return app["current_hash"] == self._commit(version) and app["remote_hash"] == self.project.v3

    @property
    def shelf(self) -> Path:
        return self.disk.shelf

    def _commit(self, version: str) -> str:
        return {OLDEST: self.project.v1, FORMER: self.project.v2, NEWEST: self.project.v3}[version]


App = ReleaseApp | GitApp


def environment_of(disk: Disk) -> dict[str, str]:
    return environment() | {"HOME": str(disk.run / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
