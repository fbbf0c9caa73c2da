"""Stock Hypercorn in a process of its own: what the tests of the web server are measured against.

Prints its port, and stops gracefully when its standard input ends.
"""

from __future__ import annotations

import sys
from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from tests.support.web.server_app import make_app


async def main() -> None:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    config.graceful_timeout = 0.5
    config.keep_alive_timeout = 0.3
    stdin = trio.lowlevel.FdStream(sys.stdin.fileno())

    async def told_to_stop() -> None:
        await stdin.receive_some()

    async with trio.open_nursery() as nursery:
        binds = await nursery.start(partial(serve, make_app(), config, shutdown_trigger=told_to_stop))
        print(binds[0].rpartition(":")[2], flush=True)


if __name__ == "__main__":
    trio.run(main)
