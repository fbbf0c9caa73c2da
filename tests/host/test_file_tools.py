"""Files for updaters of one's own."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest
import trio

from trio_update.errors import FileTrouble
from trio_update.host.files.tools import Files

FILES = Files()


async def test_an_exchange_can_be_done_and_undone_from_any_state(tmp_path: Path) -> None:
    live, staged = tmp_path / "live", tmp_path / "stage" / "new"
    await FILES.write(live, b"old")
    await FILES.make_folder(staged.parent)
    new = await FILES.write(str(staged), b"new", mode=0o600)
    assert (await FILES.inode(staged), staged.stat().st_mode & 0o777) == (new, 0o600)
    for forward, content in ((True, b"new"), (True, b"new"), (False, b"old"), (False, b"old"), (True, b"new")):
        await FILES.put(live, staged, new=new, replaces=True, forward=forward)
        assert await FILES.read(live) == content
    await FILES.remove(staged.parent)
    await FILES.remove(staged.parent)
    assert await FILES.names(tmp_path) == ("live",)


async def test_what_is_told_of_files(tmp_path: Path) -> None:
    path = tmp_path / "file"
    await FILES.write(path, b"content")
    assert await FILES.digest(path) == hashlib.sha256(b"content").hexdigest()
    assert await FILES.inode(tmp_path / "none") is None
    assert await FILES.names(tmp_path / "none") == ()
    assert await FILES.free_bytes(tmp_path) > 0
    await FILES.sync(tmp_path)
    await FILES.rename(path, tmp_path / "other")
    await FILES.write(path, b"one")
    await FILES.exchange(path, tmp_path / "other")
    assert await FILES.read(path) == b"content"
    with pytest.raises(FileTrouble) as caught:
        await FILES.rename(path, tmp_path / "other")
    assert caught.value.errno == errno.EEXIST


async def test_what_cannot_be_read_says_why_and_waits_for_nobody(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"12345")
    os.mkfifo(tmp_path / "pipe")
    for name, limit, number in (("none", 9, errno.ENOENT), ("large", 4, errno.EFBIG), ("pipe", 9, errno.ENOTSUP)):
        with trio.fail_after(5), pytest.raises(FileTrouble) as caught:
            await FILES.read(tmp_path / name, limit=limit)
        assert caught.value.errno == number
    assert await FILES.read(tmp_path / "large", limit=5) == b"12345"
