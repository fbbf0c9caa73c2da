"""Where the crash suite works: a home with a clone in it, as it stands before each operation."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.crash.project import (
    EXCLUDED,
    HOOK,
    PLAIN,
    PROGRAM,
    USER,
    Item,
    Project,
    Tree,
    differences,
    environment,
    expected,
    git,
    put,
    take,
)

_SHIM = Path(__file__).with_name("git_shim.sh")

_CONFIGURATION = """\
[update_manager]
enable_system_updates: False

[trio_update]
port: 0

[update_manager app]
type: git_repo
path: {app}
origin: {origin}
primary_branch: master
is_system_service: False
"""

# What the user did to tracked files; in no commit.
DIRTY: Tree = {
    b"config/default.cfg": Item(PLAIN, b"[one]\nspeed: 77\n"),
    b"data/blob.bin": Item(PLAIN, b"\0\xff" * 3000),
    b"run.sh": Item(PROGRAM, b"#!/bin/sh\necho mine\n"),
}
# Untracked, and in the place of a file that the third version brings.
IN_THE_WAY: Tree = {b"extra/deep/new.cfg": Item(stat.S_IFREG | 0o640, b"the user's own\n")}


@dataclass(frozen=True)
class Place:
    """One home.  Its path stays the same from point to point: the configuration and the database name it."""

    root: Path

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def app(self) -> Path:
        return self.run / "home" / "app"

    @property
    def data(self) -> Path:
        return self.run / "data"

    @property
    def journal(self) -> Path:
        return self.data / "trio_update" / "journal"

    @property
    def saved(self) -> Path:
        return self.data / "trio_update" / "saved"

    @property
    def crash(self) -> Path:
        """What the harness writes, and the stand-in for git."""
        return self.run / "crash"

    def template(self, name: str) -> Path:
        return self.root / f"template-{name}"

    def lay_out(self, name: str) -> None:
        """Put the scene ``name`` in place."""
        shutil.rmtree(self.run, ignore_errors=True)
        copy(self.template(name), self.run)

    def keep(self, name: str) -> None:
        """Make what stands here the scene ``name``."""
        for entry in self.crash.iterdir():
            entry.unlink()
        copy(self.run, self.template(name))

    def environment(self, **changes: str) -> dict[str, str]:
        """What a server here runs with."""
        real = shutil.which("git")
        assert real is not None
        own = {
            "HOME": str(self.run / "home"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CRASH_GIT": real,
            "CRASH_DIR": str(self.crash),
        }
        return environment() | own | changes

    def with_shim(self) -> dict[str, str]:
        """Lets git be the stand-in, for the server and for git itself."""
        folder = self.root / "git-core"
        return {"PATH": f"{folder}:{os.environ['PATH']}", "GIT_EXEC_PATH": str(folder)}


def copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True, copy_function=_copy_file)
    for entry in (target / "data" / "trio_update" / "journal").glob("*.json"):
        entry.write_bytes(_with_inodes_of(entry.read_bytes(), source / "home", target / "home"))


def _with_inodes_of(entry: bytes, source: Path, target: Path) -> bytes:
    """A journal entry that knows clones by their inodes, which a copy doesn't have."""
    document = msgspec.json.decode(entry)
    copied = {path.stat().st_ino: (target / path.name).stat().st_ino for path in source.iterdir()}
    for effect in document["effects"]:
        for name in ("new_inode", "old_inode"):
            if name in effect:
                effect[name] = copied[effect[name]]
    return msgspec.json.encode(document)


def _copy_file(source: str, target: str) -> str:
    """With its times: git compares them; and a link that hard-links to a link would be shared."""
    return str(shutil.copy2(source, target, follow_symlinks=False))


@dataclass(frozen=True)
class Operation:
    """What the server is asked to do when it dies.

    ``path``: the request; for a start, the one that was cut.  ``scene``: where it begins.
    ``goal``: the commit it goes to, ``start``: the one it comes from.  ``user``: untracked files that stay in place.
    ``forward``: a failure may leave the new version, because what was begun can only be finished.
    ``cut``: the operation whose half-done work a start finds; ``path`` is what the user asks for again after it.
    """

    name: str
    scene: str
    path: str
    start: Callable[[Project], str]
    goal: Callable[[Project], str]
    dirty: bool = False
    forward: bool = False
    cut: str | None = None

    def new_tree(self, project: Project) -> Tree:
        return expected(project.tree(self.goal(project)), USER)

    def old_tree(self, project: Project) -> Tree:
        dirty = DIRTY if self.dirty else {}
        return expected({**project.tree(self.start(project)), **dirty}, USER | (IN_THE_WAY if self.dirty else {}))


_UPGRADE, _ROLLBACK = "upgrade?name=app", "rollback?name=app"
_SOFT, _HARD = "recover?name=app&hard=false", "recover?name=app&hard=true"


def _v1(project: Project) -> str:
    return project.v1


def _v3(project: Project) -> str:
    return project.v3


def _local(project: Project) -> str:
    return project.local


OPERATIONS: Mapping[str, Operation] = {
    operation.name: operation
    for operation in (
        Operation("upgrade", "behind", _UPGRADE, _v1, _v3),
        # The fetch keeps a pack instead of unpacking it, as it does when it brings a hundred objects.
        Operation("upgrade-pack", "packed", _UPGRADE, _v1, _v3),
        Operation("rollback", "upgraded", _ROLLBACK, _v3, _v1),
        Operation("soft", "diverged", _SOFT, _local, _v3, dirty=True, forward=True),
        Operation("hard", "diverged", _HARD, _local, _v3, dirty=True),
        # Starts that settle what an earlier death left: they may die as well.
        Operation("start-upgrade", "cut-upgrade", _UPGRADE, _v1, _v3, cut="upgrade"),
        Operation("start-soft", "cut-soft", _SOFT, _local, _v3, dirty=True, forward=True, cut="soft"),
        Operation("start-hard", "cut-hard", _HARD, _local, _v3, dirty=True, cut="hard"),
        Operation("start-hard-final", "cut-hard-final", _HARD, _local, _v3, dirty=True, cut="hard"),
    )
}


def make_place(root: Path, project: Project) -> Place:
    """A home with a clone of the first version.  ``project`` must have no other yet."""
    place = Place(root)
    place.data.mkdir(parents=True)
    place.app.parent.mkdir()
    place.crash.mkdir()
    configuration = _CONFIGURATION.format(app=place.app, origin=project.url)
    (place.run / "moonraker.conf").write_text(configuration)
    git("clone", "--quiet", project.url, str(place.app), cwd=root)
    _make_shim(root / "git-core")
    return place


def give_user_files(place: Place) -> None:
    """Make everything that is the user's and that git doesn't track."""
    put(place.app, USER)
    (place.app / ".git" / "hooks" / "post-merge").write_bytes(HOOK)
    (place.app / ".git" / "info" / "exclude").write_bytes(EXCLUDED)


def _make_shim(folder: Path) -> None:
    """git's folder of programs, with the stand-in in git's place."""
    folder.mkdir()
    core = Path(git("--exec-path", cwd=folder).decode().strip())
    for program in core.iterdir():
        if program.name != "git":
            (folder / program.name).symlink_to(program)
    shutil.copyfile(_SHIM, folder / "git")
    (folder / "git").chmod(0o755)


def diverge(place: Place, project: Project) -> None:
    """The user commits on an old version, changes tracked files, stages one of them, leaves a file in the way."""
    git("fetch", "--quiet", str(project.reference), "refs/heads/mine", cwd=place.app)
    git("reset", "--quiet", "--hard", project.local, cwd=place.app)
    put(place.app, DIRTY | IN_THE_WAY)
    git("add", "run.sh", cwd=place.app)


def clear_the_way(place: Place) -> None:
    """What the user has to do, and is told, before an upgrade brings files to where theirs are."""
    for path in IN_THE_WAY:
        (place.app / os.fsdecode(path)).unlink()


def keep_packs(place: Place) -> None:
    git("config", "fetch.unpackLimit", "1", cwd=place.app)


def check_scene(place: Place, operation: Operation, project: Project) -> None:
    """The scene is what the checks take for granted."""
    assert differences(take(place.app), operation.old_tree(project)) == []
