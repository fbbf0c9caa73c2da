"""Versions, and one order for them.

A version is what ``git describe --tags --long`` says (``v0.12.0-85-g4c8d24ae``): a tag, how many commits lie after
it, and the commit.  Tags are read as PEP 440 versions, which covers the ``v`` prefix and the usual spellings of
pre-releases (``-beta.2``, ``rc1``).  Releases have tags of any kind, which :func:`compare` orders as far as they say.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import total_ordering
from typing import TypeVar

from packaging.version import InvalidVersion, Version

_Comparable = TypeVar("_Comparable", Version, int, tuple[int, ...])

_DESCRIBED = re.compile(r"(?P<tag>.+)-(?P<count>\d+)-g(?P<hash>[0-9a-f]{4,64})")
_MATURITIES = {"a": "ALPHA", "b": "BETA", "rc": "CANDIDATE"}


NOT_INSTALLED = "not installed"
"""What stands for the version of an app that is not there, wherever people read it."""

ABSENT_VERSION = "0.0.0-0.not-installed"
"""The same in the status, whose readers compare versions by the rules of semver.org: lower than anything that there is.

Mainsail and Fluidd show their ordinary button for an update, which installs the app, where both versions can be read so
and the remote one is greater.  With ``?`` they show none; with ``is_valid: false`` they offer a recovery, and Fluidd
switches "update all" off.  A number comes first behind the dash, because words are greater than numbers there."""


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
    """Whether ``candidate`` may be an update for ``than``: so may all be that cannot be ordered (``r9``, ``v1.0``)."""
    return compare(candidate, than) in {Order.NEWER, Order.UNKNOWN}


def is_earlier(candidate: str, than: str) -> bool:
    """Whether going from ``than`` to ``candidate`` is going back; so it is where there is no order."""
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


class Order(enum.Enum):
    """How one version stands to another.  ``UNKNOWN``: nothing in their names says it."""

    OLDER = enum.auto()
    SAME = enum.auto()
    NEWER = enum.auto()
    UNKNOWN = enum.auto()


# What stands before a version and says nothing about it.
_EMPTY_WORDS = frozenset({"", "v", "ver", "version", "rel", "release", "releases", "tag", "tags", "stable", "final"})
# Stages by rank; those of rank 0 are ways to call what is built all the time, and have no order among each other.
_BUILDS = ("dev", "nightly", "snapshot", "canary", "edge", "unstable", "experimental", "ci", "git", "weekly", "daily")
_EARLY = dict.fromkeys(_BUILDS, 0) | {"alpha": 1, "beta": 2, "rc": 3}
_ROLLING = frozenset({*_BUILDS, "latest", "continuous", "rolling", "main", "master", "beta", "alpha"})
_LATE = frozenset({"", "post", "hotfix", "fix", "patch", "sp", "rev", "build", "update"})
_SPELLINGS = {"a": "alpha", "b": "beta", "c": "rc", "pre": "rc", "preview": "rc", "candidate": "rc"} | {
    "p": "patch",
    "r": "rev",
    "revision": "rev",
    "u": "update",
}
_BEGIN = re.compile(r"(?:^|(?<=[-_/@ ]))v?\.?(?=\d)", re.IGNORECASE)
_GLUED = re.compile(r"([A-Za-z]+)\.?(?=\d)")
_DATE = re.compile(r"((?:19|20)\d\d)([-_.]?)([01]?\d)\2([0-3]?\d)(?!\d)")
_DOTTED = re.compile(r"\d{1,20}(?:\.\d{1,20})*")
_COMMIT = re.compile(r"g?(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{6,}")
_PART = re.compile(r"(?:([a-z]+)[-_.]?)?(\d{1,20})?")


@dataclass(frozen=True)
class _Part:
    """What follows the numbers: a stage (``early``), something later than the release, or a word of another kind."""

    word: str
    number: int

    @property
    def side(self) -> int | None:
        """Before the release itself (-1), or after it (1)."""
        return -1 if self.word in _EARLY else 1 if self.word in _LATE else None


_RELEASE = _Part("release", 0)


@dataclass(frozen=True)
class _Read:
    """``family``: the words before the numbers that say something; ``glued``: they are no name but a way to count."""

    family: str
    glued: bool
    numbers: tuple[int, ...]
    parts: tuple[_Part, ...]

    @property
    def is_plain(self) -> bool:
        """Whether it counts what is released, not what is built all the time."""
        return not self.glued and not set(self.family.split()) & set(_EARLY)

    def has_order_with(self, other: _Read) -> bool:
        if self.family == other.family:
            return self.glued == other.glued
        # A file says 2.1.0 where the tag says app-v2.1.0.
        return self.is_plain and other.is_plain and not (self.family and other.family)


def compare(one: str, other: str) -> Order:
    """How the version ``one`` stands to ``other``: tags of any scheme, or what a program says of itself.

    Versions of PEP 440 are compared as it says.  With others (``release-1.10``, ``app-v2.1.0``, ``v1.3.0-nightly.3``,
    ``1.2-hotfix1``, dates) the numbers decide, then the stage, then its number.  What the names do not say is
    ``UNKNOWN``: a word that is no stage (``-lts``), two ways to count (``nightly-7`` and ``v2.0``), commits.
    """
    if _text(one) == _text(other):
        return Order.SAME
    try:
        return _ordered(Version(one), Version(other))
    except InvalidVersion:
        pass
    here, there = _read(one), _read(other)
    if here is None or there is None or not here.has_order_with(there):
        return Order.UNKNOWN
    if here.numbers != there.numbers:
        return _ordered(here.numbers, there.numbers)
    for number in range(max(len(here.parts), len(there.parts))):
        pair = ((*read.parts, *[_RELEASE] * (number + 1))[number] for read in (here, there))
        if (found := _compare_parts(*pair)) is not Order.SAME:
            return found
    return Order.SAME


def is_early(tag: str) -> bool:
    """Whether a tag calls itself something that comes before a release: a beta, a candidate, a nightly build."""
    read = _read(tag)
    if read is None:
        return _text(tag).lower() in _EARLY
    return not read.is_plain or any(part.side == -1 for part in read.parts)


def newest_of(tags: Sequence[str], installed: str = "") -> int | None:
    """Where the newest version stands in ``tags``, which are given the last published first; ``None`` for no tags.

    The highest version that can be ordered: a backport that was published last hides nothing, nor do builds of every
    night.  But whoever has one of those ``installed`` goes on with those, and with versions of another name
    nobody does who can have ones of the same.  Where there is no order the first one is taken.
    """
    everything = range(len(tags))
    candidates = [number for number in everything if installed and follows(tags[number], installed)]
    candidates = candidates or [number for number in everything if _may_be_released(tags[number], installed)]
    best: int | None = None
    for number in candidates or everything:
        if best is None or compare(tags[number], tags[best]) is Order.NEWER:
            best = number
    return best


def follows(tag: str, installed: str) -> bool:
    """Whether ``tag`` is of the kind that ``installed`` goes on with: its own builds, or else versions."""
    there, read = _read(installed), _read(tag)
    if not installed:
        return read is not None and read.is_plain
    if there is not None and there.is_plain:
        return read is not None and read.is_plain and read.has_order_with(there)
    return _text(tag) == _text(installed) or (read is not None and there is not None and read.has_order_with(there))


def is_rolling(tag: str) -> bool:
    """Whether a tag's name counts no builds (``nightly``, ``v2-nightly``, ``summer``).

    What it is of may be another thing each night.
    """
    read = _read(tag)
    if read is None or _text(tag).lower() in _ROLLING:
        return True
    return bool(read.parts) and read.parts[-1].word in _BUILDS and not tag.strip()[-1].isdigit()


def _may_be_released(tag: str, installed: str) -> bool:
    read = _read(tag)
    if read is not None:
        return read.is_plain
    # A name of any kind (`summer`).  One that moves with each build is no step for who has a version.
    return not installed or _text(tag).lower() not in _ROLLING


def _text(version: str) -> str:
    return version.strip().removeprefix("v")


def _ordered(one: _Comparable, other: _Comparable) -> Order:
    return Order.SAME if one == other else Order.NEWER if one > other else Order.OLDER


def _compare_parts(one: _Part, other: _Part) -> Order:
    if one.word == other.word:
        return _ordered(one.number, other.number)
    sides = [0 if part is _RELEASE else part.side for part in (one, other)]
    if None in sides:
        return Order.UNKNOWN
    if sides[0] != sides[1]:
        return Order.NEWER if (sides[0] or 0) > (sides[1] or 0) else Order.OLDER
    ranks = [_EARLY.get(part.word, 0) for part in (one, other)]
    # PEP 440 has a place for `dev`, before alpha.
    told = all(rank or part.word == "dev" for rank, part in zip(ranks, (one, other), strict=True))
    return _ordered(*ranks) if told and ranks[0] != ranks[1] else Order.UNKNOWN


def _read(version: str) -> _Read | None:
    text = version.strip().partition("+")[0]
    for begin in _BEGIN.finditer(text):
        words = [word for word in re.split(r"[-_/@ .]+", text[: begin.start()].lower()) if word not in _EMPTY_WORDS]
        if (found := _numbers(text[begin.end() :])) is not None:
            return _Read(" ".join(words), False, *found)
    glued = _GLUED.match(text)
    found = _numbers(text[glued.end() :]) if glued and not _COMMIT.fullmatch(text) else None
    if glued is None or found is None:
        return None
    word = glued[1].lower()
    return _Read("" if word in _EMPTY_WORDS else word, word not in _EMPTY_WORDS, *found)


def _numbers(text: str) -> tuple[tuple[int, ...], tuple[_Part, ...]] | None:
    """The numbers that a text begins with, without zeros at their end, and what comes after them."""
    if date := _DATE.match(text):
        numbers, end = [int(date[1]), int(date[3]), int(date[4])], date.end()
    elif dotted := _DOTTED.match(text):
        numbers, end = [int(number) for number in dotted[0].split(".")], dotted.end()
    else:
        return None
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    parts = _parts(text[end:].lower())
    return None if parts is None else (tuple(numbers), parts)


def _parts(text: str) -> tuple[_Part, ...] | None:
    found: list[_Part] = []
    apart = False
    while text:
        if (rest := text.lstrip("-_.~ ")) != text:
            text, apart = rest, True
            continue
        if (commit := re.match(r"[^-_.~ ]+", text)) and _COMMIT.fullmatch(commit[0]):
            found.append(_Part(f"commit {commit[0].removeprefix('g')}", 0))
            text = text[commit.end() :]
            continue
        part = _PART.match(text)
        if part is None or not part[0]:
            return None
        word = _SPELLINGS.get(part[1] or "", part[1] or "")
        if not apart and word not in _EARLY and word not in _LATE:
            return None
        found.append(_Part(word, int(part[2] or 0)))
        text, apart = text[part.end() :], False
    return tuple(found)
