"""Web apps of known content: their archives, as they are installed, and the processes that publish and update them."""

from __future__ import annotations

import json
import random
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.scene import Helper, helper

END = "end of"
_WHEN = (2026, 1, 2, 3, 4, 6)
_MIB = 1 << 20


@dataclass(frozen=True)
class WebApp:
    """One app, and what it is configured to follow."""

    name: str
    path: Path
    channel: str = "stable"

    @property
    def repo(self) -> str:
        return f"ada/{self.name}"

    def install(self, files: dict[str, bytes]) -> None:
        for name, content in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_bytes(content)


def small_files(app: WebApp, version: str, count: int = 2) -> dict[str, bytes]:
    """A whole web app of ``count`` small files.

    Every file says which version it is, at its beginning and at its end.  ``index.html`` names the others; half of
    them are called otherwise in each version.
    """
    names = [f"assets/{number:03}{f'-{version}' if number % 2 else ''}.js" for number in range(count - 1)]
    index = "".join(f"{name}\n" for name in names) * (count > 2)
    return {
        "release_info.json": _info(app, version),
        "index.html": _marked(version, index),
        **{name: _marked(version, f"console.log({name!r})\n" * 60) for name in names},
    }


def _marked(version: str, text: str) -> bytes:
    return f"{version}\n{text}{END} {version}\n".encode()


def _info(app: WebApp, version: str) -> bytes:
    return json.dumps({"project_owner": "ada", "project_name": app.name, "version": version}).encode()


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _WHEN), content, zipfile.ZIP_DEFLATED)
    return path


def pack_large(path: Path) -> tuple[Path, int]:
    """An archive of 200 MB and 300 files: half of its bytes are text and code, packed to a quarter, half are pictures
    and fonts, which do not get smaller.  Its path, and its size unpacked."""
    chance = random.Random(3)
    words = [bytes(chance.choices(b"etaoinshrdlucmfwypvbgk_.(){};=\n", k=chance.randint(2, 9))) for _ in range(6000)]
    prose = b" ".join(chance.choices(words, weights=[1 / (rank + 1) for rank in range(len(words))], k=_MIB))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("index.html", _WHEN), b"<!doctype html>", zipfile.ZIP_DEFLATED)
        number = unpacked = 0
        while path.stat().st_size < 200_000_000:
            text = number % 2 == 0
            content = _shuffled(chance, prose, 2_300_000) if text else chance.randbytes(665_000)
            name = f"assets/{number % 7}/{number}.{'js' if text else 'woff2'}"
            archive.writestr(zipfile.ZipInfo(name, _WHEN), content, zipfile.ZIP_DEFLATED)
            number, unpacked = number + 1, unpacked + len(content)
    return path, unpacked


def _shuffled(chance: random.Random, prose: bytes, size: int) -> bytes:
    """Another text of the same language; cheaper than to write one."""
    piece = 2048
    return b"".join(prose[at : at + piece] for at in chance.choices(range(len(prose) - piece), k=size // piece))


def of_version(archive: Path, app: WebApp, version: str, target: Path) -> Path:
    """The same archive as a version of an app."""
    shutil.copyfile(archive, target)
    with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as copy:
        copy.writestr(zipfile.ZipInfo("release_info.json", _WHEN), _info(app, version))
    return target


class Forge:
    """Where releases are published."""

    def __init__(self, process: Helper, api: str, web: str) -> None:
        self._process = process
        self.api = api
        self.web = web

    def publish(self, app: WebApp, version: str, archive: Path, *, prerelease: bool = False) -> tuple[str, str]:
        """Make it the newest release; the URL of its asset, and its sha256."""
        url, sha256 = self._process.ask({"publish": [app.repo, version, str(archive), prerelease]})
        return url, sha256

    def count(self) -> dict[str, list[int]]:
        """Requests to each host since the last count, and how many of them cost quota."""
        counts: dict[str, list[int]] = self._process.ask({"count": None})
        return counts


@contextmanager
def forge(*, limit: int) -> Iterator[Forge]:
    """Serve releases; ``limit`` requests an hour are free to those who do not say who they are."""
    with helper("bench.release_forge", str(limit)) as process:
        yield Forge(process, *process.hear())


@contextmanager
def managing(root: Path, served: Forge, apps: Sequence[WebApp]) -> Iterator[Helper]:
    """Manage the apps; their releases have been looked up when it yields.  What is known is kept under ``root``."""
    config = root / "moonraker.conf"
    lines = ["[trio_update]", f"github_api_url: {served.api}", f"github_url: {served.web}"]
    for app in apps:
        lines += [f"[update_manager {app.name}]", "type: web", f"channel: {app.channel}"]
        lines += [f"repo: {app.repo}", f"path: {app.path}"]
    config.write_text("\n".join(lines) + "\n")
    with helper("bench.release_worker", str(config), str(root / "data")) as worker:
        worker.hear()
        yield worker
