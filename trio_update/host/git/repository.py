"""git, as argv lists: one class for a clone, one function to make one.

How the commands are hardened stands in :mod:`trio_update.host.git.command`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from trio_update.errors import CommandFailed, OperationFailed
from trio_update.host.git.command import (
    LOCAL_TIMEOUT,
    SILENCE,
    TRANSFER,
    explain,
    explain_disk,
    git_argv,
    git_environment,
)
from trio_update.host.git.folder import GitFolder, clear_leftovers, copy_index, survey, unlink
from trio_update.host.git.lanes import alone
from trio_update.host.git.output import (
    LOG_FORMAT,
    TAG_FORMAT,
    CommitLog,
    Settings,
    Tag,
    WorkTree,
    lines,
    read_config,
    read_status,
    read_tags,
    text,
)
from trio_update.host.git.why import tells_of_lock
from trio_update.host.processes.runner import Completed, Runner
from trio_update.host.processes.strays import describe_processes
from trio_update.host.threads import in_thread

Report = Callable[[str], None]


@dataclass(frozen=True)
class Repository:
    """A clone at ``path``.  Methods raise :class:`CommandFailed`, :class:`CommandSilent`, :class:`CommandNotFound`."""

    path: Path
    runner: Runner

    async def git(
        self,
        *arguments: str,
        options: Sequence[tuple[str, str]] = (),
        environ: Mapping[str, str] | None = None,
        check: bool | Container[int] = True,
        on_line: Report | None = None,
        silence: float | None = None,
        timeout: float | None = LOCAL_TIMEOUT,  # noqa: ASYNC109 - not a cancellation: it has an error of its own
        stdin: bytes = b"",
        stdout_sink: Callable[[bytes], None] | None = None,
    ) -> Completed:
        try:
            return await self.runner.run(
                git_argv(options, arguments),
                cwd=self.path,
                env=git_environment(self.path) | dict(environ or {}),
                check=check,
                on_line=on_line,
                silence=silence,
                timeout=timeout,
                stdin=stdin,
                stdout_sink=stdout_sink,
            )
        except CommandFailed as failed:
            raise explain_disk(failed, self.path) from None

    async def settings(self, folder: GitFolder) -> Settings:
        """The clone's own configuration; read by file name, so that a clone without a readable HEAD tells it too."""
        file = folder.common_dir / "config"
        done = await self.git("config", "--list", "-z", "--includes", "--file", str(file))
        return read_config(done.stdout)

    async def status(self) -> WorkTree:
        done = await self.git(
            "status",
            "--porcelain=v2",
            "--branch",
            "-z",
            "--untracked-files=all",
            "--no-renames",
            "--ignore-submodules=untracked",
        )
        return read_status(done.stdout)

    async def tags(self, *, merged: str, contains: str) -> tuple[Tag, ...]:
        """Tags reachable from ``merged`` that contain ``contains``, newest creation date first, at most 100."""
        done = await self.git(
            "for-each-ref",
            f"--merged={merged}",
            f"--contains={contains}",
            "--sort=-creatordate",
            "--count=100",
            f"--format={TAG_FORMAT}",
            "refs/tags",
        )
        return read_tags(done.stdout)

    async def describe(self, *commits: str) -> list[str]:
        """``git describe`` of each commit; a bare abbreviated hash where no tag is reachable."""
        done = await self.git("describe", "--always", "--tags", "--long", "--abbrev=8", "--end-of-options", *commits)
        return [text(line) for line in lines(done.stdout)]

    async def count(self, commit: str) -> int:
        done = await self.git("rev-list", "--count", "--end-of-options", commit)
        return int(done.stdout)

    async def log(self, old: str, new: str) -> CommitLog:
        """Commits of ``new`` that ``old`` doesn't have."""
        log = CommitLog()
        await self.git(
            "log",
            "-z",
            f"--format=tformat:{LOG_FORMAT}",
            "--decorate=full",
            "--decorate-refs=refs/tags/*",
            "--no-color",
            "--end-of-options",
            f"{old}..{new}",
            stdout_sink=log.feed,
        )
        return log

    async def resolve(self, name: str) -> str | None:
        """The commit that ``name`` leads to, or ``None``."""
        done = await self.git(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", check=(0, 1, 128)
        )
        return text(done.stdout).strip() or None if done.returncode == 0 else None

    async def is_ancestor(self, old: str, new: str) -> bool:
        done = await self.git("merge-base", "--is-ancestor", "--end-of-options", old, new, check=(0, 1, 128))
        return done.returncode == 0

    async def fetch(
        self,
        remote: str,
        *,
        refspecs: Sequence[str] = (),
        submodules: bool = False,
        report: Report | None = None,
        silence: float = SILENCE,
    ) -> None:
        """Bring the remote's branches and tags.  ``--force``: a tag that was moved upstream must not fail every
        fetch from then on.  Ended when git is silent for ``silence`` seconds.

        One at a time for all work trees of a repository.  A lock that a git process left which is gone is removed.
        """
        folder = await in_thread(survey, self.path)
        if folder is None:
            raise OperationFailed(f"No git repository at {self.path}")
        arguments = (
            "fetch",
            "--progress",
            "--force",
            "--prune",
            f"--recurse-submodules={'yes' if submodules else 'no'}",
            "--end-of-options",
            remote,
            *refspecs,
        )
        run = partial(self.git, *arguments, options=TRANSFER, on_line=report, silence=silence, timeout=None)
        async with alone(folder.common_dir):
            try:
                await run()
            except CommandFailed as failed:
                if not tells_of_lock(failed.output):
                    raise
                await self._clear_locks(folder, failed)
                await run()

    async def _clear_locks(self, folder: GitFolder, failed: CommandFailed) -> None:
        """Raises ``failed`` again, with the processes that may hold the lock, if there are any."""
        removed, holders = await in_thread(clear_leftovers, folder)
        if holders:
            raise CommandFailed(
                failed.argv, failed.returncode, f"{failed.output} {await in_thread(describe_processes, holders)}"
            )
        if not removed:
            raise failed

    async def changes(self, old: str, new: str) -> dict[bytes, str]:
        """What differs between two commits: path → ``A`` added, ``M`` modified, ``D`` deleted, ``T`` retyped."""
        done = await self.git("diff-tree", "-r", "-z", "--name-status", "--no-renames", "--end-of-options", old, new)
        items = done.stdout.split(b"\0")
        return {path: text(kind) for kind, path in zip(items[::2], items[1::2], strict=False)}

    async def tracked(self) -> frozenset[bytes]:
        """Every path of the index."""
        done = await self.git("ls-files", "-z")
        return frozenset(path for path in done.stdout.split(b"\0") if path)

    async def tracked_by(self, commit: str) -> frozenset[bytes]:
        """Every path of a commit."""
        done = await self.git("ls-tree", "-r", "-z", "--name-only", "--end-of-options", commit)
        return frozenset(path for path in done.stdout.split(b"\0") if path)

    async def changed(self) -> frozenset[bytes]:
        """Tracked files that are there and differ from HEAD, staged or not."""
        done = await self.git(
            *("diff", "--no-ext-diff", "--no-textconv", "--no-renames", "--name-only", "-z", "--diff-filter=d", "HEAD")
        )
        return frozenset(path for path in done.stdout.split(b"\0") if path)

    async def hidden(self) -> tuple[bytes, ...]:
        """Paths whose changes ``git status`` would not show (``assume-unchanged``, ``skip-worktree``)."""
        done = await self.git("ls-files", "-v", "-z")
        return tuple(item[2:] for item in done.stdout.split(b"\0") if item and (item[:1].islower() or item[:1] == b"S"))

    async def changed_in_hiding(self) -> tuple[str, ...]:
        """Names of ``assume-unchanged`` files that were changed all the same: ``reset --hard`` overwrites them.

        Asked of a copy of the index, because asking updates it.
        """
        index = await in_thread(copy_index, self.path)
        try:
            done = await self.git(
                "update-index", "--really-refresh", check=(0, 1), environ={"GIT_INDEX_FILE": str(index)}
            )
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                await in_thread(unlink, index)
        told = (text(line) for line in lines(done.stdout))
        return tuple(line.removesuffix(": needs update") for line in told if line.endswith(": needs update"))

    async def bring_blobs(self, remote: str, old: str, new: str, report: Report | None) -> None:
        """Fetch, in one go, the contents that a ``blob:none`` clone may lack for going from ``old`` to ``new``.

        Without this the checkout would go to the network in the middle of the switch.  A fetch of each object by its
        name is what git does then too, but silently: here its progress is seen, and a remote that hangs is noticed.
        """
        done = await self.git("diff-tree", "-r", "--raw", "--no-abbrev", "--no-renames", "--end-of-options", old, new)
        # :OLD_MODE NEW_MODE OLD_OBJECT NEW_OBJECT STATUS, a tab, and the path
        entries = [line.split(b"\t")[0].split() for line in lines(done.stdout)]
        wanted = {entry[3] for entry in entries if entry[1] != b"160000" and entry[3].strip(b"0")}
        if not wanted:
            return
        await self.git(
            "fetch",
            "--progress",
            "--no-tags",
            "--no-write-fetch-head",
            "--recurse-submodules=no",
            "--filter=blob:none",
            "--stdin",
            "--end-of-options",
            remote,
            options=(*TRANSFER, ("fetch.negotiationAlgorithm", "noop")),
            stdin=b"\n".join(sorted(wanted)) + b"\n",
            on_line=report,
            silence=SILENCE,
            timeout=None,
        )

    async def reset(self, commit: str) -> None:
        """Index, files and the current branch to ``commit``, a full hash (git-reset knows no ``--end-of-options``)."""
        await self.git("reset", "--hard", "--quiet", commit)


async def clone(
    runner: Runner,
    url: str,
    target: Path,
    *,
    branch: str,
    remote: str = "origin",
    arguments: Sequence[str] = (),
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
            env=git_environment(target),
            on_line=report,
            silence=SILENCE,
        )
    except CommandFailed as failed:
        raise explain(failed, url, target.parent) from None
    return Repository(target, runner)
