"""The values that travel between the rooms: frozen, typed, no I/O.

A snapshot's fields are named as on the wire (the Update Management reference), so that one definition serves
the engine, the store and the wire.  A value that is not known is an :class:`Unknown` with its reason; the ``?``
that clients expect is written by :mod:`trio_update.web.api.wire` alone.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Annotated, NewType

import msgspec

from trio_update.errors import Reason

__all__ = [
    "AppName",
    "AppOutcome",
    "AppStatus",
    "Asset",
    "Channel",
    "Commit",
    "CommitHash",
    "JobId",
    "JobKind",
    "JobRecord",
    "JobState",
    "JobView",
    "Outcome",
    "Outside",
    "Plan",
    "RateLimit",
    "Release",
    "RemoteRelease",
    "Status",
    "Step",
    "Unknown",
]

AppName = NewType("AppName", str)
JobId = NewType("JobId", int)
CommitHash = NewType("CommitHash", str)

FROM_OUTSIDE = msgspec.Meta(extra={"from_outside": True})
Outside = Annotated[str, FROM_OUTSIDE]
"""Text that somebody else wrote, or that quotes it: what git, pip and servers say, commits, notes, names made by
strangers.  It is escaped for clients that show text as HTML.  URLs, hashes and names of apps are not of this type:
clients compare and follow them, and an escaped `&` would break them."""


class Unknown(msgspec.Struct, frozen=True):
    """A value that is absent, and why."""

    reason: str


class Channel(enum.StrEnum):
    """How far ahead of the last final release an app wants to be."""

    STABLE = "stable"
    BETA = "beta"
    DEV = "dev"


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """A commit that an update would bring; every field a string, as clients expect (`date` in unix time)."""

    sha: str
    author: Outside
    date: str
    subject: Outside
    message: Outside
    tag: Outside | None = None


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A version that an app had, or can go to."""

    version: Outside
    hash: str = ""


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
    tag: Outside
    title: Outside = ""
    notes: Outside = ""
    prerelease: bool = False
    published: float | None = None
    assets: tuple[Asset, ...] = ()


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """What a forge's last answer said about its limit; ``reset`` in unix seconds."""

    limit: int
    remaining: int
    reset: int


_UNSEEN = Unknown("not looked at yet")


class AppStatus(msgspec.Struct, frozen=True, kw_only=True, tag_field="configured_type"):
    """What the status of every app tells; each kind of app derives its own, tagged with its type.

    ``is_valid`` false: it cannot be upgraded as it is, ``warnings`` say why; ``anomalies`` do not stand in the way.
    ``hold``, ``refreshed_at`` (the last time that the remote answered) and ``unreachable_since`` are additions of ours;
    times in unix seconds.  ``installed`` false, another one: there is nothing at its path, and an upgrade installs it.
    """

    name: AppName
    channel: Channel
    installed: bool = True
    channel_invalid: bool = False
    debug_enabled: bool = False
    is_valid: bool = False
    version: Outside | Unknown = _UNSEEN
    remote_version: Outside | Unknown = _UNSEEN
    rollback_version: Outside | Unknown = _UNSEEN
    owner: Outside | Unknown = Unknown("apps of this kind have none")
    repo_name: Outside | Unknown = Unknown("apps of this kind have none")
    info_tags: tuple[str, ...] = ()
    warnings: tuple[Outside, ...] = ()
    anomalies: tuple[Outside, ...] = ()
    last_error: Outside = ""
    hold: str = ""
    refreshed_at: float | None = None
    unreachable_since: float | None = None


# What an app needs to remember of its remote: with the release notes it can be longer than everything else together.
NOT_SENT = frozenset({"remote", "assumed"})


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to ``machine.update.status``; ``config_warnings`` is an addition of ours."""

    busy: bool
    github_rate_limit: int | None = None
    github_requests_remaining: int | None = None
    github_limit_reset_time: int | None = None
    version_info: Mapping[AppName, AppStatus]
    config_warnings: tuple[Outside, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What an upgrade of one app would do.  ``refusals`` not empty: it would be refused, for these reasons.

    ``plan_id`` stays the same as long as the same would be done.  ``disk_needed`` is an upper bound in bytes, so is
    ``download_bytes``; ``disk_free`` is what this user can still write.  The asset's fields are of apps that come as
    one.
    """

    name: AppName
    plan_id: str = ""
    up_to_date: bool
    from_version: Outside | Unknown
    to_version: Outside | Unknown
    from_hash: str | Unknown = ""
    to_hash: str | Unknown = ""
    commits: tuple[Commit, ...] = ()
    commits_count: int = 0
    release_notes: Outside = ""
    asset_name: Outside = ""
    asset_size: int | None = None
    asset_digest: str = ""
    download_bytes: int | Unknown = Unknown("not told")
    packages_install: tuple[Outside, ...] = ()
    packages_upgrade: tuple[Outside, ...] = ()
    packages_remove: tuple[Outside, ...] = ()
    services: tuple[str, ...] = ()
    disk_free: int | Unknown = Unknown("not told")
    disk_needed: int | Unknown = Unknown("not told")
    warnings: tuple[Outside, ...] = ()
    refusals: tuple[Outside, ...] = ()


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


class Step(enum.StrEnum):
    """What is about to happen when the host is asked whether it may (``may_update``).

    ADMISSION: a job was asked for.  APP: a full update comes to this app.  SWITCH: everything is downloaded and
    verified, and the app is about to change; or a recovery is about to put back what an earlier job could not.
    RESTART: the app's services are about to be restarted.  REFRESH: the remotes are about to be asked.
    UPKEEP: the app is about to be looked after, which changes nothing of it and may keep the machine busy for minutes.
    """

    ADMISSION = "admission"
    APP = "app"
    SWITCH = "switch"
    RESTART = "restart"
    REFRESH = "refresh"
    UPKEEP = "upkeep"


class AppOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a job did to one app.  ``digest`` (``sha256:HEX``): of the asset that was installed."""

    name: AppName
    outcome: Outcome
    from_version: Outside = ""
    to_version: Outside = ""
    from_hash: str = ""
    to_hash: str = ""
    digest: str = ""
    message: Outside = ""


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An ended job, as the history keeps it.  Times in unix seconds; ``log`` one line an entry.

    ``message`` says what went wrong, and ``reason`` why, if the job was refused and not tried.
    """

    proc_id: JobId
    kind: JobKind
    name: AppName | None
    requested_by: Outside
    started: float
    duration: float
    outcome: Outcome
    apps: tuple[AppOutcome, ...] = ()
    message: Outside = ""
    reason: Reason | None = None
    log: tuple[Outside, ...] = ()


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job as ``machine.update.job`` shows it, while it runs or afterwards."""

    proc_id: JobId
    application: str
    kind: JobKind
    name: AppName | None
    requested_by: Outside
    state: JobState
    abortable: bool
    started: float
    outcome: Outcome | None = None
    log: tuple[Outside, ...] = ()
