"""Where the crash suite works: a home with an app in it, as it stands before each operation."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.crash.project import environment, git
from trio_update.host.files.durable import is_mount_point

_SHIM = Path(__file__).with_name("git_shim.sh")
SERVER_SECTIONS = """\
[update_manager]
enable_system_updates: False

[trio_update]
port: 0
"""


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

    def in_template(self, name: str, path: Path) -> Path:
        """Where ``path``, which is below ``run``, lies in the scene ``name``."""
        return self.template(name) / path.relative_to(self.run)

    def empty(self, configuration: str) -> None:
        """A home without an app."""
        self.clear()
        for folder in (self.data, self.app.parent, self.crash):
            folder.mkdir(parents=True)
        (self.run / "moonraker.conf").write_text(configuration)

    def lay_out(self, name: str, *, mounted: bool = False) -> None:
        """Put the scene ``name`` in place; with the app ``mounted`` its folder cannot change places with another."""
        self.clear()
        copy(self.template(name), self.run)
        if mounted:
            disk = self.run / "disk"
            self.app.rename(disk)
            self.app.mkdir()
            subprocess.run(["mount", "--bind", disk, self.app], check=True, capture_output=True)

    def clear(self) -> None:
        while is_mount_point(self.app):
            # Lazily: one that was killed may still be inside.
            subprocess.run(["umount", "--lazy", self.app], check=True, capture_output=True)
        shutil.rmtree(self.run, ignore_errors=True)

    def keep(self, name: str) -> None:
        """Make what stands here the scene ``name``."""
        for entry in self.crash.iterdir():
            entry.unlink()
        copy(self.run, self.template(name))
        shutil.rmtree(self.template(name) / "disk", ignore_errors=True)

    def environment(self, **changes: str) -> dict[str, str]:
        """What a server here runs with."""
        real = shutil.which("git")
        assert real is not None
        own = {
            "HOME": str(self.run / "home"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CRASH_GIT": real,
            "CRASH_DIR": str(self.crash),
            # The stand-in for the forge is here.
            "NO_PROXY": "127.0.0.1",
            # The remote of a submodule is a folder here, which git allows nobody by default.
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "protocol.file.allow",
            "GIT_CONFIG_VALUE_0": "always",
        }
        return environment() | own | changes

    def with_shim(self) -> dict[str, str]:
        """Lets git be the stand-in, for the server and for git itself."""
        folder = self.root / "git-core"
        return {"PATH": f"{folder}:{os.environ['PATH']}", "GIT_EXEC_PATH": str(folder)}


def make_place(root: Path) -> Place:
    """A place without scenes."""
    place = Place(root)
    root.mkdir()
    _make_shim(root / "git-core")
    return place


def _make_shim(folder: Path) -> None:
    """git's folder of programs, with the stand-in in git's place."""
    folder.mkdir()
    core = Path(git("--exec-path", cwd=folder).decode().strip())
    for program in core.iterdir():
        if program.name != "git":
            (folder / program.name).symlink_to(program)
    shutil.copyfile(_SHIM, folder / "git")
    (folder / "git").chmod(0o755)


def copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True, copy_function=_Copier().copy)
    for entry in (target / "data" / "trio_update" / "journal").glob("*.json"):
        entry.write_bytes(_with_inodes_of(entry.read_bytes(), source / "home", target / "home"))


class _Copier:
    """Copies files with their times, which git compares, and with what links them: the user's are in two trees."""

    def __init__(self) -> None:
        self._linked: dict[int, str] = {}

    def copy(self, source: str, target: str) -> str:
        status = os.lstat(source)
        if status.st_nlink > 1 and status.st_ino in self._linked:
            os.link(self._linked[status.st_ino], target, follow_symlinks=False)
            return target
        self._linked[status.st_ino] = target
        return str(shutil.copy2(source, target, follow_symlinks=False))


def _with_inodes_of(entry: bytes, source: Path, target: Path) -> bytes:
    """A journal entry that knows what stands where by inodes, which a copy doesn't have."""
    document = msgspec.json.decode(entry)
    copied = {path.lstat().st_ino: (target / path.relative_to(source)).lstat().st_ino for path in source.rglob("*")}
    for effect in document["effects"]:
        for name in ("new_inode", "old_inode"):
            if effect.get(name) is not None:
                # What is gone already keeps a number that nothing has.
                effect[name] = copied.get(effect[name], 0)
    return msgspec.json.encode(document)
