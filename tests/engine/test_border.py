"""The status and the plan of any kind of app, on their way out."""

from __future__ import annotations

from pathlib import Path

import msgspec

from trio_update.config import AppConfig
from trio_update.engine.board import Board
from trio_update.engine.border import harmless
from trio_update.model import AppName, AppStatus, Channel, Plan, RemoteRelease, Unknown
from trio_update.updaters.release.kind import WebStatus

URL = "https://ada:s3cr3t@example.org/a"
SHOWN = "https://example.org/a"


class ForeignStatus(AppStatus, frozen=True, kw_only=True, tag="foreign"):
    """As another package may bring it, whose author has not thought of secrets."""

    source: str = ""
    mirrors: dict[str, list[str]] = msgspec.field(default_factory=dict)


def test_the_status_of_any_kind_of_app_is_cleaned() -> None:
    status = ForeignStatus(
        name=AppName("a"),
        channel=Channel.DEV,
        version=Unknown(f"no answer from {URL}"),
        warnings=("fine", URL),
        source=URL,
        mirrors={"one": [URL]},
    )
    clean = harmless(status)
    assert (clean.source, clean.mirrors, clean.warnings) == (SHOWN, {"one": [SHOWN]}, ("fine", SHOWN))
    assert clean.version == Unknown(f"no answer from {SHOWN}")
    assert clean.channel is Channel.DEV
    assert harmless(clean) is clean


def test_what_others_published_and_what_is_needed_whole_stays() -> None:
    notes = "see https://example.org/issues?q=1#top"
    plan = Plan(name=AppName("a"), up_to_date=True, from_version="1", to_version="1", release_notes=notes)
    assert harmless(plan) is plan
    remote = RemoteRelease(repo="a/b", tag="1", notes=notes)
    assert harmless(WebStatus(name=AppName("a"), channel=Channel.DEV, remote=remote)).remote is remote


def test_a_status_is_clean_as_soon_as_it_is_on_the_board() -> None:
    app = AppConfig(name=AppName("a"), path=Path("/srv/a"))
    board = Board({app.name: app}, (f"[server]: {URL}",))
    board.put(app.name, ForeignStatus(name=app.name, channel=Channel.DEV, source=URL, last_error=URL))
    status = board.status(busy=False, budget=None)
    assert "s3cr3t" not in f"{status}{board.snapshot(app.name)}"
    assert status.config_warnings == (f"[server]: {SHOWN}",)
