"""The other side of the wire: requests on raw sockets, cheap enough to keep a server busy.

Run as ``python -m bench.load`` it is a process that takes a :class:`Load` a line as JSON, and answers with the number
of answers a second.  One thread and one epoll: a client of any library would be slower than the server.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

import msgspec

from bench.scene import answer_lines

STATUS_CALL = '{"jsonrpc":"2.0","method":"machine.update.status","params":{},"id":1}'
STATUS_PATH = "/machine/update/status"
_CHUNK = 1 << 20


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """``connections`` clients, each with one question at a time, for ``seconds``."""

    port: int
    websocket: bool
    connections: int
    seconds: float


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int, *, websocket: bool) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._websocket = websocket
        self._unread = b""
        head = f"Host: 127.0.0.1:{port}\r\n"
        if websocket:
            # RFC 6455, section 4.1; the key is the standard's own example.
            upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            self.socket.sendall(f"GET /websocket HTTP/1.1\r\n{head}{upgrade}{key}\r\n".encode())
            _status, self._unread = self._read_head()
            self.question = frame(STATUS_CALL.encode())
        else:
            self.question = f"GET {STATUS_PATH} HTTP/1.1\r\n{head}Accept: application/json\r\n\r\n".encode()

    def close(self) -> None:
        self.socket.close()

    def ask(self) -> tuple[int, bytes]:
        """Ask for the status: the length of the whole answer, head or frame header included, and its content."""
        self.socket.sendall(self.question)
        if self._websocket:
            return self.message()
        head, body = self._read_head()
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"the server answered {head[:80]!r}")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields[b"content-length"])
        body += self._exactly(length - len(body))
        return len(head) + 4 + length, body

    def message(self) -> tuple[int, bytes]:
        """The next WebSocket message: its length with its header, and its payload."""
        header = self._exactly(2)
        extended = {126: 2, 127: 8}.get(header[1], 0)
        length = int.from_bytes(self._exactly(extended)) if extended else header[1]
        return 2 + extended + length, self._exactly(length)

    def _read_head(self) -> tuple[bytes, bytes]:
        data, self._unread = self._unread, b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, rest = data.partition(b"\r\n\r\n")
        return head, rest

    def _exactly(self, size: int) -> bytes:
        while len(self._unread) < size:
            self._unread += self._receive()
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    def _receive(self) -> bytes:
        data = self.socket.recv(_CHUNK)
        if not data:
            raise RuntimeError("the server closed the connection")
        return data


def frame(payload: bytes) -> bytes:
    """A masked text frame (RFC 6455, section 5.2).  The mask is all zeros: it is as valid as any, and costs nothing."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2)
    return b"\x81" + length + bytes(4) + payload


@contextmanager
def clients(port: int, count: int, *, websocket: bool) -> Iterator[list[Client]]:
    """So many connections."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(Client(port, websocket=websocket))) for _ in range(count)]


def run(load: Load) -> float:
    """Answers a second."""
    with clients(load.port, load.connections, websocket=load.websocket) as opened:
        return _drive(opened, [client.ask()[0] for client in opened], load.seconds)


def _drive(opened: Sequence[Client], sizes: Sequence[int], seconds: float) -> float:
    """Answers are told apart by their length alone, which does not change while the status does not."""
    missing = {client.socket.fileno(): size for client, size in zip(opened, sizes, strict=True)}
    whole = dict(missing)
    questions = {client.socket.fileno(): client.question for client in opened}
    answers = 0
    with select.epoll() as epoll:
        for descriptor, question in questions.items():
            epoll.register(descriptor, select.EPOLLIN)
            os.write(descriptor, question)
        began = now = time.perf_counter()
        while now - began < seconds:
            for descriptor, _ in epoll.poll(5):
                received = len(os.read(descriptor, _CHUNK))
                if not received or received > missing[descriptor]:
                    raise RuntimeError("an answer was cut short, or differs from the first one")
                missing[descriptor] -= received
                if not missing[descriptor]:
                    answers += 1
                    missing[descriptor] = whole[descriptor]
                    os.write(descriptor, questions[descriptor])
            now = time.perf_counter()
    return answers / (now - began)


if __name__ == "__main__":
    answer_lines(lambda question: run(msgspec.convert(question, Load)))
