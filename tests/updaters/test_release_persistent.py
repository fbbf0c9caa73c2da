"""Persistent files are the user's: whatever is done with the app, they are as they were."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.support.mounts import MOUNTS, tmpfs
from tests.support.releases import ACTIONS, ReleaseSite, behind, make_zip, release_info, said
from trio_update.config import HealthCheck
from trio_update.demo.github.server import Fault, FaultKind, GitHub, SimAsset
from trio_update.errors import OperationFailed
from trio_update.host.files import durable

LONG_AGO = 1_000_000_000_123_456_789
# What a shell can do to a file of the old folder, or of the new one, while an update goes on.
REPLACE = "echo changed > {0}.part; mv {0}.part {0}"
RESTORE = "echo changed > {0}.part; touch -d 2001-01-01 {0}.part; mv {0}.part {0}"
BROKEN = HealthCheck(command=("false",))


def shell(script: str) -> HealthCheck:
    return HealthCheck(command=("sh", "-c", script))


@pytest.fixture
def zipped(tmp_path: Path, github: GitHub) -> ReleaseSite:
    return behind(tmp_path, github, "zip")


def marks(folder: Path, *tops: str) -> dict[str, tuple[object, ...]]:
    """Everything about ``tops`` and what is below them but the number of the inode."""
    found: dict[str, tuple[object, ...]] = {}
    for top in tops:
        for path in (folder / top, *sorted((folder / top).rglob("*"))):
            seen = path.lstat()
            content: object = None
            if stat.S_ISREG(seen.st_mode):
                content = path.read_bytes()
            elif stat.S_ISLNK(seen.st_mode):
                content = path.readlink()
            when = seen.st_mtime_ns
            found[str(path.relative_to(folder))] = (seen.st_mode, seen.st_uid, seen.st_gid, when, content)
    return found


TOPS = ("config.json", "db/deep/data.sqlite", "own", "away", "to-folder", "via")


def make_everything(site: ReleaseSite) -> None:
    app, elsewhere = site.path, site.folder / "apps" / "elsewhere"
    (app / "own" / "deep" / "empty").mkdir(parents=True)
    (app / "db" / "deep").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "inner.cfg").write_text("behind the link")
    (app / "config.json").write_text("the user's")
    (app / "config.json").chmod(0o600)
    (app / "db/deep/data.sqlite").write_bytes(b"\0data")
    (app / "own" / "program").write_text("#!/bin/sh\n")
    (app / "own" / "program").chmod(0o4751)
    (app / "own" / os.fsdecode(b"caf\xe9\n\\x")).write_text("odd name")
    os.mkfifo(app / "own" / "fifo", 0o620)
    (app / "own" / "dangling").symlink_to("nowhere")
    (app / "own" / "deep" / "up").symlink_to("../../index.html")
    (app / "away").symlink_to(elsewhere / "inner.cfg")
    (app / "to-folder").symlink_to("../elsewhere")
    (app / "via").symlink_to(elsewhere)
    if os.geteuid() == 0:
        for name in ("config.json", "own", "own/fifo", "own/dangling", "away"):
            os.chown(app / name, 1234, 4321, follow_symlinks=False)
    (app / "own" / "program").chmod(0o4751)
    (app / "own" / "deep").chmod(0o555)
    for name in ("config.json", "own/program", "own/fifo", "own/dangling", "own/deep/empty", "own/deep", "own"):
        os.utime(app / name, ns=(LONG_AGO, LONG_AGO), follow_symlinks=False)


@pytest.mark.parametrize("last", ACTIONS)
async def test_everything_persistent_stays_as_it_was(web: ReleaseSite, last: str) -> None:
    make_everything(web)
    before = marks(web.path, *TOPS)
    wanted = ("config.json", "db/deep/data.sqlite", "own", "away", "to-folder", "via/inner.cfg", "missing/file")
    async with web.manager(persistent_files=wanted) as (manager, _):
        for action in dict.fromkeys(["upgrade", last]):
            await ACTIONS[action](manager)
            assert marks(web.path, *TOPS) == before, action
            assert (web.folder / "apps" / "elsewhere" / "inner.cfg").read_text() == "behind the link"
        version = "v1.0.0" if last == "rollback" else "v2.0.0"
        assert (web.path / "release_info.json").read_bytes() == web.files_of(version)["release_info.json"]
        assert not (web.path / "missing").exists()
    assert not web.saved(), "nothing of it was in anybody's way"
    web.expect_tidy()


@pytest.mark.parametrize("act", ["upgrade", "soft", "hard"])
async def test_the_copy_of_the_user_wins_whatever_it_is(web: ReleaseSite, act: str) -> None:
    """A file where the release has a folder, a folder where it has a file, a link where it has either."""
    app = web.path
    async with web.manager(persistent_files=("config.json", "assets", "index.html", "run.sh")) as (manager, _):
        for path in (app / "assets").iterdir():
            path.unlink()
        (app / "assets").rmdir()
        (app / "assets").write_text("a file")
        (app / "index.html").unlink()
        (app / "index.html").mkdir(mode=0o700)
        (app / "index.html" / "in it").write_text("a folder")
        (app / "run.sh").unlink()
        (app / "run.sh").symlink_to("/nowhere")
        (app / "config.json").write_text("mine")
        before = marks(app, "config.json", "assets", "index.html", "run.sh")
        for action in dict.fromkeys(["upgrade", act]):
            await ACTIONS[action](manager)
            assert marks(app, "config.json", "assets", "index.html", "run.sh") == before
    names = ["assets", "config.json", "index.html", "release_info.json", "run.sh"]
    assert sorted(path.name for path in app.iterdir()) == names


async def test_a_persistent_file_that_the_user_has_not_is_the_releases(web: ReleaseSite) -> None:
    (web.path / "config.json").unlink()
    (web.path / "assets/same.svg").unlink()
    async with web.manager(persistent_files=("config.json", "assets/same.svg", "no/such")) as (manager, _):
        await manager.upgrade("app", who="test")
    web.expect("v2.0.0")


async def test_a_socket_cannot_be_carried_and_nothing_changes(
    web: ReleaseSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    (web.path / "run").mkdir()
    monkeypatch.chdir(web.path / "run")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("control")
    async with web.manager(persistent_files=("run", "config.json")) as (manager, _):
        await web.expect_failure(manager, "run/control", "sockets", "Nothing was changed")
        (web.path / "run/control").unlink()
        await manager.upgrade("app", who="test")
        assert (web.path / "run").is_dir()


# Without mounts the folder is one like any other, and comes along.
@pytest.mark.parametrize("disk", ["persistent", "inside", "nobody's"] if "tmpfs" in MOUNTS else ["none"])
async def test_what_is_mounted_inside_is_no_part_of_an_update(web: ReleaseSite, disk: str) -> None:
    wanted = {"persistent": ("stick",), "inside": ("own",), "none": ("stick",)}.get(disk, ())
    folder = web.path / ("own/stick" if disk == "inside" else "stick")
    folder.mkdir(parents=True)
    async with web.manager(persistent_files=wanted) as (manager, _):
        if disk != "none":
            with tmpfs(folder):
                (folder / "file").write_text("on the stick")
                await web.expect_failure(manager, "stick", "mount")
                assert (folder / "file").read_text() == "on the stick"
        await manager.upgrade("app", who="test")
        assert folder.is_dir() == (disk != "nobody's")


async def test_a_virtualenv_inside_still_runs(zipped: ReleaseSite) -> None:
    env = zipped.path / "venv"
    await trio.run_process([sys.executable, "-m", "venv", "--without-pip", str(env)])
    (env / "lib" / "mine.py").write_text("NUMBER = 42\n")

    async def runs() -> bytes:
        code = f"import sys; sys.path.append({str(env / 'lib')!r}); import mine; print(sys.prefix, mine.NUMBER)"
        done = await trio.run_process([str(env / "bin/python"), "-c", code], capture_stdout=True)
        return bytes(done.stdout)

    # By another name than its own: what is configured is a link to the folder.
    link = zipped.folder / "apps" / "link"
    link.symlink_to(zipped.path)
    wanted = f"{env} 42\n".encode()
    async with zipped.manager(path=link, virtualenv=link / "venv") as (manager, _):
        for action in ACTIONS.values():
            await action(manager)
            assert await runs() == wanted
    assert not zipped.saved()


@pytest.mark.parametrize("act", ["upgrade", "hard"])
async def test_what_a_program_still_appends_is_in_the_new_folder(web: ReleaseSite, act: str) -> None:
    path = web.path / "config.json"
    with path.open("a") as log:

        def write(text: str) -> None:
            log.write(text)
            log.flush()

        write("before ")
        async with web.manager(persistent_files=("config.json",)) as (manager, listener):
            if act == "hard":
                await manager.upgrade("app", who="test")
            web.github.faults.append(Fault("assets", FaultKind.DRIP, rate=4096.0))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ACTIONS[act], manager)
                await listener.until("Downloading")
                write("downloading ")
                await listener.until("Unpacking")
                write("unpacking ")
            write("after")
    assert path.read_text().endswith("before downloading unpacking after")


def when_it_switches(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have ``act`` called at the last moment before the folders change places, when everything was carried over."""
    sync = durable.sync_filesystem

    def hooked(path: Path) -> None:
        if path.name.startswith(".app.trio-update."):
            monkeypatch.setattr(durable, "sync_filesystem", sync)
            act()
        sync(path)

    monkeypatch.setattr(durable, "sync_filesystem", hooked)


def sh(script: str, folder: Path) -> None:
    subprocess.run(["sh", "-ec", script], cwd=folder, check=True)


LAST_MOMENT = {
    "replaced": REPLACE.format("config.json"),
    "restored": RESTORE.format("config.json"),
    "replaced below": REPLACE.format("db/one"),
    "added": "echo changed > db/new",
    "moved here": "echo changed > x; touch -d 2001-01-01 x; mv x db/new",
    "the first": "mkdir late; echo changed > late/first",
    "not the release's": "echo changed > run.sh",
    "a link": "ln -sf changed config.json",
}


@pytest.mark.parametrize("how", LAST_MOMENT)
@pytest.mark.parametrize("healthy", [True, False])
async def test_what_changes_at_the_last_moment_is_not_lost(
    web: ReleaseSite, monkeypatch: pytest.MonkeyPatch, how: str, healthy: bool
) -> None:
    (web.path / "config.json").write_text("first")
    (web.path / "db").mkdir()
    (web.path / "db" / "one").write_text("first")
    if how == "not the release's":
        (web.path / "run.sh").unlink()
    wanted = ("config.json", "db", "late/first", "run.sh")
    health = HealthCheck() if healthy else BROKEN
    async with web.manager(persistent_files=wanted, health=health) as (manager, listener):
        when_it_switches(monkeypatch, lambda: sh(LAST_MOMENT[how], web.path))
        if healthy:
            await manager.upgrade("app", who="test")
        else:
            with pytest.raises(OperationFailed, match=r"The app is back at v1\.0\.0"):
                await manager.upgrade("app", who="test")
        told = said(listener)
    changed = b"changed" if how == "a link" else b"changed\n"
    found = _contents(web.path)
    saved = set(web.saved().values())
    assert changed in found or (changed in saved and "saved in" in told), (found, saved)
    if not healthy:
        assert changed in found, "the old folder is as the user left it"
    web.expect_tidy()


def _contents(folder: Path) -> set[bytes]:
    return {
        str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


AFTERWARDS = {
    "replaced": REPLACE.format("config.json"),
    "replaced below": REPLACE.format("db/one"),
    "added": "echo changed > db/new",
    "the first": "mkdir -p late; echo changed > late/first",
}


@pytest.mark.parametrize("how", AFTERWARDS)
async def test_what_the_new_version_wrote_before_it_was_undone_is_saved(web: ReleaseSite, how: str) -> None:
    (web.path / "config.json").write_text("first")
    (web.path / "db").mkdir()
    (web.path / "db" / "one").write_text("first")
    health = shell(f"cd {web.path}; {AFTERWARDS[how]}; exit 3")
    async with web.manager(persistent_files=("config.json", "db", "late/first"), health=health) as (manager, listener):
        with web.untouched(), pytest.raises(OperationFailed, match=r"exit|3.*The app is back at v1\.0\.0"):
            await manager.upgrade("app", who="test")
        assert "saved in" in said(listener)
    assert list(web.saved().values()) == [b"changed\n"]


PIPE = "mkfifo control"
SOCKET = f"""{sys.executable} -c 'import socket; socket.socket(socket.AF_UNIX).bind("control")'"""


@pytest.mark.parametrize("make", [PIPE, SOCKET], ids=["pipe", "socket"])
@pytest.mark.parametrize("healthy", [True, False])
async def test_a_pipe_that_a_program_makes_is_in_nobodys_way(web: ReleaseSite, make: str, healthy: bool) -> None:
    """There is nothing in it that could be lost, and it cannot be copied."""
    health = shell(f"cd {web.path}; {make}; {'true' if healthy else 'exit 3'}")
    async with web.manager(persistent_files=("control",), health=health) as (manager, _):
        if healthy:
            await manager.upgrade("app", who="test")
            assert (web.path / "control").exists()
        else:
            with web.untouched(), pytest.raises(OperationFailed, match=r"The app is back at v1\.0\.0"):
                await manager.upgrade("app", who="test")
    assert not web.saved()
    web.expect_tidy()


async def test_a_program_that_still_works_in_the_old_folder_loses_nothing(web: ReleaseSite) -> None:
    (web.path / "config.json").write_text("first")
    old = os.open(web.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        health = shell(f"cd /proc/{os.getpid()}/fd/{old}; test ! -e assets/only-2.css; {REPLACE.format('config.json')}")
        async with web.manager(persistent_files=("config.json",), health=health) as (manager, listener):
            await manager.upgrade("app", who="test")
            assert "config.json" in said(listener)
    finally:
        os.close(old)
    web.expect("v2.0.0", {"config.json": b"first"})
    assert web.saved() == {"late/config.json": b"changed\n"}


async def test_what_a_running_program_replaces_in_the_download_is_the_users_copy(web: ReleaseSite) -> None:
    web.github.faults.append(Fault("assets", FaultKind.DRIP, rate=8192.0))
    async with web.manager(persistent_files=("config.json",)) as (manager, listener), trio.open_nursery() as nursery:
        nursery.start_soon(ACTIONS["upgrade"], manager)
        await listener.until("Downloading")
        sh(RESTORE.format("config.json"), web.path)
    web.expect("v2.0.0", {"config.json": b"changed\n"})


async def test_a_release_that_has_a_file_on_the_way_gives_way(web: ReleaseSite) -> None:
    (web.path / "db").mkdir()
    (web.path / "db" / "data").write_text("mine")
    content = {"release_info.json": release_info("v3.0.0"), "db": b"a file of the release's", "index.html": b"3"}
    web.publish("v3.0.0", SimAsset(name="app.zip", content=make_zip(content)))
    async with web.manager(persistent_files=("db/data",)) as (manager, _):
        await manager.upgrade("app", who="test")
    assert (web.path / "db" / "data").read_text() == "mine"
    assert (web.path / "index.html").read_text() == "3"
