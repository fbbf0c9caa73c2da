"""Patches that apply again: made with fixed options, streamed to a file by git, and checked before they count.

Nothing of the user's configuration may change them: a patch without prefixes or context, in colours or of what a
text converter says is one that git itself refuses.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from trio_update.errors import CommandFailed, CommandSilent
from trio_update.host.files import durable
from trio_update.host.git.folder import copy_stamped, survey, unlink
from trio_update.host.git.repository import Repository
from trio_update.host.processes.runner import Completed
from trio_update.host.threads import in_thread

# Hundreds of megabytes are compared and compressed in minutes, on a slow card in many.
PATIENCE = 3600.0

# Submodules are repositories of their own: a patch that names their commits makes `git apply` remove their folders.
_FORM = (
    *("--patch", "--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames"),
    *("--unified=3", "--inter-hunk-context=0", "--src-prefix=a/", "--dst-prefix=b/", "--no-relative"),
    *("--diff-algorithm=myers", "--no-indent-heuristic", "--ws-error-highlight=none", "--ignore-submodules=all"),
    *("-O/dev/null", "--ita-invisible-in-index"),
)


@dataclass(frozen=True)
class Scratch:
    """An index of ours for a repository: the user's own stays as it is, and may be as broken as it likes."""

    repository: Repository
    environ: Mapping[str, str]

    async def git(self, *arguments: str, check: Sequence[int] = (0,), stdin: bytes = b"") -> Completed:
        return await self.repository.git(
            *arguments, environ=self.environ, check=check, stdin=stdin, timeout=PATIENCE, on_line=_ignore
        )

    async def names(self, *arguments: str) -> frozenset[bytes]:
        """Paths that a command prints with ``-z``."""
        done = await self.git(*arguments)
        return frozenset(path for path in done.stdout.split(b"\0") if path)

    async def write_patch(self, target: Path, command: str, *arguments: str) -> bool:
        """The output of git-diff, or of one of its kin, in ``target``; False, and no file, when there is none.

        Raises as :meth:`Repository.git`.
        """
        try:
            await self.git(command, *_FORM, f"--output={target}", *arguments)
            if await in_thread(_size, target):
                await in_thread(_make_durable, target)
                return True
        except BaseException:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                await in_thread(unlink, target)
            raise
        await in_thread(unlink, target)
        return False

    async def applies_backwards(self, patch: Path, names: frozenset[bytes], *, cached: bool = False) -> bool:
        """Whether a patch tells of all of ``names``, and leads to what is there: in the work tree, or in this index."""
        form = ("--reverse", "--binary", "-p1", "--whitespace=nowarn", "--unidiff-zero")
        try:
            await self.git("apply", "--check", *form, *(("--cached",) if cached else ()), str(patch))
            # One that ends too early, between two files, is as good a patch as any.
            listed = await self.git("apply", "--numstat", "-z", *form, str(patch))
        except (CommandFailed, CommandSilent):
            return False
        return names <= {item.split(b"\t", 2)[2] for item in listed.stdout.split(b"\0") if item}


@asynccontextmanager
async def scratch_index(
    repository: Repository, tree: str | None, *, git_dir: Path | None = None
) -> AsyncIterator[Scratch]:
    """An index that holds ``tree`` (``None``: nothing).

    ``git_dir``: of another repository, whose objects the work tree at ``repository.path`` is judged by.
    """
    async with _our_index(repository, git_dir) as scratch:
        await scratch.git("read-tree", *((tree,) if tree is not None else ("--empty",)))
        yield scratch


@asynccontextmanager
async def copied_index(repository: Repository) -> AsyncIterator[Scratch]:
    """A copy of the user's index, conflicts included.  Raises :class:`FileTrouble`."""
    async with _our_index(repository, None) as scratch:
        index = Path(scratch.environ["GIT_INDEX_FILE"])
        with durable.translated("copy the index to", index):
            await in_thread(copy_stamped, index.with_name("index"), index)
        yield scratch


@asynccontextmanager
async def _our_index(repository: Repository, git_dir: Path | None) -> AsyncIterator[Scratch]:
    found = await in_thread(survey, repository.path) if git_dir is None else None
    folder = git_dir or (found.git_dir if found is not None else repository.path / ".git")
    # A name that the next start takes for a leftover, should this process be killed.
    index = folder / "tmp_idx_trio_update_saving"
    environ = {"GIT_INDEX_FILE": str(index), "GIT_LITERAL_PATHSPECS": "1"}
    if git_dir is not None:
        environ |= {"GIT_DIR": str(git_dir), "GIT_WORK_TREE": str(repository.path)}
    await in_thread(unlink, index)
    try:
        yield Scratch(repository, environ)
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
            await in_thread(unlink, index)


def _ignore(_: str) -> None:
    """git's warnings are told with its failures."""


def _size(path: Path) -> int:
    with durable.translated("look at", path):
        return path.stat().st_size if path.exists() else 0


def _make_durable(path: Path) -> None:
    with durable.translated("write", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    durable.fsync_directory(path.parent)
