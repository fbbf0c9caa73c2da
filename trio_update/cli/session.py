"""What a client command works with while it is connected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import trio

from trio_update.cli.display import FAILED, INTERRUPTED, Failure, Output
from trio_update.client import Client

_T = TypeVar("_T")


class Failed(Exception):
    """A command that ends with this failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Interrupts:
    """What Ctrl-C (and SIGTERM) does at the moment: ``react``, which may raise Failed."""

    def __init__(self, scope: trio.CancelScope) -> None:
        self._scope = scope
        self.code = INTERRUPTED
        self.react: Callable[[int], None] = _interrupted

    def stop(self, code: int) -> None:
        """End the command with ``code``."""
        self.code = code
        self._scope.cancel()

    async def listen(self, signals: AsyncIterator[int]) -> None:
        async for signum in signals:
            self.react(signum)


@dataclass(frozen=True)
class Session:
    """What a command works with."""

    client: Client
    output: Output
    interrupts: Interrupts


def _interrupted(signum: int) -> None:
    raise Failed(Failure("interrupted", "interrupted", INTERRUPTED))


def understood(method: str, result: Any, shape: type[_T]) -> _T:
    """The server's answer as ``shape``.  Raises Failed: it is shaped otherwise."""
    try:
        return msgspec.convert(result, shape)
    except msgspec.ValidationError as error:
        message = f"the server's answer to {method} cannot be read ({error}); --json shows it as it came"
        raise Failed(Failure(message, "bad_reply", FAILED)) from None
