"""Disks whose power can be cut: ext4 in a file, mounted through a loop device.

A copy of the file has what the kernel wrote to the disk so far, and nothing of what it only keeps in memory: that is
what a power cut leaves.  Everything is mounted in a namespace that nobody else sees (:func:`enclosed`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.crash.scenes import Place
from tests.crash.servers import end_all

_SIZE = 64 * 1024 * 1024
# The kernel makes no commit by itself: when there is one in between is the campaign's choice.
_OPTIONS = "loop,noatime,commit=86400"
_UNUSED = (
    # Nothing that the kernel would still write at leisure.
    "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
)
_NEEDED = ("unshare", "mount", "umount", "mkfs.ext4", "strace", "cp")


@dataclass(frozen=True)
class Disk(Place):
    """A home on a disk of its own: all of ``run`` is on it, and what the harness needs is not.

    ``bound``: once there is an app, its folder is a mount point.
    """

    bound: bool = False

    @property
    def crash(self) -> Path:
        return self.root / "crash"

    @property
    def image(self) -> Path:
        return self.root / "disk.ext4"

    @property
    def shelf(self) -> Path:
        """Of a web or zip app."""
        return self.app.parent / ".app.trio-update"

    def make(self) -> None:
        """An empty one."""
        for folder in (self.run, self.crash):
            folder.mkdir(parents=True)
        make_image(self.image, _SIZE)

    def photograph(self, target: Path) -> None:
        """What would be found on the disk if the power were cut now."""
        copy_image(self.image, target)

    def commit(self) -> None:
        """Let the file system write its journal, as it does every few seconds, whatever is going on.

        That makes all names and sizes durable, and no content that was not written out before.
        """
        descriptor = os.open(self.run / "tick", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.utime(descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_image(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)
    _run("mkfs.ext4", "-q", "-F", "-E", _UNUSED, str(path))


def copy_image(source: Path, target: Path) -> None:
    """The loop device writes through the page cache that this reads from."""
    _run("cp", "--sparse=always", "--reflink=auto", str(source), str(target))


@asynccontextmanager
async def mounted(disk: Disk, image: Path) -> AsyncIterator[None]:
    """``image`` at the place of ``disk``; whatever works there is killed before it is unmounted."""
    _run("mount", "-t", "ext4", "-o", _OPTIONS, str(image), str(disk.run))
    bound = [disk.app] if disk.bound and disk.app.exists() else []
    for app in bound:
        _run("mount", "--bind", str(app), str(app))
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await end_all(disk)
            for place in (*bound, disk.run):
                await _unmount(place)


async def _unmount(path: Path) -> None:
    """A process that was killed keeps its files for a moment."""
    with trio.move_on_after(10):
        while True:
            try:
                _run("umount", str(path))
            except subprocess.CalledProcessError:
                await trio.sleep(0.02)
            else:
                return
    _run("umount", "--lazy", str(path))


def enclosed(command: Sequence[str]) -> list[str]:
    """``command`` with mounts and processes of its own: with its end, however it ends, the kernel undoes them all.

    So nothing has to be swept up after a run that was killed, and no mount of anybody else's can be touched.
    """
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *command]


def why_not() -> str | None:
    """Why there can be no such disks on this machine; ``None`` when there can."""
    if missing := [program for program in _NEEDED if shutil.which(program) is None]:
        return f"{', '.join(missing)} not installed"
    if os.geteuid() != 0:
        return "only root may mount"
    with tempfile.TemporaryDirectory(prefix="powercut-") as folder:
        image, place = Path(folder, "disk"), Path(folder, "place")
        place.mkdir()
        try:
            make_image(image, 2 * 1024 * 1024)
            _run(*enclosed(("mount", "-t", "ext4", "-o", _OPTIONS, str(image), str(place))))
        except subprocess.CalledProcessError as error:
            return f"no disk can be mounted: {error.stderr.decode(errors='replace').strip()}"
    return None


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
