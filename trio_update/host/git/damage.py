"""What a power cut leaves of a clone's own files: lengths of zero, and blocks of NUL where content was not written.

Such files hold nothing, so they may be replaced.  One with a single byte of content is never touched here, however
odd: it may be the user's.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from trio_update.host.files import durable

# Where each file lies, and what it is for git: without these it reads another repository than there was, or none.
NEEDED = ("config", "packed-refs", "shallow")
# Copies of what stands elsewhere, and notes of operations: git makes them again, or does without.
_DERIVED = (
    *("objects/info/commit-graph", "objects/info/commit-graphs/*", "objects/pack/multi-pack-index*"),
    *("objects/pack/*.rev", "objects/pack/*.bitmap", "objects/pack/*.mtimes"),
)
_NOTES = ("ORIG_HEAD", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD", "AUTO_MERGE", "BISECT_HEAD")
_MOVED = re.compile(rb"checkout: moving from \S+ to (\S+)$")
_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_PIECE = 1 << 20


def is_lost(path: Path, *, empty: bool = True) -> bool:
    """Whether a file is there and holds nothing but NUL bytes; ``empty``: none at all counts, too."""
    try:
        with open(path, "rb") as file:
            piece = file.read(64)
            if not piece:
                return empty
            while piece:
                if piece.strip(b"\0"):
                    return False
                piece = file.read(_PIECE)
    except OSError:
        return False
    return True


def lost_files(git_dir: Path, common_dir: Path) -> tuple[str, ...]:
    """Names of what git cannot do without, or trips over, and that holds nothing.  A few system calls."""
    info, packs = common_dir / "objects/info", common_dir / "objects/pack"
    places = [*(common_dir / name for name in NEEDED), git_dir / "HEAD", *(git_dir / name for name in _NOTES)]
    places += [info / "commit-graph", info / "commit-graphs/commit-graph-chain", packs / "multi-pack-index"]
    places += [path for path in packs.glob("pack-*") if path.suffix in {".pack", ".idx"}]
    return tuple(path.name for path in places if is_lost(path))


def lost_copies(git_dir: Path, common_dir: Path) -> list[Path]:
    """Lost files that may simply go."""
    found = [path for pattern in _DERIVED for path in common_dir.glob(pattern) if is_lost(path)]
    found += [path for name in _NOTES if is_lost(path := git_dir / name)]
    found += [path for path in (git_dir / "FETCH_HEAD",) if is_lost(path, empty=False)]
    found += [path for path in _below({git_dir / "logs", common_dir / "logs"}) if is_lost(path, empty=False)]
    return [path for path in found if path.is_file()]


def lost_packs(common_dir: Path) -> tuple[list[Path], list[Path]]:
    """Packs that hold nothing, and whole ones whose index does."""
    packs = sorted((common_dir / "objects" / "pack").glob("pack-*.pack"))
    lost = [pack for pack in packs if is_lost(pack)]
    return lost, [pack for pack in packs if pack not in lost and is_lost(pack.with_suffix(".idx"))]


def _below(roots: set[Path]) -> Iterator[Path]:
    for root in sorted(roots):
        for directory, _, names in os.walk(root):
            yield from (Path(directory, name) for name in names)


def branch_is_lost(common_dir: Path, branch: str) -> bool:
    """Whether a branch is gone of which a log still tells; git removes both when it removes a branch."""
    if (common_dir / "refs" / "heads" / branch).exists():
        return False
    return (common_dir / "logs" / "refs" / "heads" / branch).is_file() and not _is_packed(common_dir, branch)


def is_unborn(common_dir: Path, branch: str) -> bool:
    """Whether a branch has no commit yet, as far as files tell."""
    return not (common_dir / "refs" / "heads" / branch).exists() and not _is_packed(common_dir, branch)


def _is_packed(common_dir: Path, branch: str) -> bool:
    with contextlib.suppress(OSError):
        return b" refs/heads/%s\n" % os.fsencode(branch) in (common_dir / "packed-refs").read_bytes()
    return False


def logged(folder: Path, ref: str) -> str | None:
    """The newest whole entry in the log of a ref: where it stood before it was damaged."""
    for line in reversed(_log(folder, ref)):
        parts = line.decode(errors="replace").split(" ", 2)
        if len(parts) == 3 and _HASH.fullmatch(parts[1]) and parts[1].strip("0"):
            return parts[1]
    return None


def logged_refs(common_dir: Path) -> dict[str, str]:
    """Where refs stood, by the logs that are left."""
    found = {}
    for path in _below({common_dir / "logs" / "refs"}):
        name = path.relative_to(common_dir / "logs").as_posix()
        if (commit := logged(common_dir, name)) is not None:
            found[name] = commit
    return found


def logged_head(git_dir: Path) -> tuple[str | None, str | None]:
    """The branch that HEAD was moved to last, if its log tells, and the commit that it led to."""
    branch = None
    for line in reversed(_log(git_dir, "HEAD")):
        if (moved := _MOVED.search(line)) is not None:
            branch = os.fsdecode(moved[1])
            break
    return branch, logged(git_dir, "HEAD")


def _log(folder: Path, ref: str) -> list[bytes]:
    try:
        return (folder / "logs" / ref).read_bytes().split(b"\n")
    except OSError:
        return []


def write_ref(common_dir: Path, ref: str, commit: str) -> None:
    """Raises: FileTrouble."""
    path = common_dir / ref
    with durable.translated("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
    durable.write_atomically(path, f"{commit}\n".encode())


def plain_config(common_dir: Path, url: str, branch: str) -> bytes:
    """A configuration in place of a lost one: what a clone of ``url`` has, and what the files say of its form."""
    sha256 = any(len(commit) == 64 for commit in logged_refs(common_dir).values())
    partial = next((common_dir / "objects" / "pack").glob("*.promisor"), None) is not None
    worktree = (common_dir / "config.worktree").exists()
    lines = ["[core]", f"\trepositoryformatversion = {int(sha256 or partial or worktree)}", "\tfilemode = true"]
    lines += ["\tbare = false", "\tlogallrefupdates = true"]
    if sha256 or worktree:
        lines += ["[extensions]", *(["\tobjectformat = sha256"] if sha256 else [])]
        lines += ["\tworktreeConfig = true"] if worktree else []
    if url:
        quoted = url.replace("\\", "\\\\").replace('"', '\\"')
        lines += ['[remote "origin"]', f'\turl = "{quoted}"', "\tfetch = +refs/heads/*:refs/remotes/origin/*"]
        lines += ["\tpromisor = true", "\tpartialclonefilter = blob:none"] if partial else []
        name = branch.replace("\\", "\\\\").replace('"', '\\"')
        lines += [f'[branch "{name}"]', "\tremote = origin", f'\tmerge = "refs/heads/{name}"']
    return "\n".join([*lines, ""]).encode()
