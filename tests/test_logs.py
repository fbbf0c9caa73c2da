"""What the package logs, as the handlers of an embedding application get it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import trio_update
from trio_update.logs import get_logger

URL = "https://ada:s3cr3t@example.org/a.git"


def test_no_record_holds_a_secret_whoever_formats_it(caplog: pytest.LogCaptureFixture) -> None:
    log = get_logger("trio_update.tests")
    try:
        int(URL)
    except ValueError:
        log.exception("%s failed: %s", "fetch", URL)
    (record,) = caplog.records
    assert "s3cr3t" not in f"{vars(record)} {caplog.text} {logging.Formatter().format(record)}"
    assert record.getMessage() == "fetch failed: https://example.org/a.git"
    assert "https://example.org/a.git" in caplog.text.partition("ValueError")[2]
    assert "Traceback" in caplog.text


def test_a_record_may_hold_percent_signs(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("trio_update.tests").warning("%s of %s", "50 %", "100 %s")
    assert caplog.records[0].getMessage() == "50 % of 100 %s"


def test_every_module_gets_its_logger_where_secrets_are_left_out() -> None:
    package = Path(trio_update.__file__).parent
    assert not [file for file in package.rglob("*.py") if "getLogger(__name__)" in file.read_text()]
