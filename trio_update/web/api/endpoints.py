"""The table of endpoints that REST and JSON-RPC share, and what each does with the manager."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Protocol, TypeVar

import msgspec

from trio_update import __version__
from trio_update.errors import Reason, Refused
from trio_update.web.api.facade import JobHandle, Manager
from trio_update.web.api.faults import BadRequest, NotFound

Answer = msgspec.Struct | Mapping[str, object] | Sequence[object]
"""What a handler answers with; :mod:`trio_update.web.api.wire` writes it."""

_NOT_AGAIN_WITHIN = 60.0  # seconds; the reference's limit for the deprecated `status?refresh=true`

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class Connection(Protocol):
    """The WebSocket connection that a call came over."""

    @property
    def number(self) -> int:
        """Unique among the connections of this process."""

    def identify(self, identity: Identity) -> None: ...


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler may use.  ``connection`` is None over plain HTTP; ``who`` is for the history of jobs."""

    manager: Manager
    connections: Callable[[], int]
    connection: Connection | None
    who: str


class Nothing(msgspec.Struct, frozen=True):
    """No parameters."""


class StatusParams(msgspec.Struct, frozen=True):
    refresh: bool = False


class Name(msgspec.Struct, frozen=True):
    """One app, or all of them when ``name`` is left out."""

    name: Text | None = None


class Upgrade(msgspec.Struct, frozen=True):
    """One app, or all of them when ``name`` is left out; ``plan_id``: only if that plan is still what would be done."""

    name: Text | None = None
    plan_id: Text | None = None


class Recover(msgspec.Struct, frozen=True):
    name: Text
    hard: bool = False
    update_deps: bool = False


class Rollback(msgspec.Struct, frozen=True):
    name: Text
    version: Text | None = None


class JobParams(msgspec.Struct, frozen=True):
    proc_id: int | None = None


class History(msgspec.Struct, frozen=True):
    name: Text | None = None
    limit: Limit = 50


class Identity(msgspec.Struct, frozen=True):
    """How a client introduces itself; ``type`` is one of web, mobile, desktop, display, bot, agent, other."""

    client_name: str = ""
    version: str = ""
    type: str = ""
    url: str = ""


P = TypeVar("P", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Generic[P]):
    """One endpoint.

    ``handler`` returns its answer at once, or a coroutine when it has to wait for something.  ``path`` is None for
    what makes sense over a WebSocket only.  ``unknown_app`` is the HTTP status for an app that does not exist, and
    ``name_decides`` is told at :func:`trio_update.web.api.arguments.typed`.
    """

    rpc: str
    handler: Callable[[Call, P], Answer | Coroutine[Any, Any, Answer]]
    params: type[P]
    method: str = "GET"
    path: str | None = None
    unknown_app: int = 404
    name_decides: bool = False


def _status(call: Call, params: StatusParams) -> Answer | Coroutine[Any, Any, Answer]:
    return _status_refreshed(call) if params.refresh else call.manager.status()


async def _status_refreshed(call: Call) -> Answer:
    age = call.manager.since_refresh()
    if age is None or age >= _NOT_AGAIN_WITHIN:
        with suppress(Refused):  # busy, printing or not ready: the reference answers with what is known
            await call.manager.refresh(None)
    return call.manager.status()


async def _refresh(call: Call, params: Name) -> Answer:
    await call.manager.refresh(params.name)
    return call.manager.status()


async def _done(job: JobHandle) -> Answer:
    """The answer to whoever asked for a job: when it has ended, and as it ended."""
    await job.wait()
    if job.error is not None:
        raise job.error
    return "ok"


async def _upgrade(call: Call, params: Upgrade) -> Answer:
    if params.plan_id is not None and params.name is None:
        raise BadRequest("a `plan_id` is of one app: give its `name` as well")
    return await _done(await call.manager.start_upgrade(params.name, plan_id=params.plan_id, who=call.who))


async def _full(call: Call, _: Nothing) -> Answer:
    return await _upgrade(call, Upgrade())


async def _klipper(call: Call, _: Nothing) -> Answer:
    return await _upgrade(call, Upgrade("klipper"))


async def _moonraker(call: Call, _: Nothing) -> Answer:
    return await _upgrade(call, Upgrade("moonraker"))


async def _system(call: Call, _: Nothing) -> Answer:
    try:
        return await _upgrade(call, Upgrade("system"))
    except Refused as refused:
        if refused.reason is Reason.UNKNOWN_APP:
            raise Refused(Reason.UNKNOWN_APP, "system updates are not configured") from refused
        raise


async def _recover(call: Call, params: Recover) -> Answer:
    return await _done(
        await call.manager.start_recover(params.name, hard=params.hard, update_deps=params.update_deps, who=call.who)
    )


async def _rollback(call: Call, params: Rollback) -> Answer:
    return await _done(await call.manager.start_rollback(params.name, version=params.version, who=call.who))


async def _abort(call: Call, params: JobParams) -> Answer:
    await call.manager.abort(params.proc_id)
    return "ok"


async def _plan(call: Call, params: Name) -> Answer:
    return await call.manager.plan(params.name)


async def _history(call: Call, params: History) -> Answer:
    return await call.manager.history(params.name, params.limit)


def _job(call: Call, params: JobParams) -> Answer:
    return call.manager.job(params.proc_id)


def _identify(call: Call, params: Identity) -> Answer:
    connection = _connection(call)
    connection.identify(params)
    return {"connection_id": connection.number}


def _websocket_id(call: Call, _: Nothing) -> Answer:
    return {"websocket_id": _connection(call).number}


def _connection(call: Call) -> Connection:
    if call.connection is None:
        raise BadRequest("this method is about a WebSocket connection; over HTTP there is none")
    return call.connection


def _info(call: Call, _: Nothing) -> Answer:
    return {
        "klippy_connected": False,
        "klippy_state": "disconnected",
        "components": ["update_manager"],
        "failed_components": [],
        "warnings": [],
        "websocket_count": call.connections(),
        "api_version": [1, 5, 0],
        "api_version_string": "1.5.0",
        "trio_update_version": __version__,
    }


def _constantly(answer: Answer) -> Callable[[Call, Nothing], Answer]:
    return lambda _call, _params: answer


def _no_item(_call: Call, _params: Nothing) -> Answer:
    raise NotFound("there is no database here, so there is no such item")


def _update(
    word: str,
    method: str,
    handler: Callable[[Call, P], Answer | Coroutine[Any, Any, Answer]],
    params: type[P],
    *,
    unknown_app: int = 404,
    name_decides: bool = False,
) -> Endpoint[P]:
    return Endpoint(
        rpc=f"machine.update.{word}",
        path=f"/machine/update/{word}",
        method=method,
        handler=handler,
        params=params,
        unknown_app=unknown_app,
        name_decides=name_decides,
    )


_UPDATES: tuple[Endpoint[Any], ...] = (
    _update("status", "GET", _status, StatusParams),
    _update("refresh", "POST", _refresh, Name, unknown_app=400),
    _update("upgrade", "POST", _upgrade, Upgrade, name_decides=True),
    _update("client", "POST", _upgrade, Upgrade, name_decides=True),
    _update("full", "POST", _full, Nothing),
    _update("klipper", "POST", _klipper, Nothing),
    _update("moonraker", "POST", _moonraker, Nothing),
    _update("system", "POST", _system, Nothing),
    _update("recover", "POST", _recover, Recover),
    _update("rollback", "POST", _rollback, Rollback),
    _update("abort", "POST", _abort, JobParams),
    _update("plan", "GET", _plan, Name),
    _update("history", "GET", _history, History),
    _update("job", "GET", _job, JobParams),
)

# What Mainsail and Fluidd ask for before they show the update panel; an error on one of these, or null, leaves them
# at their loading screen for ever.
_FOR_CLIENTS: tuple[Endpoint[Any], ...] = (
    Endpoint(rpc="server.connection.identify", handler=_identify, params=Identity),
    Endpoint(rpc="server.websocket.id", handler=_websocket_id, params=Nothing),
    Endpoint(rpc="server.info", path="/server/info", handler=_info, params=Nothing),
    Endpoint(rpc="server.database.get_item", path="/server/database/item", handler=_no_item, params=Nothing),
    *(
        Endpoint(rpc=path[1:].replace("/", "."), path=path, handler=_constantly(answer), params=Nothing)
        for path, answer in (
            ("/server/config", {}),
            ("/machine/proc_stats", {}),
            ("/machine/system_info", {"system_info": {}}),
            ("/server/database/list", {"namespaces": []}),
            ("/server/webcams/list", {"webcams": []}),
            ("/server/files/list", []),
        )
    ),
)

ENDPOINTS: tuple[Endpoint[Any], ...] = _UPDATES + _FOR_CLIENTS
