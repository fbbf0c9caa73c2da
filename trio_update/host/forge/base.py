"""What a forge is to us: a place that lists releases.  Values, and the interface that every kind of forge answers.

Implementations: :mod:`trio_update.host.forge.github` (GitHub, Forgejo, Gitea) and :mod:`trio_update.host.forge.gitlab`.
"""

from __future__ import annotations

import enum
from typing import Protocol

from trio_update.errors import OperationFailed
from trio_update.model import RateLimit, RemoteRelease


class Purpose(enum.Enum):
    """Why a forge is asked.  A refresh leaves a reserve of requests, and does not try again; a job may use it all."""

    REFRESH = enum.auto()
    JOB = enum.auto()


class RateLimited(OperationFailed):
    """No request was sent, or the last one was turned down: none may be sent before ``until`` (unix seconds)."""

    def __init__(self, host: str, until: float, why: str) -> None:
        self.host = host
        self.until = until
        super().__init__(why)


class NoSuchRelease(OperationFailed):
    """The forge answered, and has no such repository, release or branch."""


class Forge(Protocol):
    """Releases of repositories, named ``owner/name``.

    All methods raise :class:`RateLimited`, :class:`NoSuchRelease`, or :class:`~trio_update.errors.OperationFailed`
    when the forge cannot be reached or answers nonsense.
    """

    async def newest(
        self, repo: str, *, prerelease: bool, known: RemoteRelease | None, purpose: Purpose, installed: str = ""
    ) -> RemoteRelease:
        """The newest release; with ``prerelease`` the newest of all that are no draft.

        The newest is the highest version that can be ordered (:func:`~trio_update.versions.newest_of`), where the
        forge has no word of its own for it.  ``installed``: the version that is, if it is known; who has a nightly
        build is told of the next one.

        ``known``: what was the newest last time.  It is returned again, without a request that counts, when a free
        probe says that nothing has changed.
        """

    async def by_tag(self, repo: str, tag: str, *, purpose: Purpose) -> RemoteRelease:
        """The release of a tag."""


class Forges(Protocol):
    """All forges of a configuration."""

    def forge(self, url: str) -> Forge:
        """The forge at ``url`` (an app's ``forge_url``); GitHub for the empty string.  Does no I/O."""

    def budget(self) -> RateLimit | None:
        """GitHub's rate limit as its last answer told it; ``None`` before the first."""

    async def trouble(self) -> str:
        """Why GitHub is asked without the configured token at present; empty when it is asked with it.

        Sends no request: a token that was replaced meanwhile is no trouble until it is refused, too.
        """
