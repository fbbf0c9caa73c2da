"""A small Quart-Trio application for the tests of the web server, with some handlers that misbehave."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import trio
from quart import Response, request, websocket
from quart_trio import QuartTrio


def make_app() -> QuartTrio:
    """An application whose ``/count/NAME`` tells how often something has happened in its handlers."""
    app = QuartTrio("tests.support.web.server_app")
    counts: Counter[str] = Counter()
    _add_routes(app, counts)
    _add_sockets(app, counts)
    return app


def _add_routes(app: QuartTrio, counts: Counter[str]) -> None:
    @app.get("/hello")
    async def hello() -> str:
        return "hello"

    @app.get("/count/<name>")
    async def count(name: str) -> str:
        return str(counts[name])

    @app.post("/length")
    async def length() -> str:
        counts["posted"] += 1
        return str(len(await request.get_data()))

    @app.get("/slow")
    async def slow() -> str:
        counts["slow started"] += 1
        # A server that stops meanwhile takes no further connection, on which it could be told to go on.
        await trio.sleep(0.3)
        return "at last"

    @app.get("/never")
    async def never() -> str:
        counts["never started"] += 1
        try:
            await trio.sleep_forever()
        finally:
            counts["never ended"] += 1

    @app.get("/chunks")
    async def chunks() -> Response:
        async def body() -> AsyncIterator[bytes]:
            for number in range(100):
                yield f"{number},".encode()

        return Response(body())


def _add_sockets(app: QuartTrio, counts: Counter[str]) -> None:
    @app.websocket("/echo")
    async def echo() -> None:
        counts["echo started"] += 1
        while True:
            await websocket.send(await websocket.receive())

    @app.websocket("/lengths")
    async def lengths() -> None:
        while True:
            await websocket.send(str(len(await websocket.receive())))

    @app.websocket("/hesitant")
    async def hesitant() -> None:
        # Until the server has answered in its place, of which a handler does not hear.
        await trio.sleep(0.3)
        await websocket.accept()
        await websocket.send("welcome")

    @app.websocket("/flood")
    async def flood() -> None:
        counts["flood started"] += 1
        try:
            while True:
                await websocket.send("x" * 65536)
        finally:
            counts["flood ended"] += 1

    @app.websocket("/gift")
    async def gift() -> None:
        await websocket.send("x" * 10_000)
        counts["gift sent"] += 1
        try:
            await websocket.receive()
        finally:
            counts["gift ended"] += 1

    @app.websocket("/babble")
    async def babble() -> None:
        await websocket.accept()
        await websocket.receive()
        counts["babble started"] += 1
        while True:  # goes on when its client has left, and awaits nothing else
            await websocket.send("x")

    @app.websocket("/crash")
    async def crash() -> None:
        await websocket.accept()
        raise ValueError("a bug in a handler")
