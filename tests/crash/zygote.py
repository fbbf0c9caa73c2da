"""Starts servers: an interpreter that has imported the package once and forks for each of them.

A crash campaign starts thousands; importing everything again for each would be most of its time.  What runs in the
fork is the command line's `serve`, in a process of its own, as if it had been executed.

Reads one JSON document a line (:class:`Order`), answers each with the process id.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import signal
import sys
from pathlib import Path

import msgspec

from trio_update.host.processes.runner import become_subreaper

_PR_SET_PTRACER = 0x59616D61
_ANYONE = -1


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One server.  ``log``: where its output goes.  ``gate``: a FIFO; the server begins when it has been opened for
    writing.  ``exit_code``: the file that gets it.  ``without_recovery``: leave journals alone at the start, as a
    server that had no recovery would; it exists here only."""

    arguments: tuple[str, ...]
    environment: dict[str, str]
    log: str
    exit_code: str
    gate: str | None = None
    without_recovery: bool = False


def main() -> None:
    import_everything()
    # What killed servers leave becomes ours, and the kernel reaps it: nobody asks here how it ended.
    become_subreaper()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin.buffer:
        order = msgspec.json.decode(line, type=Order)
        pid = os.fork()
        if pid == 0:
            become_server(order)
        print(pid, flush=True)


def import_everything() -> None:
    import trio_update.cli.local
    import trio_update.service
    import trio_update.web.app
    import trio_update.web.server.server  # noqa: F401 - imported to be there after the fork

    # What comes with the first request to the outside.
    for name in ("httpx", "httpcore._backends.auto", "httpcore._backends.trio"):
        importlib.import_module(name)


def become_server(order: Order) -> None:
    """Never returns."""
    code = 70
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        redirect(order.log)
        os.environ.clear()
        os.environ.update(order.environment)
        # Where only descendants may be traced (Yama), strace comes from elsewhere.
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_long(_ANYONE), 0, 0, 0)
        if order.gate is not None:
            Path(order.gate).read_bytes()
        if order.without_recovery:
            switch_recovery_off()
        from trio_update.cli import main as command_line

        code = command_line(order.arguments)
        Path(order.exit_code).write_text(str(code))
    except BaseException:  # noqa: BLE001 - a forked process must never come back into the loop that made it
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def redirect(log: str) -> None:
    nothing, output = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(nothing)
    os.close(output)


def switch_recovery_off() -> None:
    """Put a stand-in in the place of the function that resumes entries, in every module that knows it."""
    from trio_update.host.store import Store
    from trio_update.model import JobId

    async def resume_nothing(journal: object, updaters: object, runner: object, store: Store, board: object) -> JobId:
        return await store.last_job()

    knowing = [
        vars(module)
        for name, module in sys.modules.items()
        if name.startswith("trio_update.engine.") and "resume_all" in vars(module)
    ]
    assert len(knowing) > 1, "the engine resumes entries by another name now"
    for names in knowing:
        names["resume_all"] = resume_nothing


if __name__ == "__main__":
    main()
