"""What the web is measured against: stock Hypercorn, and a handler that does nothing but send the same bytes.

Run as ``python -m bench.stock HTTP_BODY_FILE WEBSOCKET_TEXT_FILE``; says its port, and ends with its standard input.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve


def make_app(body: bytes, text: str) -> Any:
    """``body`` to every request, ``text`` to every message."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": text})
        else:
            await _lifespan(receive, send)

    return app


async def _lifespan(receive: Any, send: Any) -> None:
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})


async def main(body: Path, text: Path) -> None:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    config.graceful_timeout = 0.2
    # As ours: a connection that is closed after a thousand requests would be another workload.
    config.keep_alive_max_requests = sys.maxsize
    app = make_app(body.read_bytes(), text.read_text())
    stdin = trio.lowlevel.FdStream(sys.stdin.fileno())

    async def told_to_stop() -> None:
        await stdin.receive_some()

    async with trio.open_nursery() as nursery:
        binds = await nursery.start(partial(serve, app, config, shutdown_trigger=told_to_stop))
        print(binds[0].rpartition(":")[2], flush=True)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), Path(sys.argv[2]))
