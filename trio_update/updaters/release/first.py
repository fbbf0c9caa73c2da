"""The first installation of an app: which asset, when nothing on the disk says so, and what is made of it."""

from __future__ import annotations

import os
import re

import msgspec

from trio_update.errors import OperationFailed
from trio_update.model import Asset, RemoteRelease
from trio_update.text import named
from trio_update.updaters.release.info import RELEASE_INFO, is_program_name
from trio_update.updaters.release.kind import ReleaseConfig
from trio_update.updaters.release.look import Look
from trio_update.updaters.release.pick import pick_asset

# What lies beside programs in releases: check sums, signatures, lists of parts, packages of systems, sources.
_NO_PROGRAM = re.compile(
    r"\.(?:sha\d+(?:sum)?|md5(?:sum)?|asc|sig|minisig|pem|crt|sbom|json|ya?ml|toml|txt|md|html?|deb|rpm|apk|pkg|dmg|msi|"
    r"exe|dll|zip|tar|t?gz|bz2|xz|zst|7z|whl|jar|patch|diff)$|^(?:sha\d+sums?|md5sums?|checksums?|license|readme)$",
    re.IGNORECASE,
)
# The names that builds give to machines, by what `uname -m` says.
_MACHINES = {
    "x86_64": r"x86[-_]?64|amd64|x64",
    "aarch64": r"aarch64|arm64|armv8",
    "armv7l": r"armv7l?|armhf|arm32|arm",
    "armv6l": r"armv6l?|armel|arm",
    "i686": r"i[3-6]86|x86|386",
    "riscv64": r"riscv64",
}
_ANOTHER_SYSTEM = re.compile(r"windows|win(?:32|64)|darwin|macos|osx|freebsd|openbsd|netbsd|android", re.IGNORECASE)


def choose_asset(config: ReleaseConfig, seen: Look, release: RemoteRelease) -> Asset:
    """The asset of ``release`` that belongs to the app.

    Raises: OperationFailed, with the names that there are.
    """
    if seen.info is not None:
        return pick_asset(release, config.name, seen.info.asset_name)
    if not config.is_program or not release.assets:
        return pick_asset(release, config.name, "")
    return _choose_program(config, release, os.uname().machine)


def _choose_program(config: ReleaseConfig, release: RemoteRelease, machine: str) -> Asset:
    """The one that is called like the app; or else the only one that may be a program for this machine."""
    usable = [asset for asset in release.assets if is_program_name(asset.name)]
    if own := [asset for asset in usable if asset.name.casefold() == config.name.casefold()]:
        return own[0]
    programs = [one for one in usable if not _NO_PROGRAM.search(one.name) and not _ANOTHER_SYSTEM.search(one.name)]
    if len(programs) == 1:
        return programs[0]
    names = re.compile(rf"(?<![a-z0-9])(?:{_MACHINES.get(machine, re.escape(machine))})(?![a-z0-9])", re.IGNORECASE)
    fitting = [asset for asset in programs if names.search(asset.name)]
    if len(fitting) == 1:
        return fitting[0]
    raise OperationFailed(
        f"release {release.tag} of {release.repo} does not say which of its assets is the program for this machine "
        f"({machine}): {named([asset.name for asset in release.assets], 8)}. Make the folder {config.path} with a "
        f"{RELEASE_INFO} that says project_owner, project_name, version (0) and asset_name"
    )


def first_info(repo: str, version: str, asset_name: str) -> bytes:
    """What a program's folder says from its first installation on."""
    owner, _, name = repo.partition("/")
    info = {"project_owner": owner, "project_name": name, "version": version, "asset_name": asset_name}
    return msgspec.json.format(msgspec.json.encode(info)) + b"\n"
