"""Readers of what git prints, against real git where it can say it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.upstream import Upstream, git
from trio_update.host.git.address import read_address
from trio_update.host.git.contents import status
from trio_update.host.git.output import read_status
from trio_update.host.git.repository import Repository
from trio_update.host.processes.runner import Runner


@pytest.mark.parametrize(
    ("url", "owner", "repo"),
    [
        ("https://github.com/Klipper3d/klipper.git", "Klipper3d", "klipper"),
        ("https://github.com/Klipper3d/klipper/", "Klipper3d", "klipper"),
        ("https://me:secret@github.com:443/Klipper3d/klipper.git", "Klipper3d", "klipper"),
        ("git@github.com:Klipper3d/klipper.git", "Klipper3d", "klipper"),
        ("github.com:Klipper3d/klipper", "Klipper3d", "klipper"),
        ("ssh://git@github.com:22/Klipper3d/klipper.git", "Klipper3d", "klipper"),
        ("git://example.org/deep/group/project.git", "group", "project"),
        ("https://example.org/project.git", None, "project"),
        ("file:///srv/git/klipper.git", None, "klipper"),
        ("/srv/git/klipper.git", None, "klipper"),
        ("../klipper", None, "klipper"),
    ],
)
def test_owner_and_name_come_from_the_address(url: str, owner: str | None, repo: str | None) -> None:
    address = read_address(url)
    assert (address.owner, address.repo) == (owner, repo)


def test_one_repository_has_many_addresses() -> None:
    official = read_address("https://github.com/Arksine/moonraker.git")
    for url in ("git@github.com:arksine/moonraker", "ssh://git@github.com/Arksine/moonraker.git/"):
        assert read_address(url).same_as(official)
    for url in ("https://github.com/Arksine/moonraker-fork.git", "https://gitlab.com/Arksine/moonraker", "/moonraker"):
        assert not read_address(url).same_as(official)
    assert read_address("file:///srv/a.git").same_as(read_address("/srv/a"))


@given(st.text(max_size=60))
def test_no_address_is_too_odd(url: str) -> None:
    read_address(url)


async def test_every_kind_of_change_is_read(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "r")
    upstream.commit({name: f"{name}\n" for name in ("staged", "deleted", "both", "odd\nname", "moved")})
    path = upstream.path
    git(path, "checkout", "-qb", "other")
    upstream.commit({"both": "theirs\n"})
    git(path, "checkout", "-q", "master")
    upstream.commit({"both": "ours\n"})
    git(path, "merge", "-q", "other", check=False)
    (path / "staged").write_text("x")
    git(path, "add", "staged")
    (path / "deleted").unlink()
    (path / "odd\nname").write_text("x")
    (path / "folder").mkdir()
    (path / "folder" / "new file").touch()
    tree = await status(Repository(path, Runner("test")))
    assert set(tree.modified) >= {b"staged", b"deleted", b"both", b"odd\nname"}
    assert tree.untracked == (b"folder/new file",)
    assert (tree.branch, tree.head, tree.upstream) == ("master", upstream.head, None)


def test_a_rename_brings_two_names_and_counts_once() -> None:
    items = (
        "# branch.oid 00",
        "# branch.head m",
        "# branch.ab +1 -2",
        "2 R. N... 1 1 1 a b R100 new",
        "old",
        "? x",
        "",
    )
    raw = "\0".join(items).encode()
    tree = read_status(raw)
    assert (tree.modified, tree.untracked, tree.ahead, tree.behind) == ((b"new",), (b"x",), 1, 2)
