"""What can be seen of a clone, and mended in it, without running git: plain files, blocking calls.

A process that was killed leaves locks behind that stop every later command; a power cut leaves files of length
zero.  Both are recognised here by what they are, and removed only when no git process works on the clone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trio_update.errors import OperationFailed
from trio_update.host.files import durable
from trio_update.host.git.damage import branch_is_lost, is_lost, is_unborn, logged, lost_files
from trio_update.host.processes.strays import processes_in

_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_LEFTOVER = re.compile(r"tmp_(?:pack|idx|rev|obj|bitmap|mtimes)_\w+|.*\.lock")
_OBJECT_STAGE = "tmp_objdir-"
# What a fetch writes into the mark that protects its pack until the refs are there; a user's own marks say otherwise.
_KEPT_FOR_FETCH = b"fetch-pack "
_IN_PROGRESS = ("rebase-merge", "rebase-apply", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "BISECT_LOG")


@dataclass(frozen=True)
class GitFolder:
    """Where a clone keeps its things.

    ``git_dir`` holds HEAD and the index, ``common_dir`` objects and refs; they differ in a linked worktree.
    ``linked``: ``.git`` is a file, so the clone belongs to another repository (worktree, submodule).
    ``lost``: what git needs, or trips over, and that holds nothing: a repair brings it back.
    """

    path: Path
    git_dir: Path
    common_dir: Path
    linked: bool
    branch: str | None
    head: str | None
    shallow: bool
    index_whole: bool
    config_identity: tuple[int, ...]
    lost: tuple[str, ...] = ()

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Names of operations of the user that were begun and not ended (merge, rebase …)."""
        return tuple(name for name in _IN_PROGRESS if os.path.lexists(self.git_dir / name))


def survey(path: Path) -> GitFolder | None:
    """Look at a clone; ``None`` when there is no repository at ``path``."""
    dot_git = path / ".git"
    try:
        if dot_git.is_dir():
            git_dir, linked = dot_git, False
        else:
            pointer = dot_git.read_text("utf-8", "surrogateescape").removeprefix("gitdir:").strip()
            git_dir, linked = (path / pointer).resolve(), True
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise durable.trouble("read", dot_git, error) from error
    return survey_store(path, git_dir, linked=linked)


def survey_store(path: Path, git_dir: Path, *, linked: bool = True) -> GitFolder:
    """The same for a work tree at ``path`` whose repository is known to be at ``git_dir``."""
    common_dir = git_dir
    with contextlib.suppress(OSError):
        common_dir = (git_dir / (git_dir / "commondir").read_text().strip()).resolve()
    branch, head = _read_head(git_dir)
    return GitFolder(
        path=path,
        git_dir=git_dir,
        common_dir=common_dir,
        linked=linked,
        branch=branch,
        head=head,
        shallow=(common_dir / "shallow").exists(),
        index_whole=_is_whole_index(git_dir / "index") or _needs_no_index(git_dir, common_dir, branch),
        config_identity=_identity(common_dir / "config") + _identity(git_dir / "config.worktree"),
        lost=(*lost_files(git_dir, common_dir), *_lost_branch(common_dir, branch)),
    )


def _needs_no_index(git_dir: Path, common_dir: Path, branch: str | None) -> bool:
    """A clone of an upstream without commits has none, and lacks nothing."""
    return branch is not None and not (git_dir / "index").exists() and is_unborn(common_dir, branch)


def _lost_branch(common_dir: Path, branch: str | None) -> tuple[str, ...]:
    return (f"refs/heads/{branch}",) if branch is not None and branch_is_lost(common_dir, branch) else ()


def _read_head(git_dir: Path) -> tuple[str | None, str | None]:
    try:
        head = (git_dir / "HEAD").read_text("utf-8", "surrogateescape").strip()
    except OSError:
        return None, None
    if head.startswith("ref:"):
        return head.removeprefix("ref:").strip().removeprefix("refs/heads/"), None
    return None, head if _HASH.fullmatch(head) else None


def _is_whole_index(path: Path) -> bool:
    """Whether the index is there and has its checksum (gitformat-index(5)).

    git itself trusts what it finds, and takes an index that was cut off for a list of deleted files.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return False
    if not content.startswith(b"DIRC"):
        return False
    # With index.skipHash the trailer is all zeros.
    return any(
        content[-size:] in {bytes(size), hashlib.new(name, content[:-size], usedforsecurity=False).digest()}
        for name, size in (("sha1", 20), ("sha256", 32))
    )


def _identity(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return found.st_ino, found.st_size, found.st_mtime_ns


def leftovers(folder: GitFolder) -> list[Path]:
    """Locks and temporary files and folders that a git process which is gone may have left, in submodules too."""
    return [path for one in (folder, *_modules(folder)) for path in _leftovers_of(one)]


def _modules(folder: GitFolder) -> Iterator[GitFolder]:
    """The repositories of submodules that are kept in that of the clone, at every depth."""
    for directory, folders, files in os.walk(folder.common_dir / "modules"):
        if "HEAD" in files and "objects" in folders:
            git_dir = Path(directory)
            yield dataclasses.replace(folder, git_dir=git_dir, common_dir=git_dir)
            # A name may have slashes, and what is inside is nested in `modules` again.
            folders[:] = ["modules"] if "modules" in folders else []


def _leftovers_of(folder: GitFolder) -> list[Path]:
    objects = folder.common_dir / "objects"
    return [
        *(path for directory in _lock_folders(folder) for path in directory if _LEFTOVER.fullmatch(path.name)),
        *(path for path in (objects / "pack").glob("pack-*.keep") if _is_kept_for_fetch(path)),
        *objects.glob(f"{_OBJECT_STAGE}*"),
    ]


def _is_kept_for_fetch(path: Path) -> bool:
    try:
        return path.read_bytes().startswith(_KEPT_FOR_FETCH)
    except OSError:
        return False


def _lock_folders(folder: GitFolder) -> Iterator[Iterator[Path]]:
    for root in {folder.git_dir, folder.common_dir}:
        yield _files(root, deep=False)
        yield _files(root / "refs", deep=True)
        yield _files(root / "logs", deep=True)
    objects = folder.common_dir / "objects"
    yield _files(objects, deep=False)
    yield _files(objects / "pack", deep=False)
    yield _files(objects / "info", deep=True)
    for fan in _fan_out(objects):
        yield _files(fan, deep=False)


def _files(root: Path, *, deep: bool) -> Iterator[Path]:
    for directory, _, names in os.walk(root):
        for name in names:
            yield Path(directory, name)
        if not deep:
            return


def _fan_out(objects: Path) -> Iterator[Path]:
    try:
        names = os.listdir(objects)
    except OSError:
        return
    for name in names:
        if len(name) == 2:
            yield objects / name


def clear_leftovers(folder: GitFolder) -> tuple[list[Path], list[int]]:
    """Remove what :func:`leftovers` finds, unless a git process works on the clone.

    Returns the removed files, and the processes that may still need them (then nothing was removed).
    """
    found = leftovers(folder)
    if not found:
        return [], []
    holders = sorted({pid for root in _work_trees(folder) for pid in processes_in(root, "git")})
    if holders:
        return [], holders
    for path in found:
        durable.remove_tree(path)
    return found, []


def _work_trees(folder: GitFolder) -> set[Path]:
    """Where a process may be that works on the same refs: the clone, its store, and other work trees of that."""
    roots = {folder.path, folder.common_dir}
    if folder.common_dir.name == ".git":
        roots.add(folder.common_dir.parent)
    for pointer in (folder.common_dir / "worktrees").glob("*/gitdir"):
        with contextlib.suppress(OSError):
            roots.add(Path(os.fsdecode(pointer.read_bytes().strip())).parent)
    return roots


def empty_objects(folder: GitFolder) -> list[Path]:
    """Loose objects that hold nothing: what a power cut leaves of those that were not yet written out."""
    return [
        path for fan in _fan_out(folder.common_dir / "objects") for path in _files(fan, deep=False) if is_lost(path)
    ]


def broken_refs(folder: GitFolder) -> list[Path]:
    """Ref files that hold nothing.  What holds something and is no ref is another program's, or the user's."""
    refs = _files(folder.common_dir / "refs", deep=True)
    return [path for path in refs if not _LEFTOVER.fullmatch(path.name) and _is_blank(path)]


def _is_blank(path: Path) -> bool:
    try:
        return not path.read_bytes().strip(b"\0 \t\r\n")
    except OSError:
        return False


def last_known(folder: GitFolder, ref: str) -> str | None:
    """The newest whole entry in the log of a ref (``refs/heads/master``): where it stood before it was damaged."""
    return logged(folder.common_dir, ref)


def copy_index(path: Path) -> Path:
    """A copy of a clone's index, for commands that would write to it.  Raises :class:`FileTrouble`."""
    folder = survey(path)
    if folder is None:
        raise OperationFailed(f"No git repository at {path}")
    copy = folder.git_dir / "tmp_idx_trio_update"
    try:
        copy_stamped(folder.git_dir / "index", copy)
    except OSError as error:
        raise durable.trouble("copy the index to", copy, error) from error
    return copy


def copy_stamped(index: Path, copy: Path) -> None:
    """Copy an index with its time, by which git knows for which files a look at their own times is not enough."""
    shutil.copyfile(index, copy)
    found = index.stat()
    os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))


def unlink(path: Path) -> None:
    """Remove one file that is known to be worthless.  Raises :class:`FileTrouble`."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise durable.trouble("remove", path, error) from error
