"""Events, to everyone who listens, without ever waiting for anyone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio

from trio_update.events import Event


class Hub:
    """Delivers each event to every attached outbox, in order."""

    def __init__(self) -> None:
        # A dict for its order: who came first hears first.
        self._outboxes: dict[trio.MemorySendChannel[Any], None] = {}

    @contextmanager
    def attach(self, outbox: trio.MemorySendChannel[Any]) -> Iterator[None]:
        """Put every event into ``outbox`` while the context lasts.

        An outbox that is full belongs to someone who does not read: it is closed, so that its owner finds the end
        of the stream and can come back for the whole state.
        """
        self._outboxes[outbox] = None
        try:
            yield
        finally:
            self._outboxes.pop(outbox, None)

    def publish(self, event: Event) -> None:
        for outbox in list(self._outboxes):
            try:
                outbox.send_nowait(event)
            except trio.WouldBlock:
                del self._outboxes[outbox]
                outbox.close()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._outboxes.pop(outbox, None)
