"""Exception groups, kept from those who did not ask for a nursery."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unwrapped() -> Iterator[None]:
    """Let the single exception of a nursery out as itself: a nursery that is an implementation detail must not
    change what a caller has to catch.  Several exceptions at once stay a group."""
    try:
        yield
    except BaseExceptionGroup as group:
        only: BaseException = group
        while isinstance(only, BaseExceptionGroup) and len(only.exceptions) == 1:
            only = only.exceptions[0]
        if only is group:
            raise
        raise only from only.__cause__
