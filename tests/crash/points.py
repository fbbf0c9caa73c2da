"""Where a server can be killed: every state-changing system call that a trace shows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Everything that changes a file, a name or what is known of one, and what makes it durable.
_BY_DESCRIPTOR = ("write", "pwrite64", "writev", "pwritev", "ftruncate", "fallocate", "fchmod", "fchown", "fsync")
_DURABLE = ("fdatasync", "syncfs", "sync_file_range", "copy_file_range", "sendfile")
_BY_NAME = (
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "link", "linkat"),
    *("symlink", "symlinkat", "truncate", "chmod", "fchmodat", "chown", "lchown", "fchownat", "utimensat"),
    *("mknod", "mknodat", "setxattr", "lsetxattr", "fsetxattr"),
)
_OPENING = ("open", "openat", "creat")
# "?": not every machine has every call.
CALLS = ",".join(f"?{name}" for name in (*_BY_DESCRIPTOR, *_DURABLE, *_BY_NAME, *_OPENING))

_LINE = re.compile(r"^(?:(?P<thread>\d+) +)?(?P<call>\w+)\((?P<rest>.*)$")
_FIRST_DESCRIPTOR = re.compile(r"\d+<(?P<path>[^>]*)>")
SERVER = "server"


@dataclass(frozen=True)
class Point:
    """Just before the ``number``-th ``call`` of a process: a run of git (``reset.1``), or a thread of the server.

    ``thread``: the server's threads in the order of their start; ``None`` means the first to get there.
    """

    process: str
    call: str
    number: int
    what: str = ""
    thread: int | None = None

    def __str__(self) -> str:
        thread = "" if self.thread is None else f"/{self.thread}"
        return f"{self.process}{thread} {self.call}#{self.number} {self.what[:160]}"


def read_git_traces(folder: Path) -> list[Point]:
    """Points of all runs of git, in the order in which the runs began."""
    points: list[Point] = []
    for trace in sorted(folder.glob("trace.*"), key=lambda path: (folder / _run_file(path)).stat().st_ctime_ns):
        run = trace.name.removeprefix("trace.")
        points += [
            Point(run, call, number, what)
            for _, call, number, what in _calls(trace.read_text().splitlines())
            if what is not None
        ]
    return points


def _run_file(trace: Path) -> str:
    return f"run.{trace.name.removeprefix('trace.')}"


def read_server_trace(trace: Path, threads: list[int]) -> list[Point]:
    """Points of the server's own calls.  ``threads``: those that there were when strace came, in order.

    A thread that was started later can be singled out only where it is the first to make its n-th call of a kind.
    """
    points = []
    first: dict[tuple[str, int], int] = {}
    for thread, call, number, what in _calls(trace.read_text().splitlines()):
        known = threads.index(thread) if thread in threads else None
        ahead = first.setdefault((call, number), thread) == thread
        if what is not None and (ahead or known is not None):
            points.append(Point(SERVER, call, number, what, known))
    return points


def _calls(lines: Iterable[str]) -> Iterator[tuple[int, str, int, str | None]]:
    """``(thread, call, how many of that call the thread has made with it, what it changes or None)``."""
    made: Counter[tuple[int, str]] = Counter()
    for line in lines:
        found = _LINE.match(line)
        if found is None:
            continue
        thread, call, rest = int(found["thread"] or 0), found["call"], found["rest"]
        made[thread, call] += 1
        yield thread, call, made[thread, call], rest if _changes(call, rest) else None


def _changes(call: str, rest: str) -> bool:
    if rest.rpartition(" = ")[2].startswith("-1 "):
        return False
    if call in _OPENING and "O_CREAT" not in rest and "O_TRUNC" not in rest and call != "creat":
        return False
    if call in _BY_DESCRIPTOR or call in _DURABLE:
        descriptor = _FIRST_DESCRIPTOR.match(rest)
        # Pipes, sockets, event descriptors and anonymous memory are no state.
        return descriptor is not None and _is_file(descriptor["path"])
    return True


def _is_file(path: str) -> bool:
    return path.startswith("/") and not path.startswith(("/dev/", "/proc/", "/memfd:")) and "server.log" not in path
