"""Errors as clients see them: the one place that gives HTTP statuses and JSON-RPC codes."""

from __future__ import annotations

from dataclasses import dataclass

from trio_update.errors import Aborted, ManagerClosed, OperationFailed, Reason, Refused, TrioUpdateError
from trio_update.logs import get_logger

# JSON-RPC 2.0, section 5.1.
NOT_JSON = -32700
NOT_A_REQUEST = -32600
UNKNOWN_METHOD = -32601
BAD_PARAMS = -32602
# The range -32000 to -32099 is the implementation's own.
TOO_MANY_CALLS = -32000

_log = get_logger(__name__)

_STATUSES = {
    Reason.BUSY: 503,
    Reason.PRINTING: 503,
    Reason.NOT_NOW: 503,
    Reason.NOT_READY: 503,
    Reason.NO_JOB: 409,
    Reason.CANNOT_ABORT: 409,
    Reason.INVALID: 409,
    Reason.HELD: 409,
    Reason.STUCK: 409,
    Reason.NO_SPACE: 409,
    Reason.PLAN_CHANGED: 409,
    Reason.UNKNOWN_JOB: 404,
    Reason.NOT_SUPPORTED: 400,
    Reason.BAD_VERSION: 400,
}


class BadRequest(TrioUpdateError):
    """The request cannot be read: not JSON, not the documented content type, a missing or wrong argument."""


class NotFound(TrioUpdateError):
    """What was asked for does not exist."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An error on its way out: ``status`` for HTTP, ``code`` for JSON-RPC, ``reason`` for programs (additive)."""

    status: int
    code: int
    message: str
    reason: str | None = None


def explain(error: Exception, *, request: str, unknown_app: int = 404) -> Fault:
    """Turn what a handler of ``request`` raised into a fault; ``unknown_app`` is that endpoint's status for it.

    An error that nobody expected is logged with its traceback; the client gets a sentence and no detail.
    """
    message = str(error)
    match error:
        case Refused(reason=reason):
            unknown = reason is Reason.UNKNOWN_APP
            status = unknown_app if unknown else _STATUSES[reason]
            return Fault(status, UNKNOWN_METHOD if unknown else status, message, reason)
        case BadRequest():
            return Fault(400, BAD_PARAMS, message)
        case NotFound():
            return Fault(404, 404, message)
        case ManagerClosed():
            return Fault(503, 503, message, Reason.NOT_READY)
        case Aborted() | OperationFailed():
            status, ended = (409, "aborted") if isinstance(error, Aborted) else (500, "failed")
            return Fault(status, status, message, ended)
        case _:
            _log.error("answering %s failed", request, exc_info=error)
            return Fault(500, 500, f"internal error while answering {request}; the server's log has the details")
