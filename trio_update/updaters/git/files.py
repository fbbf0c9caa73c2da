"""Bringing a work tree to a commit by writing only what is not right in it."""

from __future__ import annotations

import os
from pathlib import Path

from trio_update.errors import FileTrouble, OperationFailed
from trio_update.host.git.contents import hidden
from trio_update.host.git.folder import survey
from trio_update.host.git.output import text
from trio_update.host.git.repair import drop_index
from trio_update.host.git.repository import Repository
from trio_update.host.git.submodules import leads_away, prune
from trio_update.host.threads import in_thread


async def put_files_back(repository: Repository, old: str, new: str, *, hides: bool) -> None:
    """Bring index and files from ``new``, or from anywhere between, back to ``old``, writing only what is not right.

    A file that differs between the two is judged by its content, all others by what the index knows of them.
    ``hides``: the index has entries that the user hid from git, and which stay as they are.
    """
    # Without the new commit it is not known which files it touched: with no index all of them are read.
    known = await repository.resolve(new) is not None
    if not known or await index_is_unreadable(repository.path):
        await drop_index(repository.path)
    await repository.git("read-tree", "--reset", old)
    concealed = frozenset(await hidden(repository)) if hides else frozenset[bytes]()
    differ = await repository.differences(new, old) if known else {}
    entries = b"".join(
        f"{found.mode} {found.object}\t".encode() + path + b"\0"
        for path, found in differ.items()
        if found.kind != "D" and path not in concealed
    )
    # An entry without the times of its file: git has to read that to know what is in it.
    await repository.git("update-index", "-z", "--index-info", stdin=entries)
    await compare_contents(repository)
    await repository.reset(old)


async def compare_contents(repository: Repository) -> None:
    """Let the index know which of the files that it has no times of are right, so that those are not written again."""
    await repository.git("update-index", "-q", "--refresh", check=(0, 1))


async def index_is_unreadable(path: Path) -> bool:
    folder = await in_thread(survey, path)
    return folder is None or not folder.index_whole


def remove_files(root: Path, names: tuple[bytes, ...]) -> None:
    """Remove files that only the abandoned commit had, and the folders that this leaves empty."""
    folder = survey(root)
    if folder is None:
        raise OperationFailed(f"No git repository at {root}")
    base = os.fsencode(root)
    for name in names:
        path = os.path.join(base, name)
        if leads_away(base, path):
            continue
        try:
            if os.path.lexists(path) and not (os.path.isdir(path) and not os.path.islink(path)):
                os.unlink(path)
            prune(base, os.path.dirname(path))
        except OSError as error:
            raise FileTrouble("remove", text(path), error.errno, error.strerror or str(error)) from error
