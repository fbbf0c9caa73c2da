"""A user's home to load configurations in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trio_update import load_config
from trio_update.config import Config, ConfigInvalid, Problem

Write = Callable[..., Path]
Told = Callable[[str], list[str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, which `~` means."""
    folder = tmp_path / "home" / "pi"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture
def write(home: Path) -> Write:
    """Write a file below the home's configuration folder and return its path."""

    def write(text: str | bytes, name: str = "moonraker.conf") -> Path:
        path = home / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


@pytest.fixture
def load(write: Write) -> Callable[[str], Config]:
    """Load a configuration of this text."""
    return lambda text: load_config(write(text))


@pytest.fixture
def told(write: Write) -> Told:
    """The problems of a configuration of this text, as ``LINE: message``, whether it can be used or not."""

    def told(text: str) -> list[str]:
        return [f"{problem.line}: {problem.message}" for problem in problems_of(write(text))]

    return told


def problems_of(path: Path) -> tuple[Problem, ...]:
    try:
        return load_config(path).problems
    except ConfigInvalid as exc:
        return exc.problems
