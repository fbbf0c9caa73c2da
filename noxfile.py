"""What contributors and CI run; see README."""

from __future__ import annotations

import subprocess
import sys
import tempfile

import nox

nox.options.sessions = ["lint", "typing", "tests", "user"]
nox.options.reuse_existing_virtualenvs = True
GROUPS = nox.project.load_toml("pyproject.toml")
TEST_TOOLS = nox.project.dependency_groups(GROUPS, "test")
# Becomes the command behind it, without being root.  By its module, because nox has none of the tests' packages.
AS_A_USER = ("python", "-m", "tests.support.somebody")
OF_USERS_FILES = ("tests/updaters", "tests/engine", "tests/host/test_carry.py", "tests/host/test_refill.py")
SOURCES = ("trio_update", "tests", "bench", "examples", "noxfile.py")


@nox.session
def lint(session: nox.Session) -> None:
    """Style and common mistakes."""
    session.install(*nox.project.dependency_groups(GROUPS, "lint"))
    session.run("ruff", "check", *SOURCES)
    session.run("ruff", "format", "--check", *SOURCES)


@nox.session
def typing(session: nox.Session) -> None:
    """Types, strictly, tests included."""
    session.install("-e", ".", *nox.project.dependency_groups(GROUPS, "typing"))
    session.run("mypy", *(session.posargs or ()))


@nox.session
def tests(session: nox.Session) -> None:
    """Everything that a contributor needs to see green, a short slice of the crash suite included."""
    session.install("-e", ".", *TEST_TOOLS)
    session.run("pytest", *session.posargs)


@nox.session
def user(session: nox.Session) -> None:
    """What is promised of users' files, once more for who is not root, as nearly everybody who runs this is."""
    asked = subprocess.run([sys.executable, *AS_A_USER[1:], "true"], check=False, capture_output=True, text=True)
    if asked.returncode:
        session.skip(asked.stderr)
    session.install("-e", ".", *TEST_TOOLS)
    posargs = session.posargs or OF_USERS_FILES
    # Not nox's own: an app inside a git repository is refused.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        where = {"PYTEST_DEBUG_TEMPROOT": folder}
        session.run(*AS_A_USER, "pytest", "-p", "no:cacheprovider", *posargs, env=where)


@nox.session
def crash(session: nox.Session) -> None:
    """Kill the server at every state-changing system call; takes long.  Needs strace."""
    session.install("-e", ".", *TEST_TOOLS)
    session.run("python", "-m", "tests.crash", *session.posargs)


@nox.session
def powercut(session: nox.Session) -> None:
    """Cut the power behind every call that writes to the disk.  Needs root, loop devices and strace."""
    session.install("-e", ".", *TEST_TOOLS)
    session.run("python", "-m", "tests.powercut", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Speed and footprint, as ratios within one run."""
    session.install("-e", ".", *TEST_TOOLS)
    session.run("python", "-m", "bench", *session.posargs)
