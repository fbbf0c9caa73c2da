"""Where an app can go back to: pure decisions."""

from __future__ import annotations

from trio_update.model import JobKind, Release
from trio_update.versions import NOT_INSTALLED

MAX_EARLIER = 20


def earlier_after(kind: JobKind, earlier: tuple[Release, ...], old: Release, new: Release) -> tuple[Release, ...]:
    """The versions an app had before, newest last, after it went from ``old`` to ``new``.

    Idempotent, because a start that finishes a commit does it again.  An upgrade puts ``old`` on top; a rollback
    takes away everything from ``new`` on, so that the next one goes further back; a recovery changes no version
    worth going back to, and nobody goes back to an app that was not installed.
    """
    if kind is JobKind.ROLLBACK:
        known = [_identity(release) for release in earlier]
        return earlier[: known.index(_identity(new))] if _identity(new) in known else earlier
    if kind is JobKind.RECOVER or old.version in {"", NOT_INSTALLED}:
        return earlier
    ends = {_identity(old), _identity(new)}
    return (*(release for release in earlier if _identity(release) not in ends), old)[-MAX_EARLIER:]


def _identity(release: Release) -> str:
    """Two commits may be described alike; releases have a version and no hash."""
    return release.hash or release.version
