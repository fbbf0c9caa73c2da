"""strace, attached to a server."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio


def threads_of(pid: int) -> list[int]:
    """In the order of their start, the main thread first."""
    try:
        return sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))
    except FileNotFoundError:
        return []


@asynccontextmanager
async def strace(*arguments: str, watched: list[int]) -> AsyncIterator[None]:
    """strace, attached to all threads of ``watched`` while the block lasts."""
    process = await trio.lowlevel.open_process(
        ["strace", "-qq", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with trio.fail_after(10):
            while not all(_is_traced(thread) for thread in watched):  # noqa: ASYNC110 - only /proc tells
                await trio.sleep(0.002)
        yield
    finally:
        process.terminate()
        with trio.move_on_after(5, shield=True):
            await process.wait()
        if process.returncode is None:
            process.kill()


def _is_traced(thread: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        status = Path(f"/proc/{thread}/status").read_text()
        return "TracerPid:\t0\n" not in status
    return True
