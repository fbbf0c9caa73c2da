"""What updaters and effects are given, where a test calls them itself."""

from __future__ import annotations

from trio_update.host.forge.base import Forge
from trio_update.host.http.client import Web
from trio_update.host.processes.runner import Runner
from trio_update.updaters.base import Tools


class NoForges:
    """For what asks no forge."""

    def forge(self, url: str) -> Forge:
        raise AssertionError(f"nothing here asks the forge at {url}")

    def budget(self) -> None:
        """Nothing was asked."""

    async def trouble(self) -> str:
        return ""


def plain_tools() -> Tools:
    return Tools(Runner("test"), Web(), NoForges())
