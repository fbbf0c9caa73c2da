"""Changes of files: all or nothing, and never outside of what was named."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from trio_update.errors import FileTrouble
from trio_update.host.files import durable


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system than ``tmp_path``."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_a_file_is_written_with_exactly_its_mode(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        durable.write_atomically(tmp_path / "open", b"\0text", 0o664)
        durable.write_atomically(tmp_path / "secret", b"key", 0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "open").read_bytes() == b"\0text"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"open": 0o664, "secret": 0o600}


def test_a_reader_keeps_the_file_that_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"the old content")
    with path.open("rb") as reader:
        durable.write_atomically(path, b"new")
        assert reader.read() == b"the old content"
    assert path.read_bytes() == b"new"


def test_a_failed_write_changes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "content").mkdir(parents=True)
    with pytest.raises(FileTrouble) as caught:
        durable.write_atomically(folder, b"data")
    assert caught.value.errno == errno.EISDIR
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    with pytest.raises(FileTrouble, match="missing"):
        durable.write_atomically(tmp_path / "missing" / "file", b"data")


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    # A limit on the size of files stands in for the disk: it fails in the middle of the data just the same.
    script = (
        "import resource, signal, sys; from pathlib import Path; from trio_update.host.files import durable\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (9999, 9999))\n"
        "try: durable.write_atomically(Path(sys.argv[1]), bytes(20000))\n"
        "except durable.FileTrouble as error: print(error.errno)"
    )
    (tmp_path / "file").write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "file"], capture_output=True, check=True)
    assert int(done.stdout) == errno.EFBIG
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}


def test_what_a_kill_leaves_does_not_pile_up(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from trio_update.host.files import durable\n"
        "os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)\n"
        "durable.write_atomically(Path(sys.argv[1]), b'half')"
    )
    path = tmp_path / "file"
    path.write_bytes(b"old")
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", script, path], check=False)
        assert done.returncode == -signal.SIGKILL
        assert path.read_bytes() == b"old"
    durable.write_atomically(path, b"new")
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == {"file": b"new"}


def test_two_folders_change_places(tmp_path: Path) -> None:
    one, other = tmp_path / "a" / "one", tmp_path / "b" / "other"
    for folder in (one, other):
        folder.mkdir(parents=True)
        (folder / folder.name).touch()
    durable.exchange(one, other)
    assert [path.name for path in one.iterdir()] == ["other"]
    assert [path.name for path in other.iterdir()] == ["one"]


def test_an_exchange_across_file_systems_is_refused_with_advice(tmp_path: Path, elsewhere: Path) -> None:
    one, other = tmp_path / "one", elsewhere / "other"
    one.mkdir()
    other.mkdir()
    (one / "mine").touch()
    with pytest.raises(FileTrouble, match="different file systems") as caught:
        durable.exchange(one, other)
    assert caught.value.errno == errno.EXDEV
    assert (one / "mine").exists()


def test_an_exchange_needs_both(tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    with pytest.raises(FileTrouble) as caught:
        durable.exchange(tmp_path / "one", tmp_path / "missing")
    assert caught.value.errno == errno.ENOENT
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_move_does_not_overwrite(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("one")
    durable.rename(tmp_path / "one", tmp_path / "two")
    (tmp_path / "one").write_text("another")
    with pytest.raises(FileTrouble) as caught:
        durable.rename(tmp_path / "one", tmp_path / "two")
    assert caught.value.errno == errno.EEXIST
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"one": "another", "two": "one"}


BOTH = {"fsync here", "fsync sub"}
DURABLE: dict[str, tuple[str, list[set[str]]]] = {
    "write": ("write_atomically(one, b'new')", [{"fsync .one.tmp"}, {"rename .one.tmp one"}, {"fsync here"}]),
    "exchange": ("exchange(one, two)", [{"renameat2 one two"}, BOTH]),
    "move": ("rename(one, two.with_name('three'))", [{"renameat2 one three"}, BOTH]),
    "swap": ("swap(one, two, new=durable.inode(two), replaces=True, forward=True)", [{"renameat2 one two"}, BOTH]),
    "save": ("copy_aside(one.parent, (b'one', b'sub/two'), two.with_name('aside'))", [{"syncfs aside"}]),
}


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("case", DURABLE)
def test_what_is_done_is_on_the_disk(tmp_path: Path, case: str) -> None:
    """The content before its name, and the name before it is told that it is done."""
    one, two = tmp_path / "here" / "one", tmp_path / "here" / "sub" / "two"
    two.parent.mkdir(parents=True)
    one.write_text("old")
    two.write_text("old")
    action, wanted = DURABLE[case]
    script = (
        "import sys; from pathlib import Path; from trio_update.host.files import durable\n"
        f"one, two = map(Path, sys.argv[1:])\ndurable.{action}"
    )
    command = ["strace", "-f", "-qq", "-y", "-o", str(tmp_path / "calls"), "-e", "signal=none"]
    command += ["-e", "trace=fsync,fdatasync,syncfs,rename,renameat,renameat2", sys.executable, "-c", script]
    subprocess.run([*command, str(one), str(two)], check=True)
    found = []
    for line in (tmp_path / "calls").read_text().splitlines():
        call = re.search(r"(\w+)\((.*)\) += 0", line)
        assert call is not None, line
        paths = re.findall(r'"(.*?)"|\d<(.*?)>', call[2])
        found.append(" ".join([call[1], *(Path(quoted or opened).name for quoted, opened in paths)]))
    for step in wanted:
        assert set(found[: len(step)]) == step
        del found[: len(step)]
    assert found == []


def test_syncing_asks_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    durable.sync_filesystem(tmp_path)
    durable.sync_filesystem(tmp_path / "file")
    durable.fsync_directory(tmp_path)
    with pytest.raises(FileTrouble, match="missing"):
        durable.sync_filesystem(tmp_path / "missing")
    with pytest.raises(FileTrouble) as caught:
        durable.fsync_directory(tmp_path / "file")
    assert caught.value.errno == errno.ENOTDIR


def test_files_are_saved_as_they_are(tmp_path: Path) -> None:
    root, aside = tmp_path / "root", tmp_path / "aside"
    (root / "sub").mkdir(parents=True)
    odd = os.fsdecode(b"sub/\xff")
    (root / odd).write_text("odd")
    (root / "link").symlink_to("nowhere")
    durable.copy_aside(root, (b"sub/\xff", b"link"), aside)
    assert (aside / odd).read_text() == "odd"
    assert (aside / "link").readlink() == Path("nowhere")


def test_a_tree_is_removed_and_what_its_links_lead_to_is_not(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    tree = tmp_path / "tree"
    deep = tree.joinpath(*["d"] * 200)
    deep.mkdir(parents=True)
    (deep / "file").touch()
    (tree / os.fsdecode(b"\xff\n")).touch()
    (tree / "to folder").symlink_to(kept)
    (deep / "to file").symlink_to(kept / "file")
    os.mkfifo(tree / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tree / "socket"))
    (tmp_path / "link").symlink_to(kept)
    for name in ("tree", "link", "missing"):
        durable.remove_tree(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (kept / "file").exists()
    durable.remove_tree(kept / "file")
    assert list(kept.iterdir()) == []


def test_what_others_remove_meanwhile_is_as_good_as_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tree").mkdir()
    for name in "abc":
        (tmp_path / "tree" / name).touch()
    unlink = os.unlink

    def twice(path: bytes, *, dir_fd: int | None = None) -> None:
        unlink(path, dir_fd=dir_fd)
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", twice)
    durable.remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_a_link_has_a_number_of_its_own_wherever_it_leads(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, to in (("link", "file"), ("dangling", "nowhere")):
        (tmp_path / name).symlink_to(to)
        assert durable.inode(tmp_path / name) == (tmp_path / name).lstat().st_ino
    assert durable.inode(tmp_path / "missing") is None


def test_what_was_made_anew_and_is_gone_again_is_not_missed(tmp_path: Path) -> None:
    """By who undoes it: something is missing, as before."""
    for forward in (True, False):
        durable.swap(tmp_path / "live", tmp_path / "stage", new=7, replaces=False, forward=forward)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_becomes_a_link_while_its_tree_is_removed_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, tree = tmp_path / "kept", tmp_path / "tree"
    for folder in (kept, tree / "inside"):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    fill = durable._fill

    def filled(level: tuple[bytes, int, list[bytes]]) -> None:
        fill(level)
        if (tree / "inside").is_dir() and not (tree / "inside").is_symlink():
            (tree / "inside").rename(tmp_path / "moved away")
            (tree / "inside").symlink_to(kept)

    monkeypatch.setattr(durable, "_fill", filled)
    with pytest.raises(FileTrouble):
        durable.remove_tree(tree)
    assert (kept / "file").exists()


def test_a_tree_that_forbids_it_is_removed() -> None:
    # Permissions mean nothing to root: done as nobody, who then needs a place of its own.
    script = """
import os, tempfile
from pathlib import Path
from trio_update.host.files import durable
if os.geteuid() == 0:
    os.setgid(65534), os.setuid(65534)
place = Path(tempfile.mkdtemp())
for mode in (0o000, 0o111, 0o444, 0o555):
    (place / "tree" / f"{mode:o}" / "sub").mkdir(parents=True)
    (place / "tree" / f"{mode:o}" / "sub" / "file").touch(0o400)
    (place / "tree" / f"{mode:o}" / "sub").chmod(mode)
    (place / "tree" / f"{mode:o}").chmod(mode)
(place / "tree").chmod(0o500)
durable.remove_tree(place / "tree")
place.rmdir()
print("removed")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("removed\n", "")


MOUNTS = """
import errno, subprocess, sys
from pathlib import Path
from trio_update.errors import FileTrouble
from trio_update.host.files import durable

place = Path(sys.argv[1])
user, tree, beside = (place / name for name in ("user data", "tree", "beside"))
for folder in (user, tree / "mounted here", beside):
    folder.mkdir(parents=True)
(user / "file").touch()
(tree / "a").touch()
subprocess.run(["mount", "--bind", user, tree / "mounted here"], check=True)
assert durable.is_mount_point(tree / "mounted here") and not durable.is_mount_point(tree)
(place / "alias").symlink_to(tree / "mounted here")
assert durable.is_mount_point(place / "alias")
for path, action in ((tree, durable.remove_tree), (tree / "mounted here", lambda path: durable.exchange(path, beside))):
    try:
        action(path)
        raise AssertionError(f"no trouble with {path}")
    except FileTrouble as trouble:
        assert trouble.errno == errno.EBUSY and "mount" in str(trouble), trouble
assert (user / "file").exists() and (tree / "a").exists()
durable.remove_tree(place / "alias")
subprocess.run(["umount", tree / "mounted here"], check=True)
(place / "tree too").mkdir()
subprocess.run(["mount", "--bind", user, place / "tree too"], check=True)
durable.remove_tree(tree)
assert not tree.exists() and (user / "file").exists()
"""


def test_what_is_mounted_is_seen_and_spared(tmp_path: Path) -> None:
    assert durable.is_mount_point(Path("/proc"))
    assert not durable.is_mount_point(tmp_path)
    # In a mount namespace of its own, which ends with it: the rest of the system sees nothing of this.
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*namespace, "mount", "--bind", tmp_path, tmp_path], check=False, capture_output=True).returncode:
        # A sandbox without mounts: what the kernel has mounted itself must do.
        with pytest.raises(FileTrouble) as caught:
            durable.exchange(Path("/proc"), tmp_path)
        assert caught.value.errno in (errno.EBUSY, errno.EXDEV, errno.EACCES)
        return
    done = subprocess.run(
        [*namespace, sys.executable, "-c", MOUNTS, tmp_path], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_free_space_is_what_the_user_can_use(tmp_path: Path) -> None:
    figures = os.statvfs(tmp_path)
    assert 0 < durable.free_bytes(tmp_path) <= figures.f_blocks * figures.f_frsize
    with pytest.raises(FileTrouble, match="missing"):
        durable.free_bytes(tmp_path / "missing")


def test_trouble_can_be_told_whatever_the_name(tmp_path: Path) -> None:
    with pytest.raises(FileTrouble) as caught:
        durable.free_bytes(tmp_path / os.fsdecode(b"caf\xe9"))
    assert "caf\\xe9" in str(caught.value)
    str(caught.value).encode()
