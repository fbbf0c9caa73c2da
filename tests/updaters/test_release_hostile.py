"""Archives that no app may be made of: refused with the entry's name, and the folder stays bit for bit as it was."""

from __future__ import annotations

import os
import stat
import struct
import zlib

import pytest

from tests.support.releases import ReleaseSite, release_info, status_of
from tests.support.zips import DEFLATED, MASK, Item, build, deflate, end64, extra, zip64
from tests.support.zips import end as end_of
from trio_update.demo.github.server import SimAsset

GOOD = (Item(b"release_info.json", release_info("v2.0.0")), Item(b"index.html", b"<p>second</p>"))
CRC = zlib.crc32(b"content")


def with_(*items: Item) -> bytes:
    return build(*GOOD, *items)


def of_type(kind: int, data: bytes = b"") -> Item:
    return Item(b"js/odd", data, attributes=(kind | 0o777) << 16)


def crowded() -> bytes:
    """100,001 honest entries: one too many."""
    items = [*GOOD, *(Item(b"%d" % number) for number in range(99_999))]
    content, directory, at = [], [], 0
    for item in items:
        directory.append(item.central_header(at))
        content.append(item.local_header() + item.packed)
        at += len(content[-1])
    size = sum(map(len, directory))
    masked = {"here": 0xFFFF, "entries": 0xFFFF, "size": MASK, "offset": MASK}
    return b"".join((*content, *directory, end64(len(items), size, at), end_of(0, 0, 0, b"", **masked)))


def hostile() -> dict[str, tuple[bytes, tuple[str, ...]]]:
    """Each with what its refusal must say."""
    random = os.urandom(3000)
    second = extra(0x7075, b"\1" + struct.pack("<L", zlib.crc32(b"js/odd")) + b"../../evil")
    long = {"central": {"size": 9000, "crc": zlib.crc32(random * 3)}, "local": {"size": 9000}}
    long["local"]["crc"] = long["central"]["crc"]
    return {
        "traversal": (with_(Item(b"../evil", b"x")), ("`../evil`", "`..`")),
        "deep traversal": (with_(Item(b"js/../../../data/evil", b"x")), ("`js/../../../data/evil`",)),
        "absolute": (with_(Item(b"/tmp/evil", b"x")), ("`/tmp/evil`", "absolute")),
        "drive": (with_(Item(b"C:/evil", b"x")), ("`C:/evil`", "drive")),
        "backslash": (with_(Item(b"..\\evil", b"x")), ("`..\\evil`", "backslash")),
        "link": (with_(of_type(stat.S_IFLNK, b"../../data")), ("`js/odd`", "symbolic link")),
        "link, then through it": (
            with_(of_type(stat.S_IFLNK, b"../.."), Item(b"js/odd/evil", b"x")),
            ("`js/odd`", "symbolic link"),
        ),
        "device": (with_(of_type(stat.S_IFBLK)), ("`js/odd`", "device")),
        "fifo": (with_(of_type(stat.S_IFIFO)), ("`js/odd`", "FIFO")),
        "socket": (with_(of_type(stat.S_IFSOCK)), ("`js/odd`", "socket")),
        "bomb": (with_(Item(b"js/odd", bytes(2 << 20), method=DEFLATED)), ("`js/odd`", "200 times")),
        "many small bombs": (
            with_(*(Item(b"js/%d" % number, bytes(1 << 19), method=DEFLATED) for number in range(9))),
            ("200 times",),
        ),
        "duplicate": (with_(Item(b"index.html", b"<p>another</p>")), ("`index.html`", "twice")),
        "case": (with_(Item(b"INDEX.html", b"<p>another</p>")), ("`INDEX.html`", "case")),
        "case of our mark": (with_(Item(b"Release_Info.json", b"{}")), ("`Release_Info.json`", "case")),
        "normalisation": (
            with_(Item("é".encode()), Item("e\u0301".encode())),
            ("`e\u0301`", "Unicode"),
        ),
        "file as folder": (with_(Item(b"index.html/evil", b"x")), ("`index.html/evil`", "`index.html` is a file")),
        "local name": (
            with_(Item(b"js/odd", b"content", local={"name": b"../../evil"[:6]})),
            ("`js/odd`", "another name"),
        ),
        "second name": (with_(Item(b"js/odd", b"content", extra=second)), ("`js/odd`", "../../evil")),
        "local size": (with_(Item(b"js/odd", b"content", local={"size": 8})), ("`js/odd`", "size")),
        "local checksum": (with_(Item(b"js/odd", b"content", local={"crc": CRC ^ 1})), ("`js/odd`", "checksum")),
        "zip64 lie": (
            with_(
                Item(b"js/odd", b"content", central={"extra": zip64(1 << 40, 1 << 40), "size": MASK, "packed": MASK})
            ),
            ("`js/odd`",),
        ),
        "not UTF-8": (with_(Item(b"js/\xffodd", b"x")), ("`js/\\xffodd`", "UTF-8")),
        "escapes of a terminal": (with_(Item(b"js/\x1b[2Jodd", b"x")), ("`js/\\x1b[2Jodd`", "control")),
        "encrypted": (with_(Item(b"js/odd", b"content", flags=1)), ("`js/odd`", "encrypted")),
        "AES": (with_(Item(b"js/odd", b"content", method=99)), ("`js/odd`", "99")),
        "hidden entry": (
            with_(Item(b"js/odd", b"content", after=Item(b"evil").local_header())),
            ("belong to no entry",),
        ),
        "damaged content": (
            with_(Item(b"js/odd", b"content", central={"crc": 7}, local={"crc": 7})),
            ("`js/odd`", "00000007"),
        ),
        "more than announced": (
            with_(Item(b"js/odd", raw=deflate(random * 4), method=DEFLATED, **long)),  # type: ignore[arg-type] # a dict
            ("`js/odd`", "9,000"),
        ),
        "empty": (build(), ("the archive is empty",)),
        "folders only": (build(Item(b"js/", attributes=0o40755 << 16)), ("the archive is empty",)),
        "truncated": (with_()[:-10], ("damaged",)),
        "half": (with_()[:100], ("no zip file",)),
        "nothing at all": (b"", ("no zip file",)),
        "no zip": (b"\x7fELF" + bytes(4000), ("no zip file",)),
        "two archives": (with_() * 2, ("directory is not where",)),
        "something in front": (b"#!/bin/sh\n" + with_(), ("directory is not where",)),
        "100,001 entries": (crowded(), ("100,001 entries",)),
    }


HOSTILE = hostile()


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_hostile_archive_is_refused_with_the_entry_to_blame(web: ReleaseSite, case: str) -> None:
    content, words = HOSTILE[case]
    web.publish("v6.6.6", SimAsset(name="app.zip", content=content))
    async with web.manager(persistent_files=("config.json",)) as (manager, _):
        message = await web.expect_failure(manager, "app.zip", *words)
        assert message.isprintable()
        status = status_of(manager)
        assert (status.version, status.remote_version, status.is_valid) == ("v1.0.0", "v6.6.6", True)
        assert status.kept_versions == ()


async def test_after_a_hostile_release_the_next_good_one_is_installed(web: ReleaseSite) -> None:
    content, _ = HOSTILE["traversal"]
    web.publish("v6.6.6", SimAsset(name="app.zip", content=content))
    async with web.manager() as (manager, _):
        await web.expect_failure(manager, "`../evil`")
        web.publish("v7.0.0")
        await manager.refresh(None)
        await manager.upgrade("app", who="test")
        web.expect("v7.0.0")


@pytest.mark.parametrize("site", ["web", "zip"], indirect=True)
async def test_modes_of_the_archive_become_one_of_two(site: ReleaseSite) -> None:
    modes = {
        "none-dos": (0, 0, 0o644),
        "none-unix": (stat.S_IFREG, 3, 0o644),
        "private": (stat.S_IFREG | 0o600, 3, 0o644),
        "unreadable": (stat.S_IFREG | 0o001, 3, 0o755),
        "open": (stat.S_IFREG | 0o777, 3, 0o755),
        "setuid": (stat.S_IFREG | 0o4755, 3, 0o755),
        "setgid": (stat.S_IFREG | 0o2755, 3, 0o755),
        "all": (stat.S_IFREG | 0o7777, 3, 0o755),
        "setuid-only": (stat.S_IFREG | 0o4644, 3, 0o644),
    }
    items = [
        Item(f"bin/{name}".encode(), b"x", attributes=mode << 16, central={"system": system})
        for name, (mode, system, _) in modes.items()
    ]
    folder = Item(b"private/", attributes=(stat.S_IFDIR | 0o7000) << 16)
    site.publish("v3.0.0", SimAsset(name="app.zip", content=build(GOOD[0], *items, folder)))
    async with site.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (site.path / "bin").iterdir()}
        assert found == {name: wanted for name, (_, _, wanted) in modes.items()}
        assert stat.S_IMODE((site.path / "private").stat().st_mode) == 0o755
        assert stat.S_IMODE((site.path / "bin").stat().st_mode) == 0o755
