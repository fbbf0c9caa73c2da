"""Waiting for what no event tells: other processes, the disk, clients' view of a server."""

from __future__ import annotations

from collections.abc import Callable

import trio


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Return when ``condition`` holds.  Raises: trio.TooSlowError after ``seconds``."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - whoever could set an event is another process, or none of ours
            await trio.sleep(0.01)
