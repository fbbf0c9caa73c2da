"""What the client commands ask for, as data: building these needs neither an event loop nor a terminal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

DEFAULT_PORT = 7126
DEFAULT_URL = f"http://127.0.0.1:{DEFAULT_PORT}"


@dataclass(frozen=True)
class Target:
    """Which server, and whether the answer is to be one JSON document."""

    url: str = DEFAULT_URL
    api_key: str | None = None
    json: bool = False


@dataclass(frozen=True)
class Query:
    """One call, whose result is shown as ``show`` says; ``only``: of a status, this app alone."""

    method: str
    show: Literal["status", "plan", "history", "abort"]
    params: dict[str, Any] = field(default_factory=dict)
    only: str | None = None


@dataclass(frozen=True)
class StartJob:
    """A call that runs a job; its messages carry ``application``, ``what`` is what the user calls it."""

    method: str
    params: dict[str, Any]
    application: str
    what: str


@dataclass(frozen=True)
class Watch:
    """Every notification until the user has seen enough."""


Command = Query | StartJob | Watch
