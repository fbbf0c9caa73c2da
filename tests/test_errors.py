"""What errors say, and what they keep to themselves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trio_update.errors import (
    Aborted,
    CommandFailed,
    CommandNotFound,
    CommandSilent,
    FileTrouble,
    OperationFailed,
    Reason,
    Refused,
    TrioUpdateError,
)
from trio_update.host.processes.runner import Runner

URL = "https://ada:s3cr3t@example.org/a.git?token=s3cr3t"
ERRORS = (
    Aborted(URL),
    CommandFailed(("git", "fetch", URL), 128, f"unable to access '{URL}': no"),
    CommandNotFound(URL, URL),
    CommandSilent(("git", "-c", "a=b", "fetch", f"--upload={URL}"), 60),
    FileTrouble("read", Path("/srv/example.org/a.git"), None, URL),
    OperationFailed(URL),
    Refused(Reason.INVALID, URL),
    TrioUpdateError(URL),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_no_error_tells_a_secret_of_an_address(error: TrioUpdateError) -> None:
    assert "s3cr3t" not in str(error)
    assert "s3cr3t" not in repr(error)
    assert "example.org/a.git" in str(error)


async def test_nor_does_the_end_of_a_long_output_that_begins_within_an_address() -> None:
    # The tail that is kept for the error begins behind `https://ada:`.
    rest = "s3cr3t@example.org/a " + "x" * 4075
    script = f"import sys; sys.stderr.write('https://ada:{rest}'); sys.exit(1)"
    with pytest.raises(CommandFailed) as caught:
        await Runner("tests").run((sys.executable, "-c", script))
    assert "s3cr3t" not in caught.value.output
    assert caught.value.output.endswith("xxx")
