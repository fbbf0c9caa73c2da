"""What an app's folder says about itself: ``release_info.json``, or the marks of older web clients."""

from __future__ import annotations

import codecs
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import msgspec

from trio_update.errors import OperationFailed
from trio_update.host.files.durable import translated

RELEASE_INFO = "release_info.json"
VERSION_FILE = ".version"
LARGEST = 64 * 1024
"""Bytes: more than this is no description of a release."""
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


def read_release_info(folder: Path, *, web: bool = False, executable: bool = False, shown: str = "") -> ReleaseInfo:
    """Read what ``folder`` says; ``web`` clients of old are recognised too, an ``executable`` must name its asset.

    ``shown``: how messages call the folder, such as the archive that was unpacked into it.

    Raises: NoReleaseInfo with what is wrong, FileTrouble.
    """
    file = f"{RELEASE_INFO} of {shown}" if shown else str(folder / RELEASE_INFO)
    content = _content(folder / RELEASE_INFO, file)
    if content is None:
        old = _old_client(folder) if web else None
        if old is None:
            raise NoReleaseInfo(
                f"there is no {RELEASE_INFO} in {shown or folder}, so it is not known what is installed"
            )
        return old
    info = _decode(content, file)
    if executable and not info.asset_name:
        raise NoReleaseInfo(f"{file} does not name the asset: it needs 'asset_name'")
    return info


def is_program_name(name: str) -> bool:
    """Whether a file of that name can lie beside what is ours in an app's folder."""
    return bool(name) and "/" not in name and "\0" not in name and name not in _NO_PROGRAMS


def other_repository(info: ReleaseInfo, asked: str) -> str:
    """What to say when a release that was found at ``asked`` (``owner/name``) says that it is of another repository.

    From its installation on updates would come from there.  Forks forget to change that file.  Empty when it agrees.
    """
    if info.repo.lower() == asked.lower():
        return ""
    return (
        f"The release of {asked} says in its {RELEASE_INFO} that it is of {info.repo}: once it is installed, updates "
        f"come from {info.repo}"
    )


def _object(content: bytes, path: str) -> dict[str, object]:
    try:
        raw = msgspec.json.decode(_plain(content))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoReleaseInfo(f"{path} is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise NoReleaseInfo(f"{path} is no JSON object")
    return raw


def _plain(content: bytes) -> bytes:
    """A text as UTF-8 without the byte order mark that editors and shells of Windows write in front of it."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16").encode()
    return content.removeprefix(codecs.BOM_UTF8)


def _decode(content: bytes, path: str) -> ReleaseInfo:
    raw = _object(content, path)
    texts: dict[str, str] = {}
    for key in ("project_owner", "project_name", "version", "asset_name"):
        value = raw.get(key, "" if key == "asset_name" else None)
        if value is None and key == "asset_name":
            value = ""
        if not isinstance(value, str) or (not value.strip() and key != "asset_name"):
            raise NoReleaseInfo(f"'{key}' in {path} is {'missing' if value is None else 'not a text with content'}")
        texts[key] = value.strip()
    name = texts["asset_name"]
    if name and not is_program_name(name):
        raise NoReleaseInfo(f"'asset_name' in {path} is no name of a file: {name!r}")
    return ReleaseInfo(texts["project_owner"], texts["project_name"], texts["version"], name)


def with_version(content: bytes, version: str) -> bytes:
    """A ``release_info.json`` with another version and everything else as it was.

    Raises: NoReleaseInfo when it is none.
    """
    return _written(_object(content, RELEASE_INFO) | {"version": version})


def with_users_asset(new: bytes, live: bytes, brought: bytes | None) -> bytes:
    """A release's ``release_info.json``, with the ``asset_name`` that the user set in the ``live`` one.

    It is the user's if the installed version had ``brought`` another one or none; where that is not known, if the new
    release names none, or another: it was found under the user's.  Anything that cannot be read says nothing.
    """
    own, users = _asset_name(new), _asset_name(live)
    if not users or users == own or (brought is not None and users == _asset_name(brought)):
        return new
    try:
        return _written(_object(new, RELEASE_INFO) | {"asset_name": users})
    except NoReleaseInfo:
        return new


def _asset_name(content: bytes) -> str:
    try:
        return _decode(content, RELEASE_INFO).asset_name
    except NoReleaseInfo:
        return ""


def _written(raw: dict[str, object]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(raw)) + b"\n"


def _old_client(folder: Path) -> ReleaseInfo | None:
    version = _content(folder / VERSION_FILE, str(folder / VERSION_FILE))
    try:
        text = _plain(version or b"").decode(errors="replace").strip()
    except UnicodeDecodeError:
        return None
    if not text:
        return None
    with translated("read", folder):
        manifests = sorted([*folder.glob("manifest.json"), *folder.glob("*.webmanifest"), *folder.glob(".webmanifest")])
    for manifest in manifests:
        try:
            name = _object(_content(manifest, str(manifest)) or b"", str(manifest)).get("name")
        except NoReleaseInfo:
            continue
        if isinstance(name, str) and (found := _OLD_CLIENTS.get(name.strip().lower())):
            return ReleaseInfo(*found, text)
    return None


def _content(path: Path, shown: str) -> bytes | None:
    with translated("read", path):
        try:
            # Without O_NONBLOCK a pipe in the file's place would be waited for.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise NoReleaseInfo(f"{shown} is no file")
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(LARGEST + 1)
        finally:
            os.close(descriptor)
    if len(content) > LARGEST:
        raise NoReleaseInfo(f"{shown} is larger than {LARGEST} bytes")
    return content
