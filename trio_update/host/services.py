"""System services, behind what the engine needs of them."""

from __future__ import annotations

from typing import Protocol


class Services(Protocol):
    """A service manager.  Raises :class:`~trio_update.errors.OperationFailed`."""

    async def restart(self, name: str) -> None:
        """Restart a service and return when the manager has accepted it."""

    async def is_active(self, name: str) -> bool:
        """Whether the service runs right now."""

    @property
    def manages(self) -> bool:
        """False: there is no service manager, restarts are the user's own."""


class NoServices:
    """``service_provider: none``: nothing is restarted, and nothing is known of any service."""

    manages = False

    async def restart(self, name: str) -> None:
        """Does nothing: the engine tells the user that the restart is theirs."""

    async def is_active(self, name: str) -> bool:
        return True
