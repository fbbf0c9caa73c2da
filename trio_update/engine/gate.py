"""May I?  The host that embeds the engine has the last word before each step that somebody could feel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from trio_update.errors import Reason, Refused
from trio_update.groups import unwrapped
from trio_update.logs import get_logger
from trio_update.model import AppName, Step

_log = get_logger(__name__)

MayUpdate = Callable[[AppName | None, Step], Awaitable[str | None]]
"""Answers ``None`` for yes, or the sentence that says why not.  ``None`` instead of an app: all of them."""

# A job holds the lane while it asks: a host that never answers must not keep every other app from being updated.
ANSWER_SECONDS = 5.0


class Gate:
    """Asks the host, and makes a refusal of whatever is not a plain yes: a doubt must not stop a print."""

    def __init__(self, may_update: MayUpdate | None) -> None:
        self._may_update = may_update

    async def ask(self, app: AppName | None, step: Step) -> None:
        """Return when the step may be taken.

        Raises: Refused, with the host's sentence; also when its function raises (a :class:`Refused` of its own passes
            as it is), answers with something else, or does not answer within :data:`ANSWER_SECONDS`.
        """
        if self._may_update is None:
            return
        why: str | None = f"whether it may be updated could not be found out within {ANSWER_SECONDS:g} s"
        with trio.move_on_after(ANSWER_SECONDS):
            why = await _answer(self._may_update, app, step)
        if why is not None:
            raise Refused(Reason.NOT_NOW, why or "updates are not allowed now")


async def _answer(may_update: MayUpdate, app: AppName | None, step: Step) -> str | None:
    try:
        with unwrapped():
            answer: object = await may_update(app, step)
    except Refused:
        raise
    except Exception as error:  # noqa: BLE001 - the host's own code: its failure is a no, and must not end a job's undo
        _log.warning("asking whether %s may be updated failed (%s)", app or "everything", step, exc_info=True)
        return str(error) or f"whether it may be updated could not be found out: {error!r}"
    if answer is None:
        return None
    if isinstance(answer, str):
        # The bare text: what the host made of its own kind of text must not run wherever it is shown.
        return str.__str__(answer)
    # True may have been meant as a yes, and as a "there is something".
    return (
        f"whether it may be updated could not be found out: the application answered with a value of type "
        f"{type(answer).__name__}, not with None or a sentence"
    )
