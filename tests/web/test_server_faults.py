"""Every fault of Hypercorn that is known: that it is contained here, and that it is still there upstream.

When a test against stock Hypercorn fails, upstream has mended something, and our own mend may be taken out.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from tests.support.web import server_scenarios as scenarios
from tests.support.web.server_clients import Server, answers
from tests.support.web.server_running import running

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Case:
    scenario: Callable[[Server], Awaitable[str]]
    ours: str
    stock: str


# Each of these leaves a stock server unusable.
FATAL = [
    Case(scenarios.early_byte, "answers", "is dead"),
    Case(scenarios.stop_with_a_websocket, "closed 1001", "no close frame"),
]
HARMFUL = [
    Case(scenarios.early_byte_to_a_slow_handler, "is ended", "stays open"),
    Case(scenarios.never_reads, "happens", "does not happen"),
    Case(scenarios.reads_nothing_of_a_gift, "happens", "does not happen"),
    Case(scenarios.idle_after_a_response, "is ended", "stays open"),
    Case(scenarios.leaves_after_sending_ahead, "happens", "does not happen"),
    Case(scenarios.offers_deflate, "plain", "compressed"),
    Case(scenarios.head_of_20_kb, "431", "200"),
    Case(scenarios.target_of_20_kb, "431", "200"),
    Case(scenarios.upgrade_to_http2, "200", "101"),
    Case(scenarios.http2_unasked, "HTTP/1.1", "HTTP/2"),
    Case(scenarios.long_body, "413", "200"),
    Case(scenarios.slow_body, "is ended", "stays open"),
    Case(scenarios.long_message, "closed 1009", "got 7"),
    Case(scenarios.long_message_of_wide_characters, "closed 1009", "got 6"),
    Case(scenarios.malformed_frame, "closed 1002", "no close frame"),
    Case(scenarios.bad_handshake, "is ended", "stays open"),
]
# Wrong only sometimes in stock Hypercorn, or only under some Quarts, or right: there is no cheap proof of the fault.
OURS_ALONE = [
    Case(scenarios.bad_chunk, "answers", ""),
    Case(scenarios.slow_head, "is ended", ""),
    Case(scenarios.leaves_a_babbler, "answers", ""),
]


def name(case: Case) -> str:
    return case.scenario.__name__


@asynccontextmanager
async def stock() -> AsyncIterator[Server]:
    """Stock Hypercorn with the same application.  It may not survive, so it lives in a process of its own."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.support.web.server_stock"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with trio.fail_after(30):
            port = int(await process.stdout.receive_some())
        yield Server(port, process.stdin.aclose, patience=1.5)
    finally:
        process.kill()
        await process.wait()
        await process.stdin.aclose()
        await process.stdout.aclose()


@pytest.mark.parametrize("case", FATAL + HARMFUL + OURS_ALONE, ids=name)
async def test_contained(case: Case) -> None:
    async with running() as server:
        with trio.fail_after(60):
            assert await case.scenario(server) == case.ours
        if not server.shutdown.is_set():
            assert await answers(server) == "answers"


@pytest.mark.parametrize("case", FATAL, ids=name)
async def test_stock_hypercorn_does_not_survive(case: Case) -> None:
    async with stock() as server:
        assert await case.scenario(server) == case.stock


async def test_stock_hypercorn_still_has_the_other_faults() -> None:
    seen: dict[str, str] = {}

    async def see(server: Server, case: Case) -> None:
        seen[name(case)] = await case.scenario(server)

    async with stock() as server, trio.open_nursery() as nursery:
        for case in HARMFUL:  # side by side, because most of them consist of waiting
            nursery.start_soon(see, server, case)
    assert seen == {name(case): case.stock for case in HARMFUL}
