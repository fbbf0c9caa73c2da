"""Saving what is in a work tree before it is thrown away.

A patch wherever one can be made that applies again, for that is what people can read; whole copies where not, and of
untracked files in the way.  What was saved is compared with what is there before it counts.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import shlex
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from trio_update.errors import CommandFailed, CommandSilent, OperationFailed
from trio_update.host.files import durable
from trio_update.host.git.output import text
from trio_update.host.git.patches import Scratch, copied_index, scratch_index
from trio_update.host.git.repository import Repository
from trio_update.host.threads import in_thread

Folder = Callable[[], Awaitable[Path]]
_NAMED = 5
# For a list of names that is the same whatever the configuration says.
SHALLOW = ("--ignore-submodules=all", "-O/dev/null", "--no-relative", "--no-renames", "--no-ext-diff", "--no-textconv")


def apply_command(patch: Path) -> str:
    """What a user types to get a patch of ours back, whatever the configuration says about blanks."""
    return f"git apply --whitespace=nowarn {shlex.quote(str(patch))}"


@dataclass(frozen=True)
class _Entry:
    """A path of an index: what its content is called there."""

    mode: bytes
    object: str


async def save_changes(
    repository: Repository, *, base: str | None, goal: str | None, folder: Folder, git_dir: Path | None = None
) -> tuple[str, ...]:
    """Save what differs from commit ``base`` in the work tree, and what going to ``goal`` overwrites.

    ``base`` is ``None`` where there is no commit: every file is the user's then.  ``folder`` makes and returns the
    place for it, and is called only if there is something to save.  ``git_dir``: where the work tree's own repository
    is not to be trusted, one that has both commits.

    Returns: sentences that tell the user what is where, and how it comes back.

    Raises: OperationFailed when something could not be saved, or does not apply again: nothing may be thrown away.
    """
    notes: list[str] = []
    async with scratch_index(repository, base, git_dir=git_dir) as scratch:
        await _match_the_users_index(scratch, repository, own=git_dir is None)
        goals = await repository_names(scratch, goal)
        tracked = await scratch.names("ls-files", "-z")
        blocked = await in_thread(_out_of_place, repository.path, tracked)
        if blocked:
            # Pure deletions: what stands in their place is untracked, and saved as such if it is in the way.
            await scratch.git("update-index", "--force-remove", "-z", "--stdin", stdin=_joined(blocked))
        notes += await _save_tracked(scratch, folder, deletions=git_dir is None)
        in_the_way = await in_thread(_in_the_way, repository.path, goals, tracked - blocked)
    if in_the_way and goal is not None:
        async with scratch_index(repository, goal, git_dir=git_dir) as there:
            same = await _unchanged(there, in_the_way)
        notes += await _copy(repository.path, in_the_way - same, folder, "untracked", _UNTRACKED)
    if git_dir is None and base is not None:
        notes += await _save_staged(repository, base, folder)
    return tuple(notes)


async def repository_names(scratch: Scratch, commit: str | None) -> frozenset[bytes]:
    """Every file of a commit that the repository behind an index has."""
    if commit is None:
        return frozenset()
    done = await scratch.git("ls-tree", "-r", "-z", "--end-of-options", commit)
    entries = (item.partition(b"\t") for item in done.stdout.split(b"\0") if item)
    return frozenset(path for entry, _, path in entries if not entry.startswith(b"160000 "))


async def _match_the_users_index(scratch: Scratch, repository: Repository, *, own: bool) -> None:
    """Know what the user staged as new, and what a sparse checkout leaves out; a broken index knows neither."""
    if not own:
        return
    try:
        listed = (await repository.git("ls-files", "-v", "-z")).stdout.split(b"\0")
    except CommandFailed:
        return
    known = await scratch.names("ls-files", "-z")
    items = {item[2:]: item[:1] for item in listed if item}
    sparse = [path for path, tag in items.items() if tag in b"Ss" and path in known]
    absent = await in_thread(_absent, repository.path, sparse)
    if absent:
        await scratch.git("update-index", "--skip-worktree", "-z", "--stdin", stdin=_joined(absent))
    added = await in_thread(_plain_files, repository.path, [path for path in items if path not in known])
    if added:
        await scratch.git(
            *("add", "--intent-to-add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul"),
            stdin=_joined(added),
        )


async def _save_tracked(scratch: Scratch, folder: Folder, *, deletions: bool) -> list[str]:
    wanted = () if deletions else ("--diff-filter=d",)
    try:
        names = await scratch.names("diff", "--name-only", "-z", *SHALLOW, *wanted)
        if not names:
            return []
        patch = await folder() / "changes.patch"
        if await scratch.write_patch(patch, "diff", *wanted) and await scratch.applies_backwards(patch, names):
            return [f"Your local changes were saved, apply them again with: {apply_command(patch)}"]
        await in_thread(durable.remove_tree, patch)
    except (CommandFailed, CommandSilent):
        # A filter that is not installed, or too little memory for comparing: plain copies need neither.
        names = await scratch.names("ls-files", "-z")
    changed = await in_thread(_different, scratch.repository.path, await _entries(scratch), names)
    return await _copy(scratch.repository.path, changed, folder, "changed", _CHANGED)


_CHANGED = "Your local changes do not make a patch that applies again, so whole copies were saved in"
_UNTRACKED = "Untracked files in the way of tracked ones were saved in"


async def _save_staged(repository: Repository, base: str, folder: Folder) -> list[str]:
    """What was staged and then changed again: the work tree has another state of it, or none."""
    try:
        staged = await _names(repository, "diff", "--cached", "--ita-invisible-in-index", *SHALLOW, base)
        again = await _names(repository, "diff", *SHALLOW, "--diff-filter=MDT")
        conflicts = await _names(repository, "diff", *SHALLOW, "--diff-filter=U")
    except (CommandFailed, CommandSilent):
        return []  # the index is broken, or a filter is missing: the work tree's state was saved
    # A path in conflict has no staged state but those of the commits that it is between.
    staged -= conflicts
    if not staged & again:
        return []
    patch = await folder() / "staged.patch"
    async with copied_index(repository) as scratch:
        if not await scratch.write_patch(patch, "diff", "--cached", base):
            return []
        if not await scratch.applies_backwards(patch, staged, cached=True):
            raise OperationFailed(
                f"what you staged in {repository.path} could not be saved as a patch that applies again, so nothing "
                "was changed: commit it, or take it out of the index with `git reset`, and try again"
            )
    return [f"What you had staged was saved too, stage it again with: {apply_command(patch)} --cached"]


async def _names(repository: Repository, *arguments: str) -> frozenset[bytes]:
    done = await repository.git(*arguments, "--name-only", "-z")
    return frozenset(path for path in done.stdout.split(b"\0") if path)


async def _entries(scratch: Scratch) -> dict[bytes, _Entry]:
    done = await scratch.git("ls-files", "--stage", "-z")
    entries = {}
    for item in done.stdout.split(b"\0"):
        if item:
            about, _, path = item.partition(b"\t")
            mode, name, _ = about.split(b" ")
            entries[path] = _Entry(mode, text(name))
    return entries


async def _unchanged(scratch: Scratch, paths: frozenset[bytes]) -> frozenset[bytes]:
    """Those of ``paths`` whose content is byte by byte what the index has."""
    entries = await _entries(scratch)
    known = frozenset(path for path in paths if path in entries)
    return known - await in_thread(_different, scratch.repository.path, entries, known)


async def _copy(root: Path, names: Iterable[bytes], folder: Folder, name: str, why: str) -> list[str]:
    wanted = tuple(sorted(names))
    if not wanted:
        return []
    aside = await folder() / name
    await in_thread(_copy_and_compare, root, wanted, aside)
    return [f"{why} {aside}: {_listed(wanted)}"]


def _copy_and_compare(root: Path, names: tuple[bytes, ...], aside: Path) -> None:
    durable.copy_aside(root, names, aside)
    for name in names:
        original, copy = os.path.join(os.fsencode(root), name), os.path.join(os.fsencode(aside), name)
        with durable.translated("compare with its copy", original):
            if os.path.islink(original):
                same = os.path.islink(copy) and os.readlink(original) == os.readlink(copy)
            else:
                same = filecmp.cmp(original, copy, shallow=False)
        if not same:
            raise OperationFailed(
                f"{text(original)} changed while it was copied to {text(copy)}, so nothing was thrown away: stop what "
                "writes it and try again"
            )


def _listed(names: tuple[bytes, ...]) -> str:
    more = len(names) - _NAMED
    return ", ".join(text(name) for name in names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _joined(names: Iterable[bytes]) -> bytes:
    return b"".join(name + b"\0" for name in names)


def _absent(root: Path, names: list[bytes]) -> list[bytes]:
    return [name for name in names if not os.path.lexists(os.path.join(os.fsencode(root), name))]


def _plain_files(root: Path, names: list[bytes]) -> list[bytes]:
    """Those that are files or links, and not behind a link or a file where a folder should be."""
    base = os.fsencode(root)
    return [name for name in names if _is_file(os.path.join(base, name)) and _blocking(base, name) is None]


def _is_file(path: bytes) -> bool:
    return os.path.islink(path) or os.path.isfile(path)


def _blocking(base: bytes, name: bytes) -> bytes | None:
    """The part of a path that should be a folder and is a link or a file."""
    blocking = None
    while name := os.path.dirname(name):
        full = os.path.join(base, name)
        if os.path.islink(full) or (os.path.lexists(full) and not os.path.isdir(full)):
            blocking = name
    return blocking


def _out_of_place(root: Path, tracked: frozenset[bytes]) -> frozenset[bytes]:
    """Tracked paths where the user has a folder, or that lie behind a link or a file of theirs."""
    base = os.fsencode(root)
    found = set()
    for name in tracked:
        full = os.path.join(base, name)
        if (os.path.isdir(full) and not os.path.islink(full)) or _blocking(base, name) is not None:
            found.add(name)
    return frozenset(found)


def _in_the_way(root: Path, goal: frozenset[bytes], tracked: frozenset[bytes]) -> frozenset[bytes]:
    """Untracked files that writing the paths of ``goal`` would overwrite or remove."""
    base = os.fsencode(root)
    found: set[bytes] = set()
    for name in goal:
        full = os.path.join(base, name)
        if (blocking := _blocking(base, name)) is not None:
            found.add(blocking)
        elif os.path.isdir(full) and not os.path.islink(full):
            below = (os.path.join(top, file) for top, _, files in durable.walk(full) for file in files)
            found.update(os.path.relpath(path, base) for path in below if _is_file(path))
        elif os.path.lexists(full):
            found.add(name)
    return frozenset(found - tracked)


def _different(root: Path, entries: dict[bytes, _Entry], names: Iterable[bytes]) -> frozenset[bytes]:
    """Files whose bytes are not those that an index names; what is not there has nothing to lose."""
    base = os.fsencode(root)
    found = set()
    for name in names:
        full = os.path.join(base, name)
        if _is_file(full) and ((entry := entries.get(name)) is None or _object_name(full, entry) != entry.object):
            found.add(name)
    return frozenset(found)


def _object_name(path: bytes, entry: _Entry) -> str:
    """What git calls a file's content (gitformat-loose-object), without any filter; a changed kind has another."""
    digest = hashlib.new("sha256" if len(entry.object) == 64 else "sha1", usedforsecurity=False)
    link = os.path.islink(path)
    if link != (entry.mode == b"120000"):
        return ""
    with durable.translated("read", path):
        if link:
            target = os.readlink(path)
            digest.update(b"blob %d\0%s" % (len(target), target))
            return digest.hexdigest()
        with open(path, "rb") as file:
            digest.update(b"blob %d\0" % os.fstat(file.fileno()).st_size)
            while piece := file.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()
