"""What an app's folder says about itself: ``release_info.json``, or the marks of older web clients."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import msgspec

from trio_update.errors import OperationFailed
from trio_update.host.files.durable import translated

RELEASE_INFO = "release_info.json"
VERSION_FILE = ".version"
# More than this is no description of a release.
_LARGEST = 64 * 1024
# A program lies in the same folder as its description and what we keep of it.
_NO_PROGRAMS = frozenset({".", "..", RELEASE_INFO, ".trio-update"})
# Web clients that were released without a release_info.json, by the name in their web manifest.
_OLD_CLIENTS = {"mainsail": ("mainsail-crew", "mainsail"), "fluidd": ("fluidd-core", "fluidd")}


class NoReleaseInfo(OperationFailed):
    """The folder does not say what it holds, or not in a way that can be understood."""


@dataclass(frozen=True)
class ReleaseInfo:
    """Which release a folder holds.  ``asset_name`` is empty where any single zip will do."""

    owner: str
    name: str
    version: str
    asset_name: str = ""

    @property
    def repo(self) -> str:
        return f"{self.owner}/{self.name}"


def read_release_info(folder: Path, *, web: bool = False, executable: bool = False) -> ReleaseInfo:
    """Read what ``folder`` says; ``web`` clients of old are recognised too, an ``executable`` must name its asset.

    Raises: NoReleaseInfo with what is wrong, FileTrouble.
    """
    content = _content(folder / RELEASE_INFO)
    if content is None:
        old = _old_client(folder) if web else None
        if old is None:
            raise NoReleaseInfo(f"there is no {RELEASE_INFO} in {folder}, so it is not known what is installed")
        return old
    info = _decode(content, folder / RELEASE_INFO)
    if executable and not info.asset_name:
        raise NoReleaseInfo(f"{folder / RELEASE_INFO} does not name the asset: it needs 'asset_name'")
    return info


def _decode(content: bytes, path: Path) -> ReleaseInfo:
    try:
        raw = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoReleaseInfo(f"{path} is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise NoReleaseInfo(f"{path} is no JSON object")
    texts: dict[str, str] = {}
    for key in ("project_owner", "project_name", "version", "asset_name"):
        value = raw.get(key, "" if key == "asset_name" else None)
        if value is None and key == "asset_name":
            value = ""
        if not isinstance(value, str) or (not value.strip() and key != "asset_name"):
            raise NoReleaseInfo(f"'{key}' in {path} is {'missing' if value is None else 'not a text with content'}")
        texts[key] = value.strip()
    name = texts["asset_name"]
    if "/" in name or "\0" in name or name in _NO_PROGRAMS:
        raise NoReleaseInfo(f"'asset_name' in {path} is no name of a file: {name!r}")
    return ReleaseInfo(texts["project_owner"], texts["project_name"], texts["version"], name)


def with_version(content: bytes, version: str) -> bytes:
    """A ``release_info.json`` with another version and everything else as it was."""
    raw = msgspec.json.decode(content)
    return msgspec.json.format(msgspec.json.encode(raw | {"version": version})) + b"\n"


def _old_client(folder: Path) -> ReleaseInfo | None:
    version = _content(folder / VERSION_FILE)
    if version is None or not (text := version.decode(errors="replace").strip()):
        return None
    with translated("read", folder):
        manifests = sorted([*folder.glob("manifest.json"), *folder.glob("*.webmanifest"), *folder.glob(".webmanifest")])
    for manifest in manifests:
        try:
            raw = msgspec.json.decode(_content(manifest) or b"")
        except (NoReleaseInfo, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        name = raw.get("name") if isinstance(raw, dict) else None
        if isinstance(name, str) and (found := _OLD_CLIENTS.get(name.strip().lower())):
            return ReleaseInfo(*found, text)
    return None


def _content(path: Path) -> bytes | None:
    with translated("read", path):
        try:
            # Without O_NONBLOCK a pipe in the file's place would be waited for.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise NoReleaseInfo(f"{path} is no file")
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(_LARGEST + 1)
        finally:
            os.close(descriptor)
    if len(content) > _LARGEST:
        raise NoReleaseInfo(f"{path} is larger than {_LARGEST} bytes")
    return content
