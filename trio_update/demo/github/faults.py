"""Faults of the stand-in for GitHub, on order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Host = Literal["api", "web", "assets"]


class FaultKind(StrEnum):
    """What goes wrong.  Positions (``at``) are counted in the body of the one answer, from 0."""

    TRUNCATE = "truncate"
    """Announces the whole length and closes after ``at`` bytes."""
    CORRUPT = "corrupt"
    """Inverts the byte at ``at``."""
    STALL = "stall"
    """Stops before ``at`` for ``seconds`` (for ever), with the connection open."""
    RESET = "reset"
    """Resets the connection after ``at`` bytes, of which the client may see fewer."""
    WRONG_SIZE = "wrong size"
    """Announces and sends ``at`` bytes: the beginning of the right ones, or those and zeros."""
    STATUS = "status"
    """Answers with the status ``code``, and ``retry_after`` if it is set."""
    SECONDARY_LIMIT = "secondary limit"
    """Answers ``code`` 403 or 429 as if asked too fast, with ``retry_after`` if it is set.  API."""
    PRIMARY_LIMIT = "primary limit"
    """This one answer says that the limit is used up.  For a lasting one set ``GitHub.used``.  API."""
    REDIRECT_LOOP = "redirect loop"
    """Redirects to a place from where redirects lead around for ever, however few ``times`` are set."""
    REDIRECT_TO = "redirect to"
    """Redirects to ``url``."""
    HTML = "html"
    """200 with a web page."""
    NOT_JSON = "not json"
    """200 with something that only claims to be JSON."""
    DRIP = "drip"
    """Sends ``rate`` bytes a second."""
    NO_RANGE = "no range"
    """Answers 200 with everything to who asks for a part.  Assets."""
    CHANGED = "changed"
    """The asset was uploaded again just before: another ETag from now on, and ``content`` if it is set.  Assets."""
    GZIP_BOMB = "gzip bomb"
    """A body with ``content-encoding: gzip`` that expands to ``at`` bytes (64 MiB when 0)."""
    HUGE = "huge"
    """A body without an announced length and without an end."""
    CLOSE = "close"
    """Closes the connection without an answer."""


_ONLY: dict[FaultKind, Host] = {
    FaultKind.SECONDARY_LIMIT: "api",
    FaultKind.PRIMARY_LIMIT: "api",
    FaultKind.NO_RANGE: "assets",
    FaultKind.CHANGED: "assets",
}


@dataclass
class Fault:
    """A fault of requests to one host whose target, query included, contains ``path``.

    ``times``: how many requests it strikes before it is gone; None: all.  Only those of the other fields count that
    the kind names.

    Raises:
        ValueError: the host never does such a thing.
    """

    where: Host
    kind: FaultKind
    times: int | None = 1
    path: str = ""
    at: int = 0
    code: int = 0
    seconds: float = math.inf
    retry_after: int | None = None
    rate: float = 1024.0
    url: str = ""
    content: bytes | None = None

    def __post_init__(self) -> None:
        if _ONLY.get(self.kind, self.where) != self.where:
            raise ValueError(f"{self.kind} is a fault of the {_ONLY[self.kind]} host, not of {self.where}")
        if not self.code:
            self.code = 403 if self.kind is FaultKind.SECONDARY_LIMIT else 500
        if self.kind is FaultKind.REDIRECT_TO and not self.url:
            raise ValueError("redirect to which url?")
