"""Folders that cannot change places with another one, and small disks: where this machine lets us make them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def mounted(target: Path, *options: str | Path) -> Iterator[Path]:
    """``mount OPTIONS target`` while the context lasts."""
    target.mkdir(parents=True, exist_ok=True)
    before = _mounts()
    subprocess.run(["mount", *options, target], check=True, capture_output=True)
    place = os.path.realpath(os.fsencode(target))
    ours = [number for number, where in _mounts().items() if where == place and number not in before]
    try:
        yield target
    finally:
        # Wherever a test has moved it by now; lazily, so that what a failed one still holds open does not keep it.
        for number in ours:
            subprocess.run(["umount", "--lazy", _mounts()[number]], check=True, capture_output=True)


def _mounts() -> dict[bytes, bytes]:
    """What is mounted where, by a number that stays when the place moves (proc(5), mountinfo)."""
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    return {line.split()[0]: line.split()[4] for line in lines}


@contextmanager
def tmpfs(target: Path, size: int = 64 << 20) -> Iterator[Path]:
    """A disk of ``size`` bytes."""
    with mounted(target, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        yield target


@contextmanager
def overlay(target: Path, lower: Path) -> Iterator[Path]:
    """What is in ``lower``, changed only in ``target``."""
    above, work = (lower.with_name(f"{lower.name}-{name}") for name in ("upper", "work"))
    above.mkdir()
    work.mkdir()
    options = f"lowerdir={lower},upperdir={above},workdir={work}"
    with mounted(target, "-t", "overlay", "-o", options, "overlay"):
        yield target


def _possible() -> tuple[str, ...]:
    """What can be mounted here, found out by doing it: containers and other users can do less."""
    found = []
    if os.geteuid() != 0:
        return ()
    for name in ("tmpfs", "bind", "overlay"):
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            target, lower = Path(folder, "target"), Path(folder, "lower")
            lower.mkdir()
            try:
                match name:
                    case "tmpfs":
                        stack.enter_context(tmpfs(target))
                    case "bind":
                        stack.enter_context(mounted(target, "--bind", lower))
                    case _:
                        stack.enter_context(overlay(target, lower))
            except (subprocess.CalledProcessError, FileNotFoundError):
                continue
            found.append(name)
    return tuple(found)


MOUNTS = _possible()
