"""What is updated on a disk whose power is cut, and what each version of it consists of."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.project import USER, Project, differences, environment, expected, git, publish, put, take
from tests.powercut.disk import Disk
from tests.releases import PROGRAM, REPO, content_of, make_zip, program_of, release_info, tree, write_files
from trio_update.demo.github import GitHub, SimAsset, SimRelease

_SERVER = """\
[update_manager]
enable_system_updates: False

[trio_update]
port: 0
"""
_MINE: dict[str, bytes] = {
    "config.json": b'{"theme": "mine"}\n',
    "db/deep/prints.bin": bytes(range(256)) * 300,
    "db/index": b"one\ntwo\n",
}
_INFO = "release_info.json"


@dataclass(frozen=True)
class Operation:
    """``by_hand``: what somebody else installed; ``updated``: what the server updated that to before.

    ``request`` leads from ``old`` to ``new``, ``back`` the other way.  ``mine``: the persistent files.  ``bound``: the
    app's folder is a mount point, which cannot change places.
    """

    name: str
    kind: str
    by_hand: str
    updated: str
    old: str
    new: str
    request: str = "upgrade?name=app"
    back: str = "rollback?name=app"
    mine: Mapping[str, bytes] = field(default_factory=dict)
    bound: bool = False

    @property
    def newest(self) -> str:
        return max(self.old, self.new)


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("web-upgrade", "web", "v1.0.0", "", "v1.0.0", "v2.0.0"),
        Operation("zip-upgrade", "zip", "v1.0.0", "v2.0.0", "v2.0.0", "v3.0.0", mine=_MINE),
        Operation("executable-upgrade", "executable", "v1.0.0", "", "v1.0.0", "v2.0.0"),
        Operation(
            "web-rollback", "web", "v1.0.0", "v2.0.0", "v2.0.0", "v1.0.0", "rollback?name=app", "upgrade?name=app"
        ),
        Operation("zip-refill", "zip", "v1.0.0", "v2.0.0", "v2.0.0", "v3.0.0", mine=_MINE, bound=True),
        Operation("git-upgrade", "git_repo", "v1.0.0", "", "v1.0.0", "v3.0.0"),
    )
}


@dataclass(frozen=True)
class ReleaseApp:
    """A web or zip app, or an executable, whose releases are at the stand-in for GitHub."""

    disk: Disk
    operation: Operation
    github: GitHub

    def install(self) -> None:
        operation, path = self.operation, self.disk.app
        write_files(path, {**self._files(operation.by_hand), **operation.mine})
        lines = [_SERVER.rstrip(), f"github_api_url: {self.github.api_url}", f"github_url: {self.github.web_url}", ""]
        lines += ["[update_manager app]", f"type: {operation.kind}", f"path: {path}", f"repo: {REPO}"]
        if operation.kind != "web":
            lines.append("is_system_service: False")
        if operation.mine:
            lines += ["persistent_files:", "  config.json", "  db"]
        (self.disk.run / "moonraker.conf").write_text("\n".join(lines) + "\n")
        self.publish(operation.by_hand)

    def publish(self, version: str) -> None:
        if self.operation.kind == "executable":
            asset = SimAsset(name=PROGRAM, content=program_of(version), content_type="application/octet-stream")
        else:
            asset = SimAsset(name="app.zip", content=make_zip(self._files(version)))
        self.github.add(REPO, SimRelease(tag=version, assets=[asset]))

    def wrong(self, version: str) -> list[str]:
        """What is not as in ``version``, in words."""
        wanted = {**self._files(version), **self.operation.mine}
        found = {name: data for name, data in tree(self.disk.app).items() if not name.startswith(".trio-update/")}
        told = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
        told += [f"{name} should not be there" for name in sorted(found.keys() - wanted.keys())]
        for name in sorted(wanted.keys() & found.keys()):
            data = found[name]
            if not _same(name, data, wanted[name]):
                told.append(
                    f"{name} has length zero" if not data else f"{name} holds {data[:30]!r} ({len(data)} bytes)"
                )
        program = self.disk.app / (PROGRAM if self.operation.kind == "executable" else "run.sh")
        if program.exists() and stat.S_IMODE(program.stat().st_mode) != 0o755:
            told.append(f"{program.name} has mode {program.stat().st_mode:o}")
        return told

    def lost(self) -> list[str]:
        """Which of the user's files are not as they were."""
        found = {name: self.disk.app / name for name in self.operation.mine}
        return [
            name for name, path in found.items() if not path.is_file() or path.read_bytes() != self.operation.mine[name]
        ]

    def says(self, app: Mapping[str, object], version: str) -> bool:
        return app["version"] == version and app["remote_version"] == self.operation.newest

    @property
    def shelf(self) -> Path:
        return self.disk.app / ".trio-update" if self.operation.kind == "executable" else self.disk.shelf

    def _files(self, version: str) -> dict[str, bytes]:
        if self.operation.kind == "executable":
            return {PROGRAM: program_of(version), _INFO: release_info(version, asset=PROGRAM)}
        more = {f"lib/{number % 5}/part{number}.js": f"{number}, {version}\n".encode() * 200 for number in range(40)}
        return content_of(version) | more


def _same(name: str, found: bytes, wanted: bytes) -> bool:
    if name != _INFO or found == wanted:
        return found == wanted
    try:
        return bool(json.loads(found) == json.loads(wanted))
    except ValueError:
        return False


@dataclass(frozen=True)
class GitApp:
    """A clone of the crash suite's project, with files of the user's in it."""

    disk: Disk
    operation: Operation
    project: Project

    def install(self) -> None:
        disk = self.disk
        section = ("type: git_repo", f"path: {disk.app}", f"origin: {self.project.url}", "primary_branch: master")
        lines = (_SERVER, "[update_manager app]", *section, "is_system_service: False", "")
        (disk.run / "moonraker.conf").write_text("\n".join(lines))
        disk.app.parent.mkdir()
        git("clone", "--quiet", self.project.url, str(disk.app), cwd=disk.run)
        put(disk.app, USER)

    def publish(self, version: str) -> None:
        publish(self.project, self._commit(version))

    def wrong(self, version: str) -> list[str]:
        wanted = expected(self.project.tree(self._commit(version)), USER)
        return [told.replace("(0 bytes)", "has length zero") for told in differences(take(self.disk.app), wanted)]

    def lost(self) -> list[str]:
        found = take(self.disk.app)
        return [str(name) for name, item in USER.items() if found.get(name) != item]

    def says(self, app: Mapping[str, object], version: str) -> bool:
        return app["current_hash"] == self._commit(version) and app["remote_hash"] == self.project.v3

    @property
    def shelf(self) -> Path:
        return self.disk.shelf

    def _commit(self, version: str) -> str:
        return {"v1.0.0": self.project.v1, "v3.0.0": self.project.v3}[version]


App = ReleaseApp | GitApp


def environment_of(disk: Disk) -> dict[str, str]:
    return environment() | {"HOME": str(disk.run / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
