"""Readers of what git prints: pure functions, no processes.

Formats: git-status(1) "Porcelain Format Version 2" with ``-z``; git-config(1) ``--list -z``; git-for-each-ref(1) in
a format of ours.  Fields end with NUL, the one byte that no path, name or message holds, and are counted; lines end
with a line feed, and with nothing else that Unicode counts as an end of line: refs may hold those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

TAG_FORMAT = "%(refname)%00%(objecttype)%00%(objectname)%00%(*objecttype)%00%(*objectname)"

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
