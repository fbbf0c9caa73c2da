"""git as the playground runs it: always the same author and dates, no user's configuration, this machine only."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from trio_update.errors import CommandFailed
from trio_update.host.git import command

FIRST_DATE = 1_700_000_000
COMMITTER = "Ada Lovelace <ada@example.org>"


def git_environment(path: Path) -> dict[str, str | None]:
    """What git commands in ``path`` get laid over the environment (None takes a variable out)."""
    name, _, address = COMMITTER.partition(" <")
    address, date = address.rstrip(">"), f"{FIRST_DATE} +0000"
    foreign = dict.fromkeys((key for key in os.environ if key.startswith("GIT_")), None)
    return (
        foreign
        | command.git_environment(path)
        | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        | {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": address, "GIT_AUTHOR_DATE": date}
        | {"GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": address, "GIT_COMMITTER_DATE": date}
        # Upstreams are on this machine; a proxy could not reach them.
        | {"NO_PROXY": "*", "no_proxy": "*"}
    )


def git(*arguments: str, cwd: Path, stdin: bytes = b"") -> str:
    """Run git in ``cwd`` in :func:`git_environment` and return what it wrote, without white space around it.

    Blocks.  Raises: CommandFailed.
    """
    argv = command.git_argv((), arguments)
    laid_over: dict[str, str | None] = {**os.environ, **git_environment(cwd)}
    environment = {key: value for key, value in laid_over.items() if value is not None}
    # A session of its own: Ctrl-C in the terminal is for us, and a git killed by it would look like a failure.
    done = subprocess.run(
        argv, cwd=cwd, input=stdin, capture_output=True, env=environment, check=False, start_new_session=True
    )
    if done.returncode:
        raise CommandFailed(argv, done.returncode, (done.stderr or done.stdout).decode(errors="replace"))
    return done.stdout.decode(errors="replace").strip()
