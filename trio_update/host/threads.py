"""Blocking work, in threads of our own count.

An application that embeds a manager may keep all of Trio's default forty threads busy for as long as it likes; what an
undo has to do with files must not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# Looks at apps side by side take one each, jobs one; what is left is for questions about the state of a job.
THREADS = 32
# Trio keeps the count of its own threads in the same way: one for each run of the event loop.
_limiter: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("trio_update_threads")


async def in_thread(work: Callable[[*Ts], T], *args: *Ts) -> T:
    """Run ``work(*args)`` in a thread and return what it returns; a cancellation waits until it has ended.

    ``work`` may call ``trio.from_thread.check_cancelled`` to end early.  Raises what ``work`` raises.
    """
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = trio.CapacityLimiter(THREADS)
        _limiter.set(limiter)
    return await trio.to_thread.run_sync(work, *args, limiter=limiter)
