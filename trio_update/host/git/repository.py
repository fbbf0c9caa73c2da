"""git, as argv lists: one class for a clone, with what is asked of it.

How the commands are hardened stands in :mod:`trio_update.host.git.command`; what brings something from elsewhere in
:mod:`trio_update.host.git.transfer`, what is changed in the work tree in :mod:`trio_update.host.git.contents`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trio_update.errors import CommandFailed, OperationFailed
from trio_update.host.git.command import LOCAL_TIMEOUT, explain_disk, git_argv, git_environment
from trio_update.host.git.folder import GitFolder, survey
from trio_update.host.git.log import LOG_FORMAT, CommitLog
from trio_update.host.git.output import (
    TAG_FORMAT,
    Difference,
    Settings,
    Tag,
    lines,
    read_config,
    read_differences,
    read_tags,
    text,
)
from trio_update.host.processes.runner import Completed, Runner
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

    async def folder(self) -> GitFolder:
        """Where its things are.  Raises: OperationFailed when there is no repository."""
        folder = await in_thread(survey, self.path)
        if folder is None:
            raise OperationFailed(f"No git repository at {self.path}")
        return folder

    async def settings(self, folder: GitFolder) -> Settings:
        """The clone's own configuration; read by file name, so that a clone without a readable HEAD tells it too."""
        file = folder.common_dir / "config"
        done = await self.git("config", "--list", "-z", "--includes", "--file", str(file))
        return read_config(done.stdout)

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

    async def reset(self, commit: str) -> None:
        """Index, files and the current branch to ``commit``, a full hash (git-reset knows no ``--end-of-options``)."""
        await self.git("reset", "--hard", "--quiet", commit)
