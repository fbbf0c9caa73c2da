"""HTTP requests to the outside, on httpx.

httpx costs 9 MB and 85 ms for its TLS context, so it is imported when the first request is made, and not before.
"""

from __future__ import annotations

from trio_update import __version__
from trio_update.errors import OperationFailed

USER_AGENT = f"trio-update/{__version__}"
_TIMEOUT = 20.0


async def redirect_of(url: str) -> str | None:
    """The address that ``url`` redirects to, at once and without following it; ``None`` when it doesn't.

    Raises: OperationFailed when the server cannot be reached.
    """
    import httpx
    import trio

    try:
        with trio.fail_after(_TIMEOUT):
            async with (
                httpx.AsyncClient(headers={"User-Agent": USER_AGENT}, timeout=_TIMEOUT) as client,
                client.stream("GET", url) as response,
            ):
                return str(response.next_request.url) if response.next_request is not None else None
    except (httpx.HTTPError, httpx.InvalidURL, trio.TooSlowError) as error:
        raise OperationFailed(f"cannot reach {url}: {str(error) or type(error).__name__}") from error


async def answers(url: str) -> str:
    """Ask ``url`` once; empty when it answers with a status below 400, else why it is not well."""
    import httpx
    import trio

    try:
        with trio.fail_after(_TIMEOUT):
            async with (
                httpx.AsyncClient(headers={"User-Agent": USER_AGENT}, timeout=_TIMEOUT) as client,
                client.stream("GET", url, follow_redirects=True) as response,
            ):
                return "" if response.status_code < 400 else f"status {response.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return str(error) or type(error).__name__
    except trio.TooSlowError:
        return "no answer in time"
