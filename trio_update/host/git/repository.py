"""git, as argv lists: one class for a clone, one function to make one.

How the commands are hardened stands in :mod:`trio_update.host.git.command`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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
    Difference,
    Settings,
    Tag,
    WorkTree,
    lines,
    read_config,
    read_differences,
    read_status,
    read_tags,
    text,
)
from trio_update.host.git.why import tells_of_lock
from trio_update.host.processes.runner import Completed, Runner
from trio_update.host.processes.strays import describe_processes
from trio_update.host.threads import in_thread
from trio_update.progress import Report


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
        tree = read_status(done.stdout)
        modified = [found for path in tree.modified for found in await self._modified_inside(path)]
        return replace(tree, modified=await self._really_modified(tuple(modified)))

    async def _really_modified(self, paths: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Without files that are byte for byte what HEAD and the index have.

        git takes a file for changed that its attributes would commit with other line ends, and no reset mends that.
        """
        if not paths:
            return ()
        asked = [path for path in paths if b"\n" not in path and await in_thread(_is_file, self.path, path)]
        if not asked:
            return paths
        done = await self.git(
            "hash-object",
            "--no-filters",
            "--stdin-paths",
            stdin=b"".join(path + b"\n" for path in asked),
            check=(0, 128),
        )
        if done.returncode != 0:
            return paths  # one that cannot be read, or went just now
        hashes = dict(zip(asked, text(done.stdout).split(), strict=True))
        staged = await self.git("ls-files", "--stage", "-z")
        head = await self.git("ls-tree", "-r", "-z", "--full-tree", "HEAD", check=(0, 128))
        in_index, in_head = _listed(staged.stdout, 1), _listed(head.stdout, 2)
        same = {
            path
            for path, found in hashes.items()
            if in_index.get(path) == in_head.get(path) == (_mode_of(self.path, path), found)
        }
        return tuple(path for path in paths if path not in same)

    async def _modified_inside(self, path: bytes) -> list[bytes]:
        """Of a submodule what is modified in it, when that is all that makes it so; of anything else itself."""
        place = self.path / os.fsdecode(path)
        if not await in_thread((place / ".git").exists):
            return [path]
        named = await self.git(
            *("diff", "--quiet", "--no-ext-diff", "--ignore-submodules=dirty", "HEAD", "--", os.fsdecode(path)),
            environ={"GIT_LITERAL_PATHSPECS": "1"},
            check=(0, 1, 128),
        )
        inside = await Repository(place, self.runner).status()
        found = [path + b"/" + name for name in inside.modified]
        return found if found and named.returncode == 0 else [path, *found]

    async def refs(self, *patterns: str) -> tuple[Tag, ...]:
        """Refs below ``patterns`` by their full names, with the commits they lead to; newest creation date first."""
        done = await self.git("for-each-ref", "--sort=-creatordate", f"--format={TAG_FORMAT}", *patterns)
        found = read_tags(done.stdout)
        # Before git 2.45 ``*objectname`` peels once: a tag of a tag takes one process more.
        nested = [line.split(b"\0")[0] for line in done.stdout.split(b"\n") if line.count(b"\0tag\0") == 2]
        return (*found, *await self._peeled(nested)) if nested else found

    async def _peeled(self, names: Sequence[bytes]) -> tuple[Tag, ...]:
        done = await self.git(
            "cat-file", "--batch-check=%(objecttype) %(objectname)", stdin=b"".join(name + b"^{}\n" for name in names)
        )
        answers = (line.split(" ") for line in text(done.stdout).split("\n"))
        return tuple(
            Tag(text(name), answer[1]) for name, answer in zip(names, answers, strict=False) if answer[0] == "commit"
        )

    async def describe(self, *commits: str, environ: Mapping[str, str] | None = None) -> list[str]:
        """``git describe`` of each commit; a bare abbreviated hash where no tag is reachable."""
        done = await self.git(
            *("describe", "--always", "--tags", "--long", "--abbrev=8", "--end-of-options", *commits), environ=environ
        )
        return [text(line) for line in lines(done.stdout)]

    async def between(self, old: str, new: str, *, descendants: bool) -> frozenset[str]:
        """Commits of ``new`` that ``old`` doesn't have; with ``descendants`` only those that contain ``old``."""
        only = ["--ancestry-path"] if descendants else []
        done = await self.git("rev-list", *only, "--end-of-options", f"{old}..{new}")
        return frozenset(text(done.stdout).split())

    async def apart(self, one: str, other: str) -> tuple[int, int]:
        """How many commits each of the two has that the other lacks."""
        done = await self.git("rev-list", "--left-right", "--count", "--end-of-options", f"{one}...{other}")
        left, right = text(done.stdout).split()
        return int(left), int(right)

    async def count(self, commit: str) -> int:
        done = await self.git("rev-list", "--count", "--end-of-options", commit)
        return int(done.stdout)

    async def log(self, old: str, new: str, *, environ: Mapping[str, str] | None = None) -> CommitLog:
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
            environ=environ,
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

    async def have_common(self, one: str, other: str) -> bool:
        """Whether the histories of two commits have one in common, as far as the clone has them."""
        done = await self.git("merge-base", "--end-of-options", one, other, check=(0, 1))
        return done.returncode == 0

    async def fetch(
        self,
        remote: str,
        *,
        refspecs: Sequence[str] = (),
        refmap: str | None = None,
        tags: bool = True,
        submodules: bool = False,
        report: Report | None = None,
        silence: float = SILENCE,
    ) -> None:
        """Bring what ``refspecs`` name, pruning what they cover.  Ended when git is silent for ``silence`` seconds.

        ``refmap``: a refspec for the clone's own remote-tracking refs in the place of its configured ones, empty for
        none.  ``tags`` False: of the clone's own tags none is made.

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
            *(["--no-tags"] if not tags else []),
            *([f"--refmap={refmap}"] if refmap is not None else []),
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

    async def delete_refs(self, *names: str) -> None:
        """Delete those of the refs that there are, in one transaction; symbolic ones themselves."""
        if names:
            lines = "".join(f"option no-deref\ndelete {name}\n" for name in names)
            await self.git("update-ref", "--stdin", stdin=lines.encode("utf-8", "surrogateescape"))

    async def differences(self, old: str, new: str) -> dict[bytes, Difference]:
        """What differs between two commits, by path; no contents are read."""
        done = await self.git(
            "diff-tree", "-r", "-z", "--raw", "--no-abbrev", "--no-renames", "--end-of-options", old, new
        )
        return read_differences(done.stdout)

    async def sizes(self, objects: Iterable[str]) -> list[int]:
        """Bytes of each object that there is, uncompressed.  A partial clone would fetch those that it lacks."""
        names = "".join(f"{name}\n" for name in objects)
        done = await self.git("cat-file", "--batch-check=%(objectsize)", "--buffer", stdin=names.encode())
        return [int(line) for line in done.stdout.splitlines() if line.isdigit()]

    async def content(self, commit: str, path: str) -> bytes | None:
        """A file as ``commit`` has it, cut at what a pipe may bring; ``None`` when it has none."""
        done = await self.git("cat-file", "blob", "--end-of-options", f"{commit}:{path}", check=(0, 128))
        return done.stdout if done.returncode == 0 else None

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
            *("diff", "--no-ext-diff", "--no-textconv", "--no-renames", "--name-only", "-z"),
            *("--diff-filter=d", "--ignore-submodules=all", "HEAD"),
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
        differences = (await self.differences(old, new)).values()
        wanted = {found.object for found in differences if not found.is_submodule and found.object.strip("0")}
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
            stdin="".join(f"{name}\n" for name in sorted(wanted)).encode(),
            on_line=report,
            silence=SILENCE,
            timeout=None,
        )

    async def reset(self, commit: str) -> None:
        """Index, files and the current branch to ``commit``, a full hash (git-reset knows no ``--end-of-options``)."""
        await self.git("reset", "--hard", "--quiet", commit)


def _is_file(root: Path, path: bytes) -> bool:
    full = os.path.join(os.fsencode(root), path)
    return os.path.isfile(full) and not os.path.islink(full)


def _mode_of(root: Path, path: bytes) -> str:
    return "100755" if os.lstat(os.path.join(os.fsencode(root), path)).st_mode & 0o100 else "100644"


def _listed(raw: bytes, hash_at: int) -> dict[bytes, tuple[str, str]]:
    """Mode and hash by path, as ``ls-files --stage`` and ``ls-tree`` list them."""
    items = (item.partition(b"\t") for item in raw.split(b"\0") if item)
    return {path: (text(about.split(b" ")[0]), text(about.split(b" ")[hash_at])) for about, _, path in items}


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
