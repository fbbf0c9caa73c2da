"""What in a work tree is really changed, by its bytes: git itself goes by times, attributes and marks of the index."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import trio

from trio_update.host.git.folder import copy_index, unlink
from trio_update.host.git.output import WorkTree, lines, read_status, text
from trio_update.host.git.repository import Repository
from trio_update.host.threads import in_thread


async def status(repository: Repository) -> WorkTree:
    """``git status``, with what is modified inside of submodules, and without what only seems so.  Raises as git."""
    done = await repository.git(
        "status",
        "--porcelain=v2",
        "--branch",
        "-z",
        "--untracked-files=all",
        "--no-renames",
        "--ignore-submodules=untracked",
    )
    tree = read_status(done.stdout)
    modified = [found for path in tree.modified for found in await _modified_inside(repository, path)]
    return replace(tree, modified=await _really_modified(repository, tuple(modified)))


async def _really_modified(repository: Repository, paths: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Without files that are byte for byte what HEAD and the index have.

    git takes a file for changed that its attributes would commit with other line ends, and no reset mends that.
    """
    modes = await in_thread(_modes_of, repository.path, paths)
    if not modes:
        return paths
    done = await repository.git(
        *("hash-object", "--no-filters", "--stdin-paths"),
        stdin=b"".join(path + b"\n" for path in modes),
        check=(0, 128),
    )
    if done.returncode != 0:
        return paths  # one that cannot be read, or went just now
    hashes = dict(zip(modes, text(done.stdout).split(), strict=True))
    staged = await repository.git("ls-files", "--stage", "-z")
    head = await repository.git("ls-tree", "-r", "-z", "--full-tree", "HEAD", check=(0, 128))
    in_index, in_head = _listed(staged.stdout, 1), _listed(head.stdout, 2)
    same = {path for path, found in hashes.items() if in_index.get(path) == in_head.get(path) == (modes[path], found)}
    return tuple(path for path in paths if path not in same)


def _modes_of(root: Path, paths: Sequence[bytes]) -> dict[bytes, str]:
    """git's modes of the files among ``paths`` whose names git can be given line by line."""
    found = {}
    for path in paths:
        try:
            mode = os.lstat(os.path.join(os.fsencode(root), path)).st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) and b"\n" not in path:
            found[path] = "100755" if mode & stat.S_IXUSR else "100644"
    return found


def _listed(raw: bytes, hash_at: int) -> dict[bytes, tuple[str, str]]:
    """Mode and hash by path, as ``ls-files --stage`` and ``ls-tree`` list them."""
    items = (item.partition(b"\t") for item in raw.split(b"\0") if item)
    return {path: (text(about.split(b" ")[0]), text(about.split(b" ")[hash_at])) for about, _, path in items}


async def _modified_inside(repository: Repository, path: bytes) -> list[bytes]:
    """Of a submodule what is modified in it, when that is all that makes it so; of anything else itself."""
    place = repository.path / os.fsdecode(path)
    if not await in_thread((place / ".git").exists):
        return [path]
    named = await repository.git(
        *("diff", "--quiet", "--no-ext-diff", "--ignore-submodules=dirty", "HEAD", "--", os.fsdecode(path)),
        environ={"GIT_LITERAL_PATHSPECS": "1"},
        check=(0, 1, 128),
    )
    inside = await status(Repository(place, repository.runner))
    found = [path + b"/" + name for name in inside.modified]
    return found if found and named.returncode == 0 else [path, *found]


async def hidden(repository: Repository) -> tuple[bytes, ...]:
    """Paths whose changes ``git status`` would not show (``assume-unchanged``, ``skip-worktree``)."""
    done = await repository.git("ls-files", "-v", "-z")
    return tuple(item[2:] for item in done.stdout.split(b"\0") if item and (item[:1].islower() or item[:1] == b"S"))


async def changed_in_hiding(repository: Repository) -> tuple[str, ...]:
    """Names of ``assume-unchanged`` files that were changed all the same: ``reset --hard`` overwrites them.

    Asked of a copy of the index, because asking updates it.
    """
    index = await in_thread(copy_index, repository.path)
    try:
        done = await repository.git(
            "update-index", "--really-refresh", check=(0, 1), environ={"GIT_INDEX_FILE": str(index)}
        )
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
            await in_thread(unlink, index)
    told = (text(line) for line in lines(done.stdout))
    return tuple(line.removesuffix(": needs update") for line in told if line.endswith(": needs update"))
