"""Which files are the user's, and what becomes of those that are written while an update runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.releases import tree, write_files
from trio_update.host.files import durable
from trio_update.updaters.release.persistent import carry_late, found_persistent, mounts_inside


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_files(tmp_path / "source", {"db/deep/data": b"mine", "db/data": b"mine", "config.json": b"mine"})
    return tmp_path / "source"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (("db/deep", "db", "config.json"), (b"config.json", b"db")),
        (("db/deep", "db/deep/data"), (b"db/deep",)),
        (("db", "db-not"), (b"db",)),
        (("gone", "config.json/below", "db/gone"), ()),
        (("link/deep/data", "link/data"), (b"link",)),
        (("dangling/x",), (b"dangling",)),
    ],
)
def test_what_there_is_of_the_users(source: Path, wanted: tuple[str, ...], found: tuple[bytes, ...]) -> None:
    (source / "link").symlink_to("db")
    (source / "dangling").symlink_to("nowhere")
    assert found_persistent(source, wanted) == found


def test_a_mount_beside_the_folder_is_not_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to("app")
    mounts = {bytes(tmp_path / name) for name in ("app", "app-2", "app/data", "app/data/deep")}
    monkeypatch.setattr(durable, "mount_points", lambda: frozenset(mounts))
    inside = tuple(bytes(tmp_path / name) for name in ("app/data", "app/data/deep"))
    assert mounts_inside(tmp_path / "link") == inside


def test_a_link_that_came_late_is_saved_as_a_link(source: Path, target: Path, tmp_path: Path) -> None:
    (source / "db" / "to-folder").symlink_to("deep")
    (source / "db" / "to-nothing").symlink_to("nowhere")
    (source / "top").symlink_to("db")
    paths = (b"db", b"top")
    assert carry_late(source, target, paths, since=None, aside=tmp_path / "aside", wins=True) == ()
    assert {path.name: str(path.readlink()) for path in target.rglob("*") if path.is_symlink()} == {
        "to-folder": "deep",
        "to-nothing": "nowhere",
        "top": "db",
    }
    assert tree(target / "db") == tree(source / "db")
    assert not (tmp_path / "aside").exists()
