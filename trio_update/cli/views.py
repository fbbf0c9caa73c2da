"""What the command line reads out of the server's answers, and what an app's fields add up to.

Every field has a default: an older or newer server, or another implementation of the API, leaves some out.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from trio_update.versions import NOT_INSTALLED, is_newer

UNKNOWN = "?"
Text = str | None
Size = int | str | None


class CommitView(msgspec.Struct, frozen=True):
    sha: str = ""
    subject: str = ""
    tag: Text = None


class AppView(msgspec.Struct, frozen=True):
    """One entry of ``version_info``, of whichever type: what it has tells what it is, so that no type must be known.

    Only what is made of commits has hashes, and only the packages of the system a number of them.
    """

    configured_type: str = ""
    channel: Text = ""
    version: Text = UNKNOWN
    remote_version: Text = UNKNOWN
    current_hash: Text = None
    remote_hash: Text = None
    is_valid: bool = True
    installed: bool = True
    is_dirty: bool = False
    corrupt: bool = False
    detached: bool = False
    commits_behind: tuple[CommitView, ...] = ()
    commits_behind_count: int = 0
    package_count: int | None = None
    rollback_version: Text = UNKNOWN
    kept_versions: tuple[str, ...] = ()
    remote_title: str = ""
    warnings: tuple[str, ...] = ()
    anomalies: tuple[str, ...] = ()
    git_messages: tuple[str, ...] = ()
    last_error: str = ""
    hold: str = ""
    refreshed_at: float | None = None
    unreachable_since: float | None = None

    @property
    def behind(self) -> int:
        """Commits (or packages) that an upgrade would bring."""
        return max(self.commits_behind_count, len(self.commits_behind), self.package_count or 0)


class StatusView(msgspec.Struct, frozen=True):
    busy: bool = False
    version_info: dict[str, AppView] = {}
    config_warnings: tuple[str, ...] = ()


class PlanView(msgspec.Struct, frozen=True):
    name: str = ""
    plan_id: str = ""
    up_to_date: bool = False
    from_version: Text = UNKNOWN
    to_version: Text = UNKNOWN
    commits: tuple[CommitView, ...] = ()
    commits_count: int = 0
    release_notes: Text = ""
    asset_name: Text = ""
    download_bytes: Size = None
    packages_install: tuple[str, ...] = ()
    packages_upgrade: tuple[str, ...] = ()
    packages_remove: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    disk_free: Size = None
    disk_needed: Size = None
    warnings: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()


class OutcomeView(msgspec.Struct, frozen=True):
    name: str = ""
    outcome: str = ""
    from_version: str = ""
    to_version: str = ""
    message: str = ""


class RecordView(msgspec.Struct, frozen=True):
    """An ended job."""

    proc_id: int = 0
    kind: str = ""
    name: Text = None
    requested_by: str = ""
    started: float = 0.0
    duration: float = 0.0
    outcome: str = ""
    apps: tuple[OutcomeView, ...] = ()
    message: str = ""


class RunningView(msgspec.Struct, frozen=True):
    """A job, running or not, with what it has said so far."""

    proc_id: int = 0
    application: str = ""
    kind: str = ""
    requested_by: str = ""
    state: str = ""
    log: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        return self.state not in {"", "ended"}


class MessageView(msgspec.Struct, frozen=True):
    """The one parameter of ``notify_update_response``."""

    application: str = ""
    proc_id: int = 0
    message: str = ""
    complete: bool = False


class State(enum.StrEnum):
    """An app's fields in one or two words, worst first."""

    CORRUPT = "corrupt"
    ABSENT = NOT_INSTALLED
    DIRTY = "dirty"
    DIVERGED = "diverged"
    DETACHED = "detached"
    INVALID = "invalid"
    HELD = "held"
    UPDATE = "update available"
    UNKNOWN = "unknown"
    CURRENT = "up to date"


def state_of(app: AppView) -> State:
    """What the user should know first of an app."""
    if app.corrupt:
        return State.CORRUPT
    if not (app.is_valid and app.installed):
        return _why_invalid(app)
    if app.hold:
        return State.HELD
    if app.package_count is not None:
        return State.UPDATE if app.package_count else State.CURRENT
    if app.remote_version in {None, UNKNOWN} and app.remote_hash in {None, UNKNOWN}:
        return State.UNKNOWN
    return State.UPDATE if _has_update(app) else State.CURRENT


def _why_invalid(app: AppView) -> State:
    if not app.installed:
        return State.ABSENT
    if app.is_dirty:
        return State.DIRTY
    if any("diverged" in warning.lower() for warning in app.warnings):
        return State.DIVERGED
    return State.DETACHED if app.detached else State.INVALID


def _has_update(app: AppView) -> bool:
    if app.behind:
        return True
    hashes = {app.current_hash, app.remote_hash}
    if hashes != {None}:
        return len(hashes - {None, UNKNOWN}) == 2
    return is_newer(app.remote_version or "", app.version or "")


def message_of(params: Any) -> MessageView | None:
    """The message in a notification's parameters; ``None`` when they are shaped otherwise."""
    try:
        return msgspec.convert(params, tuple[MessageView])[0]
    except msgspec.ValidationError:
        return None
