"""A playground: real apps in a temporary directory, to be upgraded, broken, recovered, rolled back and aborted."""

from __future__ import annotations


def run(port: int | None = None) -> int:
    """Build the playground, serve it until SIGINT or SIGTERM, remove it.  Returns 0 after a graceful stop.

    ``port`` None: the one that the client commands ask by themselves when it is free, otherwise any.

    Raises:
        StartFailed: the port is taken, git is missing, or the temporary directory cannot be written to.
    """
    from trio_update.demo.playground import run_playground

    run_playground(port)
    return 0
