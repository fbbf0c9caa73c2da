"""Which token a repository is asked with: one that is refused must not take the public releases away, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from trio_update.errors import OperationFailed
from trio_update.host.forge.memory import digest_of

REPOSE = 3600.0
"""Seconds for which a token that was not accepted is left out: GitHub locks out who goes on trying."""


class Denied(Exception):
    """An answer that may be due to the token that was shown; ``failure`` says what it means if it is not."""

    def __init__(self, status: int, failure: OperationFailed) -> None:
        super().__init__(str(failure))
        self.status = status
        self.failure = failure


@dataclass
class Access:
    """What one host said about tokens, for as long as the process lives.  ``clock`` tells unix seconds."""

    clock: Callable[[], float]
    trouble: str = ""
    """Why the token is not used now; empty when it is, or there is none."""
    _refused: dict[str, float] = field(default_factory=dict)
    _seen_with: dict[tuple[str, str], bool] = field(default_factory=dict)

    def shown(self, token: str, place: str) -> tuple[str, ...]:
        """What to ask for ``place`` with, one after the other; the empty text is nobody."""
        if not token:
            self.trouble = ""
            return ("",)
        if self._is_refused(token):
            return ("",)
        self.trouble = ""
        return (token, "") if self._seen_with.get((digest_of(token), place), True) else ("",)

    def trouble_with(self, token: str) -> str:
        """Why ``token`` is not used; empty when it is."""
        return self.trouble if self._is_refused(token) else ""

    def _is_refused(self, token: str) -> bool:
        refused = self._refused.get(digest_of(token)) if token else None
        return refused is not None and 0 <= self.clock() - refused < REPOSE

    def worth_another(self, token: str, place: str, denied: Denied) -> bool:
        """Whether to ask again as nobody.

        What is not there (404) is believed from who could see the repository once, or is known to see no less than
        others: else each question for a tag that does not exist would cost a second request.
        """
        if denied.status == 401:
            self._refused[digest_of(token)] = self.clock()
            self.trouble = str(denied.failure)
        return denied.status != 404 or (digest_of(token), place) not in self._seen_with

    def settle(self, token: str, place: str, *, seen: bool) -> None:
        """Note that the token sees the repository, or no less than others do; or that it is in the way."""
        if token:
            self._seen_with[digest_of(token), place] = seen


def place_of(path: str) -> str:
    """The repository that a path of the API is about: ``/repos/OWNER/NAME``."""
    return "/".join(path.partition("?")[0].split("/")[:4]).lower()
