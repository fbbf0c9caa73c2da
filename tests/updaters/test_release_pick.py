"""Which release is an update, and which of its assets is taken: decisions without a disk."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_update.errors import OperationFailed
from trio_update.model import AppName, Asset, RemoteRelease
from trio_update.updaters.release.pick import pick_asset
from trio_update.versions import is_newer, same_version, spellings

APP = AppName("app")
# Oldest first, as PEP 440 orders them.
ORDER = ["v0.9", "1.0a1", "v1.0.0-beta.2", "1.0rc1", "v1.0.0", "1.0.1", "v1.2", "1.10.0", "v2.0.0.post1", "2026.1.2"]
versions = st.one_of(st.sampled_from(ORDER), st.text(max_size=12), st.from_regex(r"v?\d{1,3}(\.\d{1,3}){0,3}(rc\d)?"))


def release(*names: str) -> RemoteRelease:
    assets = tuple(Asset(name=name, url=f"https://example.org/{name}") for name in names)
    return RemoteRelease(repo="ada/app", tag="v2.0.0", assets=assets)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("v1.2", "1.2"),
        ("1.2", "1.2.0"),
        (" v1.2\n", "1.2"),
        ("V1.2", "v1.2"),
        ("2024.01.05", "2024.1.5"),
        ("v1.0.0-rc.1", "1.0rc1"),
        ("nightly-7", "nightly-7"),
        ("vnightly", "nightly"),
        ("app/v2", "app/v2"),
    ],
)
def test_spellings_of_one_version(one: str, other: str) -> None:
    assert same_version(one, other)
    assert same_version(other, one)
    assert not is_newer(one, other)
    assert not is_newer(other, one)


def test_the_order_of_versions() -> None:
    for older, newer in itertools.combinations(ORDER, 2):
        assert is_newer(newer, older)
        assert not is_newer(older, newer)
        assert not same_version(older, newer)


@pytest.mark.parametrize(("installed", "newest"), [("nightly-7", "nightly-6"), ("v2.0.0", "nightly-1"), ("r9", "v1.0")])
def test_where_there_is_no_order_the_forge_knows(installed: str, newest: str) -> None:
    assert is_newer(newest, installed)


@given(one=versions, other=versions)
def test_every_two_versions_can_be_compared(one: str, other: str) -> None:
    assert same_version(one, other) == same_version(other, one)
    assert not is_newer(one, one)
    # Of two different versions one is an update for the other, or nobody would ever get from one to the other.
    assert same_version(one, other) != (is_newer(one, other) or is_newer(other, one))


@given(version=versions)
def test_every_spelling_of_a_version_is_tried_once(version: str) -> None:
    found = spellings(version)
    assert found[0] == version
    assert len(set(found)) == len(found) == 2
    assert all(spellings(other)[0] == other for other in found)


def test_the_tags_that_a_version_may_have() -> None:
    assert spellings("1.2") == ("1.2", "v1.2")
    assert spellings("v1.2") == ("v1.2", "1.2")


@pytest.mark.parametrize(
    ("names", "asset_name", "taken"),
    [
        (["app.zip"], "", "app.zip"),
        (["docs.zip", "app.zip", "app-debug.zip"], "", "app.zip"),
        (["checksums.txt", "web-2.0.ZIP", "source.tar.gz"], "", "web-2.0.ZIP"),
        (["app.zip", "other.zip"], "other.zip", "other.zip"),
        (["tool-arm64", "tool-amd64"], "tool-arm64", "tool-arm64"),
    ],
)
def test_the_asset_that_is_taken(names: list[str], asset_name: str, taken: str) -> None:
    assert pick_asset(release(*names), APP, asset_name).name == taken


@pytest.mark.parametrize(
    ("names", "asset_name", "told"),
    [
        ([], "", ["v2.0.0", "ada/app", "no assets"]),
        ([], "tool", ["v2.0.0", "ada/app", "no assets"]),
        (["tool", "notes.txt"], "", ["no zip", "tool, notes.txt"]),
        (["one.zip", "two.zip", "tool"], "", ["several zips", "app.zip", "one.zip, two.zip.", "asset_name"]),
        (["one.zip", "app.zip"], "tool", ["no asset tool", "one.zip, app.zip"]),
        (["APP.zip", "one.zip"], "", ["several zips", "APP.zip, one.zip"]),
        ([f"{number}.zip" for number in range(30)], "", ["7.zip and 22 more"]),
    ],
)
def test_no_asset_is_guessed(names: list[str], asset_name: str, told: list[str]) -> None:
    with pytest.raises(OperationFailed) as caught:
        pick_asset(release(*names), APP, asset_name)
    for words in told:
        assert words in str(caught.value)


@given(names=st.lists(st.text(max_size=20), max_size=12), asset_name=st.text(max_size=8))
def test_what_is_taken_is_in_the_release_and_of_the_given_name(names: list[str], asset_name: str) -> None:
    try:
        taken = pick_asset(release(*names), APP, asset_name)
    except OperationFailed as error:
        assert "v2.0.0" in str(error)
        assert (asset_name or "app.zip") not in names
    else:
        assert taken.name in names
        assert taken.name == asset_name if asset_name else taken.name.lower().endswith(".zip")
