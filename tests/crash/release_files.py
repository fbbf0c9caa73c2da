"""The releases that the crash suite installs, what each of them is on the disk, and what the user has beside it."""

from __future__ import annotations

import json
import os
import random
import stat
from collections.abc import Mapping

from tests.crash.project import FOLDER, Item, Tree
from tests.support.releases import PROGRAM, REPO, content_of, make_zip, program_of, release_info
from trio_update.demo.github.server import GitHub, SimAsset, SimRelease

OLDEST, FORMER, NEWEST = VERSIONS = ("v1.0.0", "v2.0.0", "v3.0.0")
_FILE, _PROGRAM, _LINK = stat.S_IFREG | 0o644, stat.S_IFREG | 0o755, stat.S_IFLNK
_FOLDER = Item(FOLDER | 0o755)
INFO = "release_info.json"

# The user's, in the folder of a web or zip app: kept by name.  The release has a `config.json` too.
PERSISTENT = ("config.json", "db", "assets/mine.css", "anywhere")
_KEPT: Tree = {
    b"config.json": Item(stat.S_IFREG | 0o600, b'{"theme": "mine"}\n'),
    b"db": Item(FOLDER | 0o750),
    b"db/deep": Item(FOLDER | 0o700),
    b"db/deep/prints.bin": Item(stat.S_IFREG | 0o640, bytes(range(256)) * 30),
    b"db/empty": Item(FOLDER | 0o755),
    b"db/newest": Item(_LINK, b"deep/prints.bin"),
    b"db/\xe9\nodd": Item(stat.S_IFREG | 0o444, b"a name that is no text\n"),
    b"assets/mine.css": Item(stat.S_IFREG | 0o640, b"body { color: red }\n"),
    b"anywhere": Item(_LINK, b"/nowhere/at all"),
}
_ENVIRONMENT: Tree = {
    b"venv": _FOLDER,
    b"venv/pyvenv.cfg": Item(_FILE, b"home = /usr/bin\n"),
    b"venv/bin": _FOLDER,
    b"venv/bin/python": Item(_LINK, b"/usr/bin/python3"),
    b"venv/bin/tool": Item(_PROGRAM, b"#!/bin/sh\n"),
    b"venv/lib64": Item(_LINK, b"lib"),
    b"venv/lib": _FOLDER,
    b"venv/lib/module.py": Item(_FILE, b"MODULE = 1\n"),
}
# An executable lies among whatever its user has there.
_NEIGHBOURS: Tree = {
    b"notes.txt": Item(stat.S_IFREG | 0o600, b"buy milk\n"),
    b"config": Item(FOLDER | 0o700),
    b"config/tool.cfg": Item(stat.S_IFREG | 0o640, b"[tool]\n"),
    b"link": Item(_LINK, b"/nowhere/at all"),
}
MINE: Mapping[str, Tree] = {"web": _KEPT, "zip": _KEPT | _ENVIRONMENT, "executable": _NEIGHBOURS}

# What nobody told the server of: in a folder that somebody else installed, in one that the server did.
ADDED: Tree = {
    b"extra": _FOLDER,
    b"extra/user.txt": Item(_FILE, b"found by chance\n"),
    b"odd-link": Item(_LINK, b"index.html"),
}
CHANGED: Tree = {
    b"index.html": Item(_FILE, b"<!doctype html><title>mine</title>\n"),
    b"notes": _FOLDER,
    b"notes/mine.txt": Item(stat.S_IFREG | 0o640, b"a note in the wrong place\n"),
}
# Archives of our own making have no links.
PACKABLE: Tree = {path: item for path, item in ADDED.items() if path != b"odd-link"}
MISSING = b"assets/same.svg"
RUINED: Tree = {PROGRAM.encode(): Item(stat.S_IFREG | 0o750, b"no program any more\n")}


def release(kind: str, version: str) -> Tree:
    """Every file and folder of a version, as it is when nobody has changed anything."""
    if kind == "executable":
        # Modes that its user gave: they stay.
        program = Item(stat.S_IFREG | 0o750, _program(version))
        return {PROGRAM.encode(): program, INFO.encode(): Item(stat.S_IFREG | 0o640, _described(version))}
    programs = _programs(version)
    files = {
        name.encode(): Item(_PROGRAM if name in programs else _FILE, data) for name, data in _files(version).items()
    }
    return with_folders(files)


def with_folders(tree: Tree) -> Tree:
    whole = dict(tree)
    for path in tree:
        above = os.path.dirname(path)
        while above:
            whole.setdefault(above, _FOLDER)
            above = os.path.dirname(above)
    return whole


def publish(github: GitHub, *versions: str) -> None:
    """Let the forge have these releases and no others."""
    github.repos.clear()
    for version in versions:
        archive = SimAsset(name="app.zip", content=archive_of(version))
        program = SimAsset(name=PROGRAM, content=_program(version), content_type="application/octet-stream")
        github.add(REPO, SimRelease(tag=version, assets=[archive, program]))


def asset(kind: str, version: str) -> bytes:
    return _program(version) if kind == "executable" else archive_of(version)


def archive_of(version: str) -> bytes:
    return make_zip(_files(version), _programs(version))


def _files(version: str) -> dict[str, bytes]:
    """Besides what changes in any app: files and folders that take each other's places, or go, or are programs."""
    noise = random.Random(version).randbytes(20_000)
    files = content_of(version) | {"data/blob.bin": noise, "tool.sh": b"echo\n", "übersicht.txt": version.encode()}
    if version == NEWEST:
        return files | {"part/__init__.py": b"PART = 3\n", "share": b"a file\n", "fresh/deep/only.txt": b"In three.\n"}
    return files | {"part": b"a file\n", "share/plot.py": b"plot()\n", "gone/deep/only.txt": b"Its folders go too.\n"}


def _programs(version: str) -> tuple[str, ...]:
    return ("run.sh", "tool.sh") if version == NEWEST else ("run.sh",)


def _program(version: str) -> bytes:
    return program_of(version) + random.Random(version).randbytes(30_000)


def _described(version: str) -> bytes:
    return json.dumps(json.loads(release_info(version, asset=PROGRAM)), indent=2).encode() + b"\n"
