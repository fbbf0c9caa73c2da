"""What a fresh clone takes over from the old one: settings, rules and branches that are the user's.

The settings hold while the fresh clone is fetched, too: without the user's ``insteadOf`` or ssh command its remote
could not be reached.  They never stand in an argument list, where others could read a token.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from trio_update.errors import CommandFailed, FileTrouble, OperationFailed
from trio_update.host.git.folder import GitFolder, survey
from trio_update.host.git.output import text
from trio_update.host.git.repository import Repository
from trio_update.host.git.transfer import bring
from trio_update.host.threads import in_thread
from trio_update.progress import Report

Setting = tuple[str, str | None]

# What a clone is made with, or what would run a command whenever we ask git for something.
_FRESH = re.compile(
    r"core\.(?:repositoryformatversion|bare|worktree|fsmonitor)|extensions\..*|submodule\..*|include(?:if)?\..*|"
    r"remote\.origin\.(?:url|fetch|promisor|partialclonefilter|tagopt)",
    re.DOTALL,
)
_RULES = ("exclude", "attributes", "sparse-checkout")


async def settings_to_keep(old: Repository, folder: GitFolder, primary_branch: str) -> tuple[Setting, ...]:
    """The old clone's own settings, those of its work tree included; none where they cannot be read."""
    found: list[Setting] = []
    for file in (folder.common_dir / "config", folder.git_dir / "config.worktree"):
        if not await in_thread(file.is_file):
            continue
        try:
            done = await old.git("config", "--list", "-z", "--no-includes", "--file", str(file))
        except OperationFailed:
            continue
        for item in done.stdout.split(b"\0"):
            key, has_value, value = item.partition(b"\n")
            if key and _is_kept(text(key), primary_branch):
                found.append((text(key), os.fsdecode(value) if has_value else None))
    return tuple(found)


def _is_kept(key: str, primary_branch: str) -> bool:
    made = {f"branch.{primary_branch}.remote", f"branch.{primary_branch}.merge"}
    return _FRESH.fullmatch(key) is None and key not in made


def as_environment(settings: Iterable[Setting], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The settings for one command (git-config(1), ``GIT_CONFIG_COUNT``), behind those that are there already."""
    count = environ.get("GIT_CONFIG_COUNT", "0")
    first = int(count) if count.isdigit() else 0
    given: dict[str, str] = {}
    number = first
    for number, (key, value) in enumerate(settings, first):
        given |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": "true" if value is None else value}
    return given | {"GIT_CONFIG_COUNT": str(number + 1)} if given else {}


def write_settings(path: Path, settings: Iterable[Setting]) -> None:
    """Add the settings to the configuration of the clone at ``path``.  Raises: FileTrouble."""
    lines = "".join(_line(key, value) for key, value in settings)
    file = path / ".git" / "config"
    try:
        with file.open("ab") as config:
            config.write(os.fsencode(lines))
    except OSError as error:
        raise FileTrouble("write", file, error.errno, error.strerror or str(error)) from error


def _line(key: str, value: str | None) -> str:
    """One setting in git's format (git-config(1), "Syntax")."""
    section, _, rest = key.partition(".")
    below, _, name = rest.rpartition(".")
    escaped = below.replace("\\", "\\\\").replace('"', '\\"')
    header = f'[{section} "{escaped}"]' if below else f"[{section}]"
    if value is None:
        return f"{header}\n\t{name}\n"
    quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'{header}\n\t{name} = "{quoted}"\n'


def copy_rules(folder: GitFolder, path: Path) -> None:
    """The user's rules of what is ignored, converted and left out; before the checkout, which goes by them."""
    made = survey(path)
    if made is None:
        raise OperationFailed(f"No git repository at {path}")
    target = made.git_dir / "info"
    try:
        for name in _RULES:
            source = folder.git_dir / "info" / name
            source = source if source.is_file() else folder.common_dir / "info" / name
            if source.is_file():
                target.mkdir(exist_ok=True)
                shutil.copy2(source, target / name)
    except OSError as error:
        raise FileTrouble("copy rules to", target, error.errno, error.strerror or str(error)) from error


async def bring_branches(fresh: Repository, live: Path, primary_branch: str, report: Report) -> None:
    """Make the old clone's other local branches again; one that is damaged there is told."""
    old = Repository(live, fresh.runner)
    listed = await old.git("for-each-ref", "--format=%(refname)", "refs/heads", check=(0, 1, 128))
    wanted = [name for name in text(listed.stdout).split("\n") if name and name != f"refs/heads/{primary_branch}"]
    if not wanted:
        return
    try:
        await bring(
            fresh,
            *("--no-tags", "--no-write-fetch-head", "--recurse-submodules=no", "--end-of-options"),
            *(str(live), *(f"{name}:{name}" for name in wanted)),
            silence=600,
        )
    except CommandFailed as failed:
        report(f"Your other branches could not be made again, they are only in what was saved: {failed}")


def byte_code_of_leaving(live: Path, former: frozenset[bytes], tracked: frozenset[bytes]) -> frozenset[bytes]:
    """What Python made of sources in folders that the new version lacks: it would keep a dead folder alive."""
    base = os.fsencode(live)
    alive = {parent for path in tracked for parent in _folders_of(path)}
    found: set[bytes] = set()
    for folder in {os.path.dirname(path) for path in former} - alive - {b""}:
        cache = os.path.join(folder, b"__pycache__")
        found |= {os.path.join(cache, name) for name in _names(os.path.join(base, cache)) if _is_byte_code(name)}
        beside = {name for name in _names(os.path.join(base, folder)) if _is_byte_code(name)}
        found |= {path for name in beside if (path := os.path.join(folder, name))[:-1] in former}
    return frozenset(found)


def _is_byte_code(name: bytes) -> bool:
    return name.endswith((b".pyc", b".pyo"))


def _folders_of(path: bytes) -> list[bytes]:
    found = []
    while path := os.path.dirname(path):
        found.append(path)
    return found


def _names(folder: bytes) -> list[bytes]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
