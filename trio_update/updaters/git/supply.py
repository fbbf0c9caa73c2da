"""Where commits of submodules come from while a way is planned, and what becomes of those that cannot be had."""

from __future__ import annotations

from dataclasses import dataclass

from trio_update.errors import OperationFailed
from trio_update.host.git.submodules import Module, bring_commit, is_whole
from trio_update.progress import Report


@dataclass(frozen=True)
class Supply:
    """How commits of submodules come to the disk while a way is planned.

    ``missing``: gets why each commit that cannot be had is not; its submodule is passed over then.  ``None``: the first
    one ends it.
    """

    report: Report | None
    fetch: bool = True
    missing: dict[str, str] | None = None

    async def has(self, module: Module, commit: str, url: str) -> bool:
        """Raises: OperationFailed."""
        try:
            await self._bring(module, commit, url)
        except OperationFailed as failed:
            if self.missing is None:
                raise
            self.missing[commit] = str(failed)
            return False
        return True

    async def _bring(self, module: Module, commit: str, url: str) -> None:
        if self.fetch:
            await bring_commit(module, commit, url, self.report)
        elif not await is_whole(module, commit):
            raise OperationFailed(f"commit {commit[:8]} of submodule {module.path} was not fetched yet")
