"""Is an app well after its update?"""

from __future__ import annotations

from pathlib import Path

import trio

from trio_update.config import HealthCheck
from trio_update.errors import OperationFailed
from trio_update.host.http.client import answers
from trio_update.host.processes.runner import Runner
from trio_update.host.services import Services

STEADY = 5.0
_RETRY = 1.0


async def check_health(
    check: HealthCheck, services: Services, names: tuple[str, ...], runner: Runner, cwd: Path
) -> None:
    """Wait until the app has proved itself: its services stay active for five seconds, its command and its URL succeed.

    Raises: OperationFailed with what was not well.
    """
    if services.manages and names:
        await _steady(services, names)
    if check.command:
        await runner.run(list(check.command), cwd=cwd, timeout=check.timeout)
    if check.url:
        await _answers_in_time(check.url, check.timeout)


async def _steady(services: Services, names: tuple[str, ...]) -> None:
    until = trio.current_time() + STEADY
    while True:
        for name in names:
            if not await services.is_active(name):
                raise OperationFailed(f"service {name} is not active after its restart")
        if trio.current_time() >= until:
            return
        await trio.sleep(0.5)


async def _answers_in_time(url: str, seconds: float) -> None:
    """A service that has just been restarted needs a moment, so the URL is asked until the time is over."""
    trouble = "it was not asked"
    with trio.move_on_after(seconds):
        while trouble := await answers(url):  # noqa: ASYNC110 - nobody tells us when another program is up
            await trio.sleep(_RETRY)
        return
    raise OperationFailed(f"{url} did not answer well within {seconds:g} s: {trouble}")
