"""The endpoints as HTTP resources, and JSON-RPC over ``POST``, in Quart."""

from __future__ import annotations

import inspect
import io
from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from typing import Any

from quart import Quart, Request, Response, has_request_context, request, websocket
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import MultiPartParser

from trio_update.model import Status
from trio_update.web.api.arguments import merge, parse_json, parse_urlencoded, typed
from trio_update.web.api.endpoints import Answer, Call, Endpoint
from trio_update.web.api.facade import Manager
from trio_update.web.api.faults import BadRequest, Fault, explain
from trio_update.web.api.jsonrpc import Caller, Rpc
from trio_update.web.api.wire import Wire

_JSON = "application/json"
_URLENCODED = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"


class Rest:
    """Makes views of endpoints."""

    def __init__(self, manager: Manager, wire: Wire, connections: Callable[[], int]) -> None:
        self._manager = manager
        self._wire = wire
        self._connections = connections

    def register(self, app: Quart, endpoint: Endpoint[Any]) -> None:
        """Serve ``endpoint`` at its path, if it has one."""
        if endpoint.path is not None:
            app.add_url_rule(endpoint.path, endpoint.rpc, self._view(endpoint), methods=[endpoint.method])

    def register_jsonrpc(self, app: Quart, rpc: Rpc) -> None:
        """Serve ``POST /server/jsonrpc``: errors are JSON-RPC's own, with status 200."""

        async def view() -> Response:
            if request.mimetype != _JSON:
                return self.failure(Fault(400, 400, f"the content type must be `{_JSON}`"))
            body = await _body(request)
            # Bytes that are not UTF-8 are not JSON either, and come out as such.
            reply = rpc.begin(body.decode(errors="surrogateescape"), Caller(self._call()))
            if inspect.iscoroutine(reply):
                reply = await reply
            # Notifications alone: nothing to say, and a body would be something.
            return _response(200, reply.encode()) if isinstance(reply, str) else Response(b"", 204)

        app.add_url_rule("/server/jsonrpc", "jsonrpc", view, methods=["POST"])

    def failure(self, fault: Fault) -> Response:
        """The envelope of an error."""
        error: dict[str, object] = {"code": fault.status, "message": fault.message}
        if fault.reason is not None:
            error["reason"] = fault.reason
        return _response(fault.status, self._wire.text({"error": error}).encode())

    async def refuse(self, error: HTTPException) -> Response:  # not async, Quart would run it in a thread
        """What Quart itself refuses: unknown paths, wrong methods, bodies too large or too slow."""
        status = error.code or 500
        if error.response is not None:  # a redirect, complete as it is
            status = error.response.status_code
        path = (request if has_request_context() else websocket).path
        response = self.failure(Fault(status, status, f"{HTTPStatus(status).phrase.lower()}: {path[:200]}"))
        for name, value in error.get_headers():
            if name.lower() == "allow":
                response.headers[name] = value
        return response

    def _view(self, endpoint: Endpoint[Any]) -> Callable[[], Awaitable[Response]]:
        async def view() -> Response:
            try:
                arguments = await _arguments(endpoint)
                params = typed(endpoint.params, arguments, name_decides=endpoint.name_decides)
                answer = endpoint.handler(self._call(), params)
                if isinstance(answer, Coroutine):
                    answer = await answer
                return self._success(answer)
            except HTTPException:
                raise  # Quart's own: a body that is too large, or does not come
            except Exception as error:  # noqa: BLE001 - the request's border: explain() logs what nobody expected
                return self.failure(explain(error, request=endpoint.rpc, unknown_app=endpoint.unknown_app))

        return view

    def _success(self, answer: Answer) -> Response:
        if not isinstance(answer, Status) or request.method == "POST":
            return _response(200, b'{"result":' + self._wire.text(answer).encode() + b"}")
        body, etag = self._wire.status_body(answer)
        known = request.headers.get("If-None-Match")
        response = Response(b"", 304) if known and _matches(known, etag) else _response(200, body)
        response.headers["ETag"] = etag
        # Keep it, but ask each time whether it still holds.
        response.headers["Cache-Control"] = "no-cache"
        return response

    def _call(self) -> Call:
        return Call(self._manager, self._connections, None, f"HTTP client at {request.remote_addr}")


def _response(status: int, body: bytes) -> Response:
    return Response(body, status, content_type=_JSON)


def _matches(if_none_match: str, etag: str) -> bool:
    """RFC 9110, section 13.1.2: a list of tags, compared weakly, or ``*``."""
    return any(tag.strip().removeprefix("W/") in {etag, "*"} for tag in if_none_match.split(","))


async def _arguments(endpoint: Endpoint[Any]) -> dict[str, object]:
    """What the request says, from its query, form and JSON.  Raises BadRequest."""
    texts = [parse_urlencoded(request.query_string)] if request.query_string else []
    document: object = None
    if _has_body(request):
        body = await _body(request)
        kind = request.mimetype
        if kind in {_MULTIPART, _URLENCODED}:
            form = _multipart(request, body) if kind == _MULTIPART else parse_urlencoded(body)
            if body and not form:
                # A form that could not be made out must not pass for "no arguments", which means all apps.
                raise BadRequest("the form holds no arguments")
            texts.append(form)
        elif body and kind == _JSON:
            document = _object(body)
        elif body:
            raise BadRequest(f"the content type must be `{_JSON}`, `{_URLENCODED}` or `{_MULTIPART}`")
        elif kind == _JSON and endpoint.name_decides:
            raise BadRequest("the body is announced as JSON, but empty")
    return merge(endpoint.params, texts, document) if texts or document is not None else {}


def _object(body: bytes) -> dict[str, object]:
    document = parse_json(body)
    if not isinstance(document, dict):
        raise BadRequest("the body must be a JSON object that holds the arguments by name")
    return document


def _multipart(request: Request, body: bytes) -> list[tuple[str, str]]:
    """The fields of a multipart form (RFC 7578).

    Not by ``request.form``: from Quart 0.23 on it finds nothing in a body that was read before.
    """
    boundary = request.mimetype_params.get("boundary", "")
    try:
        form, files = MultiPartParser().parse(io.BytesIO(body), boundary.encode("ascii"), len(body))
    except ValueError as error:
        raise BadRequest(f"the multipart form is not readable: {error}") from error
    for parts in files.listvalues():
        for part in parts:
            part.close()
    if files:
        raise BadRequest("files are not accepted here")
    return list(form.items(multi=True))


def _has_body(request: Request) -> bool:
    headers = request.headers
    return headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers or "Content-Type" in headers


async def _body(request: Request) -> bytes:
    """The whole body.  Raises RequestEntityTooLarge (413) and RequestTimeout (408)."""
    body = await request.get_data(cache=True, as_text=False, parse_form_data=False)
    return bytes(body)
