"""A few power cuts of each operation.  `nox -s powercut` makes all of them."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.crash.servers import REPOSITORY
from tests.powercut.apps import OPERATIONS
from tests.powercut.disk import why_not

_WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(_WHY_NOT is not None, reason=f"no power can be cut here: {_WHY_NOT}")

_TALLY = re.compile(
    r"^(?P<name>[\w-]+): (?P<cuts>\d+) cuts .* (?P<faults>\d+) with faults, (?P<spoiled>\d+) with", re.M
)


def campaign(*arguments: str) -> tuple[int, dict[str, tuple[int, int, int]], str]:
    """The exit status; for each operation its cuts, those with faults, and those that left neither version."""
    command = [sys.executable, "-m", "tests.powercut", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    tallies = {
        found["name"]: (int(found["cuts"]), int(found["faults"]), int(found["spoiled"]))
        for found in _TALLY.finditer(done.stdout)
    }
    return done.returncode, tallies, done.stdout + done.stderr


def test_every_operation_survives_a_few_cuts() -> None:
    code, tallies, said = campaign("--cuts", "5")
    assert code == 0, said
    assert tallies == dict.fromkeys(OPERATIONS, (5, 0, 0)), said


def test_without_syncfs_there_are_files_of_length_zero() -> None:
    code, tallies, said = campaign("--cuts", "9", "--without-syncfs", "zip-upgrade", "git-upgrade")
    assert code == 1, said
    assert set(tallies) == {"zip-upgrade", "git-upgrade"}, said
    assert all(spoiled for _, _, spoiled in tallies.values()), said
    assert "has length zero" in said
