"""Where a download lands: a new file, hashed while it is written."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from trio_update.errors import OperationFailed
from trio_update.host.files.durable import translated
from trio_update.host.http.client import shown


@dataclass(frozen=True)
class Digest:
    """What a file should hash to.  An empty ``algorithm``: nobody says."""

    algorithm: str
    hex: str

    @classmethod
    def read(cls, digest: str, name: str) -> Digest:
        """``ALGORITHM:HEX``, in any case, or nothing.

        Raises: OperationFailed for what cannot be checked here; it is never taken for no digest.
        """
        algorithm, _, value = digest.strip().lower().partition(":")
        if not digest:
            return cls("", "")
        try:
            length = hashlib.new(algorithm, usedforsecurity=False).digest_size * 2
        except ValueError:
            length = 0
        # Those of a free length (shake) have none of their own, and nothing to compare with.
        if not length or len(value) != length or set(value) - set("0123456789abcdef"):
            raise OperationFailed(
                f"{name} is announced with the digest {shown(digest)!r}, which cannot be checked here: refused"
            )
        return cls(algorithm, value)

    def check(self, name: str, found: str) -> None:
        """Raises: OperationFailed, with both values, when ``found`` is another."""
        if self.algorithm and found != self.hex:
            raise OperationFailed(
                f"{name} is damaged or was replaced: expected {self.algorithm}:{self.hex}, got "
                f"{self.algorithm}:{found}. Refresh and try again; if that does not help, tell the project that "
                "publishes it"
            )


class Sink:
    """The file, and the digest of what is in it.  All methods block, and are called in a thread, one at a time."""

    def __init__(self, path: Path, expected: Digest) -> None:
        self._path = path
        self._algorithms = ["sha256", *([expected.algorithm] if expected.algorithm not in {"", "sha256"} else [])]
        self._descriptor = -1
        self.size = 0
        self._begin()

    def _begin(self) -> None:
        # SHA-256 is always told; the announced digest is the last one, which may be the same.
        self.digests = [hashlib.new(algorithm, usedforsecurity=False) for algorithm in self._algorithms]
        self.size = 0

    def open(self) -> None:
        with translated("write", self._path):
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, piece: bytes | bytearray) -> None:
        with translated("write", self._path), memoryview(piece) as rest:
            done = 0
            while done < len(rest):
                done += os.write(self._descriptor, rest[done:])
        for digest in self.digests:
            digest.update(piece)
        self.size += len(piece)

    def restart(self) -> None:
        with translated("write", self._path):
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._begin()

    def publish(self) -> None:
        with translated("write", self._path):
            os.fchmod(self._descriptor, 0o644)

    def close(self) -> None:
        # In the event loop, so that a cancellation cannot come between: close(2) of a local file does not wait.
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
