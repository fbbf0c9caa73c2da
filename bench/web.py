"""Requests a second: the status over HTTP and WebSocket, beside a bare handler that sends the same bytes."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.load import Load, clients
from bench.report import Figure, Limit, median_figure
from bench.scene import Helper, helper, mixed_scene
from bench.server import Server, activity, serving, settle

_GROUP = "web"
_LIMIT = Limit("at least", 0.5)


def measure(*, quick: bool) -> Iterator[Figure]:
    """All figures of this module."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        scene = mixed_scene(Path(folder))
        scene.configure()
        with serving(scene) as server:
            files = _contents(server, Path(folder))
            with helper("bench.stock", *map(str, files)) as stock, helper("bench.load") as load:
                port = stock.hear()
                for websocket in (False, True):
                    for connections in (1, 16):
                        yield from _compare(server, stock, port, load, websocket, connections, quick=quick)


def _contents(server: Server, folder: Path) -> tuple[Path, Path]:
    """The status as the server sends it, body and frame, once the refresh that follows its start is over."""
    settle(server.port)
    with clients(server.port, 1, websocket=True) as (socket,):
        text = folder / "frame"
        text.write_bytes(socket.ask()[1])
    with clients(server.port, 1, websocket=False) as (http,):
        body = folder / "body"
        body.write_bytes(http.ask()[1])
    return body, text


def _compare(
    server: Server, stock: Helper, stock_port: int, load: Helper, websocket: bool, connections: int, *, quick: bool
) -> Iterator[Figure]:
    rounds, seconds = (8, 0.3) if quick else (30, 0.4)
    ours, theirs = (server.pid, server.port), (stock.pid, stock_port)
    rates: dict[int, list[float]] = {server.pid: [], stock.pid: []}
    costs: dict[int, list[float]] = {server.pid: [], stock.pid: []}
    for number in range(rounds):
        # The machine's mood changes from second to second: the two take turns, and in turn one of them is first.
        for pid, port in (ours, theirs)[:: -1 if number % 2 else 1]:
            since = activity(pid)
            question = Load(port=port, websocket=websocket, connections=connections, seconds=seconds)
            rate = load.ask(msgspec.to_builtins(question))
            rates[pid].append(rate)
            costs[pid].append(since().cpu / (rate * seconds) * 1e6)
    what = "machine.update.status" if websocket else "GET status"
    name = f"{what}, {connections} connection{'s' * (connections > 1)}: requests/s, × bare Hypercorn"
    ratios = [mine / bare for mine, bare in zip(rates[server.pid], rates[stock.pid], strict=True)]
    rate = statistics.median(rates[server.pid])
    cpu, bare_cpu = (statistics.median(costs[pid]) for pid in (server.pid, stock.pid))
    yield median_figure(
        _GROUP, name, ratios, "×", _LIMIT, f"{rate:,.0f}/s, {cpu:.0f} µs of CPU each; bare {bare_cpu:.0f}"
    )
