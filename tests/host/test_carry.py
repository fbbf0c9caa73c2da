"""The user's files on their way into a new folder."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from trio_update.errors import FileTrouble
from trio_update.host.files.carry import carry_over, replace_with

LONG_AGO = 1_000_000_000_123_456_789
TRACKED = frozenset({b"main.py", b"lib/code.py"})


class Place:
    """An old folder with the software's files and the user's, and a new one with the software's alone."""

    def __init__(self, old: Path, new: Path) -> None:
        self.old, self.new, self.aside = old, new, new.with_name("aside") / "untracked"
        for root, content in ((old, "old"), (new, "new")):
            (root / ".git").mkdir(parents=True)
            (root / ".git" / "HEAD").write_text(content)
            for name in TRACKED:
                self.write(root / os.fsdecode(name), content)

    def write(self, path: Path, content: str = "user's") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def user(self, name: str | bytes, content: str = "user's") -> Path:
        return self.write(self.old / os.fsdecode(name), content)

    def carry(self, tracked: frozenset[bytes] = TRACKED) -> tuple[int, tuple[bytes, ...], tuple[bytes, ...]]:
        report = carry_over(self.old, self.new, tracked, aside=self.aside)
        return report.carried, report.put_aside, report.left_out

    def found(self, root: Path | None = None) -> dict[str, str]:
        """Every file below ``root`` (the new folder) but the software's, and empty folders."""
        root = root or self.new
        found = {}
        for folder, below, names in os.walk(root):
            if not below and not names:
                found[os.path.relpath(folder, root) + "/"] = ""
            for name in names:
                path = Path(folder, name)
                found[str(path.relative_to(root))] = path.read_text() if path.is_file() else "special"
        ours = {".git/HEAD": "new", **{os.fsdecode(name): "new" for name in TRACKED}}
        assert root != self.new or ours.items() <= found.items(), "the software's files are as they were"
        return {name: content for name, content in found.items() if name not in ours}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "old", tmp_path / "new")


@pytest.fixture
def across(tmp_path: Path) -> Iterator[Place]:
    """The new folder on another file system, where no hard link can lead."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Place(tmp_path / "old", Path(folder) / "new")


def make_everything(place: Place) -> None:
    place.user("config.ini")
    place.user(b"lib/caf\xe9\n.txt", "odd name")
    place.user("own/deep/er/notes", "notes").chmod(0o640)
    (place.old / "own" / "empty").mkdir(mode=0o700)
    place.user("plugin/.git/HEAD", "a repository")
    place.user("lib/.git", "gitdir: /somewhere/else")
    (place.old / "dangling").symlink_to("nowhere")
    (place.old / "lib" / "to").symlink_to(place.old / "own")
    os.mkfifo(place.old / "own" / "fifo", 0o620)
    if os.geteuid() == 0:
        for name in ("config.ini", "own", "own/deep", "own/fifo", "dangling"):
            os.chown(place.old / name, 1234, 4321, follow_symlinks=False)
    (place.old / "own" / "deep").chmod(0o555)
    for name in ("config.ini", "own/deep/er/notes", "own/fifo", "dangling", "own/empty", "own/deep", "own"):
        os.utime(place.old / name, ns=(LONG_AGO, LONG_AGO), follow_symlinks=False)


EVERYTHING = {
    "config.ini": "user's",
    os.fsdecode(b"lib/caf\xe9\n.txt"): "odd name",
    "own/deep/er/notes": "notes",
    "own/empty/": "",
    "plugin/.git/HEAD": "a repository",
    "lib/.git": "gitdir: /somewhere/else",
    "dangling": "special",
    "own/fifo": "special",
}


@pytest.mark.parametrize("how", ["place", "across"])
def test_everything_of_the_user_comes_along(how: str, request: pytest.FixtureRequest) -> None:
    place: Place = request.getfixturevalue(how)
    make_everything(place)
    before = {path: path.lstat().st_mtime_ns for path in place.old.rglob("*")}
    assert place.carry() == (8, (), ())
    # The link to a folder is in os.walk's list of folders.
    assert place.found() == EVERYTHING
    assert (place.new / "lib" / "to").readlink() == place.old / "own"
    assert (place.new / "dangling").readlink() == Path("nowhere")
    assert stat.S_ISFIFO((place.new / "own" / "fifo").stat().st_mode)
    for name in ("config.ini", "own/deep/er/notes", "own/fifo", "dangling", "own/empty", "own/deep", "own"):
        old, new = (place.old / name).lstat(), (place.new / name).lstat()
        assert (new.st_mode, new.st_uid, new.st_gid) == (old.st_mode, old.st_uid, old.st_gid), name
        assert new.st_mtime_ns == LONG_AGO, name
    assert {path: path.lstat().st_mtime_ns for path in place.old.rglob("*")} == before
    same = (place.old / "config.ini").samefile(place.new / "config.ini")
    assert same == (how == "place")
    assert not place.aside.exists()


@pytest.mark.parametrize("how", ["place", "across"])
def test_a_second_pass_brings_what_came_later(how: str, request: pytest.FixtureRequest) -> None:
    place: Place = request.getfixturevalue(how)
    make_everything(place)
    place.carry()
    place.user("own/late", "late")
    assert place.carry() == (9, (), ())
    assert place.found() == {**EVERYTHING, "own/late": "late"}


def test_folders_of_the_software_alone_are_not_made(place: Place) -> None:
    place.write(place.old / "gone" / "code.py", "old")
    place.carry(TRACKED | {b"gone/code.py"})
    assert not (place.new / "gone").exists()


def test_only_the_top_level_repository_stays_behind(place: Place) -> None:
    place.user("sub/.git/config", "nested")
    place.carry()
    assert place.found() == {"sub/.git/config": "nested"}
    assert (place.new / ".git" / "HEAD").read_text() == "new"


def test_what_has_its_place_taken_is_put_aside(place: Place) -> None:
    place.write(place.new / "file", "new")
    place.write(place.new / "folder" / "code.py", "new")
    (place.new / "link").symlink_to(place.new / "folder")
    taken = {
        "file": "another content",
        "folder": "a file, where there is a folder",
        "link/in it": "would be written through the link",
        "main.py/in it": "a folder, where there is a file",
    }
    (place.old / "main.py").unlink()
    for name, content in taken.items():
        place.user(name, content)
    place.user("free")
    carried, put_aside, left_out = place.carry()
    assert (carried, set(put_aside), left_out) == (1, {os.fsencode(name) for name in taken}, ())
    assert place.found(place.aside) == taken
    assert place.found() == {"file": "new", "folder/code.py": "new", "free": "user's"}
    place.user("file", "changed since")
    assert set(place.carry()[1]) == {os.fsencode(name) for name in taken}
    assert place.found(place.aside) == {**taken, "file": "changed since"}


def test_the_new_file_is_not_overwritten_through_its_hard_link(place: Place) -> None:
    """What was carried and then replaced in the new folder stays, and the old one's later change is kept aside."""
    path = place.user("settings", "first")
    place.carry()
    (place.new / "settings").unlink()
    place.write(place.new / "settings", "the new program's")
    path.write_text("the old program's last")
    assert place.carry() == (0, (b"settings",), ())
    assert place.found() == {"settings": "the new program's"}
    assert place.found(place.aside) == {"settings": "the old program's last"}


def test_a_link_that_leads_elsewhere_by_now_is_another_one(place: Place) -> None:
    link = place.old / "link"
    link.symlink_to("one")
    place.carry()
    link.unlink()
    link.symlink_to("two")
    assert place.carry() == (0, (b"link",), ())
    assert ((place.new / "link").readlink(), (place.aside / "link").readlink()) == (Path("one"), Path("two"))


def test_sockets_devices_and_submodules_are_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.old)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
    place.user("module/.git", "gitdir: ../.git/modules/module")
    place.user("module/file")
    (place.new / "module").mkdir()
    place.user("former/.git", f"gitdir: {place.old}/.git/modules/former")
    place.user("former/file")
    assert place.carry(TRACKED | {b"module"}) == (1, (), (b"module", b"socket", b"former/.git"))
    assert place.found() == {"module/": "", "former/file": "user's"}


def test_a_kill_in_the_middle_leaves_no_half_file(across: Place) -> None:
    across.user("big", "x" * 100_000)
    script = (
        "import os, shutil, signal, sys; from pathlib import Path\n"
        "from trio_update.host.files.carry import carry_over\n"
        "def half(source, target, **_):\n"
        "    Path(os.fsdecode(target)).write_bytes(b'x' * 5000); os.kill(os.getpid(), signal.SIGKILL)\n"
        "shutil.copyfile = shutil.copy2 = half\n"
        "old, new, aside = map(Path, sys.argv[1:])\n"
        "carry_over(old, new, {b'main.py', b'lib/code.py'}, aside=aside)"
    )
    paths = [str(path) for path in (across.old, across.new, across.aside)]
    assert subprocess.run([sys.executable, "-c", script, *paths], check=False).returncode == -9
    assert not (across.new / "big").exists()
    assert across.carry() == (1, (), ())
    assert across.found() == {"big": "x" * 100_000}


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS])
def test_what_cannot_be_linked_is_copied(place: Place, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """As on FAT, on some network file systems, and where the kernel protects the files of others from being linked."""
    place.user("file").chmod(0o750)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    assert place.carry() == (1, (), ())
    assert (place.new / "file").stat().st_ino != (place.old / "file").stat().st_ino
    assert stat.S_IMODE((place.new / "file").stat().st_mode) == 0o750


def test_a_full_disk_is_no_reason_to_copy(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.user("file")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(FileTrouble, match="No space left"):
        place.carry()


def test_a_folder_in_the_place_of_a_file_that_is_not_checked_out_goes_aside(place: Place) -> None:
    place.user("docs/mine")
    assert place.carry(TRACKED | {b"docs"}) == (0, (b"docs/mine",), ())
    assert not (place.new / "docs").exists()
    assert place.found(place.aside) == {"docs/mine": "user's"}


def test_only_a_gitfile_that_leads_to_what_stays_behind_stays_too(place: Place) -> None:
    (place.old / ".git-other" / "x").mkdir(parents=True)
    place.user("behind/.git", f"gitdir: {place.old}/.git/worktrees/behind")
    place.user("beside/.git", f"gitdir: {place.old}/.git-other/x")
    carried, _, left_out = place.carry()
    assert (carried, left_out) == (1, (b"behind/.git",))


@pytest.mark.parametrize("link", [False, True])
def test_what_is_mounted_inside_is_left_where_it_is(tmp_path: Path, link: bool) -> None:
    place = Place(tmp_path / "old", tmp_path / "new")
    place.user("stick/file")
    (tmp_path / "link").symlink_to("old")
    script = (
        "import subprocess, sys; from pathlib import Path; from trio_update.host.files.carry import carry_over\n"
        "old, new, aside = map(Path, sys.argv[1:])\n"
        "subprocess.run(['mount', '--bind', old / 'stick', old / 'stick'], check=True)\n"
        "print(carry_over(old, new, {b'main.py', b'lib/code.py'}, aside=aside).left_out)"
    )
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*namespace, "mount", "--bind", tmp_path, tmp_path], check=False, capture_output=True).returncode:
        # A sandbox without mounts has none in the tree either: then it is the user's folder like any other.
        assert place.carry() == (1, (), ())
        return
    paths = [str(path) for path in (tmp_path / "link" if link else place.old, place.new, place.aside)]
    done = subprocess.run([*namespace, sys.executable, "-c", script, *paths], capture_output=True, check=True)
    assert done.stdout == b"(b'stick',)\n"
    assert place.found() == {}


def test_one_file_takes_its_place_and_its_folders_are_as_they_were(place: Place) -> None:
    path = place.user("own/deep/notes")
    for name, mode in (("own/deep", 0o711), ("own", 0o750)):
        (place.old / name).chmod(mode)
        os.utime(place.old / name, ns=(LONG_AGO, LONG_AGO))
    place.user("main.py")
    replace_with(place.old, place.new, b"own/deep/notes")
    replace_with(place.old, place.new, b"main.py")
    for name in ("own/deep", "own"):
        old, new = (place.old / name).stat(), (place.new / name).stat()
        assert (new.st_mode, new.st_mtime_ns) == (old.st_mode, LONG_AGO)
    assert path.samefile(place.new / "own/deep/notes")
    assert (place.new / "main.py").read_text() == "user's"
    assert not list(place.new.rglob("*.tmp"))


def test_a_source_that_is_not_there_is_trouble(place: Place, tmp_path: Path) -> None:
    with pytest.raises(FileTrouble) as caught:
        carry_over(tmp_path / "missing", place.new, TRACKED, aside=place.aside)
    assert caught.value.errno == errno.ENOENT
