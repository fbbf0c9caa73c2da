"""Readers of what git prints: pure functions, no processes.

Formats: git-status(1) "Porcelain Format Version 2" with ``-z``; git-config(1) ``--list -z``; the others are format
strings of ours.  Fields end with NUL, the one byte that no path, name or message holds, and are counted; lines end
with a line feed, and with nothing else that Unicode counts as an end of line: refs may hold those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from trio_update.errors import OperationFailed
from trio_update.host.git.bounds import bounded_commits
from trio_update.model import Commit
from trio_update.versions import read_tag

# With ``-z``: the last field of each commit ends with NUL, too.
LOG_FORMAT = "%H%x00%an%x00%ct%x00%at%x00%D%x00%s%x00%b"
TAG_FORMAT = "%(refname)%00%(objecttype)%00%(objectname)%00%(*objecttype)%00%(*objectname)"
MAX_UNTAGGED = 30
TAG_HORIZON = 100

# Hash, author, dates of committer and author, decorations, subject, body: bytes that are kept of each.
_FIELD_LIMITS = (64, 1024, 32, 32, 64 * 1024, 4096, 16 * 1024)
_SHA, _AUTHOR, _COMMITTED, _AUTHORED, _REFS, _SUBJECT, _BODY = range(len(_FIELD_LIMITS))
_HASH = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
# Clients make a calendar date of it; the last second of the year 9999 is the last one that all of them can show.
_LATEST = 253_402_300_799

# What git says when the repository itself is damaged, as opposed to the network, permissions or our request.
_CORRUPTION = re.compile(
    r"object file .* is empty|loose object .* is corrupt|bad (?:object|tree object|sha1|index file|signature)|"
    r"unable to (?:read tree|read sha1|parse)|not a valid object|index file (?:corrupt|smaller|open failed)|"
    r"packfile .* (?:cannot|is corrupt|far too short|does not match)|appears to be broken|failed to resolve HEAD|"
    r"missing (?:blob|tree|commit)|inflate: data stream error|garbage at end of loose object|"
    r"(?:could not|failed to) read [0-9a-f]{40}|did not send all necessary objects|bad pack header|"
    r"unable to resolve reference|broken ref|hash mismatch|invalid sha1 pointer|ignoring broken ref",
)


_NOT_OURS = ("remote: ", "fatal: remote error", "fatal: protocol error", "warning: ", "hint: ")


def text(raw: bytes) -> str:
    """Bytes of git as text; what is not UTF-8 is replaced, never refused."""
    return raw.decode("utf-8", "replace")


def lines(raw: bytes) -> list[bytes]:
    """Lines as git ends them: a carriage return, or a separator of Unicode's, is content like any other."""
    return raw.removesuffix(b"\n").split(b"\n") if raw else []


def tells_corruption(output: str) -> bool:
    """Whether a failed command's words may mean that the repository is damaged: reason enough to ask it.

    What the remote says of itself, and what git only warns of, means nothing.
    """
    own = (line for line in output.split("\n") if not line.startswith(_NOT_OURS))
    return _CORRUPTION.search("\n".join(own)) is not None


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
    """Refs that lead to commits, by their full names, in the order given; tags of trees and blobs are left out."""
    return tuple(_tags(raw))


def _tags(raw: bytes) -> Iterator[Tag]:
    for line in lines(raw):
        name, kind, oid, peeled_kind, peeled = text(line).split("\0")
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
    """Reads ``git log -z`` as it streams: keeps what clients are shown, counts the rest.

    Kept: the newest :data:`MAX_UNTAGGED` commits, and every tagged one among the newest :data:`TAG_HORIZON`.  A field
    is cut while it comes, so that no message takes more memory than is kept of it.
    """

    def __init__(self) -> None:
        self.count = 0
        self.tagged = False
        self.tip: str | None = None
        self._kept: list[Commit] = []
        self._untagged = 0
        self._fields: list[bytes] = []
        self._field = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Raises :class:`OperationFailed` when what comes is not a log in :data:`LOG_FORMAT`."""
        *ended, rest = chunk.split(b"\0")
        for part in ended:
            self._add(part)
            self._end_field()
        self._add(rest)

    def commits(self) -> tuple[Commit, ...]:
        """What was kept, newest first and bounded in size; call it once, when the stream has ended."""
        if self._fields or self._field:
            raise OperationFailed(f"git log ended in the middle of a commit, after {self.count} whole ones")
        return bounded_commits(self._kept)

    def _add(self, part: bytes) -> None:
        # One byte more than the limit tells that there was more.
        room = _FIELD_LIMITS[len(self._fields)] + 1 - len(self._field)
        if room > 0:
            self._field += part[:room]

    def _end_field(self) -> None:
        self._fields.append(bytes(self._field))
        self._field.clear()
        if len(self._fields) == len(_FIELD_LIMITS):
            fields, self._fields = self._fields, []
            self._take(fields)

    def _take(self, fields: Sequence[bytes]) -> None:
        if not _HASH.fullmatch(fields[_SHA]):
            raise OperationFailed(f"git log printed {fields[_SHA][:40]!r} where the hash of a commit was expected")
        self.count += 1
        if self.tip is None:
            self.tip = text(fields[_SHA])
        self.tagged = self.tagged or bool(fields[_REFS])
        if self.count > TAG_HORIZON:
            return
        commit = read_commit(fields)
        if commit.tag is None:
            self._untagged += 1
            if self._untagged > MAX_UNTAGGED:
                return
        self._kept.append(commit)


def read_commit(fields: Sequence[bytes]) -> Commit:
    """The fields of :data:`LOG_FORMAT` of one commit, each no longer than what is kept of it and one byte."""
    return Commit(
        sha=text(fields[_SHA]),
        author=_cut(fields, _AUTHOR),
        date=_date(fields[_COMMITTED], fields[_AUTHORED]),
        subject=_cut(fields, _SUBJECT),
        message=_cut(fields, _BODY).strip(),
        tag=_tag(fields[_REFS]),
    )


def _cut(fields: Sequence[bytes], index: int) -> str:
    raw, limit = fields[index], _FIELD_LIMITS[index]
    # A character that was cut in two is no character.
    return text(raw) if len(raw) <= limit else text(raw[:limit]).rstrip("\ufffd") + "…"


def _date(*candidates: bytes) -> str:
    """The first that is a time in seconds; git tells nothing of a date that it cannot read."""
    for raw in candidates:
        if raw.isdigit() and int(raw) <= _LATEST:
            return str(int(raw))
    return "0"


def _tag(refs: bytes) -> str | None:
    """Of several tags on a commit the highest version; no ref holds a blank."""
    if len(refs) > _FIELD_LIMITS[_REFS]:
        refs = refs.rpartition(b", ")[0]
    names = [ref.removeprefix("tag: refs/tags/") for ref in text(refs).split(", ") if ref.startswith("tag: refs/tags/")]
    versions = [(version.key, name) for name in names if (version := read_tag(name)) is not None]
    return max(versions)[1] if versions else next(iter(names), None)


_SCP_LIKE = re.compile(r"(?:[^/@]+@)?(?P<host>\[[^\]]+\]|[^/:@]+):(?!//)(?P<path>.+)")
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
        return self.path.split("/")[-1] or None

    def same_as(self, other: RemoteAddress) -> bool:
        """Whether both lead to one repository: the protocol, the user and upper case make no difference."""
        return (self._site, self.path.lower()) == (other._site, other.path.lower())

    @property
    def _site(self) -> str:
        return self.host.lower().removeprefix("www.").rstrip(".")


def read_address(url: str) -> RemoteAddress:
    """Take a remote's URL apart: https, ssh, git, file, scp-like (``git@host:owner/repo``), or a path."""
    if (found := _URL.fullmatch(url)) is not None:
        host = "" if found["scheme"].lower() == "file" else found["host"]
        host = re.sub(r":\d+$", "", host) if found["scheme"].lower() in {"ssh", "git", "https"} else host
        host = host.removesuffix(":80") if found["scheme"].lower() == "http" else host
        return RemoteAddress(host, _repository_path(found["path"] or "", absolute=not host))
    if not url.startswith(("/", ".", "~")) and (found := _SCP_LIKE.fullmatch(url)) is not None:
        return RemoteAddress(found["host"], _repository_path(found["path"], absolute=False))
    return RemoteAddress("", _repository_path(url, absolute=True))


def _repository_path(path: str, *, absolute: bool) -> str:
    path = re.sub(r"/{2,}", "/", path).rstrip("/")
    path = path.removesuffix(".git").rstrip("/") or path
    return path if absolute else path.lstrip("/")
