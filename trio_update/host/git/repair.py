"""Mending a clone that lost writes: stale locks, empty objects, broken refs, an unreadable index.

Nothing here touches the work tree, and nothing is removed that holds a byte of content: what goes is of length
zero, or can be made again from what is left (the index).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import trio

from trio_update.errors import CommandFailed, OperationFailed
from trio_update.host.files import durable
from trio_update.host.git.command import git_environment, tells_no_access
from trio_update.host.git.damage import lost_packs
from trio_update.host.git.folder import GitFolder, broken_refs, clear_leftovers, survey, unlink
from trio_update.host.git.lanes import alone
from trio_update.host.git.mend import mend_files, object_format, remove_bisection
from trio_update.host.git.output import lines, text
from trio_update.host.git.repository import Repository
from trio_update.host.git.transfer import fetch
from trio_update.host.threads import in_thread
from trio_update.progress import Report

FSCK_PATIENCE = 600.0

_BROKEN_LINK = re.compile(r"broken link from commit ([0-9a-f]{40,64}) to commit [0-9a-f]{40,64}")
_NO_FAULT = re.compile(
    r"error: refs/remotes/\S+/HEAD: invalid sha1 pointer 0+$|notice: |warning: |dangling |unreachable |"
    r"error: .*: invalid reflog entry |Checking "
)


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
    """Mend what a power cut does to a clone, by what its logs, ``known_head`` and the configuration still know.

    Returns what was done: nothing, if nothing was found to be wrong; ``None`` when it did not help.

    ``stage``: a path beside the clone for fetching into; removed at the end.

    Raises: OperationFailed when the remote cannot be asked or the disk is full.
    """
    folder = await in_thread(survey, repository.path)
    if folder is None:
        return None
    async with alone(folder.common_dir):
        await clear_locks(repository.path)
        done = await in_thread(mend_files, folder, url, primary_branch, known_head)
        for pack in (await in_thread(lost_packs, folder.common_dir))[1]:
            await repository.git("index-pack", str(pack))
            done.append(f"the index of {pack.name}")
    if not folder.index_whole:
        # The work tree stays as it is and is compared by content from then on.
        await drop_index(repository.path)
    if not await _connect(repository, folder, url, stage, done, report):
        return None
    if "packed-refs" in folder.lost:
        await _fetch_refs(repository, folder, report)
    if await repository.resolve("HEAD") is not None and not await in_thread(_has_index, folder):
        await repository.git("read-tree", "HEAD")
        done.append("the index")
    return tuple(done)


async def _connect(
    repository: Repository, folder: GitFolder, url: str, stage: Path, done: list[str], report: Report
) -> bool:
    """Bring back what HEAD and the refs lead to and is not there; from the remote only if nothing else helps."""
    faults = await find_faults(repository)
    if faults and "shallow" in folder.lost and (ends := _ends_of_history(faults)):
        # Where the history was cut off is where commits name parents that never came.
        await in_thread(durable.write_atomically, folder.common_dir / "shallow", ends)
        done.append("where the history begins")
        faults = await find_faults(repository)
    if faults and folder.index_whole and not await find_faults(repository, index=False):
        # Only what the user staged is missing: the files themselves are in the work tree.
        await drop_index(repository.path)
        faults = ()
    if not faults:
        return True
    await _fetch_again(repository, folder, url, stage, report)
    done.append("fetched all objects again")
    return await is_connected(repository)


async def _fetch_refs(repository: Repository, folder: GitFolder, report: Report) -> None:
    """Branches and tags of the remote were in a list that is lost.  Where it cannot be asked, the next fetch is."""
    try:
        remotes = (await repository.settings(folder)).remotes()
        if remote := "origin" if "origin" in remotes else next(iter(remotes), None):
            await fetch(repository, remote, report=report)
    except OperationFailed as failed:
        report(f"The remote's branches and tags are fetched later: {failed}")


def _has_index(folder: GitFolder) -> bool:
    return (folder.git_dir / "index").exists()


def _ends_of_history(faults: Sequence[str]) -> bytes:
    links = (_BROKEN_LINK.fullmatch(fault) for fault in faults)
    return b"".join(sorted({f"{link[1]}\n".encode() for link in links if link is not None}))


async def is_connected(repository: Repository) -> bool:
    """Whether everything that HEAD and the refs lead to is there."""
    return not await find_faults(repository)


async def find_faults(repository: Repository, *, index: bool = True) -> tuple[str, ...]:
    """What git itself finds missing or broken, one sentence each: nothing, if the clone is whole.

    A ``refs/remotes/*/HEAD`` that leads nowhere is none: it remains wherever a project renamed its branch.  Nor are
    entries of logs whose commits are gone.
    """
    environ = {} if index else {"GIT_INDEX_FILE": os.devnull}
    done = await repository.git(
        *("fsck", "--connectivity-only", "--no-dangling", "--no-reflogs", "--no-progress"),
        check=range(256),
        environ=environ,
        timeout=FSCK_PATIENCE,
    )
    if done.returncode == 0:
        return ()
    # "broken link from  commit X" goes on in the next line: "              to  commit Y".
    said = re.sub(rb"\n +to +", b" to ", done.stdout + b"\n" + done.stderr)
    told = (" ".join(text(line).split()) for line in lines(said))
    faults = tuple(line for line in told if line and not _NO_FAULT.match(line))
    ours = {0, 2, 8, 10}  # statuses that dangling pointers of remotes lead to, see fsck's source: reachable, refs
    return faults or (() if done.returncode in ours else (f"git fsck ended with status {done.returncode}",))


async def is_sound(repository: Repository) -> bool:
    """Whether the clone itself, with the submodules that are checked out in it, is whole.

    Asked of it, and not concluded from words that its remote may have said.
    A clone that cannot be looked into, because of its owner, permissions or the disk, is not called broken.
    """
    folder = await in_thread(survey, repository.path)
    if folder is None or folder.lost or not folder.index_whole or (folder.branch, folder.head) == (None, None):
        return False
    if await in_thread(broken_refs, folder):
        return False
    try:
        await repository.git("for-each-ref", stdout_sink=_nothing)
        index = await repository.git("ls-files", "--stage", "-z")
        whole = await is_connected(repository)
    except CommandFailed as failed:
        return tells_no_access(failed.output) or failed.returncode < 0
    # Not by ``git status``, which fails as well where a filter of the user's configuration does.
    links = (item.partition(b"\t")[2] for item in index.stdout.split(b"\0") if item.startswith(b"160000 "))
    places = [repository.path / os.fsdecode(path) for path in links]
    checked_out = [place for place in places if await in_thread(os.path.lexists, place / ".git")]
    return whole and all([await is_sound(Repository(place, repository.runner)) for place in checked_out])


def _nothing(_: bytes) -> None:
    """Only whether it can be read is asked."""


async def end_unfinished(repository: Repository) -> None:
    """End what the user began and did not end (rebase, am, bisect, cherry-pick, revert); HEAD and files stay.

    A merge needs none: whatever moves the branch ends it.
    """
    for operation in ("rebase", "am", "cherry-pick", "revert"):
        # --quit keeps HEAD and turns an autostash into a stash; it fails when there is nothing to end.
        await repository.git(operation, "--quit", check=range(256))
    if await in_thread(os.path.lexists, await _git_path(repository, "BISECT_LOG")):
        # Without a commit it would check out where the bisection began.
        await repository.git("bisect", "reset", "HEAD", check=range(256))
        await in_thread(remove_bisection, await _git_path(repository, ""))


async def _git_path(repository: Repository, name: str) -> Path:
    folder = await in_thread(survey, repository.path)
    return (folder.git_dir if folder is not None else repository.path / ".git") / name


async def _fetch_again(repository: Repository, folder: GitFolder, url: str, stage: Path, report: Report) -> None:
    """Bring every object of the remote into a repository of its own, and its packs from there.

    Not by a fetch in the damaged clone: it would tell the server that it has the missing objects, and check
    its own broken refs first.
    """
    if not url:
        raise OperationFailed(f"{repository.path} lacks objects and has no remote to fetch them from")
    try:
        form = await in_thread(object_format, folder.common_dir)
        await repository.runner.run(
            ["git", "init", "--quiet", "--bare", f"--object-format={form}", str(stage)], env=git_environment(stage)
        )
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
        async with alone(folder.common_dir):
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
