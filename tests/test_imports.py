"""The package reads from top to bottom: what a room may import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "trio_update"
# Each knows what stands before it, and nothing behind it.
FLOORS = (
    {"", "errors", "groups", "logs", "progress", "text", "versions"},
    {"model"},
    {"events"},
    {"config"},
    {"host"},
    {"updaters"},
    {"engine"},
    {"web"},
    {"service"},
    {"client"},
    {"demo"},
    {"cli"},
    {"__main__"},
)
HEAVY = {"quart", "quart_trio", "hypercorn", "httpx", "rich", "trio_websocket", "sqlite3"}


def room_of(module: str) -> str:
    """``trio_update.host.git.repository`` → ``host``; the package's own face is the empty name."""
    return [*module.split("."), ""][1]


def imports_of(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (
                (f"{node.module}.{name.name}" for name in node.names)
                if node.module == "trio_update"
                else (node.module,)
            )
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def floor(room: str) -> int:
    found = [number for number, rooms in enumerate(FLOORS) if room in rooms]
    # `from trio_update import __version__` names no room.
    return found[0] if found else 0


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_upwards(file: Path) -> None:
    room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        # The public face, which names everything and imports it only when it is asked for.
        return
    for module in imports_of(file):
        if module.split(".")[0] == "trio_update":
            assert floor(room_of(module)) <= floor(room), f"{file.name} imports {module}"


def test_every_room_has_its_floor() -> None:
    rooms = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert rooms - {"__pycache__", "__init__"} <= set().union(*FLOORS)


@pytest.mark.parametrize("room", ["errors", "model", "events", "progress", "text", "versions", "config"])
def test_values_do_no_input_and_output_of_their_own(room: str) -> None:
    files = [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").exists() else list((PACKAGE / room).glob("*.py"))
    for file in files:
        assert not {module.split(".")[0] for module in imports_of(file)} & (HEAVY | {"trio", "subprocess"}), file
