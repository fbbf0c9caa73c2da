"""Versions, and one order for them: the one of PEP 440, which :mod:`packaging` knows.

The version of a clone is what ``git describe --tags --long`` says (``v0.12.0-85-g4c8d24ae``): a tag, how many commits
lie after it, and the commit.  Tags are read as PEP 440 versions, which covers the ``v`` prefix and the usual spellings
of pre-releases (``-beta.2``, ``rc1``).
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from functools import total_ordering

from packaging.version import InvalidVersion, Version

_DESCRIBED = re.compile(r"(?P<tag>.+)-(?P<count>\d+)-g(?P<hash>[0-9a-f]{4,64})")
_MATURITIES = {"a": "ALPHA", "b": "BETA", "rc": "CANDIDATE"}


class Maturity(enum.IntEnum):
    """How finished a tagged version is; the numbers are the order."""

    ALPHA = 0
    BETA = 1
    CANDIDATE = 2
    FINAL = 3


@dataclass(frozen=True)
class TagVersion:
    """A tag that reads as a version; ``key`` orders them as PEP 440 does."""

    key: Version

    @property
    def release(self) -> tuple[int, ...]:
        """The numbers, without zeros at their end: ``1.2.0`` is ``1.2``."""
        release = self.key.release
        while len(release) > 1 and release[-1] == 0:
            release = release[:-1]
        return release

    @property
    def maturity(self) -> Maturity:
        """How finished it is.  A development release counts as alpha."""
        if self.key.is_devrelease:
            return Maturity.ALPHA
        return Maturity[_MATURITIES[self.key.pre[0]]] if self.key.pre is not None else Maturity.FINAL


def read_tag(tag: str) -> TagVersion | None:
    """Read a tag as a version; ``None`` when it isn't one (``nightly``)."""
    try:
        return TagVersion(Version(tag))
    except InvalidVersion:
        return None


def same_version(one: str, other: str) -> bool:
    """Whether two versions are one: ``v1.2`` and ``1.2`` are."""
    return _comparable(one) == _comparable(other)


def is_newer(candidate: str, than: str) -> bool:
    """Whether ``candidate`` is an update for ``than``.

    Versions that PEP 440 cannot order (``nightly-7``): any other one is, because the forge says which is its newest.
    """
    if same_version(candidate, than):
        return False
    one, other = _comparable(candidate), _comparable(than)
    return one > other if isinstance(one, Version) and isinstance(other, Version) else True


def is_earlier(candidate: str, than: str) -> bool:
    """Whether going from ``than`` to ``candidate`` is going back; so it is where PEP 440 cannot tell."""
    return is_newer(than, candidate)


def _comparable(version: str) -> Version | str:
    read = read_tag(version)
    return read.key if read is not None else version.strip().removeprefix("v")


def spellings(version: str) -> tuple[str, ...]:
    """The tags that a version may have: as it is, and with or without ``v``."""
    return (version, version[1:] if version.startswith("v") else f"v{version}")


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
    def key(self) -> tuple[tuple[Version, ...], int]:
        read = read_tag(self.tag)
        # A tag that is no version sorts before all that are: nothing is known of its age.
        return ((read.key,) if read else ()), self.count

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
