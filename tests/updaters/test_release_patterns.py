"""Patterns in ``persistent_files``: what fits them is the user's, in a bounded number of looks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.releases import ReleaseSite, release_info, tree, write_files
from trio_update.config.patterns import doubt_about, is_pattern
from trio_update.errors import FileTrouble
from trio_update.updaters.release import persistent
from trio_update.updaters.release.persistent import found_persistent

FILES = (
    "a.json", "b.json", ".hidden.json", "c.txt", "release_info.json", ".version", "[x].json", "plugins/one.py",
    "plugins/deep/two.py", "plugins/deep/er/three.py", "plugins/.four", "sub/release_info.json", "sub/d.json",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path / "app", {name: name.encode() for name in FILES})
    (tmp_path / "app" / "link").symlink_to("plugins")
    (tmp_path / "app" / "empty").mkdir()
    return tmp_path / "app"


FITTING = {
    ("*.json",): [".hidden.json", "[x].json", "a.json", "b.json"],
    ("?.json",): ["a.json", "b.json"],
    ("[ab].json",): ["a.json", "b.json"],
    # What is called just so is meant.
    ("[x].json",): ["[x].json"],
    ("plugins/**",): ["plugins/.four", "plugins/deep", "plugins/one.py"],
    ("plugins/*",): ["plugins/.four", "plugins/deep", "plugins/one.py"],
    ("plugins/*.py",): ["plugins/one.py"],
    ("plugins/**/*.py",): ["plugins/deep/er/three.py", "plugins/deep/two.py", "plugins/one.py"],
    ("**/three.py",): ["plugins/deep/er/three.py"],
    ("**/deep/**",): ["plugins/deep/er", "plugins/deep/two.py"],
    ("*/d.json",): ["sub/d.json"],
    ("sub/*.json",): ["sub/d.json", "sub/release_info.json"],
    ("plug*", "plugins/one.py"): ["plugins"],
    ("li*",): ["link"],
    # A link on the way is what is kept, as for names; a pattern follows none.
    ("link/*",): ["link"],
    ("l*k/*",): [],
    ("em*",): ["empty"],
    ("empty/**",): [],
    ("*.nothing", "missing/**", "c.txt/*"): [],
    ("*.json/",): [".hidden.json", "[x].json", "a.json", "b.json"],
}


@pytest.mark.parametrize("wanted", FITTING, ids=str)
def test_what_fits(folder: Path, wanted: tuple[str, ...]) -> None:
    assert [os.fsdecode(path) for path in found_persistent(folder, wanted)] == FITTING[wanted]


def test_the_marks_of_the_version_fit_nothing(folder: Path) -> None:
    found = found_persistent(folder, ("*", "**"))
    assert b"release_info.json" not in found
    assert b".version" not in found
    assert b"plugins" in found


def test_names_that_are_no_text(folder: Path) -> None:
    (folder / os.fsdecode(b"caf\xe9.json")).write_bytes(b"")
    assert b"caf\xe9.json" in found_persistent(folder, ("c*.json",))


def test_the_looks_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persistent, "MOST_LOOKS", 10)
    with pytest.raises(FileTrouble, match=r"\*\*/x: more than 10 files are in question"):
        found_persistent(folder, ("**/x",))
    monkeypatch.undo()
    assert found_persistent(folder, ("/".join(["**"] * 60) + "/x",)) == ()


async def test_what_fits_outlives_an_update(web: ReleaseSite) -> None:
    mine = {"mine.json": b"mine", "plugins/mine.py": b"mine", "plugins/deep/mine": b"mine"}
    write_files(web.path, dict(mine))
    async with web.manager(persistent_files=("m*.json", "plugins/**")) as (manager, _):
        await manager.upgrade("app", who="test")
    found = tree(web.path)
    assert mine.items() <= found.items()
    assert release_info("v2.0.0") == found["release_info.json"]
    assert "assets/only-2.css" in found
    assert "assets/only-1.css" not in found


async def test_a_pattern_for_everything_of_a_kind_does_not_keep_the_version(web: ReleaseSite) -> None:
    async with web.manager(persistent_files=("*.json",)) as (manager, _):
        await manager.upgrade("app", who="test")
    assert tree(web.path)["release_info.json"] == release_info("v2.0.0")


@pytest.mark.parametrize("entry", ["config.json", "*.json", "plugins/**", "it's", "a b", "*/x", "[ab]", "'", ""])
def test_entries_that_do_what_they_say(entry: str) -> None:
    assert doubt_about(entry) == ""


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ('"config.json"', "quotes"),
        ("'config.json'", "quotes"),
        ("`config.json`", "quotes"),
        ("a.json, b.json", "comma"),
        ("a.json,", "comma"),
        ("*", "everything"),
        ("**", "everything"),
        ("**/*", "everything"),
        ("./*", "everything"),
    ],
)
def test_entries_that_mean_something_else_are_told(entry: str, why: str) -> None:
    assert why in doubt_about(entry)


def test_what_a_pattern_is() -> None:
    assert [is_pattern(entry) for entry in ("a", "a*", "a?", "[a]", "a]")] == [False, True, True, True, False]
