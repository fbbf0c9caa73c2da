"""Free questions whether anything is new: what they cost is no quota, and what they answer is a hint and no truth.

Whatever goes wrong with a probe means "ask the API", and that it is not tried again for a day.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec
import trio

from trio_update.errors import OperationFailed
from trio_update.host.forge.memory import Memory
from trio_update.host.git.command import git_argv, git_environment
from trio_update.host.http.client import Web
from trio_update.host.processes.runner import Runner
from trio_update.versions import read_tag

REPOSE = 24 * 3600.0
"""Seconds for which a probe that was not answered is not tried again."""

_PATIENCE = 20.0
_TOTAL = 60.0
_LARGEST = 4 * 1024 * 1024
_LATEST = re.compile(r"/(?P<repo>[^/]+/[^/]+)/releases/tag/(?P<tag>.+)")
_REF = re.compile(rb"refs/tags/(.+)$", re.MULTILINE)
# The user's helpers and agents would hand out credentials, and other transports run programs.
_OPTIONS = (
    ("credential.helper", ""),
    ("protocol.allow", "never"),
    ("protocol.http.allow", "always"),
    ("protocol.https.allow", "always"),
)
# No repository: a clone's own settings (`url.….insteadOf`) must not count, wherever this process was started.
_NOWHERE = {"GIT_DIR": "/dev/null"}


@dataclass(frozen=True)
class TagList:
    """What ``git ls-remote --tags`` said: the digest of it all, and the names of the tags."""

    digest: str
    names: frozenset[str]

    def settled(self, tag: str) -> bool:
        """Whether ``tag`` is the newest version of the list.

        A newer one has no release yet.  Projects push the tag first and publish when the build is done: then nothing
        of this list changes any more, so that it is no proof of there being nothing new.
        """
        release = read_tag(tag)
        if release is None:
            return True
        versions = (read_tag(name) for name in self.names)
        return not any(version is not None and version.key > release.key for version in versions)


class _Belongs(msgspec.Struct, frozen=True):
    """The release that was the newest when the tags were those of the digest."""

    tag: str
    digest: str


@dataclass(frozen=True)
class Probes:
    """Probes of the repositories at the web host ``site``."""

    site: str
    web: Web
    memory: Memory
    runner: Runner
    clock: Callable[[], float]

    async def latest_tag(self, repo: str) -> str | None:
        """The tag that the newest stable release has; ``None`` when that cannot be told."""
        with trio.move_on_after(_PATIENCE):
            try:
                target = await self.web.redirect_of(f"{self.site}/{repo}/releases/latest")
            except OperationFailed:
                return None
            return _tag_of(target, repo) if target else None
        return None

    async def tags(self, repo: str) -> TagList | None:
        """The tags of the repository; ``None`` when that cannot be told."""
        here = Path("/")
        try:
            done = await self.runner.run(
                git_argv(_OPTIONS, ["ls-remote", "--tags", "--end-of-options", f"{self.site}/{repo}"]),
                cwd=here,
                env=git_environment(here) | _NOWHERE,
                silence=_PATIENCE,
                timeout=_TOTAL,
                max_output=_LARGEST,
            )
        except OperationFailed:
            return None
        names = frozenset(name.decode("utf-8", "replace") for name in _REF.findall(done.stdout))
        return TagList(hashlib.sha256(done.stdout).hexdigest(), names)

    async def unchanged(self, repo: str, tag: str, tags: TagList) -> bool:
        """Whether the tags are still those that belong to the newest release ``tag``."""
        return await self.memory.recall(self._key("tags", repo), _Belongs) == _Belongs(tag, tags.digest)

    async def belongs(self, repo: str, tag: str, tags: TagList) -> None:
        """Note that ``tag`` is the newest release while the tags are these."""
        digest = tags.digest if tags.settled(tag) else ""
        await self.memory.keep(self._key("tags", repo), _Belongs(tag, digest))

    async def resting(self, kind: str, repo: str) -> bool:
        """Whether a probe of this kind was not answered within the last day."""
        failed = await self.memory.recall(self._key(f"unanswered-{kind}", repo), float)
        return failed is not None and 0 <= self.clock() - failed < REPOSE

    async def rest(self, kind: str, repo: str) -> None:
        """Note that a probe of this kind was not answered."""
        await self.memory.keep(self._key(f"unanswered-{kind}", repo), self.clock())

    def _key(self, what: str, repo: str) -> str:
        return f"{what}:{self.site}/{repo.lower()}"


def _tag_of(target: str, repo: str) -> str | None:
    found = _LATEST.search(urlsplit(target).path)
    if found is None or unquote(found["repo"]).lower() != repo.lower():
        return None
    return unquote(found["tag"])
