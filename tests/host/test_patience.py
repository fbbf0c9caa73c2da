"""How long a server is given before it is asked again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_update.host.http.patience import back_off, date, number, retry_after

SOON = {"retry-after": "Fri, 15 Jan 2027 08:00:09 GMT"}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": " 7 "}, 7.0),
        ({"retry-after": "-7"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 1_000_000}, None),
        (SOON | {"date": "Fri, 15 Jan 2027 08:00:00 GMT"}, 9.0),
        (SOON | {"date": "Fri, 15 Jan 2027 08:00:10 GMT"}, -1.0),
        # A server that does not tell its own time: ours has to do.
        (SOON, 1_800_000_009.0 - 1_800_000_005.0),
        (SOON | {"date": "now"}, 4.0),
    ],
)
def test_what_a_server_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, lambda: 1_800_000_005.0) == seconds


def test_each_pause_is_longer_than_the_one_before_last() -> None:
    for attempt in (1, 2, 3):
        pauses = [back_off(attempt) for _ in range(100)]
        assert 2**attempt / 2 <= min(pauses) < max(pauses) <= 2**attempt


@given(st.text(st.characters(max_codepoint=0x2FF)))
def test_no_header_is_too_odd(text: str) -> None:
    number(text)
    date(text)
