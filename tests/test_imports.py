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
# The same for the folders within a room: each knows those of the lines before its own, and none beside it.
FLOORS_WITHIN: dict[str, tuple[set[str], ...]] = {
    "host": (
        {"threads"},
        {"files"},
        {"processes"},
        {"archive", "git", "http", "lock", "store", "services"},
        {"forge"},
    ),
    "updaters": ({"plans", "space", "dependencies"}, {"base"}, {"kinds", "place"}, {"git", "release"}),
    "web": ({"access", "server"}, {"api"}, {"app"}),
}
# Nothing that tells of apps: how they are configured, what they show, what is planned for them.
VALUES_OF_HOST = {"AppName", "Asset", "Commit", "JobId", "JobRecord", "RateLimit", "Release", "RemoteRelease"}
HEAVY = {"quart", "quart_trio", "hypercorn", "httpx", "rich", "trio_websocket", "sqlite3"}


def room_of(module: str) -> str:
    """``trio_update.host.git.repository`` → ``host``; the package's own face is the empty name."""
    return [*module.split("."), ""][1]


def imports_of(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            folder = PACKAGE.parent.joinpath(*node.module.split("."))
            for name in node.names:
                # A module of that folder, or something that is in the module itself.
                is_module = (folder / f"{name.name}.py").exists() or (folder / name.name).is_dir()
                yield f"{node.module}.{name.name}" if is_module or node.module == "trio_update" else node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def floor(room: str) -> int:
    found = [number for number, rooms in enumerate(FLOORS) if room in rooms]
    # `from trio_update import __version__` names no room.
    return found[0] if found else 0


FILES = sorted(PACKAGE.rglob("*.py"))
each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))


@each_file
def test_imports_point_upwards(file: Path) -> None:
    room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        # The public face, which names everything and imports it only when it is asked for.
        return
    for module in imports_of(file):
        if module.split(".")[0] == "trio_update":
            assert floor(room_of(module)) <= floor(room), f"{file.name} imports {module}"
            assert room_of(module) in {"__version__", *set().union(*FLOORS)}, f"{file.name} goes by the public face"


def within(module: str) -> tuple[str, str]:
    """``trio_update.host.git.repository`` → ``host`` and ``git``."""
    _, room, folder, *_ = [*module.split("."), "", ""]
    return room, folder


@each_file
def test_imports_within_a_room_point_upwards(file: Path) -> None:
    module = ".".join(("trio_update", *file.relative_to(PACKAGE).with_suffix("").parts))
    room, folder = within(module)
    if room not in FLOORS_WITHIN or folder in {"", "__init__"}:
        return
    level = {name: number for number, names in enumerate(FLOORS_WITHIN[room]) for name in names}
    for imported in imports_of(file):
        other, theirs = within(imported)
        if (other, imported.split(".")[0]) != (room, "trio_update") or theirs == folder:
            continue
        # The list of kinds names each one's record, when it is asked for, and nothing else of them.
        if folder == "kinds" and imported.endswith(".kind"):
            continue
        # What only type checkers read cannot lead round in a circle.
        if folder == "kinds" and theirs == "base":
            continue
        assert level[theirs] < level[folder], f"{file.name} imports {imported}"


@pytest.mark.parametrize("room", FLOORS_WITHIN)
def test_every_folder_within_a_room_has_its_floor(room: str) -> None:
    found = {
        path.name.removesuffix(".py") for path in (PACKAGE / room).iterdir() if path.suffix == ".py" or path.is_dir()
    }
    assert found - {"__pycache__", "__init__"} == set().union(*FLOORS_WITHIN[room])


def test_tools_of_the_host_know_nothing_of_apps() -> None:
    for file in (PACKAGE / "host").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trio_update."):
                room = room_of(str(node.module))
                assert room in {"errors", "groups", "host", "logs", "model", "progress", "text", "versions"}, (
                    f"{file}: {node.module}"
                )
                if room == "model":
                    assert {name.name for name in node.names} <= VALUES_OF_HOST, file


def test_no_two_modules_import_each_other() -> None:
    """Imports within functions count: they hide such a circle, and do not open it.

    But for a kind's record: it names the updater, and what an updater must import is the structs that stand beside it.
    """
    names = {file: ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts) for file in PACKAGE.rglob("*.py")}
    pairs = {
        (name.removesuffix(".__init__"), module)
        for file, name in names.items()
        for module in imports_of(file)
        if not name.endswith(".kind")
    }
    assert sorted(pair for pair in pairs if pair[::-1] in pairs and pair[0] < pair[1]) == []


def test_every_room_has_its_floor() -> None:
    rooms = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert rooms - {"__pycache__", "__init__"} <= set().union(*FLOORS)


@pytest.mark.parametrize("room", ["errors", "model", "events", "progress", "text", "versions", "config"])
def test_values_do_no_input_and_output_of_their_own(room: str) -> None:
    files = [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").exists() else list((PACKAGE / room).glob("*.py"))
    for file in files:
        assert not {module.split(".")[0] for module in imports_of(file)} & (HEAVY | {"trio", "subprocess"}), file
