"""The effects of release apps by themselves: done twice, undone from wherever a kill left them, and nothing lost."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.support.releases import photo, tree, write_files
from tests.support.tools import plain_tools
from trio_update.errors import FileTrouble
from trio_update.host.files import durable
from trio_update.updaters.release.effects import Shelve, Switch
from trio_update.updaters.release.persistent import carry_persistent
from trio_update.updaters.release.shelf import Record, Shelf, write_record

LONG_AGO = 1_000_000_000.0
TOOLS = plain_tools()


class Place:
    """An installed folder, and a staged one that has a link to the user's file."""

    def __init__(self, folder: Path, live: Path | None = None) -> None:
        self.live, self.stage, self.aside = live or folder / "app", folder / "stage", folder / "saved" / "late"
        self.staged = self.stage / "tree"
        self.said: list[str] = []
        write_files(self.live, {"index.html": b"old", "config.json": b"mine"})
        write_files(self.staged, {"index.html": b"new"})
        carry_persistent(self.live, self.staged, (b"config.json",))

    def switch(self, *, since: float = 0.0, live: Path | None = None) -> Switch:
        live = live or self.live
        return Switch(
            live=str(live),
            staged=str(self.staged),
            new_inode=self.staged.stat().st_ino,
            old_inode=durable.inode(live),
            persistent=(b"config.json",),
            wanted=("config.json", "late"),
            aside=str(self.aside),
            since=since,
        )

    def replace(self, folder: Path, content: bytes, *, when: float | None = None) -> None:
        (folder / "part").write_bytes(content)
        if when is not None:
            os.utime(folder / "part", (when, when))
        (folder / "part").rename(folder / "config.json")

    def saved(self) -> dict[str, bytes]:
        return tree(self.aside) if self.aside.exists() else {}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Place]:
    """The installed folder is on another disk than the staged one: it can only be filled."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        if Path(folder).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("no other file system here")
        yield Place(tmp_path, Path(folder, "app"))


async def test_switching_and_undoing_can_be_done_again(place: Place) -> None:
    switch, old, new = place.switch(), photo(place.live), photo(place.staged)
    for _ in range(2):
        await switch.apply(TOOLS, place.said.append)
        assert (photo(place.live), photo(place.staged)) == (new, old)
    for _ in range(2):
        await switch.settle(TOOLS, place.said.append)
        assert (photo(place.live), photo(place.staged)) == (old, new)
    assert place.saved() == {}


async def test_undoing_what_was_never_done_saves_nothing(place: Place) -> None:
    """What the staged folder has of the user's files may be old by now, and nobody needs it."""
    place.replace(place.live, b"newer")
    await place.switch().settle(TOOLS, place.said.append)
    assert tree(place.live) == {"index.html": b"old", "config.json": b"newer"}
    assert place.saved() == {}


@pytest.mark.parametrize("wins", ["old", "new"])
async def test_of_two_changed_files_the_later_is_in_place_and_the_other_saved(place: Place, wins: str) -> None:
    """A program in the old folder and one in the new folder have both replaced it before the switch was over."""
    place.replace(place.live, b"by the old program", when=LONG_AGO + (wins == "old"))
    place.replace(place.staged, b"by the new program", when=LONG_AGO + (wins == "new"))
    await place.switch(since=LONG_AGO).apply(TOOLS, place.said.append)
    lost = {"old": "new", "new": "old"}[wins]
    assert (place.live / "config.json").read_bytes() == f"by the {wins} program".encode()
    assert place.saved() == {"config.json": f"by the {lost} program".encode()}
    assert "What was written during the update was saved" in place.said[-1]


async def test_a_final_switch_saves_what_was_still_written_to_the_old_folder(place: Place) -> None:
    switch = place.switch(since=LONG_AGO)
    await switch.apply(TOOLS, place.said.append)
    place.replace(place.staged, b"late")
    (place.staged / "late").write_bytes(b"new")
    for _ in range(2):
        await switch.discard(TOOLS, place.said.append)
    assert place.saved() == {"config.json": b"late", "late": b"new"}
    assert (place.live / "config.json").read_bytes() == b"mine"


async def test_a_file_from_before_the_update_is_not_taken_for_a_late_one(place: Place) -> None:
    """The user's copy in the new folder was changed there: that of the old folder is history."""
    os.utime(place.live / "config.json", (LONG_AGO, LONG_AGO))
    switch = place.switch(since=LONG_AGO + 60)
    await switch.apply(TOOLS, place.said.append)
    place.replace(place.live, b"changed since")
    await switch.discard(TOOLS, place.said.append)
    assert place.saved() == {}


async def test_a_program_is_switched_and_one_that_was_not_there_is_taken_away_again(tmp_path: Path) -> None:
    place = Place(tmp_path)
    new = tmp_path / "nothing here"
    switch = place.switch(live=new)
    for _ in range(2):
        await switch.apply(TOOLS, place.said.append)
        assert (new / "index.html").read_bytes() == b"new"
    for _ in range(2):
        await switch.settle(TOOLS, place.said.append)
        assert not new.exists()
        assert (place.staged / "index.html").read_bytes() == b"new"


async def test_only_what_cannot_be_exchanged_is_filled(place: Place) -> None:
    """Any other trouble is told as it is, and nothing is copied."""
    switch = place.switch()
    durable.remove_tree(place.live)
    before = photo(place.stage)
    with pytest.raises(FileTrouble, match="cannot exchange"):
        await switch.apply(TOOLS, place.said.append)
    assert (photo(place.stage), place.said) == (before, [])


async def test_a_file_that_cannot_be_exchanged_is_no_folder_to_be_filled(far: Place) -> None:
    """A program on another disk than its stage: told, and nothing is changed."""
    live, staged = far.live / "tool", far.stage / "tool"
    live.write_bytes(b"old")
    staged.write_bytes(b"new")
    switch = Switch(
        live=str(live),
        staged=str(staged),
        new_inode=staged.stat().st_ino,
        old_inode=live.stat().st_ino,
        aside=str(far.aside),
        since=0.0,
    )
    with pytest.raises(FileTrouble, match="different file systems"):
        await switch.apply(TOOLS, far.said.append)
    assert (live.read_bytes(), staged.read_bytes(), far.said) == (b"old", b"new", [])


async def test_filling_can_be_undone_again_and_from_its_middle(far: Place) -> None:
    before, mine, inode = tree(far.live), photo(far.live)["config.json"], far.live.stat().st_ino
    switch = far.switch(since=LONG_AGO)
    await switch.apply(TOOLS, far.said.append)
    assert tree(far.live) == {"index.html": b"new", "config.json": b"mine"}
    for _ in range(2):
        await switch.settle(TOOLS, far.said.append)
        assert tree(far.live) == before
    (far.live / "index.html").unlink()
    (far.live / "half").write_bytes(b"of the new version")
    await switch.settle(TOOLS, far.said.append)
    assert tree(far.live) == before
    assert (photo(far.live)["config.json"], far.live.stat().st_ino) == (mine, inode)


async def test_filling_that_never_began_has_nothing_to_undo(far: Place) -> None:
    """Killed in the copying of the old content: what there is of it must not come back."""
    before = photo(far.live)
    (far.stage / "old").mkdir()
    (far.stage / "old" / "index.html").write_bytes(b"half")
    await far.switch(since=LONG_AGO).settle(TOOLS, far.said.append)
    assert photo(far.live) == before


async def test_a_final_filling_leaves_nothing_behind(far: Place) -> None:
    """The persistent files were in place all the time, and there is no former folder."""
    switch, effect = far.switch(since=LONG_AGO), shelve(far)
    await switch.apply(TOOLS, far.said.append)
    (far.live / "config.json").write_bytes(b"written since")
    for _ in range(2):
        await switch.discard(TOOLS, far.said.append)
        await effect.discard(TOOLS, far.said.append)
    assert tree(far.live) == {"index.html": b"new", "config.json": b"written since"}
    assert (far.saved(), far.stage.exists(), Shelf(Path(effect.shelf)).replaced.exists()) == ({}, False, False)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is made durable, in order, and what is written."""
    found: list[str] = []
    sync, write, rename = durable.sync_filesystem, durable.write_atomically, durable._renameat2

    def synced(path: Path) -> None:
        found.append(f"sync {path.name}")
        sync(path)

    def written(path: Path, data: bytes, mode: int = 0o644) -> None:
        found.append(f"write {path.name}")
        write(path, data, mode)

    def renamed(source: Path, target: Path, flags: int) -> None:
        rename(source, target, flags)
        found.append(f"rename {source.name} {target.name}")

    monkeypatch.setattr(durable, "sync_filesystem", synced)
    monkeypatch.setattr(durable, "write_atomically", written)
    monkeypatch.setattr(durable, "_renameat2", renamed)
    return found


async def test_a_new_folder_is_on_the_disk_before_it_is_live(place: Place, steps: list[str]) -> None:
    await place.switch().apply(TOOLS, place.said.append)
    assert steps[:2] == ["sync stage", "rename app tree"]


async def test_what_is_brought_late_is_on_the_disk_before_the_update_goes_on(place: Place, steps: list[str]) -> None:
    (place.live / "late").write_bytes(b"late")
    await place.switch().apply(TOOLS, place.said.append)
    assert (place.live / "late").read_bytes() == b"late"
    assert steps[-1] == "sync app"


async def test_what_is_saved_is_on_the_disk_before_it_can_be_removed(place: Place, steps: list[str]) -> None:
    switch = place.switch(since=LONG_AGO)
    await switch.apply(TOOLS, place.said.append)
    place.replace(place.staged, b"late")
    steps.clear()
    await switch.discard(TOOLS, place.said.append)
    assert steps == ["sync late"]


async def test_the_old_content_is_on_the_disk_before_the_new_one_comes(far: Place, steps: list[str]) -> None:
    switch = far.switch()
    await switch.apply(TOOLS, far.said.append)
    assert steps == ["sync stage", "sync old", "write refilling", "sync app"]
    steps.clear()
    await switch.settle(TOOLS, far.said.append)
    assert steps[-1] == "sync app"


def shelve(place: Place, *, old_tree: bool = True, keep: int = 1) -> Shelve:
    """The seventh turn, from v1 to v2, with v2's asset still in the stage."""
    ready = place.stage / "new"
    ready.mkdir()
    (ready / "asset").write_bytes(b"v2")
    write_record(ready, Record(version="v2", asset_name="app.zip", sha256="", size=2, used=7))
    return Shelve(
        shelf=str(place.stage.with_name(".shelf")),
        stage=str(place.stage),
        staged=((str(ready), "v2"),),
        installed="v2",
        replaced="v1",
        turn=7,
        keep=keep,
        old_tree=str(place.staged) if old_tree else "",
    )


def keep_on_shelf(shelf: Shelf, **used: int) -> None:
    for version, job in used.items():
        folder = shelf.path.with_name(version)
        folder.mkdir()
        (folder / "asset").write_bytes(version.encode())
        write_record(folder, Record(version=version, asset_name="app.zip", sha256="", size=2, used=job))
        shelf.put(folder, version)


async def test_what_is_put_on_the_shelf_is_put_there_once(place: Place) -> None:
    effect = shelve(place)
    shelf = Shelf(Path(effect.shelf))
    keep_on_shelf(shelf, v0=3, v1=1)
    former = place.staged.stat().st_ino
    for _ in range(2):
        await effect.discard(TOOLS, place.said.append)
        # What was replaced just now was in use longer than what was used before it.
        assert [(kept.record.version, kept.record.used) for kept in shelf.kept()] == [("v1", 6), ("v2", 7)]
        assert (shelf.replaced.stat().st_ino, place.stage.exists()) == (former, False)


async def test_a_version_that_was_gone_back_to_is_the_youngest(place: Place) -> None:
    effect = replace(shelve(place), staged=(), installed="v0", keep=2)
    shelf = Shelf(Path(effect.shelf))
    keep_on_shelf(shelf, v0=1, v1=2, v3=5)
    await effect.discard(TOOLS, place.said.append)
    assert [(kept.record.version, kept.record.used) for kept in shelf.kept()] == [("v3", 5), ("v1", 6), ("v0", 7)]


async def test_before_an_update_is_final_the_shelf_is_not_touched(place: Place) -> None:
    effect = shelve(place)
    keep_on_shelf(Shelf(Path(effect.shelf)), v0=3, v1=1)
    before = photo(place.stage.parent)
    await effect.apply(TOOLS, place.said.append)
    await effect.settle(TOOLS, place.said.append)
    assert photo(place.stage.parent) == before


async def test_the_former_folder_is_kept_where_nothing_else_is(place: Place) -> None:
    effect = replace(shelve(place), staged=())
    await effect.discard(TOOLS, place.said.append)
    shelf = Shelf(Path(effect.shelf))
    assert (tree(shelf.replaced)["index.html"], shelf.kept()) == (b"new", ())
