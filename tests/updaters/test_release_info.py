"""What a folder says of itself, however badly."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_update.updaters.release.info import (
    NoReleaseInfo,
    ReleaseInfo,
    other_repository,
    read_release_info,
    with_users_asset,
    with_version,
)

WHOLE: dict[str, object] = {"project_owner": "ada", "project_name": "app", "version": "v1.0.0"}
MAINSAIL = ReleaseInfo("mainsail-crew", "mainsail", "v2.8.0")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
anything = st.dictionaries(st.sampled_from([*WHOLE, "asset_name", "more"]), json_values) | json_values


def written(folder: Path, content: bytes | dict[str, object]) -> Path:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / "release_info.json").write_bytes(data)
    return folder


def test_what_is_said_is_read_and_trimmed(tmp_path: Path) -> None:
    info = WHOLE | {"version": " v1.0.0\n", "asset_name": " tool ", "unknown": [1]}
    assert read_release_info(written(tmp_path, info)) == ReleaseInfo("ada", "app", "v1.0.0", "tool")
    assert read_release_info(written(tmp_path, WHOLE | {"asset_name": None})).asset_name == ""
    assert read_release_info(tmp_path).repo == "ada/app"


BAD: dict[str, tuple[bytes | dict[str, object], str]] = {
    "empty": (b"", "is not JSON"),
    "half": (b'{"project_owner": "ada"', "is not JSON"),
    "web page": (b"<!doctype html>", "is not JSON"),
    "zeros of a power cut": (bytes(120), "is not JSON"),
    "not UTF-8": (b'{"version": "\xff"}', "is not JSON"),
    "half a surrogate pair": (b'{"version": "\\ud800"}', "is not JSON"),
    "too deep": (b"[" * 50_000, "is not JSON"),
    "too large a number": (b"9" * 6000, "is not JSON"),
    "list": (b"[]", "is no JSON object"),
    "text": (b'"v1.0.0"', "is no JSON object"),
    "null": (b"null", "is no JSON object"),
    "too large": (b" " * (64 * 1024 + 1), "is larger than 65536 bytes"),
    "no owner": ({"project_name": "app", "version": "1"}, "'project_owner' in"),
    "no name": (WHOLE | {"project_name": None}, "'project_name' in"),
    "no version": ({"project_owner": "ada", "project_name": "app"}, "'version' in"),
    "version is a number": (WHOLE | {"version": 1.2}, "'version' in"),
    "version is blank": (WHOLE | {"version": "  "}, "'version' in"),
    "owner is a list": (WHOLE | {"project_owner": ["ada"]}, "'project_owner' in"),
    "asset is a number": (WHOLE | {"asset_name": 7}, "'asset_name' in"),
    "asset is a path": (WHOLE | {"asset_name": "../tool"}, "no name of a file: '../tool'"),
    "asset is absolute": (WHOLE | {"asset_name": "/bin/sh"}, "no name of a file: '/bin/sh'"),
    "asset is the folder": (WHOLE | {"asset_name": "."}, "no name of a file: '.'"),
    "asset is the one above": (WHOLE | {"asset_name": ".."}, "no name of a file: '..'"),
    "asset ends early": (WHOLE | {"asset_name": "to\0ol"}, "no name of a file: 'to\\x00ol'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_told_with_the_file(tmp_path: Path, case: str) -> None:
    content, why = BAD[case]
    with pytest.raises(NoReleaseInfo) as caught:
        read_release_info(written(tmp_path, content))
    assert str(tmp_path / "release_info.json") in str(caught.value)
    assert why in str(caught.value)


def test_the_largest_that_is_read(tmp_path: Path) -> None:
    data = json.dumps(WHOLE).encode()
    assert read_release_info(written(tmp_path, data + b" " * (64 * 1024 - len(data)))).version == "v1.0.0"


def test_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(NoReleaseInfo, match=r"there is no release_info\.json"):
        read_release_info(tmp_path)


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to nothing"])
def test_something_else_in_its_place_is_no_description(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "release_info.json"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            # Reading it would wait for a writer, for ever.
            os.mkfifo(path)
        case _:
            path.symlink_to("nowhere")
    with pytest.raises(NoReleaseInfo, match=r"release_info\.json"):
        read_release_info(tmp_path, web=True)


def test_a_program_has_to_be_named(tmp_path: Path) -> None:
    with pytest.raises(NoReleaseInfo, match="asset_name"):
        read_release_info(written(tmp_path, WHOLE), executable=True)
    named = read_release_info(written(tmp_path, WHOLE | {"asset_name": "tool"}), executable=True)
    assert named.asset_name == "tool"


@pytest.mark.parametrize("name", ["release_info.json", ".trio-update"])
def test_no_program_is_called_as_what_stands_beside_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(NoReleaseInfo, match="no name of a file"):
        read_release_info(written(tmp_path, WHOLE | {"asset_name": name}), executable=True)


@pytest.mark.parametrize("manifest", ["manifest.json", "site.webmanifest", ".webmanifest"])
@pytest.mark.parametrize("name", ["mainsail", "Mainsail "])
def test_web_clients_of_old(tmp_path: Path, manifest: str, name: str) -> None:
    (tmp_path / ".version").write_text("v2.8.0\n")
    (tmp_path / manifest).write_text(json.dumps({"name": name}))
    assert read_release_info(tmp_path, web=True) == MAINSAIL
    with pytest.raises(NoReleaseInfo):
        read_release_info(tmp_path)
    (tmp_path / manifest).write_text(json.dumps({"name": "fluidd"}))
    assert read_release_info(tmp_path, web=True).repo == "fluidd-core/fluidd"
    written(tmp_path, WHOLE)
    assert read_release_info(tmp_path, web=True).repo == "ada/app"


@pytest.mark.parametrize(
    "manifest", [b'{"name": "another"}', b'{"name": 7}', b"[]", b"{", b'{"name": "\xff"}', b"[" * 50_000, b"{}"]
)
def test_manifests_that_say_nothing(tmp_path: Path, manifest: bytes) -> None:
    (tmp_path / ".version").write_text("v2.8.0")
    (tmp_path / "manifest.json").write_bytes(manifest)
    with pytest.raises(NoReleaseInfo, match=r"there is no release_info\.json"):
        read_release_info(tmp_path, web=True)
    (tmp_path / "other.webmanifest").write_text('{"name": "mainsail"}')
    assert read_release_info(tmp_path, web=True) == MAINSAIL


@pytest.mark.parametrize("odd", ["folder", "huge"])
def test_one_odd_manifest_does_not_hide_another(tmp_path: Path, odd: str) -> None:
    (tmp_path / ".version").write_text("v2.8.0")
    if odd == "folder":
        (tmp_path / "manifest.json").mkdir()
    else:
        (tmp_path / "manifest.json").write_bytes(b" " * 70_000)
    (tmp_path / "other.webmanifest").write_text('{"name": "mainsail"}')
    assert read_release_info(tmp_path, web=True) == MAINSAIL


@pytest.mark.parametrize("version", ["", "  \n"])
def test_a_version_file_without_a_version(tmp_path: Path, version: str) -> None:
    (tmp_path / ".version").write_text(version)
    (tmp_path / "manifest.json").write_text('{"name": "mainsail"}')
    with pytest.raises(NoReleaseInfo):
        read_release_info(tmp_path, web=True)


@given(content=st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode()))
@settings(deadline=None)
def test_any_content_is_understood_or_told(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = written(tmp_path_factory.getbasetemp(), content)
    try:
        info = read_release_info(folder)
    except NoReleaseInfo as error:
        assert str(folder) in str(error)
    else:
        assert info.owner and info.name and info.version
        assert Path(info.asset_name).name == info.asset_name


@given(more=st.dictionaries(st.text(max_size=8), json_values.filter(lambda value: value == value), max_size=4))
def test_another_version_changes_nothing_else(more: dict[str, object]) -> None:
    more = json.loads(json.dumps(more).replace("Infinity", "1").replace("NaN", "1"))
    before = more | WHOLE
    after = json.loads(with_version(json.dumps(before).encode(), "v9"))
    assert after == before | {"version": "v9"}


ENCODINGS = ["utf-8-sig", "utf-16", "utf-16-le-bom", "utf-16-be-bom"]


def encoded(text: str, encoding: str) -> bytes:
    """With a byte order mark, as Notepad and PowerShell write it."""
    if encoding.endswith("-bom"):
        return "\ufeff".encode(encoding[:-4]) + text.encode(encoding[:-4])
    return text.encode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_byte_order_mark_is_no_fault(tmp_path: Path, encoding: str) -> None:
    content = encoded(json.dumps(WHOLE), encoding)
    assert read_release_info(written(tmp_path, content)).version == "v1.0.0"
    assert json.loads(with_version(content, "v9")) == WHOLE | {"version": "v9"}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_old_client_with_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    (tmp_path / ".version").write_bytes(encoded("v2.8.0\r\n", encoding))
    (tmp_path / "manifest.json").write_bytes(encoded('{"name": "mainsail"}', encoding))
    assert read_release_info(tmp_path, web=True) == MAINSAIL


def test_half_a_text_behind_a_mark_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoReleaseInfo, match="is not JSON"):
        read_release_info(written(tmp_path, b"\xff\xfe{"))
    (tmp_path / ".version").write_bytes(b"\xff\xfe1")
    (tmp_path / "release_info.json").unlink()
    with pytest.raises(NoReleaseInfo, match="there is no"):
        read_release_info(tmp_path, web=True)


@pytest.mark.parametrize("case", BAD)
def test_messages_name_the_archive_and_not_where_it_is_unpacked(tmp_path: Path, case: str) -> None:
    with pytest.raises(NoReleaseInfo) as caught:
        read_release_info(written(tmp_path, BAD[case][0]), shown="app.zip")
    assert "release_info.json of app.zip" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    (tmp_path / "release_info.json").unlink()
    with pytest.raises(NoReleaseInfo, match=r"there is no release_info\.json in app\.zip"):
        read_release_info(tmp_path, shown="app.zip")


def info_with(asset: object) -> bytes:
    return json.dumps(WHOLE | ({} if asset == "" else {"asset_name": asset}) | {"extra": 1}).encode()


@pytest.mark.parametrize(
    ("new", "live", "brought", "kept"),
    [
        # The user's.
        ("", "mine.zip", "", "mine.zip"),
        ("app.zip", "mine.zip", "app.zip", "mine.zip"),
        ("app.zip", "mine.zip", "", "mine.zip"),
        ("", "mine.zip", None, "mine.zip"),
        ("app.zip", "mine.zip", None, "mine.zip"),
        # The release's.
        ("", "", "", ""),
        ("app.zip", "", "", "app.zip"),
        ("new.zip", "old.zip", "old.zip", "new.zip"),
        ("", "old.zip", "old.zip", ""),
        ("app.zip", "app.zip", "old.zip", "app.zip"),
        ("app.zip", "app.zip", None, "app.zip"),
        ("app.zip", 7, None, "app.zip"),
    ],
)
def test_the_asset_that_the_user_named_outlives_an_update(
    new: str, live: object, brought: str | None, kept: str
) -> None:
    told = with_users_asset(info_with(new), info_with(live), None if brought is None else info_with(brought))
    assert json.loads(told).get("asset_name", "") == kept
    assert json.loads(told)["extra"] == 1


@pytest.mark.parametrize("nonsense", [b"", b"[]", b"{", b"\xff\xfe{"])
def test_what_cannot_be_read_says_nothing_of_an_asset(nonsense: bytes) -> None:
    assert with_users_asset(nonsense, info_with("mine.zip"), None) == nonsense
    assert with_users_asset(info_with("app.zip"), nonsense, None) == info_with("app.zip")
    assert json.loads(with_users_asset(info_with(""), info_with("mine.zip"), nonsense))["asset_name"] == "mine.zip"


def test_a_release_that_names_another_repository_is_told() -> None:
    info = ReleaseInfo("ada", "app", "v1.0.0")
    assert other_repository(info, "Ada/App") == ""
    assert "is of ada/app: once it is installed, updates come from ada/app" in other_repository(info, "bob/fork")
