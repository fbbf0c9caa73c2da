"""A scripted server that speaks the update API's wire protocol, and the real command line run against it.

The server is for what a real one cannot be made to do on demand: dying in the middle of a job, unknown reasons, hostile
text, answers in a given order.
"""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

Handler = Callable[["ScriptedServer", dict[str, Any]], Awaitable[Any]]

GIT = {
    "name": "klipper",
    "configured_type": "git_repo",
    "channel": "dev",
    "is_valid": True,
    "version": "v0.12.0-1",
    "remote_version": "v0.12.0-41",
    "current_hash": "a" * 40,
    "remote_hash": "b" * 40,
    "commits_behind": [],
    "commits_behind_count": 0,
    "warnings": [],
    "anomalies": [],
}


def git(**changes: Any) -> dict[str, Any]:
    """A git app's status."""
    return GIT | changes


def status_of(*apps: dict[str, Any], busy: bool = False) -> dict[str, Any]:
    return {"busy": busy, "version_info": {app["name"]: app for app in apps}, "config_warnings": []}


class Fault(Exception):
    """Makes a handler's answer an error."""

    def __init__(self, code: int, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.body: dict[str, Any] = {"code": code, "message": message}
        if reason is not None:
            self.body["data"] = {"reason": reason}


@dataclass
class ScriptedServer:
    """Answers each method with its handler's result; requests on a socket run side by side."""

    handlers: dict[str, Handler]
    url: str = ""
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    handshakes: list[dict[str, str]] = field(default_factory=list)
    sockets: list[WebSocketConnection] = field(default_factory=list)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    refuse_with: int | None = None
    _news: trio.Event = field(default_factory=trio.Event)

    def params_of(self, method: str) -> list[dict[str, Any]]:
        return [params for name, params in self.requests if name == method]

    async def until_asked(self, method: str) -> None:
        """Return once a client has sent a request for ``method``."""
        while not self.params_of(method):
            await self._news.wait()

    async def notify(self, method: str, *params: Any) -> None:
        frame = msgspec.json.encode({"jsonrpc": "2.0", "method": method, "params": params}).decode()
        for socket in self.sockets:
            with suppress(ConnectionClosed):
                await socket.send_message(frame)

    async def say(self, application: str, *texts: str, proc_id: int = 7, complete: bool = False) -> None:
        """Send job messages; the last one completes the job when ``complete``."""
        for number, text in enumerate(texts, 1):
            await self.notify(
                "notify_update_response",
                {
                    "application": application,
                    "proc_id": proc_id,
                    "message": text,
                    "complete": complete and number == len(texts),
                },
            )

    def die(self) -> None:
        """End at once, as a killed process would: sockets and all."""
        self.scope.cancel()

    async def serve(self, request: WebSocketRequest) -> None:
        if self.refuse_with is not None:
            await request.reject(self.refuse_with, body=b"no")
            return
        self.handshakes.append({name.decode().lower(): value.decode() for name, value in request.headers})
        assert request.path == "/websocket"
        socket = await request.accept()
        self.sockets.append(socket)
        async with trio.open_nursery() as nursery:
            with suppress(ConnectionClosed):
                while True:
                    nursery.start_soon(self._answer, socket, msgspec.json.decode(await socket.get_message()))
            nursery.cancel_scope.cancel()

    async def _answer(self, socket: WebSocketConnection, request: dict[str, Any]) -> None:
        assert request["jsonrpc"] == "2.0"
        method, params = request["method"], request.get("params", {})
        self.requests.append((method, params))
        news, self._news = self._news, trio.Event()
        news.set()
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            handler = self.handlers.get(method, fault(-32601, f"Method not found: {method}"))
            answer["result"] = await handler(self, params)
        except Fault as error:
            answer["error"] = error.body
        with suppress(ConnectionClosed):
            await socket.send_message(msgspec.json.encode(answer).decode())


def result(value: Any) -> Handler:
    """A handler that always gives ``value``."""

    async def answer(server: ScriptedServer, params: dict[str, Any]) -> Any:
        return value

    return answer


def fault(code: int, message: str, reason: str | None = None) -> Handler:
    """A handler that always fails."""

    async def answer(server: ScriptedServer, params: dict[str, Any]) -> Any:
        raise Fault(code, message, reason)

    return answer


@asynccontextmanager
async def scripted_server(handlers: Mapping[str, Handler] | None = None) -> AsyncIterator[ScriptedServer]:
    """A server on a free port of the loopback interface.  ``handlers`` by method name; identify is answered anyway."""
    server = ScriptedServer({"server.connection.identify": result({"connection_id": 1}), **(handlers or {})})
    with trio.fail_after(60):  # a test that hangs fails
        async with trio.open_nursery() as nursery:
            started = await nursery.start(_serve, server)
            server.url = f"http://127.0.0.1:{started.port}"
            yield server
            nursery.cancel_scope.cancel()


async def _serve(server: ScriptedServer, *, task_status: trio.TaskStatus[Any]) -> None:
    with server.scope:
        await serve_websocket(server.serve, "127.0.0.1", 0, None, task_status=task_status, disconnect_timeout=0.1)


def environment(**changes: str) -> dict[str, str]:
    """What the command line is run with: nothing of the machine's own settings but what finds programs."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {"LC_ALL": "C.UTF-8", "TERM": "xterm-256color", "TZ": "UTC"} | changes


COMMAND = (sys.executable, "-W", "error", "-m", "trio_update")


@dataclass(frozen=True)
class Ended:
    """How a run of the command line ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output; anything beside it is an error."""
        assert self.err == ""
        assert self.out.count("\n") == 1
        return msgspec.json.decode(self.out)


async def run_cli(*arguments: str, env: Mapping[str, str] | None = None) -> Ended:
    """Run the command line to its end, on pipes."""
    done = await trio.run_process(
        [*COMMAND, *arguments],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env=environment(**(env or {})),
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


@dataclass
class Running:
    """A run of the command line that has not ended; ``output`` is all it wrote so far."""

    process: trio.Process
    output: str = ""
    drained: trio.Event = field(default_factory=trio.Event)
    _news: trio.Event = field(default_factory=trio.Event)

    async def read(self, stream: trio.abc.ReceiveStream) -> None:
        with suppress(trio.BrokenResourceError):  # how the end of a pseudo-terminal looks on Linux
            while data := await stream.receive_some():
                self.output += data.decode(errors="replace")
                news, self._news = self._news, trio.Event()
                news.set()
        self.drained.set()

    async def until(self, text: str) -> None:
        """Return once ``text`` has been written."""
        while text not in self.output:
            await self._news.wait()

    def signal(self, signum: signal.Signals) -> None:
        self.process.send_signal(signum)


@dataclass
class OnTerminal(Running):
    """The same on a pseudo-terminal of its own."""

    master: trio.lowlevel.FdStream | None = None

    async def type(self, text: str) -> None:
        """Press keys; "\\x03" is Ctrl-C, which the terminal makes a SIGINT of."""
        assert self.master is not None
        await self.master.send_all(text.encode())


@asynccontextmanager
async def piped_cli(*arguments: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Running]:
    """Run the command line on pipes; standard error goes where standard output goes.  Ended when the block does."""
    process = await trio.lowlevel.open_process(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(**(env or {})),
    )
    assert process.stdout is not None
    async with trio.open_nursery() as nursery:
        running = Running(process)
        nursery.start_soon(running.read, process.stdout)
        async with _bounded(process):
            yield running


@asynccontextmanager
async def terminal_cli(*arguments: str, env: Mapping[str, str] | None = None) -> AsyncIterator[OnTerminal]:
    """Run the command line as the foreground of a terminal of 100 columns.  Ended when the block does."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(master, (40, 100))
    # The child makes the terminal its own before it becomes the command line: only then is Ctrl-C a signal.
    become = "import os, sys; os.login_tty(0); os.execv(sys.executable, sys.argv[1:])"
    async with trio.lowlevel.FdStream(master) as stream:
        try:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-c", become, *COMMAND, *arguments],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env=environment(**(env or {})),
            )
        finally:
            os.close(slave)
        async with trio.open_nursery() as nursery:
            running = OnTerminal(process, master=stream)
            nursery.start_soon(running.read, stream)
            async with _bounded(process):
                yield running


@asynccontextmanager
async def _bounded(process: trio.Process) -> AsyncIterator[None]:
    """Ends and reaps the process, and a test that waits for what never comes."""
    try:
        with trio.fail_after(30):
            yield
    finally:
        if process.poll() is None:
            process.kill()
        with trio.move_on_after(5, shield=True):
            await process.wait()
