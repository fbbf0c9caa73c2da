"""Versions of any scheme: what their names say about their order, and what they do not say."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_update.versions import Order, compare, follows, is_early, newest_of

OPPOSITE = {Order.NEWER: Order.OLDER, Order.OLDER: Order.NEWER, Order.SAME: Order.SAME, Order.UNKNOWN: Order.UNKNOWN}
# Each line oldest first, and every two of it have an order.
SCHEMES = [
    ["release-1.2", "release-1.9", "release-1.10", "release-2"],
    ["app-v1.9.9", "2.0", "app-v2.1.0", "v2.1.1", "app-v10.0"],
    ["v1.3.0-nightly.3", "v1.3.0-nightly.12", "v1.3.0", "v1.3.1-nightly.1"],
    ["v1.3.0-nightly.20240105", "v1.3.0-nightly.20240106", "v1.3.0-hotfix1"],
    ["v1.2-rc1", "v1.2", "v1.2-hotfix1", "v1.2-hotfix2", "v1.3"],
    ["v1.1-lts", "v1.2", "v1.3-lts"],
    ["2023-12-31", "2024-01-05", "2024-01-05-2", "2024-01-05-10", "2024-11-01"],
    ["2.0.0-beta.2+build.9", "2.0.0-rc.1+build", "2.0.0", "v2.0.0.1-5"],
    ["v1.2.3.4", "v1.2.3.4-5", "v1.2.3.4-12", "v1.2.3.5"],
    ["nightly-6", "nightly-7", "nightly-10"],
    ["b999", "b4567", "b4568"],
    ["@scope/app@1.2.3", "@scope/app@1.2.10"],
    ["app/v1.9", "app/v1.10"],
    ["3d-printer-v1.9", "3d-printer-v1.10"],
    ["v.1.9", "v1.10", "V1.11"],
    ["Release 1.9", "release_1.10", "REL-1.11", "release1.12"],
    ["v1.2.3-9-gabc1234", "v1.2.3-14-g1234abc"],
    ["1.0-dev3", "1.0-alpha", "1.0-alpha.2", "1.0-beta", "1.0-preview1", "1.0-rc2", "1.0"],
    ["1.9.5", "1.9.5p1", "1.9.5p2", "1.9.6"],
    ["v1.0.0-SNAPSHOT", "v1.0.0"],
]
SAME = [("v1.2", "1.2.0"), ("app-v2.1.0", "2.1.0"), ("release-1.10", "v1.10"), ("2024-01-05", "2024.1.5"), ("x", "x")]
UNKNOWN = [
    ("v1.2-lts", "v1.2"),
    ("v1.2-lts", "v1.2-edge2-x"),
    ("nightly-7", "v2.0.0"),
    ("nightly", "v2.0.0"),
    ("latest", "nightly"),
    ("r9", "v1.0"),
    ("lib-v3.0", "app-v2.0"),
    ("beta-1.2", "1.2"),
    ("v1.0-nightly.3", "v1.0-canary.4"),
    ("v1.0-nightly.3", "v1.0-beta.4"),
    ("v1.0-hotfix1", "v1.0-patch2"),
    ("4c8d24ae", "deadbeef1"),
    ("v1.2.3-4c8d24ae", "v1.2.3-0badcafe"),
    ("", "v1.0"),
]
tags = st.one_of(
    st.sampled_from([tag for scheme in SCHEMES for tag in scheme]),
    st.text(max_size=12),
    st.from_regex(
        r"([a-z]{1,4}[-/])?v?\d{1,3}(\.\d{1,3}){0,3}([-.](rc|beta|lts|nightly|hotfix)?\.?\d{0,2})?", fullmatch=True
    ),
)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme[0])
def test_what_the_names_say(scheme: list[str]) -> None:
    for older, newer in itertools.combinations(scheme, 2):
        assert (compare(newer, older), compare(older, newer)) == (Order.NEWER, Order.OLDER), (older, newer)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_two_names_of_one_version(one: str, other: str) -> None:
    assert compare(one, other) is compare(other, one) is Order.SAME


@pytest.mark.parametrize(("one", "other"), UNKNOWN)
def test_what_the_names_do_not_say(one: str, other: str) -> None:
    assert compare(one, other) is compare(other, one) is Order.UNKNOWN


@given(one=tags, other=tags)
def test_any_two_names_can_be_asked(one: str, other: str) -> None:
    assert compare(one, other) is OPPOSITE[compare(other, one)]
    assert compare(one, one) is Order.SAME


@pytest.mark.parametrize("tag", ["v1.0-rc1", "v1.3.0-nightly.3", "nightly-7", "nightly", "beta-1.2", "1.0.dev1", "b42"])
def test_what_calls_itself_early(tag: str) -> None:
    assert is_early(tag)


@pytest.mark.parametrize(
    "tag", ["v1.0", "release-1.10", "v1.2-hotfix1", "v1.2-lts", "app-v2.1.0", "2024-01-05", "name"]
)
def test_what_does_not(tag: str) -> None:
    assert not is_early(tag)


NIGHTLIES = [f"nightly-{number}" for number in range(150, 100, -1)]


@pytest.mark.parametrize(
    ("listed", "installed", "newest"),
    [
        (["v1.9.5", "v2.0.0", "v1.9.4"], "v1.0", "v2.0.0"),
        (["v1.0.1", "v2.1-beta.1", "v2.0"], "", "v2.1-beta.1"),
        ([*NIGHTLIES, "v2.0.0"], "v1.0", "v2.0.0"),
        ([*NIGHTLIES, "v2.0.0"], "", "v2.0.0"),
        ([*NIGHTLIES, "v2.0.0"], "nightly-120", "nightly-150"),
        (["nightly-9", "nightly-10", "nightly-8"], "v1.0", "nightly-10"),
        (["v2.0.0", "nightly"], "nightly", "nightly"),
        (["v2.0.0", "latest"], "nightly", "v2.0.0"),
        (["nightly", "v2.0.0"], "v1.0", "v2.0.0"),
        (["nightly", "v2.0.0"], "summer", "v2.0.0"),
        (["nightly", "latest"], "summer", "nightly"),
        (["summer", "v1.0"], "", "summer"),
        (["summer", "v1.0"], "v0.9", "v1.0"),
        (["summer", "nightly-3", "v1.0"], "spring", "summer"),
        (["app-v1.2", "lib-v9.0", "app-v1.3"], "app-v1.0", "app-v1.3"),
        (["lib-v9.0", "app-v1.2", "app-v1.3"], "app-v1.0", "app-v1.3"),
        (["lib-v9.0", "app-v1.2", "app-v1.3"], "1.0", "lib-v9.0"),
        (["blue", "red"], "green", "blue"),
    ],
)
def test_the_newest_of_a_list(listed: list[str], installed: str, newest: str) -> None:
    found = newest_of(listed, installed)
    assert found is not None
    assert listed[found] == newest


def test_of_nothing_there_is_no_newest() -> None:
    assert newest_of([]) is None
    assert not follows("nightly-1", "v1.0")
    assert follows("nightly-1", "nightly-9")


@given(listed=st.lists(tags, min_size=1, max_size=8), installed=tags)
def test_nothing_of_the_list_is_known_to_be_newer_than_a_plain_newest(listed: list[str], installed: str) -> None:
    found = newest_of(listed, installed)
    assert found is not None
    assert 0 <= found < len(listed)
