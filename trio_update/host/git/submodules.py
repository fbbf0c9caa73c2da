"""Submodules: where they are, what a commit wants of them, and how one enters or leaves a work tree.

git's own commands are not enough: ``git submodule update`` ends in the middle of its work when one submodule fails,
leaves the work tree of a submodule that a commit no longer has, and puts files over the ``.git`` of one that became a
plain folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trio_update.errors import CommandFailed, FileTrouble, OperationFailed
from trio_update.host.files import durable
from trio_update.host.git.command import LOCAL_TIMEOUT, explain
from trio_update.host.git.folder import GitFolder, survey, survey_store
from trio_update.host.git.output import read_config, text
from trio_update.host.git.repository import Repository
from trio_update.host.git.transfer import bring
from trio_update.host.processes.runner import Completed
from trio_update.host.threads import in_thread
from trio_update.progress import Report

_GITLINK = b"160000"


@dataclass(frozen=True)
class Module(Repository):
    """A submodule's repository at ``git_dir``, with its work tree at ``path``, which need not lead to it yet."""

    git_dir: Path

    async def folder(self) -> GitFolder:
        """As in the class above, of the repository that it keeps in that of the clone."""
        return await in_thread(survey_store, self.path, self.git_dir)

    async def git(
        self,
        *arguments: str,
        options: Sequence[tuple[str, str]] = (),
        environ: Mapping[str, str] | None = None,
        check: bool | Container[int] = True,
        on_line: Report | None = None,
        silence: float | None = None,
        timeout: float | None = LOCAL_TIMEOUT,  # noqa: ASYNC109 - as in the class above
        stdin: bytes = b"",
        stdout_sink: Callable[[bytes], None] | None = None,
    ) -> Completed:
        # Its configuration may name a work tree that is elsewhere or gone, where every command would fail.
        there = await in_thread(self.path.is_dir)
        where = {"GIT_DIR": str(self.git_dir), "GIT_WORK_TREE": str(self.path if there else self.git_dir)}
        return await Repository(Path(where["GIT_WORK_TREE"]), self.runner).git(
            *arguments,
            options=options,
            environ=where | dict(environ or {}),
            check=check,
            on_line=on_line,
            silence=silence,
            timeout=timeout,
            stdin=stdin,
            stdout_sink=stdout_sink,
        )


@dataclass(frozen=True)
class Wish:
    """What a commit says of a submodule: the commit that it wants there, and what ``.gitmodules`` says of it."""

    path: bytes
    commit: str
    name: str
    url: str


async def wishes_of(repository: Repository, commit: str | None) -> dict[bytes, Wish]:
    """The submodules of a commit, by path; those that ``.gitmodules`` does not name are left out, as git does."""
    if commit is None:
        return {}
    described = await repository.git(*("config", "--blob", f"{commit}:.gitmodules", "-z", "--list"), check=(0, 1, 128))
    if described.returncode != 0:
        return {}
    listed = await repository.git("ls-tree", "-r", "-z", "--full-tree", "--end-of-options", commit)
    links = {
        path: text(about.split(b" ")[2])
        for about, _, path in (item.partition(b"\t") for item in listed.stdout.split(b"\0"))
        if about.startswith(_GITLINK)
    }
    found = {}
    for name, path, url in _described(described.stdout):
        if path in links and _is_safe(name):
            found[path] = Wish(path, links[path], name, url)
    return found


def _described(raw: bytes) -> list[tuple[str, bytes, str]]:
    settings = read_config(raw)
    names = [
        key[len("submodule.") : -len(".path")] for key in settings.values if re.fullmatch(r"submodule\..+\.path", key)
    ]
    return [
        (name, os.fsencode(settings.get(f"submodule.{name}.path") or ""), settings.get(f"submodule.{name}.url") or "")
        for name in names
    ]


def _is_safe(name: str) -> bool:
    """Names are folders below ``modules``: one with ``..`` would lead a commit's author out of there."""
    return not name.startswith("/") and ".." not in re.split(r"[/\\]", name)


def resolve_url(base: str, url: str) -> str:
    """A submodule's URL, which may be relative to that of the repository around it (git-submodule(1), ``add``)."""
    if not url.startswith(("./", "../")):
        return url
    base = base.rstrip("/")
    colon = False
    while url.startswith(("./", "../")):
        if url.startswith("./"):
            url = url[2:]
            continue
        url = url[3:]
        cut = max(base.rfind("/"), base.rfind(":"))
        colon = base[cut : cut + 1] == ":"
        base = base[: max(cut, 0)]
    return f"{base}{':' if colon else '/'}{url}".rstrip("/")


def module_at(place: Path) -> Path | None:
    """The git directory of what is checked out at ``place``; ``None`` when there is nothing."""
    folder = survey(place)
    return folder.git_dir if folder is not None else None


def dormant_module(common_dir: Path, name: str) -> Path | None:
    """Where the repository around it keeps a submodule that is not checked out."""
    git_dir = common_dir / "modules" / name
    return git_dir if (git_dir / "HEAD").is_file() else None


async def bring_commit(module: Module, commit: str, url: str, report: Report | None) -> None:
    """Fetch a commit that is missing, by its id, or with everything that the remote has.

    The URL comes from a commit and not from the user: local paths are as forbidden as git's default has it.

    Raises: OperationFailed when it cannot be had.
    """
    if await is_whole(module, commit):
        return
    depth = ["--depth=1"] if await in_thread((module.git_dir / "shallow").exists) else []
    everything = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
    trouble: CommandFailed | None = None
    for wanted, more in (((commit,), depth), (everything, [])):
        try:
            await bring(
                module,
                *("--no-tags", "--no-write-fetch-head", "--recurse-submodules=no", *more),
                *("--end-of-options", url, *wanted),
                environ={"GIT_PROTOCOL_FROM_USER": "0"},
                report=report,
            )
        except CommandFailed as failed:
            trouble = explain(failed, url)
            continue
        if await is_whole(module, commit):
            return
    why = str(trouble) if trouble is not None else f"{url} does not have it"
    raise OperationFailed(f"commit {commit[:8]} of submodule {module.path} cannot be had: {why}")


async def is_whole(module: Module, commit: str) -> bool:
    """Whether all that a commit leads to is there: of a fetch that was killed the commit alone may have arrived."""
    if await module.resolve(commit) is None:
        return False
    # A hash is no option, and git takes `--not` only before `--end-of-options`.
    done = await module.git(
        *("rev-list", "--objects", "--quiet", "--exclude-promisor-objects", commit, "--not", "--all"),
        check=(0, 1, 128),
    )
    return done.returncode == 0


def attach(place: Path, git_dir: Path) -> None:
    """Let ``place`` be the work tree of ``git_dir``.  Its ``core.worktree`` is the caller's to set."""
    dot_git = place / ".git"
    with durable.translated("make", dot_git):
        if dot_git.is_dir():
            return
        place.mkdir(parents=True, exist_ok=True)
        wanted = f"gitdir: {os.path.relpath(git_dir, place)}\n".encode()
        if not dot_git.is_file() or dot_git.read_bytes() != wanted:
            durable.write_atomically(dot_git, wanted)


def detach(place: Path, tracked: frozenset[bytes]) -> None:
    """Take the files that a submodule tracks out of ``place``, and then what makes it one; all others stay."""
    dot_git = place / ".git"
    if not dot_git.is_file():
        return  # done before: the paths may be those of other files by now
    base = os.fsencode(place)
    try:
        for path in tracked:
            full = os.path.join(base, path)
            if (
                not leads_away(base, full)
                and os.path.lexists(full)
                and (os.path.islink(full) or not os.path.isdir(full))
            ):
                os.unlink(full)
            prune(base, os.path.dirname(full))
        dot_git.unlink()
        prune(os.path.dirname(base), base)
    except OSError as error:
        raise FileTrouble(
            "remove", text(os.fsencode(error.filename or place)), error.errno, str(error.strerror)
        ) from error


def leads_away(base: bytes, path: bytes) -> bool:
    """Whether a folder on the way to ``path`` is a link now: what is behind it is not the abandoned commit's."""
    while len(path := os.path.dirname(path)) > len(base):
        if os.path.islink(path):
            return True
    return False


def prune(base: bytes, directory: bytes) -> None:
    """Remove ``directory`` and those around it, below ``base``, as far as they are empty."""
    while len(directory) > len(base):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            pass  # a former attempt came as far as this
        except OSError:  # not empty: the user's, or another tracked file's
            return
        directory = os.path.dirname(directory)
