"""What the stand-in for GitHub knows: repositories, releases, limits, what it was asked, and how it shall misbehave.

Everything may be changed at any time and holds for the next request.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import trio

from trio_update.demo.github.faults import Fault, Host

Bucket = Literal["anonymous", "token"]

_FIRST_DAY = datetime(2024, 1, 1, 12, tzinfo=UTC)
_STEP = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Measured:
    """An asset's content: its size in bytes, its sha256 as 64 hex digits, when it was changed (unix seconds; 0: with
    its release)."""

    size: int
    sha256: str
    changed: float


@dataclass(kw_only=True)
class SimAsset:
    """A file of a release.

    Under a clock that jumps while nothing runs its content has to be bytes: files are read in threads.
    ``digest``: ``"auto"`` tells the sha256 of the content, None tells none (as for assets from before June 2025),
    anything else is told as it is, true or not.  ``revision``: counted up it gives the file another ETag, as an
    upload of the same bytes does.
    """

    name: str
    content: bytes | Path
    content_type: str = "application/zip"
    digest: str | None = "auto"
    revision: int = 0
    _measured: tuple[object, Measured] | None = field(default=None, repr=False, compare=False)

    async def measure(self) -> Measured:
        """Size and hash of the content as it is now; reads a file only once as long as it does not change.

        Raises:
            OSError: the file cannot be read.
        """
        content = self.content
        stamp: object = content
        if isinstance(content, Path):
            status = await trio.Path(content).stat()
            stamp = (content, status.st_size, status.st_mtime_ns)
        # Of the same bytes Python sees by their identity that they are equal.
        if self._measured is not None and self._measured[0] == stamp:
            return self._measured[1]
        if isinstance(content, Path):
            measured = await trio.to_thread.run_sync(_measured_file, content)
        else:
            measured = await _measured_bytes(content)
        self._measured = (stamp, measured)
        return measured


async def _measured_bytes(content: bytes) -> Measured:
    """In steps, not in a thread: under a clock that jumps when nothing runs, a thread counts as nothing."""
    digest = hashlib.sha256()
    for start in range(0, len(content), _STEP):
        digest.update(memoryview(content)[start : start + _STEP])
        await trio.lowlevel.checkpoint()
    return Measured(len(content), digest.hexdigest(), 0)


def _measured_file(path: Path) -> Measured:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return Measured(file.tell(), digest.hexdigest(), path.stat().st_mtime)


@dataclass(kw_only=True)
class SimRelease:
    """A release; ``published`` is an ISO time in UTC, given by :meth:`GitHub.add` when it is empty."""

    tag: str
    title: str = ""
    notes: str = ""
    prerelease: bool = False
    draft: bool = False
    assets: list[SimAsset] = field(default_factory=list)
    published: str = ""

    def asset(self, name: str) -> SimAsset | None:
        return next((asset for asset in self.assets if asset.name == name), None)


@dataclass(kw_only=True)
class SimRepo:
    """A repository; ``releases`` in the order in which they were made.  Each published one has a commit."""

    releases: list[SimRelease] = field(default_factory=list)
    branch: str = "main"

    def published(self) -> list[SimRelease]:
        """All that are no drafts, newest first."""
        return [release for release in reversed(self.releases) if not release.draft]

    def latest(self) -> SimRelease | None:
        """The newest that is neither a draft nor a pre-release."""
        return next((release for release in self.published() if not release.prerelease), None)

    def by_tag(self, tag: str) -> SimRelease | None:
        return next((release for release in self.published() if release.tag == tag), None)


@dataclass(frozen=True, slots=True)
class SimRequest:
    """A request that was answered: ``path`` is its whole target with the query, header names are in lower case,
    ``status`` 0 when it got no answer, ``counted`` when it cost quota."""

    host: Host
    method: str
    path: str
    headers: dict[str, str]
    status: int
    counted: bool


@dataclass(kw_only=True)
class GitHub:
    """The state of the stand-in.

    ``token``: the one that is valid.  ``moved``: former names of repositories (``"owner/name"``).  ``used``: requests
    that counted, by who asked, until ``reset`` (unix seconds), when a new window of ``window`` seconds begins.
    ``clock``: the time of day.  ``link_lifetime``: seconds for which a link to the asset host is good.
    ``assets_name``: the name by which links call the asset host, e.g. ``localhost``.  ``latest_is_list``: where there
    is no release, the web host sends those who ask for the latest to the list (as GitHub's does) instead of 404.
    The URLs are empty until it is served.
    """

    token: str | None = None
    limit_anonymous: int = 60
    limit_token: int = 5000
    used: dict[Bucket, int] = field(default_factory=lambda: {"anonymous": 0, "token": 0})
    window: int = 3600
    reset: int = 0
    clock: Callable[[], float] = time.time
    repos: dict[str, SimRepo] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    requests: list[SimRequest] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    link_lifetime: int = 3600
    assets_name: str = ""
    latest_is_list: bool = False
    api_url: str = ""
    web_url: str = ""
    assets_url: str = ""
    _published: int = field(default=0, repr=False)
    _answered: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot, repr=False)

    def add(self, repo: str, release: SimRelease) -> None:
        """Make it the newest release of ``repo``, which comes into being when needed."""
        self._published += 1
        if not release.published:
            release.published = (_FIRST_DAY + timedelta(days=self._published)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.repos.setdefault(repo, SimRepo()).releases.append(release)

    def remove(self, repo: str, tag: str) -> None:
        """Delete a release and its tag.

        Raises:
            KeyError: there is none.
        """
        kept = [release for release in self.repos[repo].releases if release.tag != tag]
        if len(kept) == len(self.repos[repo].releases):
            raise KeyError(f"{repo} has no release {tag}")
        self.repos[repo].releases = kept

    def find(self, name: str) -> tuple[str, SimRepo] | None:
        """The repository of that name in any case of letters, and its name as it is written."""
        if (repo := self.repos.get(name)) is not None:
            return name, repo
        folded = name.casefold()
        return next(((known, repo) for known, repo in self.repos.items() if known.casefold() == folded), None)

    def new_name(self, name: str) -> str | None:
        """Where a repository of that name has gone, after all its moves; None when it has not moved."""
        folded = {old.casefold(): new for old, new in self.moved.items()}
        new = folded.pop(name.casefold(), None)
        while new is not None and (further := folded.pop(new.casefold(), None)) is not None:
            new = further
        return new

    def limit(self, bucket: Bucket) -> int:
        return self.limit_token if bucket == "token" else self.limit_anonymous

    def now(self) -> int:
        """The time in whole seconds; begins a new window of the limits when the last one is over."""
        now = int(self.clock())
        if now >= self.reset:
            # What is used before the first window was put there on purpose.
            if self.reset:
                self.used |= {"anonymous": 0, "token": 0}
            self.reset = now + self.window
        return now

    def take_fault(self, host: Host, target: str) -> Fault | None:
        """The first fault that is meant for a request, used up by one."""
        for fault in self.faults:
            if fault.where == host and fault.path in target:
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self.faults.remove(fault)
                return fault
        return None

    def record(self, request: SimRequest) -> None:
        self.requests.append(request)
        self._answered.unpark_all()

    def asked(self, host: Host, path: str = "") -> list[SimRequest]:
        """The requests to a host whose target contains ``path``, oldest first."""
        return [request for request in self.requests if request.host == host and path in request.path]

    async def asked_reach(self, count: int, host: Host, path: str = "") -> None:
        """Return when :meth:`asked` has that many; the last of them has got no byte of its answer yet."""
        while len(self.asked(host, path)) < count:
            await self._answered.park()


def stable_id(*names: str) -> int:
    """A number that is the same in every run."""
    return int(hashlib.sha256("\0".join(names).encode()).hexdigest()[:7], 16) + 1


def stable_sha(*names: str) -> str:
    """40 hex digits that are the same in every run."""
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:40]
