"""A folder that cannot change places gets another content, and what is the user's stays in it."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.releases import photo, tree, write_files
from tests.support.somebody import AS_A_USER, SOMEBODY, WHY_NO_USER
from trio_update.errors import FileTrouble
from trio_update.host.files.refill import asks_for_refill, copy_content, refill

LONG_AGO = 1_000_000_000_123_456_789


@pytest.fixture
def live(tmp_path: Path) -> Path:
    folder = tmp_path / "live"
    write_files(folder, {"index.html": b"old", "db/old": b"old", "db/deep/data": b"mine", "config.json": b"mine"})
    write_files(folder, {"own/notes": b"mine", "gone/file": b"old"})
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    write_files(folder, {"index.html": b"new", "db/new": b"new", "db/deep/data": b"new", "config.json": b"new"})
    write_files(folder, {"own/notes": b"new", "own/more": b"new"})
    return folder


def marks(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything about all that is below but which inode it is."""
    found: dict[str, tuple[object, ...]] = {}
    for path in folder.rglob("*"):
        seen = path.lstat()
        content: object = path.read_bytes() if stat.S_ISREG(seen.st_mode) else None
        content = path.readlink() if path.is_symlink() else content
        name = str(path.relative_to(folder))
        found[name] = (seen.st_mode, seen.st_uid, seen.st_gid, seen.st_mtime_ns, content)
    return found


def make_everything(folder: Path, outside: Path) -> None:
    write_files(folder, {"program": b"#!/bin/sh\n", "closed/inner": b"inner", os.fsdecode(b"caf\xe9\n"): b"odd"})
    (folder / "empty").mkdir(mode=0o700)
    os.mkfifo(folder / "fifo", 0o620)
    (folder / "dangling").symlink_to("nowhere")
    (folder / "to-file").symlink_to(outside / "file")
    (folder / "to-folder").symlink_to(outside)
    if os.geteuid() == 0:
        for name in ("program", "closed", "fifo", "dangling", "empty"):
            os.chown(folder / name, 1234, 4321, follow_symlinks=False)
    (folder / "program").chmod(0o4751)
    (folder / "closed").chmod(0o555)
    for name in ("program", "fifo", "dangling", "empty", "closed/inner", "closed"):
        os.utime(folder / name, ns=(LONG_AGO, LONG_AGO), follow_symlinks=False)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    write_files(tmp_path / "outside", {"file": b"of somebody else"})
    return tmp_path / "outside"


def test_all_of_it_comes_as_it_is(live: Path, source: Path, outside: Path) -> None:
    make_everything(source, outside)
    before = photo(source)
    (live / "to-folder").symlink_to(outside)
    refill(live, source, ())
    assert marks(live) == marks(source)
    assert photo(source) == before
    assert tree(outside) == {"file": b"of somebody else"}


def test_what_is_kept_is_not_touched(live: Path, source: Path) -> None:
    keep = (b"config.json", b"db/deep/data", b"own")
    kept = ("config.json", "db/deep/data", "own/notes")
    before = photo(live)
    refill(live, source, keep)
    assert tree(live) == {
        "index.html": b"new",
        "db/new": b"new",
        "db/deep/data": b"mine",
        "config.json": b"mine",
        "own/notes": b"mine",
    }
    after = photo(live)
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}


def test_a_folder_on_the_way_to_what_is_kept_gets_the_mode_and_time_of_the_new_one(live: Path, source: Path) -> None:
    (source / "db").chmod(0o711)
    os.utime(source / "db", ns=(LONG_AGO, LONG_AGO))
    refill(live, source, (b"db/deep/data",))
    seen = (live / "db").stat()
    assert (stat.S_IMODE(seen.st_mode), seen.st_mtime_ns) == (0o711, LONG_AGO)


def test_a_file_on_the_way_to_what_is_kept_gives_way(live: Path, tmp_path: Path) -> None:
    write_files(tmp_path / "other", {"db": b"a file of the release's", "index.html": b"new"})
    refill(live, tmp_path / "other", (b"db/deep/data",))
    assert tree(live) == {"db/deep/data": b"mine", "index.html": b"new"}


def test_a_folder_that_both_have_is_never_gone(live: Path, source: Path) -> None:
    (live / "own" / "notes").unlink()
    before = {name: (live / name).stat().st_ino for name in ("own", "db", "db/deep")}
    refill(live, source, ())
    assert {name: (live / name).stat().st_ino for name in before} == before
    assert marks(live) == marks(source)


def test_folders_that_forbid_changes_are_changed_and_forbid_them_again(live: Path, source: Path) -> None:
    write_files(source, {"closed/new": b"new"})
    write_files(live, {"closed/old": b"old", "mine/data": b"mine", "mine/old": b"old"})
    (live / "gone" / "inner").mkdir()
    closed = (live / "closed", live / "mine", live / "gone", source / "closed")
    for folder in closed:
        folder.chmod(0o555)
    refill(live, source, (b"mine/data",))
    assert tree(live / "closed") == {"new": b"new"}
    assert tree(live / "mine") == {"data": b"mine"}
    assert not (live / "gone").exists()
    assert {stat.S_IMODE((live / name).stat().st_mode) for name in ("closed", "mine")} == {0o555}


REFILL = """
import pathlib, sys
from trio_update.host.files.refill import refill
refill(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), tuple(map(str.encode, sys.argv[3:])))
"""


@pytest.mark.skipif(bool(WHY_NO_USER), reason=WHY_NO_USER)
@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_folders_of_somebody_else_are_replaced_or_left_to_them(live: Path, source: Path, mode: int) -> None:
    """As ``sudo`` leaves them: those that could not be emptied have been refused before."""
    write_files(source, {"logs/new": b"new", "cache/new": b"new"})
    (live / "logs").mkdir()
    if mode == 0o777:
        write_files(live, {"logs/old": b"old", "cache/data": b"mine", "cache/old": b"old"})
        write_files(live, {"mine/data": b"mine", "mine/old": b"old"})
    theirs = [live / name for name in ("logs", "cache", "mine") if (live / name).exists()]
    for folder in theirs:
        os.chown(folder, SOMEBODY, SOMEBODY)
        folder.chmod(mode)
    kept = ("cache/data", "mine/data")
    subprocess.run([*AS_A_USER, sys.executable, "-c", REFILL, live, source, *kept], check=True)
    assert tree(live / "logs") == {"new": b"new"}
    if mode == 0o777:
        assert tree(live / "cache") == {"new": b"new", "data": b"mine"}
        assert tree(live / "mine") == {"data": b"mine"}
        assert {(live / name).stat().st_uid for name in ("cache", "mine")} == {SOMEBODY}


def test_doing_it_again_mends_what_was_left_half_done(live: Path, source: Path) -> None:
    keep = (b"config.json",)
    refill(live, source, keep)
    whole = marks(live)
    (live / "index.html").write_bytes(b"")
    (live / "db" / "new").unlink()
    (live / "db" / "deep").rename(live / "rubbish")
    refill(live, source, keep)
    assert {name: mark for name, mark in marks(live).items() if name != "config.json"} == {
        name: mark for name, mark in whole.items() if name != "config.json"
    }


def test_a_copy_has_nothing_of_what_is_left_out_and_no_sockets(
    live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(live)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
    (tmp_path / "copy").mkdir()
    copy_content(live, tmp_path / "copy", (b"db/deep", b"own", b"config.json"))
    assert tree(tmp_path / "copy") == {"index.html": b"old", "db/old": b"old", "gone/file": b"old"}
    assert not (tmp_path / "copy" / "socket").exists()
    assert not (tmp_path / "copy" / "db" / "deep").exists()


@pytest.mark.parametrize(
    ("number", "asks"),
    [
        (errno.EBUSY, True),
        (errno.EXDEV, True),
        (errno.EINVAL, True),
        (errno.ENOSYS, True),
        (errno.ENOSPC, False),
        (errno.EACCES, False),
        (errno.ENOENT, False),
        (errno.EIO, False),
        (None, False),
    ],
)
def test_only_a_folder_that_lies_in_the_wrong_place_is_refilled(number: int | None, asks: bool) -> None:
    assert asks_for_refill(FileTrouble("exchange", "folder", number, "why")) is asks
