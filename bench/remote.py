"""A git server that is far away and fast: every answer comes after ``LATENCY``, and costs this machine next to nothing.

A real remote has processors of its own.  Here it shares ours with what is measured, so it asks the demo's server (real
``git upload-pack``) once and repeats that answer until it is told that the repositories have changed.

Run as ``python -m bench.remote ROOT SECONDS``; says its port, and forgets its answers with each line that it reads.
"""

from __future__ import annotations

import http.client
import json
import sys
from pathlib import Path

import h11
import trio

from trio_update.demo.gitserver import serve_git
from trio_update.demo.http1 import Connection, Headers, Request

_PASSED_ON = ("content-type", "content-encoding", "git-protocol", "accept", "accept-encoding")
_Key = tuple[str, str, str, bytes]
_Answer = tuple[int, Headers, bytes]


class _Front:
    def __init__(self, port: int, latency: float) -> None:
        self._port = port
        self._latency = latency
        self._answers: dict[_Key, _Answer] = {}

    def forget(self) -> None:
        self._answers.clear()

    async def serve(self, stream: trio.SocketStream) -> None:
        connection = Connection(stream)
        try:
            async with stream:
                while request := await connection.request():
                    due = trio.current_time() + self._latency
                    status, headers, body = await self._answer(request)
                    await trio.sleep_until(due)
                    await connection.start(status, headers)
                    await connection.data(body)
                    await connection.end()
                    if not connection.again():
                        return
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
            return

    async def _answer(self, request: Request) -> _Answer:
        key = (request.method, request.target, request.headers.get("git-protocol", ""), request.body)
        if key not in self._answers:
            self._answers[key] = await trio.to_thread.run_sync(self._ask, request)
        return self._answers[key]

    def _ask(self, request: Request) -> _Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        try:
            headers = {name: value for name, value in request.headers.items() if name in _PASSED_ON}
            connection.request(request.method, request.target, request.body or None, headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        kept = [("Content-Type", response.headers["Content-Type"]), ("Content-Length", str(len(body)))]
        return response.status, kept, body


async def main(root: Path, latency: float) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_git, root)
        front = _Front(server.port, latency)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, front.serve, listeners)
        print(json.dumps(listeners[0].socket.getsockname()[1]), flush=True)
        stdin = trio.lowlevel.FdStream(sys.stdin.fileno())
        while await stdin.receive_some(4096):
            front.forget()
            print("true", flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), float(sys.argv[2]))
