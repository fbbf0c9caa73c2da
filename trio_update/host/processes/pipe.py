"""Read one pipe of a command without blocking."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import IO

from trio_update.text import without_secrets

_CHUNK = 64 * 1024
_LONGEST_LINE = 64 * 1024
_TAIL = 4096


class Output:
    """One pipe of a command: what came is kept or passed on, and told line by line."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self.kept = bytearray()
        self._take: Callable[[bytes], object] = self.kept.extend
        self._on_line: Callable[[str], None] | None = None
        self._rest = b""

    def listen(self, sink: Callable[[bytes], None] | None, on_line: Callable[[str], None] | None) -> None:
        self._take = sink or self.kept.extend
        self._on_line = on_line

    def mute(self) -> None:
        """Go on reading, so that the writer does not stall, and forget what comes."""
        self._take = len
        self._on_line = None

    def fileno(self) -> int:
        return self._pipe.fileno()

    def read(self) -> bool:
        """Take what is there; False at the end of the stream."""
        try:
            chunk = os.read(self._pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return True
        if chunk:
            self._take(chunk)
        if self._on_line is not None:
            self._split(chunk, self._on_line)
        return bool(chunk)

    def _split(self, chunk: bytes, on_line: Callable[[str], None]) -> None:
        lines = (self._rest + chunk).replace(b"\r", b"\n").split(b"\n")
        # A "line" without an end is handed out in pieces, or it would be copied again with every chunk.
        self._rest = lines.pop() if chunk and len(lines[-1]) < _LONGEST_LINE else b""
        for line in lines:
            text = line.decode(errors="replace").rstrip()
            if text:
                on_line(text)

    def tail(self) -> str:
        """The end of what was kept, as a terminal would show it: progress lines overwritten by their last state."""
        # Twice as much is looked at: behind its beginning, a password in an address cannot be told from other text.
        text = without_secrets(bytes(self.kept[-2 * _TAIL :]).decode(errors="replace"))[-_TAIL:]
        shown = (line.rstrip().rpartition("\r")[2] for line in text.split("\n"))
        return "\n".join(line for line in shown if line)

    def close(self) -> None:
        self._pipe.close()
