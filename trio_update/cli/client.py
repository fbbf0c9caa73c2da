"""Runs the client commands: connects, asks, shows, and gives the exit code."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from trio_update import __version__
from trio_update.cli.display import DONE, UNREACHABLE, USAGE, Failure, Output, exit_code_of
from trio_update.cli.output import choose_output
from trio_update.cli.report import Line, Page, Tone, history_report, plan_report, status_report
from trio_update.cli.requests import Command, Query, StartJob, Target
from trio_update.cli.session import Failed, Interrupts, Session, understood
from trio_update.cli.views import PlanView, RecordView, StatusView
from trio_update.client import (
    BadAddress,
    Client,
    ClientError,
    ConnectionLost,
    RpcError,
    Unreachable,
    open_client,
)
from trio_update.errors import Reason
from trio_update.groups import unwrapped

_PATIENCE = 10.0


def run(target: Target, request: Command) -> int:
    """Do what was asked and say what came of it; the exit code."""
    output = choose_output(json=target.json)
    try:
        return trio.run(_session, target, request, output)
    except Failed as failed:
        output.fail(failed.failure)
        return failed.failure.exit_code
    except ClientError as error:
        failure = failure_of(error, target)
        output.fail(failure)
        return failure.exit_code


async def _session(target: Target, request: Command, output: Output) -> int:
    with unwrapped(), trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            interrupts = Interrupts(nursery.cancel_scope)
            nursery.start_soon(interrupts.listen, signals)
            async with _identified(target) as client:
                code = await _perform(Session(client, output, interrupts), request)
            interrupts.stop(code)
    return interrupts.code


@asynccontextmanager
async def _identified(target: Target) -> AsyncIterator[Client]:
    async with open_client(target.url, api_key=target.api_key, connect_timeout=_PATIENCE) as client:
        who = {
            "client_name": "trio-update",
            "version": __version__,
            "type": "other",
            "url": "https://pypi.org/project/trio-update/",
        }
        with trio.move_on_after(_PATIENCE) as patience:
            await client.call("server.connection.identify", who)
        if patience.cancelled_caught:
            raise Unreachable(target.url, f"it did not answer within {_PATIENCE:g} s")
        yield client


async def _perform(session: Session, request: Command) -> int:
    if isinstance(request, Query):
        return await _query(session, request)
    from trio_update.cli.follow import follow, watch

    if isinstance(request, StartJob):
        return await follow(session, request)
    return await watch(session)


async def _query(session: Session, query: Query) -> int:
    result = await session.client.call(query.method, query.params)
    if query.show == "status" and query.only is not None:
        result = _only(result, query.only)
        session.output.show(result["version_info"][query.only], lambda: _report(query, result))
    else:
        session.output.show(result, lambda: _report(query, result))
    return DONE


def _only(status: Any, name: str) -> dict[str, Any]:
    apps = status.get("version_info") if isinstance(status, dict) else None
    known = apps if isinstance(apps, dict) else {}
    if name not in known:
        names = ", ".join(sorted(known)) or "none at all"
        message = f"there is no app named {name!r}; the server manages {names}"
        raise Failed(Failure(message, Reason.UNKNOWN_APP, exit_code_of(Reason.UNKNOWN_APP)))
    return {"version_info": {name: known[name]}}


def _report(query: Query, result: Any) -> Page:
    match query.show:
        case "status":
            return status_report(understood(query.method, result, StatusView))
        case "plan":
            return plan_report(understood(query.method, result, tuple[PlanView, ...]))
        case "history":
            return history_report(understood(query.method, result, tuple[RecordView, ...]))
        case "abort":
            return (Line("the job was aborted; the app is as it was before", Tone.GOOD),)


def failure_of(error: ClientError, target: Target) -> Failure:
    """An error as the user is to read it, with what to do next."""
    if isinstance(error, RpcError):
        hint = ""
        if error.reason is None and "unauthorized" in error.message.lower():
            hint = ": give the server's API key with --api-key or TRIO_UPDATE_API_KEY"
        return Failure(error.message + hint, error.reason, exit_code_of(error.reason), error.code)
    if isinstance(error, BadAddress):
        return Failure(str(error), "bad_address", USAGE)
    if isinstance(error, ConnectionLost):
        return Failure(f"{error}; look whether the server runs, then try again", "connection_lost", UNREACHABLE)
    advice = "start it with `trio-update serve`, or name another server with --url or TRIO_UPDATE_URL"
    return Failure(f"{error}; {advice}", "unreachable", UNREACHABLE)
