"""A stand-in for GitHub on Trio: its API, its web host and the host of its assets, each on a port of its own.

It answers as the real one does, limits and all, for as many releases as :class:`GitHub` holds, and misbehaves on
order.  It listens on the loopback alone, without TLS.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from email.utils import formatdate
from functools import partial

import h11
import trio

from trio_update.demo.github.answer import Answer, page, send
from trio_update.demo.github.api import api
from trio_update.demo.github.assets import assets
from trio_update.demo.github.faults import Fault, FaultKind, Host
from trio_update.demo.github.spoil import looped, spoil
from trio_update.demo.github.state import GitHub, SimAsset, SimRelease, SimRepo, SimRequest
from trio_update.demo.github.web import web
from trio_update.demo.http1 import Connection, Request

__all__ = [
    "Fault",
    "FaultKind",
    "GitHub",
    "SimAsset",
    "SimRelease",
    "SimRepo",
    "SimRequest",
    "serve_github",
]

_SERVERS = {"api": "github.com", "web": "github.com", "assets": "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0"}


async def serve_github(
    github: GitHub,
    *,
    host: str = "127.0.0.1",
    ports: tuple[int, int, int] = (0, 0, 0),
    task_status: trio.TaskStatus[GitHub] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; ``nursery.start`` returns ``github``, with its URLs set, once all three hosts answer.

    ``ports``: of the API, the web host and the assets; 0 for any.

    Raises:
        OSError: a port is taken.
    """
    async with AsyncExitStack() as opened:
        listeners = []
        for port in ports:
            (listener,) = await trio.open_tcp_listeners(port, host=host)
            listeners.append(await opened.enter_async_context(listener))
        bound = [listener.socket.getsockname()[1] for listener in listeners]
        github.api_url = f"http://{host}:{bound[0]}"
        github.web_url = f"http://{host}:{bound[1]}"
        github.assets_url = f"http://{github.assets_name or host}:{bound[2]}"
        async with trio.open_nursery() as nursery:
            names: tuple[Host, Host, Host] = ("api", "web", "assets")
            for name, listener in zip(names, listeners, strict=True):
                nursery.start_soon(trio.serve_listeners, partial(_handle, github, name), [listener])
            # They listen already: a client that comes before the tasks run waits in the queue.
            task_status.started(github)


async def _handle(github: GitHub, host: Host, stream: trio.SocketStream) -> None:
    connection = Connection(stream)
    try:
        async with stream:
            while request := await connection.request():
                answer = await _answer(github, host, request)
                await send(connection, answer, head_only=request.method == "HEAD")
                if not connection.again():
                    return
    except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError, OSError):
        # The client has gone, does not speak HTTP, or was to be left; or the file has gone: of no interest to the
        # others.
        return


async def _answer(github: GitHub, host: Host, request: Request) -> Answer:
    base = {"api": github.api_url, "web": github.web_url, "assets": github.assets_url}[host]
    fault = None
    if (answer := looped(request.target, base)) is None:
        fault = github.take_fault(host, request.target)
        try:
            answer = await _true_answer(github, host, request, fault)
        except OSError as error:
            answer = page(500, f"An asset cannot be read: {error}")
    if fault is not None:
        answer = await spoil(answer, fault, base)
    date = formatdate(github.clock(), usegmt=True)
    answer = replace(answer, headers=[("date", date), ("server", _SERVERS[host]), *answer.headers])
    asked = SimRequest(host, request.method, request.target, request.headers, answer.status, answer.counted)
    github.record(asked)
    return answer


async def _true_answer(github: GitHub, host: Host, request: Request, fault: Fault | None) -> Answer:
    match host:
        case "api":
            return await api(github, request, fault)
        case "web":
            return web(github, request)
        case "assets":
            return await assets(github, request, fault)
