"""Versions of git clones, against the order of PEP 440 and against git itself."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from trio_update.cli.views import AppView, State, state_of
from trio_update.versions import GitVersion, Maturity, inferred, is_newer, is_rolling, read_description, read_tag

RISING = (
    "nightly-2",  # no version: nothing is known of its age
    "v0.9.dev3",
    "v0.9-alpha.1",
    "v0.9.0b2",
    "v0.9.0-beta.10",
    "v0.9.0rc1",
    "v0.9",
    "v0.9.0.post1",
    "v0.9.1",
    "v0.10.0",
    "2.0-rc.1",
    "2.0",
)


def test_tags_rise_by_release_stage_and_number_and_clones_by_commits_after_that() -> None:
    versions = [GitVersion(tag, count, "abcd") for tag in RISING for count in (0, 9, 10)]
    mixed = random.Random(1).sample(versions, len(versions))
    assert sorted(mixed) == versions
    assert max(mixed) == versions[-1]


@pytest.mark.parametrize(
    ("tag", "release", "maturity"),
    [
        ("v0.12.0", (0, 12), Maturity.FINAL),
        ("0.12.0.0", (0, 12), Maturity.FINAL),
        ("v0.8.0-alpha.3", (0, 8), Maturity.ALPHA),
        ("v0.8.0-dev1", (0, 8), Maturity.ALPHA),
        ("v0.8.0-beta", (0, 8), Maturity.BETA),
        ("v1.2.3-rc2", (1, 2, 3), Maturity.CANDIDATE),
        ("V0", (0,), Maturity.FINAL),
    ],
)
def test_a_tag_is_read(tag: str, release: tuple[int, ...], maturity: Maturity) -> None:
    found = read_tag(tag)
    assert found is not None
    assert (found.release, found.maturity) == (release, maturity)


@pytest.mark.parametrize("tag", ["nightly", "", "release/1.0", "v1.0 beta", "latest-1", "1..0"])
def test_a_tag_that_is_no_version_is_none(tag: str) -> None:
    assert read_tag(tag) is None


numbers = st.integers(0, 20)
tags = st.builds(
    lambda prefix, release, end: prefix + ".".join(map(str, release)) + end,
    st.sampled_from(["", "v", "1!"]),
    st.lists(numbers, min_size=1, max_size=4),
    st.one_of(
        st.just(""),
        st.builds(
            "{}{}".format,
            st.sampled_from(["a", "-alpha.", "b", "-beta.", "rc", "-rc.", ".post", ".dev", "a1.dev", "+"]),
            numbers,
        ),
    ),
)


@given(tags, tags)
def test_the_order_of_tags_is_the_one_of_pep_440(one: str, other: str) -> None:
    left, right = GitVersion(one, 0, "abcd"), GitVersion(other, 0, "abcd")
    if Version(one) < Version(other):
        assert left < right
    elif Version(one) == Version(other):
        assert left.key == right.key


@given(st.one_of(tags, st.sampled_from(["nightly-7", ""])), st.one_of(tags, st.just("nightly-8")))
def test_the_command_line_sees_an_update_where_the_server_does(installed: str, offered: str) -> None:
    app = AppView(configured_type="web", version=installed, remote_version=offered)
    assert (state_of(app) is State.UPDATE) == is_newer(offered, installed)


@given(tags, st.integers(0, 99999), st.sampled_from(["abcd", "4c8d24ae", "0" * 40]))
def test_what_git_describes_is_read_and_written_again(tag: str, count: int, commit: str) -> None:
    version = read_description(f"{tag}-{count}-g{commit}\n")
    assert version == GitVersion(tag, count, commit)
    assert (version.full, version.short) == (f"{tag}-{count}-g{commit}", f"{tag}-{count}")


def test_real_descriptions(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout

    def describe() -> str:
        return git("describe", "--always", "--tags", "--long", "--abbrev=8")

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "one")
    bare = describe()
    assert read_description(bare) is None
    untagged = inferred(1, bare.strip())
    assert untagged.full == f"v0.0.0-1-g{bare.strip()}-inferred"
    git("tag", "v1.0-5-gabcd")  # a tag that looks like a description itself
    git("commit", "-q", "--allow-empty", "-m", "two")
    described = read_description(describe())
    assert described is not None
    assert (described.tag, described.count, described.inferred) == ("v1.0-5-gabcd", 1, False)


@pytest.mark.parametrize("tag", ["nightly", "Latest", "continuous-build", "summer", "v2-nightly", "v1.0.0-dev", "beta"])
def test_what_counts_no_builds_is_rolling(tag: str) -> None:
    assert is_rolling(tag)


@pytest.mark.parametrize(
    "tag", ["v1.0.0", "1.3.0-nightly.3", "nightly-2026-01-02", "release-1.10", "v1.0.0-beta", "r9"]
)
def test_what_counts_them_is_not(tag: str) -> None:
    assert not is_rolling(tag)
