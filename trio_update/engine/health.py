"""Is an app well after its update?"""

from __future__ import annotations

from pathlib import Path

import trio

from trio_update.config import HealthCheck
from trio_update.errors import OperationFailed
from trio_update.host.http.client import Web
from trio_update.host.services import Services
from trio_update.updaters.base import Tools

STEADY = 5.0
_RETRY = 1.0


async def check_health(check: HealthCheck, services: Services, names: tuple[str, ...], tools: Tools, cwd: Path) -> None:
    """Wait until the app has proved itself: its services stay active for five seconds, its command and its URL succeed.

    Raises: OperationFailed with what was not well.
    """
    if services.manages and names:
        await _steady(services, names)
    if check.command:
        await tools.processes.run(list(check.command), cwd=cwd, timeout=check.timeout)
    if check.url:
        await _answers_in_time(tools.http, check.url, check.timeout)


async def _steady(services: Services, names: tuple[str, ...]) -> None:
    until = trio.current_time() + STEADY
    while True:
        for name in names:
            if not await services.is_active(name):
                raise OperationFailed(f"service {name} is not active after its restart")
        if trio.current_time() >= until:
            return
        await trio.sleep(0.5)


async def _answers_in_time(web: Web, url: str, seconds: float) -> None:
    """A service that has just been restarted needs a moment, so the URL is asked until the time is over."""
    trouble = "it was not asked"
    with trio.move_on_after(seconds):
        while trouble := await _why_not_well(web, url):  # noqa: ASYNC110 - no event tells when another program is up
            await trio.sleep(_RETRY)
        return
    raise OperationFailed(f"{url} did not answer well within {seconds:g} s: {trouble}")


async def _why_not_well(web: Web, url: str) -> str:
    try:
        status = await web.status_of(url)
    except OperationFailed as error:
        return str(error)
    return "" if status < 400 else f"status {status}"
