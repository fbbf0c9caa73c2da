"""Upstreams and clones in defined states, made with real git and always the same: authors, dates and contents depend
on nothing but the arguments, so that hashes do not change from run to run.

All functions block; asynchronous callers put them into a thread.  They raise :class:`CommandFailed` when git does.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trio_update.demo.git import COMMITTER, FIRST_DATE, git

Files = Mapping[str, bytes]

_SPACING = 3600
_AUTHORS = (COMMITTER, "Grace Hopper <grace@example.org>", "Bódog Őry <bodog@example.org>")
_PARTS = 8
# A file lives this many commits, so that every longer stretch of history adds, changes and removes files.
_LIFETIME = 5

UNTRACKED: Files = {"user.cfg": b"speed: 300\n", "macros/mine.cfg": b"[gcode_macro MINE]\n"}
BEHIND = 40
PIN = 40


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag on the ``commit``-th commit, counted from 1."""

    name: str
    commit: int
    annotated: bool = True


STANDARD_COMMITS = 60
STANDARD_TAGS = (
    Tag("v0.9.0", 5, annotated=False),
    Tag("v1.0.0", 15),
    Tag("v1.1.0", 35),
    Tag("v1.2.0-beta1", 45),
    Tag("v1.2.0-rc1", 50, annotated=False),
    Tag("v1.3.0-alpha1", 55),
)


class State(enum.StrEnum):
    """What :func:`make_clone` can make of an upstream with at least :data:`STANDARD_COMMITS` commits and its tags."""

    CURRENT = "current"
    BEHIND = "behind"
    STABLE = "stable"
    BETA = "beta"
    PINNED = "pinned"
    DIRTY = "dirty"
    DIVERGED = "diverged"
    DETACHED = "detached"
    UNTRACKED = "untracked"
    SHALLOW = "shallow"
    BLOBLESS = "blobless"
    CORRUPT = "corrupt"


@dataclass(frozen=True, slots=True)
class Upstream:
    """A bare repository at ``path`` with one branch."""

    path: Path
    branch: str = "master"

    def commits(self) -> tuple[str, ...]:
        """Hashes of all commits, oldest first."""
        return tuple(git("rev-list", "--reverse", self.branch, cwd=self.path).split())

    def write(self, stream: bytes) -> None:
        git("fast-import", "--quiet", cwd=self.path, stdin=stream)


def make_upstream(
    path: Path,
    *,
    commits: int = STANDARD_COMMITS,
    tags: Sequence[Tag] = STANDARD_TAGS,
    branch: str = "master",
    files: Files | None = None,
) -> Upstream:
    """Make a bare repository at ``path``, which must not exist; see :func:`add_commits` for what is in it.

    ``tags`` beyond the last commit are left out, so that the standard ones fit a shorter history too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # No template: sample hooks are half of a small repository's files, and each has to be removed again.
    git("init", "--quiet", "--bare", "--template=", f"--initial-branch={branch}", str(path), cwd=path.parent)
    # As on the large forges.
    git("config", "uploadpack.allowFilter", "true", cwd=path)
    git("config", "uploadpack.allowAnySHA1InWant", "true", cwd=path)
    upstream = Upstream(path, branch)
    if commits:
        _extend(upstream, 0, commits, [tag for tag in tags if tag.commit <= commits], files or {})
    return upstream


def add_commits(
    upstream: Upstream, count: int, *, tags: Sequence[Tag] = (), files: Files | None = None
) -> tuple[str, ...]:
    """Put ``count`` commits on top, by several authors, some with a body; ``files`` are in the last one besides.

    Each sets ``VERSION`` to its number, changes a file in ``src``, and adds one in ``notes`` that goes again five
    commits later.  Files that end in ``.sh`` are executable.  Returns the new commits' hashes, oldest first.
    """
    before = len(upstream.commits())
    _extend(upstream, before, count, tags, files or {})
    return upstream.commits()[before:]


def _extend(upstream: Upstream, before: int, count: int, tags: Sequence[Tag], files: Files) -> None:
    marks = range(before + 1, before + count + 1)
    stream = bytearray()
    for number in marks:
        stream += _commit(upstream.branch, number, before, files if number == marks[-1] else {})
    older = upstream.commits() if any(tag.commit <= before for tag in tags) else ()
    for tag in tags:
        stream += _tag(tag, f":{tag.commit}" if tag.commit > before else older[tag.commit - 1])
    upstream.write(bytes(stream))


def _commit(branch: str, number: int, before: int, files: Files) -> bytes:
    """One commit in the language of git-fast-import(1)."""
    date = f"{FIRST_DATE + number * _SPACING} +0000"
    head = f"commit refs/heads/{branch}\nmark :{number}\nauthor {_AUTHORS[number % len(_AUTHORS)]} {date}\n"
    stream = f"{head}committer {COMMITTER} {date}\n".encode() + _data(_message(number).encode())
    if number == before + 1 and before:
        stream += f"from refs/heads/{branch}^0\n".encode()
    for name, content in {**dict(_contents(number)), **files}.items():
        mode = "100755" if name.endswith(".sh") else "100644"
        stream += f"M {mode} inline {name}\n".encode() + _data(content)
    if number > _LIFETIME:
        stream += f"D notes/{number - _LIFETIME}.txt\n".encode()
    return stream + b"\n"


def _contents(number: int) -> Iterator[tuple[str, bytes]]:
    part = number % _PARTS
    lines = "".join(f"    total += {step}  # step {step} of part {part}\n" for step in range(part, number + 1, _PARTS))
    yield "VERSION", f"{number}\n".encode()
    yield f"src/part_{part}.py", f"def part_{part}(total: int) -> int:\n{lines}    return total\n".encode()
    yield f"notes/{number}.txt", f"What commit {number} was about.\n".encode()


def _message(number: int) -> str:
    subject = f"part {number % _PARTS}: add step {number}"
    if number % 2:
        return f"{subject}\n"
    return f"{subject}\n\nThe total was short of {number}.\nIt is not any more.\n\nSigned-off-by: {COMMITTER}\n"


def _tag(tag: Tag, commit: str) -> bytes:
    if not tag.annotated:
        return f"reset refs/tags/{tag.name}\nfrom {commit}\n\n".encode()
    date = FIRST_DATE + tag.commit * _SPACING + 60
    head = f"tag {tag.name}\nfrom {commit}\ntagger {COMMITTER} {date} +0000\n"
    return head.encode() + _data(f"Release {tag.name}\n".encode())


def _data(content: bytes) -> bytes:
    return b"data %d\n%b\n" % (len(content), content)


def clone(
    upstream: Upstream,
    target: Path,
    *,
    url: str = "",
    behind: int = 0,
    depth: int | None = None,
    blobless: bool = False,
) -> Path:
    """Clone into ``target``, as if ``behind`` commits ago: what came later is not there, neither objects nor tags.

    ``url`` is where the clone fetches from (default: the upstream's path, as a ``file`` URL).  ``depth`` makes it
    shallow.  The clone stays behind until the next fetch.
    """
    url = url or upstream.path.as_uri()
    commit = upstream.commits()[-1 - behind]
    branch = upstream.branch
    target.parent.mkdir(parents=True, exist_ok=True)
    git("init", "--quiet", "--template=", f"--initial-branch={branch}", str(target), cwd=target.parent)
    git("remote", "add", "origin", url, cwd=target)
    options = [f"--depth={depth}"] if depth else []
    options += ["--filter=blob:none"] if blobless else []
    # The commit is asked for by its hash, and its tags are followed: that is what a clone of that day would have got.
    git("fetch", "--quiet", *options, "origin", f"{commit}:refs/remotes/origin/{branch}", cwd=target)
    git("remote", "set-head", "origin", branch, cwd=target)
    git("checkout", "--quiet", "-B", branch, "--track", f"origin/{branch}", cwd=target)
    return target


def make_clone(state: State, upstream: Upstream, target: Path, *, url: str = "") -> Path:
    """A clone in ``state``.

    ``STABLE`` and ``BETA`` are on the tags ``v1.0.0`` and ``v1.1.0``.  ``BEHIND``, ``PINNED``, ``UNTRACKED``,
    ``SHALLOW`` and ``BLOBLESS`` are :data:`BEHIND` commits behind; the :data:`PIN`-th commit is the one to pin to.
    ``DIVERGED`` has a commit of its own, and shows it when it has fetched.
    """
    match state:
        case State.STABLE | State.BETA:
            tag = {State.STABLE: "v1.0.0", State.BETA: "v1.1.0"}[state]
            behind = int(git("rev-list", "--count", f"{tag}..{upstream.branch}", cwd=upstream.path))
            return clone(upstream, target, url=url, behind=behind)
        case State.BEHIND | State.PINNED | State.UNTRACKED | State.SHALLOW | State.BLOBLESS:
            depth = 3 if state is State.SHALLOW else None
            clone(upstream, target, url=url, behind=BEHIND, depth=depth, blobless=state is State.BLOBLESS)
        case _:
            clone(upstream, target, url=url, behind=2 if state in (State.DIVERGED, State.CORRUPT) else 0)
    match state:
        case State.DIRTY:
            make_dirty(target)
        case State.DIVERGED:
            diverge(target)
        case State.DETACHED:
            detach(target)
        case State.UNTRACKED:
            add_untracked(target)
        case State.CORRUPT:
            # So few objects stay loose files, as after most updates.
            git("pull", "--quiet", "--ff-only", cwd=target)
            corrupt(target)
        case _:
            pass
    return target


def make_dirty(clone: Path) -> None:
    """Change a tracked file and remove another."""
    with (clone / "src" / "part_1.py").open("a") as file:
        file.write("# changed by hand\n")
    (clone / "src" / "part_2.py").unlink()


def diverge(clone: Path) -> str:
    """Commit something that the remote does not have; diverged as soon as the remote has something else.  The hash."""
    (clone / "local.txt").write_text("A commit of the user's own.\n")
    git("add", "local.txt", cwd=clone)
    git("commit", "--quiet", "--message=Keep a local change", cwd=clone)
    return git("rev-parse", "HEAD", cwd=clone)


def detach(clone: Path) -> None:
    """Leave the branch, at the commit where it is."""
    git("checkout", "--quiet", "--detach", cwd=clone)


def add_untracked(clone: Path) -> tuple[Path, ...]:
    """Put files of the user's into it, none of them source code; their paths."""
    paths = tuple(clone / name for name in UNTRACKED)
    for path, content in zip(paths, UNTRACKED.values(), strict=True):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return paths


def corrupt(clone: Path, objects: Sequence[str] = ("HEAD", "HEAD^{tree}")) -> tuple[str, ...]:
    """Do what a power cut after a fetch does: the files of ``objects`` are empty.  Returns their hashes."""
    hashes = tuple(git("rev-parse", name, cwd=clone) for name in objects)
    folder = clone / ".git" / "objects"
    files = [folder / hash_[:2] / hash_[2:] for hash_ in hashes]
    if not all(file.exists() for file in files):
        _loosen(clone, folder)
    for file in files:
        # A new file: the old one may be a hard link that another clone shares.
        file.unlink()
        file.touch()
    return hashes


def _loosen(clone: Path, folder: Path) -> None:
    for pack in folder.glob("pack/*.pack"):
        content = pack.read_bytes()
        # Away first: git does not unpack what it has already.
        for sibling in folder.glob(f"pack/{pack.stem}.*"):
            sibling.unlink()
        git("unpack-objects", "-q", cwd=clone, stdin=content)
