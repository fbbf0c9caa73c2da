"""Events, to everyone who listens, without ever waiting for anyone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import trio

from trio_update.errors import EventsMissed
from trio_update.events import Event


@dataclass(eq=False)
class Attachment:
    """An outbox in the hub.  ``missed``: it was full, and is attached no more."""

    missed: bool = False


class Hub:
    """Delivers each event to every attached outbox, in order."""

    def __init__(self) -> None:
        # A dict for its order: who came first hears first.
        self._outboxes: dict[trio.MemorySendChannel[Any], Attachment] = {}
        self._ended = False

    @contextmanager
    def attach(self, outbox: trio.MemorySendChannel[Any]) -> Iterator[Attachment]:
        """Put every event into ``outbox`` while the context lasts.

        An outbox that is full belongs to someone who does not read: it is closed, so that its owner finds the end
        of the stream and can come back for the whole state.  The end of the hub closes it too, or has closed it.
        """
        attached = self._outboxes[outbox] = Attachment()
        if self._ended:
            self.end()
        try:
            yield attached
        finally:
            self._outboxes.pop(outbox, None)

    def publish(self, event: Event) -> None:
        """Deliver ``event``; returns at once."""
        for outbox in list(self._outboxes):
            try:
                outbox.send_nowait(event)
            except trio.WouldBlock:
                self._outboxes.pop(outbox).missed = True
                outbox.close()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._outboxes.pop(outbox, None)

    def end(self) -> None:
        """Close every outbox: nothing follows."""
        self._ended = True
        for outbox in list(self._outboxes):
            outbox.close()
        self._outboxes.clear()


class Events:
    """The events of a manager, in order; made by :meth:`~trio_update.engine.manager.Manager.events`.

    Iterating ends after the last event when the manager does.
    """

    def __init__(self, attached: Attachment, received: trio.MemoryReceiveChannel[Event]) -> None:
        self._attached = attached
        self._received = received

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        """The next event.

        Raises: EventsMissed when the reader was so slow that its buffer was full; what is in it can still be had.
        """
        try:
            return await self._received.receive()
        except trio.EndOfChannel:
            if not self._attached.missed:
                raise StopAsyncIteration from None
            raise EventsMissed(
                "Events were missed, because they came faster than they were read: read anew, the present status "
                "comes first"
            ) from None
        except trio.ClosedResourceError:
            raise StopAsyncIteration from None
