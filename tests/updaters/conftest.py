"""A clone that is three commits behind its upstream."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.upstream import Bench, Upstream


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    upstream = Upstream(tmp_path / "upstream")
    upstream.commit({"README": "read me\n", "lib/one.py": "1\n"}, tag="v0.1.0")
    upstream.commits(2)
    path = upstream.clone(tmp_path / "app")
    upstream.commit({"lib/two.py": "2\n", "lib/one.py": None})
    upstream.commits(2)
    return Bench(tmp_path, upstream, path)
