"""Bringing objects and refs into a clone: one at a time for each store, past the locks of commands that are gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from trio_update.errors import CommandFailed
from trio_update.host.git.command import SILENCE, TRANSFER, explain, git_argv, git_environment
from trio_update.host.git.folder import GitFolder, clear_leftovers
from trio_update.host.git.lanes import alone
from trio_update.host.git.repository import Repository
from trio_update.host.git.why import tells_of_lock
from trio_update.host.processes.runner import Runner
from trio_update.host.processes.strays import describe_processes
from trio_update.host.threads import in_thread
from trio_update.progress import Report


async def bring(
    repository: Repository,
    *arguments: str,
    options: Sequence[tuple[str, str]] = (),
    environ: Mapping[str, str] | None = None,
    report: Report | None = None,
    silence: float = SILENCE,
    stdin: bytes = b"",
) -> None:
    """``git fetch`` with ``arguments``: every fetch is this one.  Ended when git is silent for ``silence`` seconds.

    One at a time for all work trees of a repository.  A lock that a git process left which is gone is removed, and
    the fetch begins again.

    Raises: CommandFailed, CommandSilent; OperationFailed when there is no repository.
    """
    run = partial(
        repository.git,
        "fetch",
        "--progress",
        *arguments,
        options=(*TRANSFER, *options),
        environ=environ,
        on_line=report,
        silence=silence,
        timeout=None,
        stdin=stdin,
    )
    folder = await repository.folder()
    async with alone(folder.common_dir):
        try:
            await run()
        except CommandFailed as failed:
            if not tells_of_lock(failed.output):
                raise
            await _clear_locks(folder, failed)
            await run()


async def _clear_locks(folder: GitFolder, failed: CommandFailed) -> None:
    """Raises ``failed`` again, with the processes that may hold the lock, if there are any."""
    removed, holders = await in_thread(clear_leftovers, folder)
    if holders:
        told = await in_thread(describe_processes, holders)
        raise CommandFailed(failed.argv, failed.returncode, f"{failed.output} {told}")
    if not removed:
        raise failed


async def fetch(
    repository: Repository,
    remote: str,
    *,
    refspecs: Sequence[str] = (),
    refmap: str | None = None,
    tags: bool = True,
    submodules: bool = False,
    report: Report | None = None,
    silence: float = SILENCE,
) -> None:
    """Bring what ``refspecs`` name, pruning what they cover; raises as :func:`bring` does.

    ``refmap``: a refspec for the clone's own remote-tracking refs in the place of its configured ones, empty for none.
    ``tags`` False: of the clone's own tags none is made.
    """
    await bring(
        repository,
        "--force",
        "--prune",
        *(["--no-tags"] if not tags else []),
        *([f"--refmap={refmap}"] if refmap is not None else []),
        f"--recurse-submodules={'yes' if submodules else 'no'}",
        "--end-of-options",
        remote,
        *refspecs,
        report=report,
        silence=silence,
    )


async def bring_blobs(repository: Repository, remote: str, old: str, new: str, report: Report | None) -> None:
    """Fetch, in one go, the contents that a ``blob:none`` clone may lack for going from ``old`` to ``new``.

    Without this the checkout would go to the network in the middle of the switch.  A fetch of each object by its
    name is what git does then too, but silently: here its progress is seen, and a remote that hangs is noticed.
    Raises as :func:`bring` does.
    """
    differences = (await repository.differences(old, new)).values()
    wanted = {found.object for found in differences if not found.is_submodule and found.object.strip("0")}
    if not wanted:
        return
    await bring(
        repository,
        "--no-tags",
        "--no-write-fetch-head",
        "--recurse-submodules=no",
        "--filter=blob:none",
        "--stdin",
        "--end-of-options",
        remote,
        options=(("fetch.negotiationAlgorithm", "noop"),),
        stdin="".join(f"{name}\n" for name in sorted(wanted)).encode(),
        report=report,
    )


async def delete_refs(repository: Repository, *names: str) -> None:
    """Delete those of the refs that there are, in one transaction; symbolic ones themselves.

    Alone, as a fetch is: the list of packed refs is written anew for it.  Raises as :func:`bring` does.
    """
    if not names:
        return
    lines = "".join(f"option no-deref\ndelete {name}\n" for name in names)
    async with alone((await repository.folder()).common_dir):
        await repository.git("update-ref", "--stdin", stdin=lines.encode("utf-8", "surrogateescape"))


async def clone(
    runner: Runner,
    url: str,
    target: Path,
    *,
    branch: str,
    remote: str = "origin",
    arguments: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    report: Report | None,
) -> Repository:
    """Clone ``url`` into ``target``, which must not exist; nothing is checked out yet."""
    try:
        await runner.run(
            git_argv(
                TRANSFER,
                (
                    "clone",
                    "--progress",
                    "--no-checkout",
                    "--no-recurse-submodules",
                    f"--origin={remote}",
                    f"--branch={branch}",
                    *arguments,
                    "--end-of-options",
                    url,
                    str(target),
                ),
            ),
            cwd=target.parent,
            env=git_environment(target) | dict(environ or {}),
            on_line=report,
            silence=SILENCE,
        )
    except CommandFailed as failed:
        raise explain(failed, url, target.parent) from None
    return Repository(target, runner)
