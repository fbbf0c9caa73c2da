"""The project that the crash suite updates: three versions, and what a whole tree of each looks like."""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

LINK = 0o120000
PLAIN = 0o100644
GITLINK = 0o160000
PROGRAM = 0o100755
FOLDER = 0o040000


class Item(msgspec.Struct, frozen=True):
    """What stands at a path: its kind and mode as git writes them (users' files: the whole mode), and its content."""

    mode: int
    content: bytes = b""


Tree = dict[bytes, Item]
# One that git made: its mode is whatever the umask says.
ANY_FOLDER = Item(FOLDER)

_V1: Tree = {
    b".gitignore": Item(PLAIN, b"*.log\n.cache/\n"),
    b"LICENSE": Item(PLAIN, b"Do what you like.\n"),
    b"README.md": Item(PLAIN, b"# One\n" + b"A line that stays.\n" * 40),
    b"config/default.cfg": Item(PLAIN, b"[one]\nspeed: 1\n"),
    b"data/blob.bin": Item(PLAIN, bytes(range(256)) * 64),
    b"docs/index.md": Item(PLAIN, b"Index of one.\n"),
    b"gone/deep/only.txt": Item(PLAIN, b"Its folders go with it.\n"),
    b"latest": Item(LINK, b"src/main.py"),
    b"old/only.txt": Item(PLAIN, b"In one only.\n"),
    b"run.sh": Item(PROGRAM, b"#!/bin/sh\necho one\n"),
    b"share/plot.py": Item(PLAIN, b"share()\n"),
    b"src/main.py": Item(PLAIN, b"print('one')\n"),
    b"src/pkg/core.py": Item(PLAIN, b"CORE = 1\n"),
    b"src/util.py": Item(PLAIN, b"UTIL = 1\n"),
    b"tool": Item(PLAIN, b"no program yet\n"),
}
_V2: Tree = {path: item for path, item in _V1.items() if not path.endswith(b"only.txt")} | {
    b"README.md": Item(PLAIN, b"# Two\n" + b"A line that stays.\n" * 40),
    b"src/main.py": Item(PLAIN, b"print('two')\n"),
    b"tool": Item(PROGRAM, b"no program yet\n"),
}
_V3: Tree = {path: item for path, item in _V2.items() if path not in {b"src/util.py", b"share/plot.py"}} | {
    b"README.md": Item(PLAIN, b"# Three\n" + b"A line that stays.\n" * 40),
    b"data/blob.bin": Item(PLAIN, bytes(reversed(range(256))) * 64),
    b"extra/deep/new.cfg": Item(PLAIN, b"[three]\n"),
    b"latest": Item(LINK, b"src/pkg/core.py"),
    b"run.sh": Item(PROGRAM, b"#!/bin/sh\necho three\n"),
    # A folder becomes a link that leads to the user's files.
    b"share": Item(LINK, b"notes"),
    b"src/pkg/core.py": Item(PLAIN, b"CORE = 3\n"),
    b"src/util/__init__.py": Item(PLAIN, b"UTIL = 3\n"),
}
# A submodule's.
_PART_1: Tree = {
    b"lib/one.c": Item(PLAIN, b"one\n" * 500),
    b"same": Item(PLAIN, b"same\n"),
    b"go/away": Item(PLAIN, b"1\n"),
}
_PART_3: Tree = {
    b"lib/one.c": Item(PLAIN, b"two\n" * 600),
    b"same": Item(PLAIN, b"same\n"),
    b"new/deep/file": Item(PROGRAM, b"#!/bin/sh\n"),
}
# A commit of the user's own on top of the first version.
_LOCAL: Tree = _V1 | {b"docs/mine.md": Item(PLAIN, b"The user's own page.\n")}

# An untracked source file is an anomaly: the status shows it once the server has looked at the clone.
# What belongs to the user and was never told to git; `src/debug.log` and `.cache` are ignored.  Modes that git would
# not give a file.
USER: Tree = {
    b".cache": Item(FOLDER | 0o755),
    b".cache/ignored.bin": Item(stat.S_IFREG | 0o640, b"\0\1\2" * 999),
    b"empty": Item(FOLDER | 0o750),
    b"notes": Item(FOLDER | 0o755),
    b"notes/deep": Item(FOLDER | 0o755),
    b"notes/deep/todo.txt": Item(stat.S_IFREG | 0o640, b"buy milk\n"),
    b"notes/private": Item(stat.S_IFREG | 0o600, b"secret\n"),
    b"notes/plot.py": Item(stat.S_IFREG | 0o640, b"plot()\n"),
    b"old/user.txt": Item(stat.S_IFREG | 0o640, b"in a folder that the next version drops\n"),
    b"src/debug.log": Item(stat.S_IFREG | 0o640, b"started\n"),
    b"start me.sh": Item(stat.S_IFREG | 0o700, b"#!/bin/sh\n./run.sh\n"),
    b"user-link": Item(stat.S_IFLNK, b"/nowhere/at all"),
    b"\xe9\nodd": Item(stat.S_IFREG | 0o640, b"a name that is no text\n"),
}
# What the user did to tracked files; in no commit.
DIRTY: Tree = {
    b"config/default.cfg": Item(PLAIN, b"[one]\nspeed: 77\n"),
    b"data/blob.bin": Item(PLAIN, b"\0\xff" * 3000),
    b"run.sh": Item(PROGRAM, b"#!/bin/sh\necho mine\n"),
}
# Untracked, and in the place of a file that the third version brings.
IN_THE_WAY: Tree = {b"extra/deep/new.cfg": Item(stat.S_IFREG | 0o640, b"the user's own\n")}
# The user's too, though it lies in .git.
HOOK = b"#!/bin/sh\nexit 1\n"
EXCLUDED = b"*.swp\n"


def git(*arguments: str, cwd: Path, input_: bytes = b"", environ: dict[str, str] | None = None) -> bytes:
    """Run the real git, apart from the settings of whoever runs the tests.  Raises CalledProcessError."""
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, env=environment() | (environ or {}), input=input_, capture_output=True, check=True
    )
    return done.stdout


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "TRIO_UPDATE_"))}
    who = {f"GIT_{role}_{part}": "ada@example.org" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    dates = {f"GIT_{role}_DATE": "1700000000 +0000" for role in ("AUTHOR", "COMMITTER")}
    return kept | who | dates | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True)
class Project:
    """The remote, and a reference that the server under test never sees.

    ``v1`` to ``v3`` are commits of the remote's branch; ``local`` is one that only the user has.  ``parted`` is another
    remote, whose commits ``p1`` and ``p3`` have a submodule, which changes with them and has the remote ``part``.
    """

    remote: Path
    reference: Path
    v1: str
    v2: str
    v3: str
    local: str
    parted: Path
    part: Path
    p1: str
    p3: str
    trees: dict[str, Tree] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"file://{self.remote}"

    def tree(self, commit: str) -> Tree:
        """Every tracked file of a commit, as git's plumbing reads it from the reference."""
        if commit not in self.trees:
            self.trees[commit] = _read_tree(self.reference, commit)
        return self.trees[commit]


def make_project(folder: Path) -> Project:
    """A remote that has the first version only."""
    remote, reference = folder / "remote.git", folder / "reference.git"
    parted, part = folder / "parted.git", folder / "part.git"
    for repository in (remote, reference, parted, part):
        git("init", "--quiet", "--bare", "--initial-branch=master", str(repository), cwd=folder)
    v1 = _commit(reference, _V1, None, 1)
    v2 = _commit(reference, _V2, v1, 2)
    v3 = _commit(reference, _V3, v2, 3)
    local = _commit(reference, _LOCAL, v1, 9)
    git("update-ref", "refs/heads/master", v3, cwd=reference)
    git("update-ref", "refs/heads/mine", local, cwd=reference)
    git("tag", "v1.0.0", v1, cwd=reference)
    one = _commit(reference, _PART_1, None, 11)
    two = _commit(reference, _PART_3, one, 12)
    modules = Item(PLAIN, f'[submodule "part"]\n\tpath = part\n\turl = file://{part}\n'.encode())
    p1 = _commit(reference, _V1 | {b".gitmodules": modules, b"part": Item(GITLINK, one.encode())}, None, 13)
    p3 = _commit(reference, _V3 | {b".gitmodules": modules, b"part": Item(GITLINK, two.encode())}, p1, 14)
    git("update-ref", "refs/heads/parted", p3, cwd=reference)
    git("update-ref", "refs/heads/part", two, cwd=reference)
    project = Project(remote, reference, v1, v2, v3, local, parted, part, p1, p3)
    publish(project, v1)
    _push(project, part, one)
    _push(project, parted, p1)
    return project


def publish(project: Project, commit: str) -> None:
    """Let the remote have ``commit``; what is behind it has to be fetched from then on."""
    git("push", "--quiet", str(project.remote), f"{commit}:refs/heads/master", "v1.0.0", cwd=project.reference)


def publish_parted(project: Project) -> None:
    """The same for the newest version with a submodule, and for that."""
    _push(project, project.part, "refs/heads/part")
    _push(project, project.parted, project.p3)


def _push(project: Project, remote: Path, commit: str) -> None:
    git("push", "--quiet", str(remote), f"{commit}:refs/heads/master", cwd=project.reference)


def _commit(repository: Path, tree: Tree, parent: str | None, number: int) -> str:
    lines = []
    for path, item in tree.items():
        if item.mode == GITLINK:
            lines.append(b"%06o %s\t%s" % (item.mode, item.content, path))
            continue
        blob = git("hash-object", "-w", "--stdin", cwd=repository, input_=item.content).strip()
        lines.append(b"%06o %s\t%s" % (item.mode, blob, path))
    index = {"GIT_INDEX_FILE": str(repository / f"index.{number}")}
    git("update-index", "--add", "--index-info", cwd=repository, input_=b"\n".join(lines) + b"\n", environ=index)
    written = git("write-tree", cwd=repository, environ=index).strip().decode()
    parents = ("-p", parent) if parent else ()
    dates = {f"GIT_{role}_DATE": f"{1_700_000_000 + 60 * number} +0000" for role in ("AUTHOR", "COMMITTER")}
    return (
        git("commit-tree", written, *parents, "-m", f"Change {number}", cwd=repository, environ=dates).decode().strip()
    )


def _read_tree(repository: Path, commit: str) -> Tree:
    tree: Tree = {}
    for line in git("ls-tree", "-r", "-z", commit, cwd=repository).split(b"\0"):
        if line:
            facts, _, path = line.partition(b"\t")
            mode, _, blob = facts.split(b" ")
            if int(mode, 8) == GITLINK:
                inside = _read_tree(repository, blob.decode())
                tree |= {path + b"/" + name: item for name, item in inside.items()}
                tree[path + b"/.git"] = Item(PLAIN, b"gitdir: ../.git/modules/" + path + b"\n")
                continue
            content = git("cat-file", "blob", blob.decode(), cwd=repository)
            tree[path] = Item(int(mode, 8), content)
    return tree


def put(folder: Path, tree: Tree) -> None:
    """Make the user's files."""
    base = os.fsencode(folder)
    for path, item in tree.items():
        place = os.path.join(base, path)
        if stat.S_ISDIR(item.mode):
            os.makedirs(place, exist_ok=True)
        elif stat.S_ISLNK(item.mode):
            os.symlink(item.content, place)
        else:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            Path(os.fsdecode(place)).write_bytes(item.content)
        if not stat.S_ISLNK(item.mode):
            os.chmod(place, stat.S_IMODE(item.mode))


def take(folder: Path, leave_out: bytes = b".git") -> Tree:
    """Everything below ``folder`` but what is called ``leave_out`` directly in it, with whole modes."""
    base = os.fsencode(folder)
    tree: Tree = {}
    for directory, folders, files in os.walk(base):
        if directory == base and leave_out in folders:
            folders.remove(leave_out)
        for name in (*folders, *files):
            place = os.path.join(directory, name)
            mode = os.lstat(place).st_mode
            content = b""
            if stat.S_ISLNK(mode):
                mode, content = stat.S_IFLNK, os.readlink(place)
            elif stat.S_ISREG(mode):
                content = Path(os.fsdecode(place)).read_bytes()
            tree[os.path.relpath(place, base)] = Item(mode, content)
    return tree


def expected(tracked: Tree, user: Tree) -> Tree:
    """A work tree that holds exactly these files, and no folder that none of them needs."""
    whole = {**tracked, **user}
    for path in list(whole):
        while path := os.path.dirname(path):
            whole.setdefault(path, ANY_FOLDER)
    return whole


def differences(found: Tree, wanted: Tree, *, exact: bool = False) -> list[str]:
    """What is wrong with ``found``, in words; git's modes tell no more than "may be executed", unless ``exact``."""
    told = []
    for path in sorted({*found, *wanted}):
        is_, should = found.get(path), wanted.get(path)
        name = os.fsdecode(path)
        if is_ is None:
            told.append(f"{name!r} is missing")
        elif should is None:
            told.append(f"{name!r} should not be there")
        elif should == ANY_FOLDER and stat.S_ISDIR(is_.mode):
            continue
        elif is_.content != should.content:
            told.append(f"{name!r} holds {is_.content[:40]!r}… ({len(is_.content)} bytes)")
        elif is_.mode != should.mode and (exact or _git_mode(is_.mode) != should.mode):
            told.append(f"{name!r} has mode {is_.mode:o} instead of {should.mode:o}")
    return told


def _git_mode(mode: int) -> int:
    if stat.S_ISREG(mode):
        return PROGRAM if mode & 0o100 else PLAIN
    return mode
