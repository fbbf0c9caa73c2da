"""Readers of what git prints: pure functions, no processes.

Formats: git-status(1) "Porcelain Format Version 2" with ``-z``; git-config(1) ``--list -z``; the others are format
strings of ours with NUL and RS as separators, because paths, tags and messages may hold anything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from trio_update.model import Commit

LOG_FORMAT = "%x1e%H%x00%an%x00%ct%x00%D%x00%s%x00%b"
TAG_FORMAT = "%(refname)%00%(objecttype)%00%(objectname)%00%(*objecttype)%00%(*objectname)"
MAX_UNTAGGED = 30
TAG_HORIZON = 100

# What git says when the repository itself is damaged, as opposed to the network, permissions or our request.
_CORRUPTION = re.compile(
    r"object file .* is empty|loose object .* is corrupt|bad (?:object|tree object|sha1|index file|signature)|"
    r"unable to (?:read tree|read sha1|parse)|not a valid object|index file (?:corrupt|smaller|open failed)|"
    r"packfile .* (?:cannot|is corrupt|far too short|does not match)|appears to be broken|failed to resolve HEAD|"
    r"missing (?:blob|tree|commit)|inflate: data stream error|garbage at end of loose object|"
    r"(?:could not|failed to) read [0-9a-f]{40}|did not send all necessary objects|bad pack header|"
    r"unable to resolve reference|broken ref|hash mismatch|invalid sha1 pointer|ignoring broken ref",
)


def text(raw: bytes) -> str:
    """Bytes of git as text; what is not UTF-8 is replaced, never refused."""
    return raw.decode("utf-8", "replace")


def tells_corruption(output: str) -> bool:
    """Whether a failed command's words mean that the repository is damaged."""
    return _CORRUPTION.search(output) is not None


@dataclass(frozen=True)
class WorkTree:
    """``git status --porcelain=v2 --branch``: where HEAD is, and what differs from it.

    ``ahead``/``behind`` are ``None`` when there is no upstream, or it is gone.
    """

    head: str | None
    branch: str | None
    upstream: str | None
    ahead: int | None
    behind: int | None
    modified: tuple[bytes, ...] = ()
    untracked: tuple[bytes, ...] = ()


def read_status(raw: bytes) -> WorkTree:
    headers: dict[str, str] = {}
    modified: list[bytes] = []
    untracked: list[bytes] = []
    items = iter(raw.split(b"\0"))
    for item in items:
        if item.startswith(b"# "):
            key, _, value = text(item[2:]).partition(" ")
            headers[key] = value
        elif item.startswith(b"? "):
            untracked.append(item[2:])
        elif item.startswith(b"1 "):
            modified.append(item.split(b" ", 8)[8])
        elif item.startswith(b"2 "):
            modified.append(item.split(b" ", 9)[9])
            next(items, None)  # the path it was renamed from
        elif item.startswith(b"u "):
            modified.append(item.split(b" ", 10)[10])
    ahead, behind = _ahead_behind(headers.get("branch.ab"))
    head = headers.get("branch.oid", "(initial)")
    branch = headers.get("branch.head", "(detached)")
    return WorkTree(
        head=None if head == "(initial)" else head,
        branch=None if branch == "(detached)" else branch,
        upstream=headers.get("branch.upstream"),
        ahead=ahead,
        behind=behind,
        modified=tuple(modified),
        untracked=tuple(untracked),
    )


def _ahead_behind(header: str | None) -> tuple[int | None, int | None]:
    if header is None:
        return None, None
    ahead, _, behind = header.partition(" ")
    return abs(int(ahead)), abs(int(behind))


@dataclass(frozen=True)
class Settings:
    """The clone's own configuration.  Keys as git normalises them: section and name in lower case."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def get(self, key: str) -> str | None:
        """The last value, as git itself decides."""
        found = self.values.get(key)
        return found[-1] if found else None

    def remotes(self) -> dict[str, str]:
        """URLs by remote name; a remote without a URL is left out."""
        found = {}
        for key, values in self.values.items():
            if key.startswith("remote.") and key.endswith(".url") and values and values[0]:
                found[key[len("remote.") : -len(".url")]] = values[0]
        return found

    def promisor(self) -> str | None:
        """The remote that a partial clone gets missing objects from; ``None``: the clone is complete."""
        for key, values in self.values.items():
            if key.startswith("remote.") and key.endswith(".promisor") and values[-1] == "true":
                return key[len("remote.") : -len(".promisor")]
        return self.get("extensions.partialclone")

    def upstream(self, branch: str) -> tuple[str, str] | None:
        """``(remote, branch on the remote)`` that a local branch tracks."""
        remote, merge = self.get(f"branch.{branch}.remote"), self.get(f"branch.{branch}.merge")
        if not remote or not merge:
            return None
        return remote, merge.removeprefix("refs/heads/")


def read_config(raw: bytes) -> Settings:
    values: dict[str, tuple[str, ...]] = {}
    for item in raw.split(b"\0"):
        if item:
            key, _, value = text(item).partition("\n")
            values[key] = (*values.get(key, ()), value)
    return Settings(values)


@dataclass(frozen=True)
class Tag:
    """A tag and the commit it leads to, annotated ones peeled."""

    name: str
    commit: str


def read_tags(raw: bytes) -> tuple[Tag, ...]:
    """Tags that name commits, in the order given; tags of trees and blobs are left out."""
    return tuple(_tags(raw))


def _tags(raw: bytes) -> Iterator[Tag]:
    for line in raw.splitlines():
        name, kind, oid, peeled_kind, peeled = text(line).split("\0")
        name = name.removeprefix("refs/tags/")
        if kind == "commit":
            yield Tag(name, oid)
        elif peeled_kind == "commit":
            yield Tag(name, peeled)


@dataclass(frozen=True)
class Difference:
    """What became of one path from a commit to another; ``mode`` and ``object`` are the new commit's.

    ``kind``: ``A`` added, ``M`` modified, ``D`` deleted, ``T`` retyped.
    """

    kind: str
    mode: str
    object: str

    @property
    def is_submodule(self) -> bool:
        return self.mode == "160000"


def read_differences(raw: bytes) -> dict[bytes, Difference]:
    """``git diff-tree --raw -z --no-renames`` (git-diff(1), "Raw output format"), by path."""
    found = {}
    items = raw.split(b"\0")
    for entry, path in zip(items[::2], items[1::2], strict=False):
        _, mode, _, oid, kind = text(entry).removeprefix(":").split(" ")
        found[path] = Difference(kind, mode, oid)
    return found


class CommitLog:
    """Reads ``git log`` as it streams: keeps what clients are shown, counts the rest.

    Kept: the newest :data:`MAX_UNTAGGED` commits, and every tagged one among the newest :data:`TAG_HORIZON`.
    """

    def __init__(self) -> None:
        self.count = 0
        self.tagged = False
        self.tip: str | None = None
        self._kept: list[Commit] = []
        self._untagged = 0
        self._pending = b""

    def feed(self, chunk: bytes) -> None:
        *whole, self._pending = (self._pending + chunk).split(b"\x1e")
        for record in whole:
            self._take(record)

    def commits(self) -> tuple[Commit, ...]:
        """What was kept, newest first; call it once, when the stream has ended."""
        self._take(self._pending)
        self._pending = b""
        return tuple(self._kept)

    def _take(self, record: bytes) -> None:
        if not record.strip():
            return
        self.count += 1
        if self.tip is None:
            self.tip = text(record[: record.index(b"\0")])
        # hash, author, date, decorations
        self.tagged = self.tagged or bool(record.split(b"\0", 4)[3])
        if self.count > TAG_HORIZON:
            return
        commit = read_commit(record)
        if commit.tag is None:
            self._untagged += 1
            if self._untagged > MAX_UNTAGGED:
                return
        self._kept.append(commit)


def read_commit(record: bytes) -> Commit:
    """One record of :data:`LOG_FORMAT`."""
    sha, author, date, refs, subject, body = text(record).split("\0", 5)
    tags = [ref.removeprefix("tag: refs/tags/") for ref in refs.split(", ") if ref.startswith("tag: ")]
    return Commit(
        sha=sha, author=author, date=date, subject=subject, message=body.strip(), tag=tags[0] if tags else None
    )


_SCP_LIKE = re.compile(r"(?:[^/@]+@)?(?P<host>\[[^\]]+\]|[^/:@]+):(?!/?/)(?P<path>.+)")
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?:[^/@]*@)?(?P<host>[^/]*)(?P<path>/.*)?", re.IGNORECASE)


@dataclass(frozen=True)
class RemoteAddress:
    """A remote's URL taken apart; ``host`` is empty for a local path."""

    host: str
    path: str

    @property
    def owner(self) -> str | None:
        parts = self.path.split("/")
        return parts[-2] if self.host and len(parts) >= 2 else None

    @property
    def repo(self) -> str | None:
        return self.path.split("/")[-1] or None if self.host else None

    def same_as(self, other: RemoteAddress) -> bool:
        """Whether both lead to one repository: the protocol, the user and upper case make no difference."""
        return (self.host.lower(), self.path.lower()) == (other.host.lower(), other.path.lower())


def read_address(url: str) -> RemoteAddress:
    """Take a remote's URL apart: https, ssh, git, file, scp-like (``git@host:owner/repo``), or a path."""
    if (found := _URL.fullmatch(url)) is not None:
        host = "" if found["scheme"].lower() == "file" else found["host"]
        host = re.sub(r":\d+$", "", host) if found["scheme"].lower() in {"ssh", "git", "https"} else host
        return RemoteAddress(host, _repository_path(found["path"] or "", absolute=not host))
    if not url.startswith(("/", ".", "~")) and (found := _SCP_LIKE.fullmatch(url)) is not None:
        return RemoteAddress(found["host"], _repository_path(found["path"], absolute=False))
    return RemoteAddress("", _repository_path(url, absolute=True))


def _repository_path(path: str, *, absolute: bool) -> str:
    path = path.rstrip("/").removesuffix(".git").rstrip("/")
    return path if absolute else path.lstrip("/")
