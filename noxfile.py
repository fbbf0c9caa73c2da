"""What contributors and CI run; see README."""

from __future__ import annotations

import nox

nox.options.sessions = ["lint", "typing", "tests"]
nox.options.reuse_existing_virtualenvs = True
PACKAGE = ("-e", ".[test]")
SOURCES = ("trio_update", "tests", "bench", "examples", "noxfile.py")


@nox.session
def lint(session: nox.Session) -> None:
    """Style and common mistakes."""
    session.install("ruff>=0.14")
    session.run("ruff", "check", *SOURCES)
    session.run("ruff", "format", "--check", *SOURCES)


@nox.session
def typing(session: nox.Session) -> None:
    """Types, strictly, tests included."""
    session.install(*PACKAGE, "mypy>=1.18", "nox")
    session.run("mypy", *(session.posargs or ()))


@nox.session
def tests(session: nox.Session) -> None:
    """Everything that a contributor needs to see green, a short slice of the crash suite included."""
    session.install(*PACKAGE)
    session.run("pytest", *session.posargs)


@nox.session
def crash(session: nox.Session) -> None:
    """Kill the server at every state-changing system call; takes long.  Needs strace."""
    session.install(*PACKAGE)
    session.run("python", "-m", "tests.crash", *session.posargs)


@nox.session
def powercut(session: nox.Session) -> None:
    """Cut the power behind every call that writes to the disk.  Needs root, loop devices and strace."""
    session.install(*PACKAGE)
    session.run("python", "-m", "tests.powercut", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Speed and footprint, as ratios within one run."""
    session.install(*PACKAGE)
    session.run("python", "-m", "bench", *session.posargs)
