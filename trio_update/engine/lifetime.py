"""The end of a manager: who is still inside, and what the host's own code raised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from trio_update.errors import ManagerClosed
from trio_update.logs import get_logger

_log = get_logger(__name__)

# A call that ends may have to end a process first: two seconds of grace, five for SIGKILL.
_LEAVE_SECONDS = 10.0


class Lifetime:
    """Whether the manager can still be asked, and which of the host's tasks are waiting inside it."""

    def __init__(self) -> None:
        self._ended = False
        self._calls: set[trio.CancelScope] = set()
        self._all_left = trio.Event()

    def check(self) -> None:
        """Raises: ManagerClosed after the end."""
        if self._ended:
            raise ManagerClosed("The update manager has ended: open it again to go on")

    @contextmanager
    def call(self) -> Iterator[None]:
        """Something that the host waits for; the end cuts it short.  Raises: ManagerClosed."""
        self.check()
        scope = trio.CancelScope()
        self._calls.add(scope)
        try:
            with scope:
                yield
        finally:
            self._calls.discard(scope)
            if self._ended and not self._calls:
                self._all_left.set()
        if scope.cancelled_caught:
            raise ManagerClosed("The update manager has ended in the middle of this")

    def end(self) -> None:
        """From here on nothing can be asked, and what is being asked ends."""
        self._ended = True
        for scope in tuple(self._calls):
            scope.cancel()

    async def left(self) -> None:
        """Return when no task of the host's uses the manager's tools any more, or after ten seconds."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _LEAVE_SECONDS):
            if self._calls:
                await self._all_left.wait()


class HostErrors:
    """Brings what the host's own code raised out as it went in.

    The host did not ask for a nursery: whether it gets a ``ValueError`` or a group that holds one must not depend on
    what the manager is made of.  (``trio.open_nursery(strict_exception_groups=False)`` would do that for a single
    exception, is deprecated, and would take a host's own group apart.)
    """

    def __init__(self) -> None:
        self._raised: BaseException | None = None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Around the host's code."""
        try:
            yield
        except BaseException as error:
            self._raised = error
            raise

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Around everything of the manager's that the host's exception passes through."""
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - it, or what it was made of, is raised again
            out = self._out(error)
            context = out.__context__
            try:
                raise out
            finally:
                # Python has just noted that it was raised while a group that holds it was handled.
                out.__context__ = context

    def _out(self, error: BaseException) -> BaseException:
        raised = self._raised
        known = {id(leaf) for leaf in _leaves(raised)} if raised is not None else set()
        ours = [leaf for leaf in _leaves(error) if id(leaf) not in known and not isinstance(leaf, trio.Cancelled)]
        if raised is None or (ours and _is_cancellation(raised)):
            # A fault of the manager's own cancels the host's code, whose Cancelled belongs to no scope out there.
            return ours[0] if len(ours) == 1 else error
        for other in ours:
            _log.error("the update manager failed while it ended", exc_info=other)
        return raised


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _is_cancellation(error: BaseException) -> bool:
    return all(isinstance(leaf, trio.Cancelled) for leaf in _leaves(error))
