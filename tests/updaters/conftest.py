"""A clone that is three commits behind its upstream; and apps that are a release behind, on a stand-in for GitHub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from tests.support.releases import ReleaseSite, behind
from tests.support.upstream import Bench, Upstream
from trio_update.demo.github.server import GitHub, serve_github


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    upstream = Upstream(tmp_path / "upstream")
    upstream.commit({"README": "read me\n", "lib/one.py": "1\n"}, tag="v0.1.0")
    upstream.commits(2)
    path = upstream.clone(tmp_path / "app")
    upstream.commit({"lib/two.py": "2\n", "lib/one.py": None})
    upstream.commits(2)
    return Bench(tmp_path, upstream, path)


@pytest.fixture
async def github() -> AsyncIterator[GitHub]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(serve_github, GitHub())
        nursery.cancel_scope.cancel()


@pytest.fixture(params=["web", "zip", "executable"])
def site(request: pytest.FixtureRequest, tmp_path: Path, github: GitHub) -> ReleaseSite:
    return behind(tmp_path, github, request.param)


@pytest.fixture
def web(tmp_path: Path, github: GitHub) -> ReleaseSite:
    return behind(tmp_path, github, "web")


@pytest.fixture
def executable(tmp_path: Path, github: GitHub) -> ReleaseSite:
    return behind(tmp_path, github, "executable")
