"""Which tag a clone is updated to, and by which one a commit is named."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Awaitable

import pytest

from tests.support.upstream import Bench, Upstream, git, status_of
from trio_update.model import Channel
from trio_update.updaters.git.kind import GitStatus


async def look(bench: Bench, channel: Channel = Channel.STABLE) -> GitStatus:
    async with bench.manager(channel=channel) as manager:
        await manager.wait_ready()
        await manager.refresh(None)
        return status_of(manager)


def tag(upstream: Upstream, name: str, commit: str = "HEAD", *, date: int | None = None, light: bool = False) -> None:
    stamp = {"GIT_COMMITTER_DATE": f"{date or upstream.clock} +0000"}
    git(upstream.path, "tag", *([] if light else ["-a", "-m", name]), name, commit, environ=stamp)


async def test_a_tag_that_was_made_afterwards_hides_nothing(bench: Bench) -> None:
    early = bench.upstream.commit()
    bench.upstream.commit(tag="v1.1.0")
    tag(bench.upstream, "v1.0.1", early, date=bench.upstream.clock + 10_000)
    assert (await look(bench)).remote_version == "v1.1.0-0"


async def test_a_tag_from_the_future_hides_nothing(bench: Bench) -> None:
    bench.upstream.commit()
    tag(bench.upstream, "v1.0.0", date=2_114_380_800)
    bench.upstream.commit(tag="v1.1.0")
    assert (await look(bench)).remote_version == "v1.1.0-0"


@pytest.mark.parametrize("light", [False, True])
async def test_many_tags_that_are_no_versions_hide_nothing(bench: Bench, light: bool) -> None:
    bench.upstream.commit(tag="v0.2.0")
    bench.upstream.commit()
    for number in range(150):
        tag(bench.upstream, f"nightly-2024.01.{number}", light=light)
    assert (await look(bench)).remote_version == "v0.2.0-0"


async def test_two_tags_of_one_second_are_told_apart(bench: Bench) -> None:
    """Of equal dates git sorts by name: the installed version's tag comes first."""
    bench.git("pull", "-q", "--ff-only")
    tag(bench.upstream, "v1.0.0")
    bench.upstream.clock -= 60
    bench.upstream.commit()
    tag(bench.upstream, "v1.1.0")
    dates = git(bench.upstream.path, "for-each-ref", "--format=%(creatordate:unix)", "refs/tags/v1.*").split()
    assert len(set(dates)) == 1
    status = await look(bench)
    assert (status.version, status.remote_version) == ("v1.0.0-0", "v1.1.0-0")


@pytest.mark.parametrize("light", [False, True])
async def test_of_two_tags_on_a_commit_the_version_is_shown(bench: Bench, light: bool) -> None:
    """git itself prefers annotated tags, and of those the newest."""
    bench.upstream.commit()
    tag(bench.upstream, "v1.0.0-rc1")
    tag(bench.upstream, "v1.0.0", light=light)
    tag(bench.upstream, "nightly", date=bench.upstream.clock + 10)
    status = await look(bench)
    assert status.remote_version == "v1.0.0-0"
    assert status.commits_behind[0].tag == "v1.0.0"
    bench.upstream.commit()
    assert (await look(bench, Channel.DEV)).remote_version == "v1.0.0-1"
    bench.git("pull", "-q", "--ff-only")
    assert (await look(bench)).version == "v1.0.0-1"
    bench.git("reset", "-q", "--hard", "HEAD~1")
    assert (await look(bench)).version == "v1.0.0-0"


async def test_a_version_below_the_installed_one_is_no_update(bench: Bench) -> None:
    tag(bench.upstream, "v2.0.0", bench.head)
    bench.upstream.commit(tag="v1.9.0")
    status = await look(bench)
    assert (status.version, status.remote_version, status.commits_behind_count) == ("v2.0.0-0", "v2.0.0-0", 0)
    bench.upstream.commit(tag="v2.0.1")
    assert (await look(bench)).remote_version == "v2.0.1-0"


async def test_a_clone_above_the_newest_tag_is_current(bench: Bench) -> None:
    bench.upstream.commit(tag="v1.0.0")
    bench.upstream.commit()
    bench.git("pull", "-q", "--ff-only")
    bench.upstream.commit()
    status = await look(bench)
    assert status.is_valid
    assert (status.version, status.remote_version) == ("v1.0.0-1", "v1.0.0-1")


async def test_tags_beside_the_way_and_of_trees_are_no_targets(bench: Bench) -> None:
    upstream = bench.upstream
    git(upstream.path, "checkout", "-qb", "maintenance", "HEAD~4")
    upstream.commit({"old.txt": "x"}, tag="v9.0.0")
    git(upstream.path, "checkout", "-q", "master")
    git(upstream.path, "merge", "-q", "-X", "ours", "--no-edit", "maintenance")
    git(upstream.path, "tag", "v8.0.0", "HEAD^{tree}")
    git(upstream.path, "tag", "-am", "x", "v7.0.0", "HEAD:main.py")
    upstream.commit(tag="v1.0.0")
    upstream.commit()
    # v9.0.0 is reachable from the branch, and does not contain what is installed.
    assert (await look(bench)).remote_version == "v1.0.0-0"


async def test_a_tag_of_a_tag_leads_to_its_commit(bench: Bench) -> None:
    bench.upstream.commit(tag="inner")
    git(bench.upstream.path, "tag", "-am", "outer", "v1.0.0", "inner")
    assert (await look(bench)).remote_version == "v1.0.0-0"


@pytest.mark.parametrize(
    ("names", "offered"),
    [
        (("release-1.2", "release-1.10"), "release-1.10-0"),
        (("app-v1.2.3", "app-v1.2.4-rc1", "lib-v9.0.0"), "app-v1.2.3-0"),
        (("app/v1.2.3", "app/v1.10.0"), "app/v1.10.0-0"),
        (("v1.2.3-4-gabcdef0", "v1.2.2"), "v1.2.2-0"),
        (("v1.0.0", "release-7.0"), "v1.0.0-0"),
        (("nightly-20240102", "beta-3", "v1.0"), "v1.0-0"),
        (("v1.0\u2028x", "v1.0"), "v1.0-0"),
    ],
)
async def test_names_as_projects_give_them(bench: Bench, names: tuple[str, ...], offered: str) -> None:
    tag(bench.upstream, "app-v1.0.0" if names[0].startswith("app-") else "start", bench.head)
    for name in names:
        bench.upstream.commit(tag=name)
    assert (await look(bench)).remote_version == offered


async def test_a_tag_named_like_a_description_names_its_commit(bench: Bench) -> None:
    bench.upstream.commit(tag="v1.2.3-4-gabcdef0")
    bench.upstream.commit()
    assert (await look(bench, Channel.DEV)).remote_version == "v1.2.3-4-gabcdef0-1"


async def test_thousands_of_tags_stay_quick(bench: Bench) -> None:
    upstream = bench.upstream
    stream = "".join(f"reset refs/tags/v1.{n // 100}.{n % 100}\nfrom refs/heads/master\n\n" for n in range(10_000))
    subprocess.run(["git", "fast-import", "--quiet"], cwd=upstream.path, input=stream.encode(), check=True)
    git(upstream.path, "pack-refs", "--all")
    shutil.rmtree(bench.path)
    upstream.clone(bench.path)
    bench.git("reset", "-q", "--hard", "HEAD~2")
    async with bench.manager(channel=Channel.STABLE) as manager:
        await manager.wait_ready()
        assert await timed(manager.refresh(None)) < 8
        assert status_of(manager).remote_version == "v1.99.99-0"
        bench.upstream.commit(tag="v2.0")
        git(upstream.path, "tag", "-d", "v1.99.99")
        assert await timed(manager.refresh(None)) < 8
        assert status_of(manager).remote_version == "v2.0-0"
        assert await timed(manager.refresh(None)) < 4
        assert bench.git("for-each-ref", "--format=x", "refs/trio-update/origin/tags").count("x") == 10_001
    assert "bad" not in bench.git("fsck", "--no-dangling", "--connectivity-only")


async def timed(work: Awaitable[None]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began
