"""The values that travel between the rooms: frozen, typed, no I/O.

A snapshot's fields are named as on the wire (the Update Management reference), so that one definition serves
the engine, the store and the wire.  A value that is not known is an :class:`Unknown` with its reason; the ``?``
that clients expect is written by :mod:`trio_update.web.api.wire` alone.
"""

from __future__ import annotations

import enum
from typing import Literal, NewType

import msgspec

AppName = NewType("AppName", str)
JobId = NewType("JobId", int)
CommitHash = NewType("CommitHash", str)


class Unknown(msgspec.Struct, frozen=True):
    """A value that is absent, and why."""

    reason: str


class AppType(enum.StrEnum):
    """Kinds of app, as `type` names them in the configuration and `configured_type` in the status."""

    GIT_REPO = "git_repo"
    WEB = "web"
    ZIP = "zip"
    EXECUTABLE = "executable"
    PYTHON = "python"
    SYSTEM = "system"


class Channel(enum.StrEnum):
    """How far ahead of the last final release an app wants to be."""

    STABLE = "stable"
    BETA = "beta"
    DEV = "dev"


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """A commit that an update would bring; every field a string, as clients expect (`date` in unix time)."""

    sha: str
    author: str
    date: str
    subject: str
    message: str
    tag: str | None = None


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A version that an app had, or can go to."""

    version: str
    hash: str = ""


class GitStatus(msgspec.Struct, frozen=True, kw_only=True, tag_field="configured_type", tag="git_repo"):
    """State of a git clone (reference: "Git Repo Status"); the fields after ``anomalies`` are additions of ours."""

    name: AppName
    channel: Channel
    detected_type: Literal["git_repo"] = "git_repo"
    channel_invalid: bool = False
    debug_enabled: bool = False
    is_valid: bool = False
    version: str | Unknown
    remote_version: str | Unknown
    rollback_version: str | Unknown
    full_version_string: str | Unknown
    current_hash: str | Unknown
    remote_hash: str | Unknown
    remote_alias: str | Unknown
    remote_url: str | Unknown
    recovery_url: str | Unknown
    owner: str | Unknown
    repo_name: str | Unknown
    branch: str | Unknown
    is_dirty: bool = False
    corrupt: bool = False
    pristine: bool = False
    detached: bool = False
    commits_behind: tuple[Commit, ...] = ()
    commits_behind_count: int = 0
    git_messages: tuple[str, ...] = ()
    info_tags: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    anomalies: tuple[str, ...] = ()
    last_error: str = ""
    hold: str = ""
    refreshed_at: float | None = None
    unreachable_since: float | None = None


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a release.  ``size`` in bytes and ``digest`` (``sha256:HEX``) where the forge tells them.

    ``updated``: when it was uploaded last, in the forge's words; empty where it does not tell.
    """

    name: str
    url: str
    size: int | None = None
    digest: str = ""
    updated: str = ""


class RemoteRelease(msgspec.Struct, frozen=True, kw_only=True):
    """A release as its forge describes it.  ``repo`` (``owner/name``) is where it was found: projects move.

    ``published`` in unix seconds; ``None`` where the forge does not tell.
    """

    repo: str
    tag: str
    title: str = ""
    notes: str = ""
    prerelease: bool = False
    published: float | None = None
    assets: tuple[Asset, ...] = ()


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """What a forge's last answer said about its limit; ``reset`` in unix seconds."""

    limit: int
    remaining: int
    reset: int


class ReleaseFields(msgspec.Struct, frozen=True, kw_only=True, tag_field="configured_type"):
    """State of an app that comes as a release's asset (reference: "Net Hosted Status").

    The fields after ``anomalies`` are additions of ours: ``remote`` is the channel's newest release (not sent to
    clients, but its title is), ``kept_versions`` can be gone back to without a network, oldest first.
    """

    name: AppName
    channel: Channel
    channel_invalid: bool = False
    debug_enabled: bool = False
    owner: str | Unknown
    repo_name: str | Unknown
    last_error: str = ""
    version: str | Unknown
    remote_version: str | Unknown
    rollback_version: str | Unknown
    is_valid: bool = False
    info_tags: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    anomalies: tuple[str, ...] = ()
    remote: RemoteRelease | None = None
    remote_title: str = ""
    kept_versions: tuple[str, ...] = ()
    hold: str = ""
    refreshed_at: float | None = None
    unreachable_since: float | None = None


class WebStatus(ReleaseFields, frozen=True, kw_only=True, tag="web"):
    """A web client: static files that a web server hands out."""


class ZipStatus(ReleaseFields, frozen=True, kw_only=True, tag="zip"):
    """An application that comes as an archive."""


class ExecutableStatus(ReleaseFields, frozen=True, kw_only=True, tag="executable"):
    """A single program."""


ReleaseStatus = WebStatus | ZipStatus | ExecutableStatus
AppStatus = GitStatus | ReleaseStatus


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to ``machine.update.status``; ``config_warnings`` is an addition of ours."""

    busy: bool
    github_rate_limit: int | None = None
    github_requests_remaining: int | None = None
    github_limit_reset_time: int | None = None
    version_info: dict[AppName, AppStatus]
    config_warnings: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What an upgrade of one app would do.  ``refusals`` not empty: it would be refused, for these reasons."""

    name: AppName
    up_to_date: bool
    from_version: str | Unknown
    to_version: str | Unknown
    from_hash: str | Unknown
    to_hash: str | Unknown
    commits: tuple[Commit, ...] = ()
    commits_count: int = 0
    release_notes: str = ""
    download_bytes: int | Unknown
    packages_install: tuple[str, ...] = ()
    packages_upgrade: tuple[str, ...] = ()
    packages_remove: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    disk_free: int | Unknown
    disk_needed: int | Unknown
    warnings: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()


class JobKind(enum.StrEnum):
    UPGRADE = "upgrade"
    FULL = "full"
    RECOVER = "recover"
    ROLLBACK = "rollback"


class JobState(enum.StrEnum):
    """A job's life: waiting for the lane → preparing → applying (the journal is open) → ended."""

    WAITING = "waiting"
    PREPARING = "preparing"
    APPLYING = "applying"
    ENDED = "ended"


class Outcome(enum.StrEnum):
    """How a job ended.  INTERRUPTED: the process died; the next start put the app back."""

    SUCCEEDED = "succeeded"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    ABORTED = "aborted"
    INTERRUPTED = "interrupted"


class AppOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a job did to one app.  ``digest`` (``sha256:HEX``): of the asset that was installed."""

    name: AppName
    outcome: Outcome
    from_version: str = ""
    to_version: str = ""
    from_hash: str = ""
    to_hash: str = ""
    digest: str = ""
    message: str = ""


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An ended job, as the history keeps it.  Times in unix seconds; ``log`` one line an entry."""

    proc_id: JobId
    kind: JobKind
    name: AppName | None
    requested_by: str
    started: float
    duration: float
    outcome: Outcome
    apps: tuple[AppOutcome, ...] = ()
    message: str = ""
    log: tuple[str, ...] = ()


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job as ``machine.update.job`` shows it, while it runs or afterwards."""

    proc_id: JobId
    application: str
    kind: JobKind
    name: AppName | None
    requested_by: str
    state: JobState
    abortable: bool
    started: float
    outcome: Outcome | None = None
    log: tuple[str, ...] = ()
