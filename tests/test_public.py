"""What `import trio_update` offers."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import trio_update

FACE = Path(trio_update.__file__)


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_it_imports_nothing() -> None:
    assert run("import sys, trio_update; assert 'trio' not in sys.modules; assert 'msgspec' not in sys.modules") == ""


@pytest.mark.parametrize("name", ["load_config", "GitRepoConfig", "Status", "KindInvalid", "Refused", "parse_config"])
def test_what_is_no_engine_does_not_import_trio(name: str) -> None:
    assert run(f"import sys; from trio_update import {name}; assert 'trio' not in sys.modules") == ""


def test_every_name_is_there_and_listed() -> None:
    assert sorted(trio_update.__all__) == dir(trio_update)
    for name in trio_update.__all__:
        assert getattr(trio_update, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        _ = trio_update.no_such_name  # type: ignore[attr-defined]  # what is tested


def test_it_is_what_applications_need_and_not_everything() -> None:
    assert 30 <= len(trio_update.__all__) <= 38


def public_modules() -> list[str]:
    return re.findall(r":mod:`~?(trio_update\.[a-z_.]+)`", trio_update.__doc__ or "")


def test_the_other_public_modules_say_what_is_public() -> None:
    modules = public_modules()
    assert {"trio_update.config", "trio_update.updaters.base", "trio_update.updaters.kinds"} <= set(modules)
    for name in modules:
        module = importlib.import_module(name)
        assert all(hasattr(module, public) for public in module.__all__), name


@pytest.mark.parametrize("program", ["embed.py", "own_updater.py"])
def test_the_examples_need_public_names_only(program: str) -> None:
    """An example that reaches into internal modules would show that something is missing."""
    tree = ast.parse((FACE.parents[1] / "examples" / program).read_text())
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imported if (node.module or "").split(".")[0] == "trio_update"]
    names = [f"{node.module}.{alias.name}" for node in ours for alias in node.names]
    offered = {f"{name}.{public}" for name in public_modules() for public in importlib.import_module(name).__all__}
    offered |= {f"trio_update.{name}" for name in trio_update.__all__} | set(public_modules())
    assert set(names) <= offered


def test_type_checkers_see_the_same_names() -> None:
    """The imports that only they read, and the places that are looked up when the program runs."""
    tree = ast.parse(FACE.read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {*seen, "__version__"} == set(trio_update.__all__)
    for name, module in seen.items():
        assert getattr(sys.modules[str(module)], name) is getattr(trio_update, name)


def test_programs_are_typed_by_it(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import trio_update\n"
        "from trio_update import Config, Status, load_config\n"
        "reveal_type(load_config)\n"
        "reveal_type(trio_update.open_manager)\n"
        "def busy(status: Status) -> bool: return status.busy\n"
        "Config(apps=3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(program)],
        capture_output=True,
        text=True,
        check=False,
        cwd=FACE.parents[1],
    )
    if "No module named mypy" in done.stderr:
        pytest.skip("mypy is not installed here")
    assert "-> trio_update.config.values.Config" in done.stdout
    assert "Manager" in done.stdout
    errors = [line for line in done.stdout.splitlines() if " error: " in line]
    assert len(errors) == 1
    assert 'Argument "apps" to "Config"' in errors[0]


def test_what_the_readme_imports_is_there() -> None:
    imports = re.findall(r"^from trio_update.* import .*$", (FACE.parents[1] / "README.md").read_text(), re.MULTILINE)
    assert imports
    assert run("\n".join(imports)) == ""
