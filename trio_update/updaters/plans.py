"""Plans as values: which of them are the same, and how one differs from another in words."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator

import msgspec

from trio_update.errors import Reason, Refusal
from trio_update.model import AppName, Plan, Unknown

_DIGITS = 16
# As many as a page and a few command lines can have asked for between two changes of an app.
_KEPT = 8


def identified(plan: Plan, request: str) -> Plan:
    """The plan with its ``plan_id``, a digest of what would be done by this kind of ``request`` and of nothing else.

    Free space, warnings, refusals, times and texts say how it would go, and are left out: the id outlives restarts and
    refreshes.
    """
    decides = (
        request,
        plan.name,
        _known(plan.from_version),
        _known(plan.from_hash),
        _known(plan.to_version),
        _known(plan.to_hash),
        *(plan.asset_name, plan.asset_size, plan.asset_digest),
        *(plan.packages_install, plan.packages_upgrade, plan.packages_remove),
    )
    digest = hashlib.sha256(msgspec.json.encode(decides)).hexdigest()
    return msgspec.structs.replace(plan, plan_id=digest[:_DIGITS])


def outdated(plan_id: str, shown: Plan | None, now: Plan) -> tuple[Refusal, ...]:
    """Why ``now`` must not be carried out for somebody who agreed to the plan ``plan_id``; empty when they are one.

    ``shown``: that plan, if it is still known.  An empty ``plan_id`` agrees to everything.
    """
    if plan_id in {"", now.plan_id}:
        return ()
    if shown is None:
        was = f"plan {plan_id} is not known here any more"
        changes = [f"now it is {_way(now)} (plan {now.plan_id})"]
    else:
        was = f"it was {_way(shown)}"
        changes = [f"now it is {_way(now)}", *_differences(shown, now)]
    message = (
        f"The plan has changed: {was}, {'; '.join(changes)}. Look at the new plan, and upgrade by that if it suits"
    )
    return (Refusal(Reason.PLAN_CHANGED, message),)


def _way(plan: Plan) -> str:
    start = _told(plan.from_version)
    if plan.up_to_date:
        return f"nothing to do at {_with_hash(start, plan.from_hash)}"
    ends = start, _told(plan.to_version)
    # Two commits may be called alike, as after a tag was moved.
    if ends[0] == ends[1] and _known(plan.from_hash) != _known(plan.to_hash):
        ends = _with_hash(ends[0], plan.from_hash), _with_hash(ends[1], plan.to_hash)
    return f"{ends[0]} → {ends[1]}"


def _differences(old: Plan, new: Plan) -> Iterator[str]:
    """What else differs than the names of the versions."""
    for what, one, other in (("from", old.from_hash, new.from_hash), ("to", old.to_hash, new.to_hash)):
        if _known(one) != _known(other):
            yield f"{what} commit {_short(other)} instead of {_short(one)}"
    if old.commits_count != new.commits_count:
        yield f"{new.commits_count} commits instead of {old.commits_count}"
    if old.asset_name != new.asset_name:
        yield f"asset {new.asset_name or 'none'} instead of {old.asset_name or 'none'}"
    elif (old.asset_size, old.asset_digest) != (new.asset_size, new.asset_digest):
        yield f"{new.asset_name or 'the asset'} has another content ({_asset(old)}, now {_asset(new)})"
    for what in ("install", "upgrade", "remove"):
        one, other = getattr(old, f"packages_{what}"), getattr(new, f"packages_{what}")
        if one != other:
            yield f"packages to {what}: {', '.join(other) or 'none'} instead of {', '.join(one) or 'none'}"


def _asset(plan: Plan) -> str:
    size = f"{plan.asset_size} bytes" if plan.asset_size is not None else "size not known"
    return f"{size}, {plan.asset_digest[:19]}" if plan.asset_digest else size


def _known(value: str | Unknown) -> str:
    return value if isinstance(value, str) else ""


def _told(value: str | Unknown) -> str:
    return value if isinstance(value, str) else f"an unknown version ({value.reason})"


def _short(value: str | Unknown) -> str:
    return _known(value)[:8] or "none"


def _with_hash(version: str, commit: str | Unknown) -> str:
    return f"{version} ({_known(commit)[:8]})" if _known(commit) else version


class ShownPlans:
    """The plans that were shown last, a few for each app: what has changed since can then be said in words."""

    def __init__(self) -> None:
        self._shown: dict[AppName, deque[Plan]] = {}

    def add(self, plan: Plan) -> None:
        """Remember a plan that goes out to somebody."""
        plans = self._shown.setdefault(plan.name, deque(maxlen=_KEPT))
        for known in [one for one in plans if one.plan_id == plan.plan_id]:
            plans.remove(known)
        # Without the commits and notes, which may be long and decide nothing.
        plans.append(msgspec.structs.replace(plan, commits=(), release_notes=""))

    def find(self, app: AppName, plan_id: str) -> Plan | None:
        """The plan of an app that had this id; ``None`` when it was forgotten or never shown."""
        return next((plan for plan in self._shown.get(app, ()) if plan.plan_id == plan_id), None)
