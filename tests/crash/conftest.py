"""What every test of the crash suite needs."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture(autouse=True)
def _needs_strace() -> None:
    assert shutil.which("strace"), "strace is not installed, and without it nothing can be killed at a system call"
