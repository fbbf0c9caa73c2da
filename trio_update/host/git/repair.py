"""Mending a clone that lost writes: stale locks, empty objects, broken refs, an unreadable index.

Nothing here touches the work tree, and nothing is removed that holds a byte of content: what goes is of length
zero, or can be made again from what is left (the index).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import trio

from trio_update.errors import OperationFailed
from trio_update.host.files import durable
from trio_update.host.git.command import git_environment
from trio_update.host.git.folder import (
    GitFolder,
    broken_refs,
    clear_leftovers,
    empty_objects,
    last_known,
    survey,
    unlink,
)
from trio_update.host.git.repository import Repository
from trio_update.host.threads import in_thread
from trio_update.progress import Report


async def clear_locks(path: Path) -> tuple[str, ...]:
    """Remove the locks and temporary files of git processes that are gone.  Returns what was removed.

    Raises: OperationFailed when a running process may still need them.
    """
    return await in_thread(_clear_locks, path)


def _clear_locks(path: Path) -> tuple[str, ...]:
    folder = survey(path)
    if folder is None:
        return ()
    removed, holders = clear_leftovers(folder)
    if holders:
        raise OperationFailed(
            f"git works on {path} right now (process {', '.join(map(str, holders))}): try again when it has ended"
        )
    return tuple(str(item.relative_to(path) if item.is_relative_to(path) else item) for item in removed)


async def restore_refs(path: Path, branch: str | None, commit: str) -> None:
    """Make HEAD readable again and lead to ``commit``, when a power cut left it, or its branch, without content."""
    await in_thread(_restore_refs, path, branch, commit)


def _restore_refs(path: Path, branch: str | None, commit: str) -> None:
    folder = survey(path)
    if folder is None:
        raise OperationFailed(f"No git repository at {path}: it was there when the update began")
    for ref in broken_refs(folder):
        if branch is not None and ref == folder.common_dir / "refs" / "heads" / branch:
            durable.write_atomically(ref, f"{commit}\n".encode())
        elif ref.is_relative_to(folder.common_dir / "refs" / "remotes"):
            unlink(ref)  # the next fetch brings it back
    wanted = f"ref: refs/heads/{branch}\n" if branch is not None else f"{commit}\n"
    if (folder.branch, folder.head) == (None, None) or folder.branch != branch:
        durable.write_atomically(folder.git_dir / "HEAD", wanted.encode())


async def drop_index(path: Path) -> None:
    """Forget what git believes of the files, so that the next reset writes every one of them again."""
    folder = await in_thread(survey, path)
    if folder is not None:
        await in_thread(unlink, folder.git_dir / "index")


async def repair(
    repository: Repository, *, url: str, primary_branch: str, stage: Path, known_head: str | None, report: Report
) -> tuple[str, ...] | None:
    """Mend what a power cut does to a clone.

    Returns what was done: nothing, if nothing was found to be wrong; ``None`` when it did not help.

    ``stage``: a path beside the clone for fetching into; removed at the end.

    Raises: OperationFailed when the remote cannot be asked or the disk is full.
    """
    folder = await in_thread(survey, repository.path)
    if folder is None:
        return None
    await clear_locks(repository.path)
    done = await in_thread(_mend_refs, folder, primary_branch, known_head)
    if not folder.index_whole:
        # The work tree stays as it is and is compared by content from then on.
        await drop_index(repository.path)
    empty = await in_thread(empty_objects, folder)
    if empty:
        await _trash(empty)
        done.append(f"{len(empty)} empty objects")
    if not await is_connected(repository):
        await _fetch_again(repository, folder, url, stage, report)
        done.append("fetched all objects again")
        if not await is_connected(repository):
            return None
    if not folder.index_whole:
        await repository.git("read-tree", "HEAD")
        done.append("the index")
    return tuple(done)


def _mend_refs(folder: GitFolder, primary_branch: str, known_head: str | None) -> list[str]:
    done = []
    if (folder.branch, folder.head) == (None, None):
        durable.write_atomically(folder.git_dir / "HEAD", f"ref: refs/heads/{primary_branch}\n".encode())
        done.append("HEAD")
    for ref in broken_refs(folder):
        name = ref.relative_to(folder.common_dir).as_posix()
        checked_out = name == f"refs/heads/{folder.branch or primary_branch}"
        commit = last_known(folder, name) or (known_head if checked_out else None)
        if commit is not None:
            durable.write_atomically(ref, f"{commit}\n".encode())
        else:
            unlink(ref)
        done.append(name)
    return done


async def _trash(paths: list[Path]) -> None:
    for path in paths:
        await in_thread(unlink, path)


async def is_connected(repository: Repository) -> bool:
    """Whether everything that HEAD and the refs lead to is there."""
    done = await repository.git(
        "fsck", "--connectivity-only", "--no-dangling", "--no-progress", check=range(256), timeout=600
    )
    return done.returncode == 0


async def _fetch_again(repository: Repository, folder: GitFolder, url: str, stage: Path, report: Report) -> None:
    """Bring every object of the remote into a repository of its own, and its packs from there.

    Not by a fetch in the damaged clone: it would tell the server that it has the missing objects, and check
    its own broken refs first.
    """
    if not url:
        raise OperationFailed(f"{repository.path} lacks objects and has no remote to fetch them from")
    try:
        await repository.runner.run(["git", "init", "--quiet", "--bare", str(stage)], env=git_environment(stage))
        fresh = Repository(stage, repository.runner)
        await fresh.git(
            "-c",
            "fetch.unpackLimit=1",
            "fetch",
            "--progress",
            "--no-recurse-submodules",
            "--end-of-options",
            url,
            "+refs/*:refs/*",
            options=(("core.fsync", "all"),),
            on_line=report,
            silence=60,
            timeout=None,
        )
        await in_thread(_take_packs, stage / "objects" / "pack", folder.common_dir / "objects" / "pack")
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 30):
            await in_thread(durable.remove_tree, stage)


def _take_packs(source: Path, target: Path) -> None:
    """Copy packs over, the index of each last: a pack without its index is invisible to git."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in sorted(os.listdir(source), key=lambda name: (name.endswith(".idx"), name)):
            if not (target / name).exists():
                partial_copy = target / f"tmp_pack_{name.replace('.', '_').replace('-', '_')}"
                shutil.copyfile(source / name, partial_copy)
                partial_copy.chmod(0o444)
                partial_copy.replace(target / name)
    except OSError as error:
        raise durable.trouble("copy fetched objects to", target, error) from error
    durable.sync_filesystem(target)
