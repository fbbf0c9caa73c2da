"""Versions of git clones, and one order for them.

A version is what ``git describe --tags --long`` says (``v0.12.0-85-g4c8d24ae``): a tag, how many commits lie after
it, and the commit.  Tags are read as PEP 440 versions, which covers the ``v`` prefix and the usual spellings of
pre-releases (``-beta.2``, ``rc1``).
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from functools import total_ordering

from packaging.version import InvalidVersion, Version

_DESCRIBED = re.compile(r"(?P<tag>.+)-(?P<count>\d+)-g(?P<hash>[0-9a-f]{4,64})")
_STAGES = {"a": "ALPHA", "b": "BETA", "rc": "CANDIDATE"}


class Stage(enum.IntEnum):
    """How finished a tagged version is; the numbers are the order."""

    ALPHA = 0
    BETA = 1
    CANDIDATE = 2
    FINAL = 3


@dataclass(frozen=True)
class TagVersion:
    """A tag that reads as a version: compares as release numbers, then stage, then the stage's number."""

    release: tuple[int, ...]
    stage: Stage
    number: int

    @property
    def key(self) -> tuple[tuple[int, ...], Stage, int]:
        return self.release, self.stage, self.number


def read_tag(tag: str) -> TagVersion | None:
    """Read a tag as a version; ``None`` when it isn't one (``nightly``).  A development release counts as alpha."""
    try:
        version = Version(tag)
    except InvalidVersion:
        return None
    release = version.release
    while len(release) > 1 and release[-1] == 0:
        release = release[:-1]
    if version.is_devrelease:
        return TagVersion(release, Stage.ALPHA, -1)
    if version.pre is not None:
        return TagVersion(release, Stage[_STAGES[version.pre[0]]], version.pre[1])
    return TagVersion(release, Stage.FINAL, version.post or 0)


@total_ordering
@dataclass(frozen=True, eq=False)
class GitVersion:
    """A described commit.  ``inferred``: no tag was found, so ``v0.0.0`` and the count of all commits stand in."""

    tag: str
    count: int
    hash: str
    inferred: bool = False

    @property
    def short(self) -> str:
        return f"{self.tag}-{self.count}"

    @property
    def full(self) -> str:
        return f"{self.short}-g{self.hash}" + ("-inferred" if self.inferred else "")

    @property
    def key(self) -> tuple[tuple[tuple[int, ...], Stage, int], int]:
        read = read_tag(self.tag)
        # A tag that is no version sorts before all that are: nothing is known of its age.
        return (read.key if read else ((), Stage.ALPHA, -2)), self.count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GitVersion) and self.key == other.key and self.tag == other.tag

    def __lt__(self, other: GitVersion) -> bool:
        return (*self.key, self.tag) < (*other.key, other.tag)

    def __hash__(self) -> int:
        return hash((self.tag, self.count))


def read_description(text: str) -> GitVersion | None:
    """Read a line of ``git describe --always --long``; ``None`` for a bare hash, which means: no tag reachable."""
    found = _DESCRIBED.fullmatch(text.strip())
    if found is None:
        return None
    return GitVersion(found["tag"], int(found["count"]), found["hash"])


def inferred(count: int, abbreviated: str) -> GitVersion:
    """The version of a commit that no tag describes."""
    return GitVersion("v0.0.0", count, abbreviated, inferred=True)
