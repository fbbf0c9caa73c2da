"""JSON-RPC 2.0: text in, text out; the transport is somebody else's.

https://www.jsonrpc.org/specification, with what this API adds: params are objects, and a request whose ``id`` is
null is answered (a notification is a request *without* an id).
"""

from __future__ import annotations

import inspect
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import trio

from trio_update.web.api.arguments import NotJson, check_depth, parse_json, typed
from trio_update.web.api.endpoints import Answer, Call, Endpoint
from trio_update.web.api.faults import (
    BAD_PARAMS,
    NOT_A_REQUEST,
    NOT_JSON,
    TOO_MANY_CALLS,
    UNKNOWN_METHOD,
    Fault,
    explain,
)
from trio_update.web.api.wire import Wire, escape

MAX_CALLS = 32
MAX_BATCH = 100

Id = int | str | msgspec.UnsetType | None
Pending = Coroutine[Any, Any, str | None]
"""A reply to come; None when there is none to give."""


class RpcRequest(msgspec.Struct, frozen=True):
    """One call; ``id`` is UNSET in a notification."""

    jsonrpc: Literal["2.0"]
    method: str
    params: dict[str, Any] | None = None
    id: Id = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class _Invalid:
    """An item that is not a call, and what is wrong with it."""

    id: Id
    fault: Fault


@dataclass(slots=True)
class Caller:
    """Who sends the requests of one connection (or of one HTTP request).

    ``escaped``: text from outside is to be escaped in replies.  ``in_flight`` counts the calls that wait.
    """

    call: Call
    escaped: bool = False
    in_flight: int = 0


class Rpc:
    """Answers requests from the table of endpoints."""

    def __init__(self, endpoints: Iterable[Endpoint[Any]], wire: Wire) -> None:
        self._endpoints = {endpoint.rpc: endpoint for endpoint in endpoints}
        self._wire = wire
        self._decode = msgspec.json.Decoder(RpcRequest).decode

    def begin(self, text: str, caller: Caller) -> str | Pending | None:
        """Answer one frame at once, with a coroutine when something has to be waited for, or not at all.

        The coroutine gives the reply, raises nothing but Cancelled, and must be awaited or closed.
        """
        try:
            check_depth(text)
            request = self._decode(text)
        except NotJson as error:
            return self._error(None, Fault(400, NOT_JSON, str(error)), caller)
        except ValueError:
            return self._begin_unusual(text, caller)
        return self._begin_call(request, caller)

    def refuse(self, code: int, message: str, caller: Caller) -> str:
        """The error for a frame that is not even read."""
        return self._error(None, Fault(400, code, message), caller) or ""

    def _begin_unusual(self, text: str, caller: Caller) -> str | Pending | None:
        try:
            document = parse_json(text)
        except NotJson as error:
            return self._error(None, Fault(400, NOT_JSON, str(error)), caller)
        if isinstance(document, list):
            return self._begin_batch(document, caller)
        return self._begin_item(document, caller)

    def _begin_batch(self, items: list[Any], caller: Caller) -> str | Pending | None:
        if not items:
            return self.refuse(NOT_A_REQUEST, "not a request: the batch is empty", caller)
        if len(items) > MAX_BATCH:
            # Each item may be answered with a whole status: an unlimited batch would multiply its size by hundreds.
            return self.refuse(NOT_A_REQUEST, f"not accepted: a batch of more than {MAX_BATCH} requests", caller)
        begun = [self._begin_item(item, caller) for item in items]
        if any(inspect.iscoroutine(reply) for reply in begun):
            return _gather(begun)
        return _batch_reply(reply for reply in begun if isinstance(reply, str))

    def _begin_item(self, item: object, caller: Caller) -> str | Pending | None:
        request = _request(item)
        if isinstance(request, _Invalid):
            return self._error(request.id, request.fault, caller)
        return self._begin_call(request, caller)

    def _begin_call(self, request: RpcRequest, caller: Caller) -> str | Pending | None:
        endpoint = self._endpoints.get(request.method)
        if endpoint is None:
            fault = Fault(404, UNKNOWN_METHOD, f"unknown method `{request.method[:100]}`")
            return self._error(request.id, fault, caller)
        try:
            params = typed(endpoint.params, request.params or {}, name_decides=endpoint.name_decides)
            answer = endpoint.handler(caller.call, params)
            if not inspect.iscoroutine(answer):
                return self._result(request.id, answer, caller)
        except Exception as error:  # noqa: BLE001 - the request's border: explain() logs what nobody expected
            return self._error(request.id, explain(error, request=request.method), caller)
        if caller.in_flight >= MAX_CALLS:
            answer.close()
            fault = Fault(503, TOO_MANY_CALLS, f"too many calls in flight: {MAX_CALLS} on this connection wait already")
            return self._error(request.id, fault, caller)
        caller.in_flight += 1
        return self._finish(request, answer, caller)

    async def _finish(self, request: RpcRequest, answer: Coroutine[Any, Any, Answer], caller: Caller) -> str | None:
        try:
            return self._result(request.id, await answer, caller)
        except Exception as error:  # noqa: BLE001 - the request's border, as above
            return self._error(request.id, explain(error, request=request.method), caller)
        finally:
            caller.in_flight -= 1

    def _result(self, id_: Id, answer: object, caller: Caller) -> str | None:
        if id_ is msgspec.UNSET:
            return None
        return f'{{"jsonrpc":"2.0","result":{self._wire.text(answer, escaped=caller.escaped)},"id":{_id(id_)}}}'

    def _error(self, id_: Id, fault: Fault, caller: Caller) -> str | None:
        if id_ is msgspec.UNSET:
            return None
        error: dict[str, object] = {
            "code": fault.code,
            "message": escape(fault.message) if caller.escaped else fault.message,
        }
        if fault.reason is not None:
            error["data"] = {"reason": fault.reason}
        return f'{{"jsonrpc":"2.0","error":{self._wire.text(error)},"id":{_id(id_)}}}'


async def _gather(begun: list[str | Pending | None]) -> str | None:
    """Await what is pending, all at the same time; the replies keep the order of the requests."""
    replies: list[str | None] = [None] * len(begun)

    async def finish(place: int, pending: Pending) -> None:
        replies[place] = await pending

    async with trio.open_nursery() as nursery:
        for place, reply in enumerate(begun):
            if isinstance(reply, str) or reply is None:
                replies[place] = reply
            else:
                nursery.start_soon(finish, place, reply)
    return _batch_reply(reply for reply in replies if reply is not None)


def _batch_reply(replies: Iterable[str]) -> str | None:
    joined = ",".join(replies)
    return f"[{joined}]" if joined else None


def _id(id_: Id) -> str:
    return str(id_) if type(id_) is int else msgspec.json.encode(id_).decode()


def _request(item: object) -> RpcRequest | _Invalid:
    """Read one decoded item, or say what is wrong with it."""
    if not isinstance(item, dict):
        return _Invalid(None, Fault(400, NOT_A_REQUEST, "not a request: it is not an object"))
    id_ = item.get("id", msgspec.UNSET)
    if isinstance(id_, bool) or not isinstance(id_, int | str | msgspec.UnsetType | None):
        return _Invalid(None, Fault(400, NOT_A_REQUEST, "not a request: `id` must be a number, a string or null"))
    # An item that is not a request cannot be a notification either: it is answered, with what id it has.
    known = None if id_ is msgspec.UNSET else id_
    if item.get("jsonrpc") != "2.0":
        return _Invalid(known, Fault(400, NOT_A_REQUEST, 'not a request: `jsonrpc` must be "2.0"'))
    if not isinstance(item.get("method"), str):
        return _Invalid(known, Fault(400, NOT_A_REQUEST, "not a request: `method` must be a string"))
    if not isinstance(item.get("params"), dict | None):
        return _Invalid(id_, Fault(400, BAD_PARAMS, "`params` must be an object that holds the arguments by name"))
    return RpcRequest(jsonrpc="2.0", method=item["method"], params=item.get("params"), id=id_)
