"""Saving commits before nothing leads to them any more: as bundles, unpacked once before they count."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from trio_update.errors import CommandFailed, OperationFailed
from trio_update.host.files import durable
from trio_update.host.git.command import SILENCE, git_environment
from trio_update.host.git.folder import GitFolder, survey, unlink
from trio_update.host.git.output import lines, text
from trio_update.host.git.patches import PATIENCE, scratch_index
from trio_update.host.git.repository import Repository
from trio_update.host.git.saving import SHALLOW, Folder, apply_command
from trio_update.host.threads import in_thread

# Where an unfinished operation keeps what belongs to no branch yet.
_UNFINISHED = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD", "ORIG_HEAD")
_LISTED = 500


async def save_commits(
    repository: Repository, *, tips: Sequence[str], known: Sequence[str], folder: Folder, name: str = "commits"
) -> tuple[str, ...]:
    """Save the commits of ``tips`` (names of refs; those that are missing are passed over) that no remote has.

    ``known``: more names of commits that stay, what they lead to needs no saving.  ``folder`` makes and returns the
    place, and is called only if there is something to save: a bundle ``name``.bundle, and a text that says what is in
    it and how it comes back.

    Returns: sentences that tell the user what is where.

    Raises: OperationFailed when the commits could not be saved whole: nothing may be thrown away.
    """
    there = [tip for tip in dict.fromkeys(tips) if await repository.resolve(tip) is not None]
    if not there:
        return ()
    kept = ("--not", "--remotes", *known)
    count = int((await repository.git("rev-list", "--count", *there, *kept)).stdout)
    if not count:
        return ()
    place = await folder()
    bundle = place / f"{name}.bundle"
    # Only what stays for certain is left out: a branch of the remote may be gone when the bundle is needed.
    await _write_bundle(repository, bundle, (*there, "--not", *(known or ("--remotes",))))
    listed = await repository.git("log", "--oneline", f"--max-count={_LISTED}", *there, *kept)
    heads = [text(line).partition(" ") for line in lines(await _heads(repository, bundle))]
    words = _instructions(bundle, [(commit, ref) for commit, _, ref in heads], text(listed.stdout))
    await in_thread(durable.write_atomically, place / f"{name}.txt", words.encode())
    return (
        f"{count} local commits were saved in {bundle}, get them back as `git log FETCH_HEAD` after: "
        f"{_fetch_command(bundle, heads[0][2])} (see {place / f'{name}.txt'})",
    )


async def _write_bundle(repository: Repository, bundle: Path, commits: Sequence[str]) -> None:
    """Raises: OperationFailed, and no file is left, when it is not whole."""
    try:
        await repository.git(
            *("bundle", "create", "--progress", str(bundle), *commits),
            on_line=_ignore,
            silence=10 * SILENCE,
            timeout=PATIENCE,
        )
        await _expect_whole(repository, bundle)
        await in_thread(durable.sync_filesystem, bundle.parent)
    except BaseException:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
            await in_thread(unlink, bundle)
        raise


def local_tips(branch: str | None) -> tuple[str, ...]:
    """What may lead to commits of the user's when ``branch`` is put back: HEAD, the branch, unfinished operations."""
    return ("HEAD", *((f"refs/heads/{branch}",) if branch else ()), *_UNFINISHED)


async def save_stashes(repository: Repository, folder: Folder) -> tuple[str, ...]:
    """Save every stash as a patch, its untracked files included.

    Not as a bundle: that would hold the newest only, the others are known to the log of their ref alone.

    Raises: OperationFailed when one could not be saved.
    """
    if await repository.resolve("refs/stash") is None:
        return ()
    done = await repository.git("log", "--walk-reflogs", "-z", "--format=tformat:%H", "refs/stash")
    stashes = [text(item) for item in done.stdout.split(b"\0") if item]
    for number, commit in enumerate(stashes):
        await _save_stash(repository, commit, await folder() / f"stash-{number}.patch")
    if not stashes:
        return ()
    return (
        f"Your {len(stashes)} stashes were saved, apply them again with: {apply_command(await folder())}/stash-N.patch",
    )


async def _save_stash(repository: Repository, commit: str, patch: Path) -> None:
    async with scratch_index(repository, commit) as scratch:
        names = await scratch.names("diff-tree", "-r", "-z", "--name-only", *SHALLOW, f"{commit}^1", commit)
        written = await scratch.write_patch(patch, "diff-tree", f"{commit}^1", commit)
        if names and not (written and await scratch.applies_backwards(patch, names, cached=True)):
            raise _does_not_apply(commit)
    if await repository.resolve(f"{commit}^3") is None:
        return
    untracked = patch.with_name(f"{patch.name}.untracked")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(in_thread, durable.remove_tree, untracked)
        scratch = await stack.enter_async_context(scratch_index(repository, f"{commit}^3"))
        empty = text((await scratch.git("hash-object", "-t", "tree", "--stdin")).stdout).strip()
        names = await scratch.names("ls-files", "-z")
        written = await scratch.write_patch(untracked, "diff-tree", empty, f"{commit}^3")
        if names and not (written and await scratch.applies_backwards(untracked, names, cached=True)):
            raise _does_not_apply(commit)
        if written:
            await in_thread(_append, untracked, patch)


def _does_not_apply(commit: str) -> OperationFailed:
    return OperationFailed(
        f"stash {commit[:8]} could not be saved as a patch that applies again, so nothing was changed: keep it as a "
        f"branch with `git branch stash-{commit[:8]} {commit[:8]}`, drop the stash, and try again"
    )


def _append(source: Path, target: Path) -> None:
    with durable.translated("write", target), open(source, "rb") as read, open(target, "ab") as write:
        shutil.copyfileobj(read, write)
        write.flush()
        os.fsync(write.fileno())


async def _expect_whole(repository: Repository, bundle: Path) -> None:
    """Unpack a bundle beside it, with the repository's objects to build on: every byte and object is looked at."""
    folder = await in_thread(survey, repository.path)
    if folder is None:
        raise OperationFailed(f"No git repository at {repository.path}")
    form = text((await repository.git("rev-parse", "--show-object-format")).stdout).strip()
    trial = bundle.with_name(f".{bundle.name}.trial")
    try:
        await in_thread(durable.remove_tree, trial)
        await repository.runner.run(
            ["git", "init", "--quiet", "--bare", f"--object-format={form}", "--template=", str(trial)],
            env=git_environment(trial),
        )
        await in_thread(_borrow, folder, trial)
        await Repository(trial, repository.runner).git(
            "bundle", "unbundle", str(bundle), on_line=_ignore, timeout=PATIENCE
        )
    except CommandFailed as failed:
        raise OperationFailed(
            f"the local commits could not be saved whole in {bundle}, so nothing was changed: {failed.output}. Push "
            "or copy them elsewhere and try again"
        ) from failed
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 30):
            await in_thread(durable.remove_tree, trial)


def _borrow(folder: GitFolder, trial: Path) -> None:
    with durable.translated("prepare", trial):
        (trial / "objects" / "info").mkdir(parents=True, exist_ok=True)

        (trial / "objects" / "info" / "alternates").write_bytes(os.fsencode(folder.common_dir / "objects") + b"\n")
        if (folder.common_dir / "shallow").exists():
            shutil.copyfile(folder.common_dir / "shallow", trial / "shallow")


async def _heads(repository: Repository, bundle: Path) -> bytes:
    return (await repository.git("bundle", "list-heads", str(bundle))).stdout


def _fetch_command(bundle: Path, ref: str) -> str:
    return f"git fetch {shlex.quote(str(bundle))} {shlex.quote(ref)}"


def _instructions(bundle: Path, heads: Sequence[tuple[str, str]], listed: str) -> str:
    parts = [
        f"{bundle.name} holds local commits, as git-bundle(1) describes.",
        "In a clone of the project, each of these makes a branch of what it names:",
        "",
    ]
    for commit, ref in heads:
        branch = f"saved-{ref.removeprefix('refs/heads/').replace('/', '-').lower()}-{commit[:8]}"
        parts.append(f"    {_fetch_command(bundle, f'{ref}:refs/heads/{branch}')}")
    return "\n".join([*parts, "", "The commits, newest first:", "", listed])


def _ignore(_: str) -> None:
    """Progress is made only to tell a hang from work."""
