"""What is progress among the messages of a job, and what is not."""

from __future__ import annotations

import pytest

from trio_update.progress import Progress, Throttle, download_message, read_progress


@pytest.mark.parametrize(
    ("message", "progress"),
    [
        ("Receiving objects:  45% (9/20), 1.20 MiB | 3.00 MiB/s", Progress("Receiving objects", 45)),
        ("remote: Counting objects:   0% (1/300)", Progress("Counting objects", 0)),
        ("Resolving deltas: 100% (20/20), done.", Progress("Resolving deltas", 100, last=True)),
        ("Receiving objects: 100% (20/20)\n", Progress("Receiving objects", 100)),
        ("Updating files: 100% (7/7), done.\r", Progress("Updating files", 100, last=True)),
        ("Odd: 400%", Progress("Odd", 100)),
        (
            "Downloading a.zip: 12 KiB / 30 KiB [40%]",
            Progress("Downloading a.zip", 40, "of 30 KiB", done=12288, total=30720),
        ),
        (
            "Downloading a.zip: 30 KiB / 30 KiB [100%]",
            Progress("Downloading a.zip", 100, "of 30 KiB", last=True, done=30720, total=30720),
        ),
        ("Downloading 9% of: it.zip: 12 KiB", Progress("Downloading 9% of: it.zip", None, "12 KiB", done=12288)),
    ],
)
def test_what_tells_how_far_something_is(message: str, progress: Progress) -> None:
    assert read_progress(message) == progress


@pytest.mark.parametrize(
    "message",
    [
        "",
        "disk: 95% of it is used",
        "95%",
        "Downloading a.zip: no route; trying again in 2 s",
        "Downloading a.zip",
        "pip: Downloading trio-0.30.whl (12 kB)",
        f"{'x' * 61}: 45% (9/20)",
        "several\nlines: 45% (9/20)",
    ],
)
def test_what_does_not(message: str) -> None:
    assert read_progress(message) is None


@pytest.mark.parametrize(
    ("done", "total", "message"),
    [
        (0, 0, "Downloading a.zip: 0 KiB / 0 KiB [100%]"),
        (1, 2048, "Downloading a.zip: 1 KiB / 2 KiB [0%]"),
        (2047, 2048, "Downloading a.zip: 2 KiB / 2 KiB [99%]"),
        (2048, 2048, "Downloading a.zip: 2 KiB / 2 KiB [100%]"),
        (5 << 30, None, "Downloading a.zip: 5242880 KiB"),
    ],
)
def test_what_we_write_we_can_read(done: int, total: int | None, message: str) -> None:
    assert download_message("a.zip", done, total) == message
    progress = read_progress(message)
    assert progress is not None
    assert (progress.what, progress.last) == ("Downloading a.zip", done == total)


def test_of_one_thing_a_line_passes_now_and_then_and_all_else_always() -> None:
    throttle = Throttle(5)
    half, last, other = Progress("a", 50), Progress("a", 100, last=True), Progress("b", None)
    said = [(half, 0.0), (half, 4.9), (half, 5.0), (half, 9.9), (other, 9.9), (other, 10.0), (half, 10.0), (half, 10.1)]
    assert [throttle.passes(progress, now) for progress, now in said] == [1, 0, 1, 0, 1, 0, 1, 0]
    # A thing's last line, and whatever follows it or another message, even the same thing again.
    assert throttle.passes(last, 10.2)
    assert throttle.passes(half, 10.2)
    assert throttle.passes(None, 10.3)
    assert throttle.passes(half, 10.3)
    assert not throttle.passes(half, 10.4)
    assert throttle.passes(half, 10.4, of="another app")
