"""What a request to a clone leads to: pure decisions from what was seen, to a plan, refusals and a way to go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from msgspec.structs import replace as replaced

from trio_update.errors import Refusal
from trio_update.host.git.output import Settings
from trio_update.model import Commit, Plan, Release, Unknown
from trio_update.updaters.base import Decision, Recover, Request, Rollback, Target, Upgrade
from trio_update.updaters.git.facts import Change, Facts, Install, Replacement, Seen, Wanted
from trio_update.updaters.git.kind import GitRepoConfig, GitStatus
from trio_update.updaters.git.refuse import (
    refuse_change,
    refuse_held,
    refuse_invalid,
    refuse_locked,
    refuse_mounted,
    refuse_replacement,
    refuse_version,
    space_steps,
)
from trio_update.updaters.plans import identified
from trio_update.updaters.space import upper_bound


@dataclass(frozen=True)
class Move:
    """From one commit to another in place."""

    seen: Seen
    old: Target
    new: Target
    change: Change
    commits: tuple[Commit, ...] = ()
    commits_count: int = 0


@dataclass(frozen=True)
class Restore:
    """Soft recovery: back to ``new``, a commit of the primary branch, whose tip on ``remote`` is ``tip``."""

    facts: Facts
    old: Target
    new: Target
    remote: str
    tip: str
    change: Change


@dataclass(frozen=True, kw_only=True)
class GitDecision(Decision):
    """``way``: what is to be done; ``None`` when there is nothing, or when it is refused."""

    way: Move | Restore | Replacement | Install | None = None
    old: Target = field(default_factory=lambda: Target(""))


def decide_upgrade(
    config: GitRepoConfig, request: Upgrade, known: GitStatus, facts: Facts, status: GitStatus, change: Change
) -> GitDecision:
    """``facts`` and the ``status`` judged from them; ``change`` to their target, empty where that is HEAD."""
    old = _present(facts)
    refusals = (*refuse_held(config), *refuse_invalid(config, status))
    plan = _plan(config, known, status, change)
    if facts.target is None or facts.target == facts.head or facts.target_version is None:
        if status.current_hash == status.remote_hash:
            plan = replaced(plan, up_to_date=True, download_bytes=0, disk_needed=0)
        return decided(GitDecision(request=request, known=known, plan=plan, refusals=refusals, old=old))
    new = Target(facts.target_version.short, facts.target)
    way = Move(facts.seen, old, new, change, facts.commits, facts.commits_count)
    return _moving(config, request, known, plan, way, refusals)


def decide_rollback(
    config: GitRepoConfig,
    request: Rollback,
    known: GitStatus,
    facts: Facts,
    status: GitStatus,
    wanted: Wanted | None,
    change: Change,
) -> GitDecision:
    """``wanted`` is what :func:`earlier_version` names, looked up; ``change`` leads to it.  A hold does not matter."""
    old = _present(facts)
    refusals = refuse_invalid(config, status) or refuse_version(config, wanted, facts.head)
    plan = replaced(_plan(config, known, status, change), commits=(), commits_count=0)
    if wanted is None or wanted.commit is None or not wanted.behind:
        plan = replaced(plan, to_version=_unknown(wanted), to_hash=_unknown(wanted))
        return decided(GitDecision(request=request, known=known, plan=plan, refusals=refusals, old=old))
    way = Move(facts.seen, old, Target(wanted.version, wanted.commit), change)
    return _moving(config, request, known, plan, way, refusals)


def _unknown(wanted: Wanted | None) -> Unknown:
    return Unknown(f"{wanted.name} is no earlier version" if wanted else "there is no earlier version")


def _moving(
    config: GitRepoConfig,
    request: Request,
    known: GitStatus,
    plan: Plan,
    way: Move,
    refusals: tuple[Refusal, ...],
) -> GitDecision:
    refusals = (*refusals, *refuse_change(config, way.change, way.new.version))
    plan = replaced(
        plan,
        to_version=way.new.version,
        to_hash=way.new.hash,
        commits=way.commits,
        commits_count=way.commits_count,
        download_bytes=_download(way.seen.settings, way.change),
        disk_needed=upper_bound(space_steps(way.change, way.new.version)),
    )
    return decided(GitDecision(request=request, known=known, plan=plan, refusals=refusals, old=way.old, way=way))


def decide_restore(config: GitRepoConfig, request: Recover, known: GitStatus, way: Restore) -> GitDecision:
    """A soft recovery: a dirty, diverged or held app is what it is for."""
    plan = replaced(
        blank_plan(config, known),
        from_version=way.old.version or known.version,
        from_hash=way.old.hash or known.current_hash,
        to_version=way.new.version,
        to_hash=way.new.hash,
        download_bytes=0,
        disk_needed=Unknown("a recovery writes whatever it finds changed"),
        disk_free=way.change.disk.free,
    )
    refusals = (*refuse_locked(way.change), *refuse_mounted(way.change))
    decision = GitDecision(request=request, known=known, plan=plan, refusals=refusals, old=way.old, way=way)
    return decided(decision)


def decide_replacement(config: GitRepoConfig, request: Recover, known: GitStatus, way: Replacement) -> GitDecision:
    """A hard recovery."""
    version = known.version if isinstance(known.version, str) else ""
    fresh = Unknown("the fresh clone tells it")
    plan = replaced(
        blank_plan(config, known),
        # The former commit, when the branch still has it.
        to_version=known.version,
        to_hash=way.old.head or fresh,
        download_bytes=Unknown("git tells it only while it clones"),
        disk_needed=Unknown("git tells it only while it clones"),
        disk_free=way.disk.free,
    )
    return decided(
        GitDecision(
            request=request,
            known=known,
            plan=plan,
            refusals=refuse_replacement(config, way),
            old=Target(version, way.old.head or ""),
            way=way,
        )
    )


def decide_nothing(
    config: GitRepoConfig, request: Request, known: GitStatus, refusals: tuple[Refusal, ...]
) -> GitDecision:
    """Nothing can be decided of a clone that could not be read: why, and what was known of it before."""
    held = refuse_held(config) if isinstance(request, Upgrade) else ()
    plan = blank_plan(config, known)
    return decided(GitDecision(request=request, known=known, plan=plan, refusals=(*held, *refusals)))


def decided(decision: GitDecision) -> GitDecision:
    """With the messages and the id in the plan, and no way to go where there are refusals."""
    messages = tuple(refusal.message for refusal in decision.refusals)
    plan = identified(replaced(decision.plan, refusals=messages), type(decision.request).__name__)
    return replace(decision, plan=plan, way=None if decision.refusals else decision.way)


def earlier_version(request: Rollback) -> str | None:
    """The version that a rollback is about; ``None``: the app had none before."""
    if request.version is not None:
        return request.version
    return request.earlier[-1].version if request.earlier else None


def recorded_commit(earlier: Sequence[Release], wanted: str) -> str | None:
    """The commit that an earlier update had recorded for a version."""
    return next((release.hash for release in reversed(earlier) if release.version == wanted), None)


def _download(settings: Settings, change: Change) -> int | Unknown:
    """After a fetch the objects are there, but for those that a partial clone leaves out."""
    if settings.promisor() is None:
        return 0
    if all(not found.object.strip("0") for found in change.files.values()):
        return 0
    return Unknown("a partial clone gets its files only when they are needed")


def _present(facts: Facts) -> Target:
    return Target(facts.version.short if facts.version else "", facts.head or "")


def blank_plan(config: GitRepoConfig, known: GitStatus) -> Plan:
    """A plan by what was known of the app, with nothing found out yet."""
    untold = Unknown("it is not known what would be done")
    return Plan(
        name=config.name,
        up_to_date=False,
        from_version=known.version,
        to_version=known.remote_version,
        from_hash=known.current_hash,
        to_hash=known.remote_hash,
        download_bytes=untold,
        services=config.managed_services,
        disk_free=untold,
        disk_needed=untold,
        warnings=known.anomalies,
    )


def _plan(config: GitRepoConfig, known: GitStatus, status: GitStatus, change: Change) -> Plan:
    return replaced(
        blank_plan(config, known),
        from_version=status.version,
        to_version=status.remote_version,
        from_hash=status.current_hash,
        to_hash=status.remote_hash,
        commits=status.commits_behind,
        commits_count=status.commits_behind_count,
        disk_free=change.disk.free,
    )
