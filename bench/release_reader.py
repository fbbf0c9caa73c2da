"""Somebody who reads a web app all the time, while it is being updated.

Run as ``python -m bench.release_reader folder|path PATH``.  ``folder`` opens the folder once in each pass, and reads
``index.html`` and all files that it names through that descriptor; ``path`` reads ``index.html`` by its path.  To each
line it answers, between two passes, with a :class:`Seen`.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Callable

import msgspec

from bench.release_site import END


class Seen(msgspec.Struct):
    """What happened so far.  ``missing``: could not be opened; ``cut``: did not end as it begins; ``mixed``: passes
    that saw files of several versions; ``overtaken``: passes during which another folder came into its place."""

    passes: int = 0
    reads: int = 0
    missing: int = 0
    cut: int = 0
    mixed: int = 0
    overtaken: int = 0
    versions: int = 0


class _Reader:
    def __init__(self, path: str) -> None:
        self._path = path
        self._versions: set[str] = set()
        self.seen = Seen()

    def folder(self) -> None:
        try:
            folder = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            self.seen.missing += 1
            return
        try:
            version, names = self._read("index.html", folder)
            found = {version, *(self._read(name, folder)[0] for name in names)}
            self.seen.mixed += len(found) > 1
            self.seen.overtaken += os.fstat(folder).st_ino != os.stat(self._path).st_ino
        except FileNotFoundError:
            self.seen.missing += 1
        finally:
            os.close(folder)

    def path(self) -> None:
        try:
            self._read(f"{self._path}/index.html", None)
        except FileNotFoundError:
            self.seen.missing += 1

    def _read(self, name: str, folder: int | None) -> tuple[str, list[str]]:
        """The version that a file says it is of, and what lies between its marks."""
        descriptor = os.open(name, os.O_RDONLY, dir_fd=folder)
        with open(descriptor, encoding="ascii") as file:
            text = file.read()
        version, *names = text.splitlines() or [""]
        self.seen.reads += 1
        self.seen.cut += not (version and text.endswith(f"{END} {version}\n"))
        self._versions.add(version)
        return version, names[:-1]

    def loop(self, pass_: Callable[[], None]) -> None:
        while True:
            if select.select([sys.stdin], [], [], 0)[0]:
                if not sys.stdin.readline():
                    return
                self.seen.versions = len(self._versions)
                print(json.dumps(msgspec.to_builtins(self.seen)), flush=True)
            pass_()
            self.seen.passes += 1


if __name__ == "__main__":
    reader = _Reader(sys.argv[2])
    reader.loop({"folder": reader.folder, "path": reader.path}[sys.argv[1]])
