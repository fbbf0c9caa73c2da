"""A server that is stopped behind every call that writes to the disk or changes names at once."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.crash.servers import Server
from tests.crash.tracing import strace, threads_of

# Between two of them nothing of what is done gets to the disk, so that "before" one is "behind" the one before.
CALLS = ("renameat2", "rename", "renameat", "syncfs", "fsync", "fdatasync", "sync_file_range")
_LINE = re.compile(r"(\d+) +(.*)\n")
_CALL = re.compile(r"(\w+)\(([^\n]*)")
_STOPPED = "--- stopped by SIGSTOP ---"


@asynccontextmanager
async def stopping(server: Server, at_stop: Callable[[str], None], *, without_syncfs: bool) -> AsyncIterator[None]:
    """While the block lasts, call ``at_stop`` with what was done, behind each call of the server's and its git's.

    Everything stands still meanwhile: a process whose thread stops is stopped with all its threads, and whoever
    started it waits for it.  ``without_syncfs``: that call says that it succeeded, and does nothing.
    """
    lines = server.place.crash / "strace"
    lines.unlink(missing_ok=True)
    os.mkfifo(lines)
    descriptor = os.open(lines, os.O_RDWR | os.O_NONBLOCK)
    stopped = ["-e", f"inject={','.join(CALLS)}:signal=STOP"]
    if without_syncfs:
        stopped += ["-e", "inject=syncfs:retval=0:signal=STOP"]
    arguments = ("-f", "-y", "-s", "0", "-o", str(lines), "-e", f"trace={','.join(CALLS)}", *stopped)
    try:
        async with trio.open_nursery() as nursery:
            reader = _Reader(descriptor, server.place.run, at_stop)
            async with strace(*arguments, "-p", str(server.pid), watched=threads_of(server.pid)):
                nursery.start_soon(reader.run)
                yield
                nursery.cancel_scope.cancel()
    finally:
        os.close(descriptor)


@dataclass
class _Reader:
    descriptor: int
    base: Path
    at_stop: Callable[[str], None]
    _begun: str = ""
    _calls: dict[int, str] = field(default_factory=dict)
    _still: set[int] = field(default_factory=set)
    _cause: dict[int, str] = field(default_factory=dict)

    async def run(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self.descriptor)
            with suppress(BlockingIOError):
                self._begun += os.read(self.descriptor, 65536).decode(errors="replace")
            *whole, self._begun = self._begun.splitlines(keepends=True) or [""]
            if self._begun.endswith("\n"):
                whole, self._begun = [*whole, self._begun], ""
            for line in whole:
                self._read(line)

    def _read(self, line: str) -> None:
        found = _LINE.fullmatch(line)
        assert found is not None, f"strace said {line!r}"
        thread, text = int(found[1]), found[2]
        if call := _CALL.match(text):
            self._calls[thread] = self._shown(call[0])
        elif text.startswith("--- SIGSTOP"):
            self._cause[thread] = self._calls.get(thread, "?")
        elif text == _STOPPED:
            self._still.add(thread)
            self._when_still(thread)

    def _when_still(self, thread: int) -> None:
        """Threads stop one after another; the last one's line is the moment."""
        process = _process_of(thread)
        threads = set() if process is None else set(threads_of(process))
        if process is None or not threads <= self._still:
            return
        done = [self._cause.pop(one) for one in sorted(threads) if one in self._cause]
        self._still -= threads
        self.at_stop(" and ".join(done))
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)

    def _shown(self, call: str) -> str:
        call = call.replace(f"{self.base}/", "").replace(" <unfinished ...>", "")
        return call.partition(" = ")[0].strip()


def _process_of(thread: int) -> int | None:
    with suppress(FileNotFoundError, ProcessLookupError):
        found = re.search(r"^Tgid:\t(\d+)$", Path(f"/proc/{thread}/status").read_text(), re.MULTILINE)
        return int(found[1]) if found is not None else None
    return None
