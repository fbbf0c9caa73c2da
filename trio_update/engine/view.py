"""The status of everything as it is now, and how everyone hears of it."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from trio_update.engine.board import Board
from trio_update.engine.hub import Hub
from trio_update.events import StatusChanged
from trio_update.host.forge.base import Forges
from trio_update.model import Status


@dataclass(frozen=True)
class StatusView:
    """Puts together what is known of the apps, of the forge's limit and of jobs.

    ``lane``: borrowed by the job that runs; the only truth about being busy.
    """

    board: Board
    forges: Forges
    hub: Hub
    lane: trio.CapacityLimiter

    @property
    def busy(self) -> bool:
        """Whether a job runs."""
        return self.lane.borrowed_tokens > 0

    def status(self) -> Status:
        """The status; the same object until something changes."""
        return self.board.status(busy=self.busy, budget=self.forges.budget())

    def publish(self) -> None:
        """Send everyone the status, because it has changed."""
        self.hub.publish(StatusChanged(status=self.status()))
