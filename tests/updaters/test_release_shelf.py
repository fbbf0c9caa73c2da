"""The shelf: versions put there, found again under odd names, and removed in the right order."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_update.host.files import durable
from trio_update.updaters.release.shelf import Kept, Record, Shelf, is_packed, write_record


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / ".app.trio-update")


def ready(
    shelf: Shelf,
    version: str,
    *,
    used: int = 0,
    content: bytes | None = None,
    name: str = "new",
    packed: bool = False,
    saved: bool = False,
) -> Path:
    """A folder with an asset and its record, as a job makes it before the switch."""
    folder = shelf.path.with_name(name)
    folder.mkdir()
    data = version.encode("utf-8", "surrogatepass") if content is None else content
    (folder / "asset").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    record = Record(
        version=version, asset_name="app.zip", sha256=digest, size=len(data), used=used, packed=packed, saved=saved
    )
    write_record(folder, record)
    return folder


def fill(shelf: Shelf, *versions: str) -> None:
    """Put versions there, each used by a later job."""
    for job, version in enumerate(versions, start=1):
        shelf.put(ready(shelf, version, used=job), version)


def names(shelf: Shelf) -> list[str]:
    return [kept.record.version for kept in shelf.kept()]


def found(shelf: Shelf, version: str) -> Kept:
    kept = shelf.find(version)
    assert kept is not None
    return kept


def test_a_shelf_that_is_not_there_is_empty_and_stays_away(shelf: Shelf) -> None:
    assert shelf.kept() == ()
    assert shelf.find("v1") is None
    shelf.mark_used("v1", 3)
    shelf.prune("v1", 2)
    assert shelf.make_room(shelf.path.parent, 1, frozenset()) == ()
    shelf.put(shelf.path.with_name("never made"), "v1")
    assert list(shelf.path.parent.iterdir()) == []


def test_what_is_put_is_found_whole_and_putting_it_again_changes_nothing(shelf: Shelf) -> None:
    folder = ready(shelf, "v1.0.0", used=4)
    shelf.put(folder, "v1.0.0")
    shelf.put(folder, "v1.0.0")
    kept = found(shelf, "v1.0.0")
    assert (kept.asset.read_bytes(), kept.record.used, kept.is_whole()) == (b"v1.0.0", 4, True)
    assert sorted(shelf.path.parent.iterdir()) == [shelf.path]
    assert shelf.find("1.0.0") is None


def test_a_version_that_is_put_again_replaces_what_was_kept_of_it(shelf: Shelf) -> None:
    fill(shelf, "v1", "v2")
    shelf.put(ready(shelf, "v1", used=9, content=b"built anew"), "v1")
    assert names(shelf) == ["v2", "v1"]
    assert found(shelf, "v1").asset.read_bytes() == b"built anew"


def test_a_put_that_was_killed_is_finished_by_the_next(shelf: Shelf) -> None:
    fill(shelf, "v1")
    folder = ready(shelf, "v1", used=5, content=b"anew")
    (found(shelf, "v1").folder / "record.json").unlink()
    assert names(shelf) == []
    shelf.put(folder, "v1")
    assert found(shelf, "v1").asset.read_bytes() == b"anew"


ODD = [
    "",
    ".",
    "..",
    "../../etc",
    "/",
    "a/b",
    "a%2Fb",
    "-rf",
    "v1 beta\nand more",
    "ünï/côdé",
    "é",
    "e\u0301",
    "\u202ev1",
    "🚀",
    "x" * 300,
    "x" * 299 + "y",
    "é" * 300,
    "é" * 299 + "è",
    "replaced",
    "version-v1",
    "*",
    "[v]1",
    "con",
]


def test_odd_versions_stand_beside_each_other_and_nowhere_else(shelf: Shelf) -> None:
    fill(shelf, *ODD)
    assert names(shelf) == ODD
    for version in ODD:
        kept = found(shelf, version)
        assert (kept.folder.parent, kept.is_whole()) == (shelf.path, True)
    assert sorted(shelf.path.parent.iterdir()) == [shelf.path]
    shelf.prune("..", 0)
    assert names(shelf) == [".."]


@given(versions=st.lists(st.text(max_size=400), unique=True, min_size=2, max_size=5))
@settings(max_examples=25, deadline=None)
def test_no_two_versions_are_taken_for_one(versions: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    kept: list[str] = [version for version in versions if version.isprintable()]
    shelf = Shelf(tmp_path_factory.mktemp("app") / "shelf")
    fill(shelf, *kept)
    assert names(shelf) == kept


def test_unreadable_records_are_passed_over_told_and_removed_by_the_next_pruning(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    fill(shelf, "v1", "v2", "v3", "v4", "v5", "v6")
    broken = {
        "v1": b"{",
        "v2": b"",
        "v3": b"[]",
        "v4": b'{"version": 4, "asset_name": "a", "sha256": "", "size": 1, "used": 1}',
        "v5": b'"\xff"',
    }
    folders = {version: found(shelf, version).folder for version in broken}
    for version, content in broken.items():
        (folders[version] / "record.json").write_bytes(content)
    (shelf.path / "version-none").mkdir()
    (shelf.path / "stranger").mkdir()
    assert names(shelf) == ["v6"]
    for folder in folders.values():
        assert f"{folder} is no version that can be gone back to" in caplog.text
    shelf.prune("v6", 2)
    assert sorted(path.name for path in shelf.path.iterdir()) == ["stranger", "version-v6"]


def test_an_asset_that_was_changed_or_is_gone_is_not_whole(shelf: Shelf) -> None:
    fill(shelf, "v1", "v2")
    found(shelf, "v1").asset.write_bytes(b"v7")
    found(shelf, "v2").asset.unlink()
    assert [kept.is_whole() for kept in shelf.kept()] == [False, False]


@pytest.mark.parametrize("keep", range(8))
@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_pruning_keeps_the_installed_version_and_as_many_as_told(shelf: Shelf, keep: int, count: int) -> None:
    versions = [f"v{number}" for number in range(1, count + 1)]
    fill(shelf, *versions)
    # The installed one is not the newest, as after a rollback.
    shelf.prune("v1", keep)
    wanted = ["v1", *versions[1:][-keep:]] if keep else ["v1"]
    assert names(shelf) == wanted
    shelf.prune("v1", keep)
    assert names(shelf) == wanted


def test_pruning_without_the_installed_version_keeps_the_last(shelf: Shelf) -> None:
    fill(shelf, "v1", "v2", "v3")
    shelf.prune("v9", 2)
    assert names(shelf) == ["v2", "v3"]


def test_a_removal_that_was_cut_short_leaves_no_version_without_its_asset(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(shelf, "v1", "v2")
    remove = durable.remove_tree

    def cut(path: Path) -> None:
        if path.is_dir():
            (path / "asset").unlink()
            raise KeyboardInterrupt
        remove(path)

    monkeypatch.setattr(durable, "remove_tree", cut)
    with pytest.raises(KeyboardInterrupt):
        shelf.prune("v2", 0)
    assert names(shelf) == ["v2"]


def test_use_makes_a_version_younger_and_never_older(shelf: Shelf) -> None:
    fill(shelf, "v1", "v2", "v3")
    shelf.mark_used("v1", 7)
    shelf.mark_used("v1", 7)
    shelf.mark_used("v1", 2)
    shelf.mark_used("v9", 8)
    assert names(shelf) == ["v2", "v3", "v1"]
    assert found(shelf, "v1").record.used == 7
    shelf.prune("v3", 1)
    assert names(shelf) == ["v3", "v1"]


def test_room_is_made_of_the_longest_unused_and_never_of_what_is_spared(shelf: Shelf) -> None:
    fill(shelf, "v1", "v2", "v3")
    shelf.replaced.mkdir()
    (shelf.replaced / "index.html").write_text("old")
    assert shelf.make_room(shelf.path, 0, frozenset()) == ()
    assert (names(shelf), shelf.replaced.is_dir()) == (["v1", "v2", "v3"], True)
    assert shelf.make_room(shelf.path, 1 << 62, frozenset({"v2"})) == ("v1", "v3")
    assert (names(shelf), shelf.replaced.exists()) == (["v2"], False)
    assert shelf.make_room(shelf.path, 1 << 62, frozenset({"v2"})) == ()


def test_room_is_made_no_further_than_needed(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(shelf, "v1", "v2", "v3")
    shelf.replaced.mkdir()
    disk = 1000
    monkeypatch.setattr(
        "trio_update.host.files.durable.free_bytes", lambda path: disk - 100 * len(list(shelf.path.iterdir()))
    )
    assert shelf.make_room(shelf.path, 600, frozenset()) == ()
    assert shelf.replaced.is_dir()
    # The former folder goes first: nobody can go back to it.
    assert shelf.make_room(shelf.path, 700, frozenset()) == ()
    assert (names(shelf), shelf.replaced.exists()) == (["v1", "v2", "v3"], False)
    assert shelf.make_room(shelf.path, 800, frozenset()) == ("v1",)
    assert names(shelf) == ["v2", "v3"]


def test_the_only_copy_of_the_users_files_is_set_aside_and_not_removed(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    shelf.put(ready(shelf, "v0", used=0, content=b"mine", packed=True), "v0")
    fill(shelf, "v1", "v2", "v3")
    shelf.prune("v3", 3)
    assert names(shelf) == ["v0", "v1", "v2", "v3"]
    assert shelf.make_room(shelf.path, 1 << 62, frozenset({"v3"})) == ("v1", "v2")
    assert names(shelf) == ["v0", "v3"], "however short space is"
    for _ in range(2):
        shelf.prune("v3", 0)
        assert names(shelf) == ["v3"]
        assert [path.read_bytes() for path in shelf.path.glob("yours-*/asset")] == [b"mine"]
    assert f"{shelf.path / 'yours-1' / 'asset'} may hold the only copy of files of yours" in caplog.text


def test_what_was_saved_elsewhere_is_removed_like_any_version(shelf: Shelf) -> None:
    shelf.put(ready(shelf, "v0", packed=True, saved=True), "v0")
    fill(shelf, "v1")
    shelf.prune("v1", 0)
    assert (names(shelf), list(shelf.path.glob("yours-*"))) == (["v1"], [])


def test_the_same_version_again_does_not_replace_the_only_copy(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        shelf.put(ready(shelf, "unknown", used=number, content=b"mine %d" % number, packed=True), "unknown")
    shelf.put(ready(shelf, "unknown", used=7, content=b"downloaded"), "unknown")
    assert found(shelf, "unknown").asset.read_bytes() == b"downloaded"
    aside = sorted(path.parent.name for path in shelf.path.glob("yours-*/asset"))
    assert aside == ["yours-1", "yours-2", "yours-3"]
    assert (shelf.path / "yours-1" / "asset").read_bytes() == b"mine 0"
    assert "may hold the only copy of files of yours" in caplog.text
    shelf.prune("other", 0)
    assert len(list(shelf.path.glob("yours-*/asset"))) == 3


def test_a_put_that_is_repeated_sets_nothing_aside(shelf: Shelf) -> None:
    folder = ready(shelf, "v0", packed=True)
    for _ in range(2):
        shelf.put(folder, "v0")
    assert not list(shelf.path.glob("yours-*"))


def test_what_we_packed_is_told_from_what_was_downloaded(shelf: Shelf) -> None:
    shelf.put(ready(shelf, "v0", packed=True), "v0")
    shelf.put(ready(shelf, "v1"), "v1")
    assert [is_packed(found(shelf, version).asset) for version in ("v0", "v1")] == [True, False]
    assert not is_packed(shelf.path / "nowhere" / "asset")
