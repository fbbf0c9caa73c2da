"""What a request to a release app leads to: pure decisions from what was seen, to a plan and refusals."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from msgspec.structs import replace as replaced

from trio_update.errors import Reason, Refusal
from trio_update.model import Asset, Plan, Unknown
from trio_update.text import named
from trio_update.updaters.base import Decision, Recover, Request, Rollback, Target, Upgrade
from trio_update.updaters.place import nothing_to_install, warn_of_packages, will_install
from trio_update.updaters.plans import identified
from trio_update.updaters.release.goal import Goal
from trio_update.updaters.release.info import RELEASE_INFO
from trio_update.updaters.release.kind import ReleaseConfig, ReleaseStatus
from trio_update.updaters.release.look import Look
from trio_update.updaters.space import Disk, Step, exact, shortage, tightness, upper_bound
from trio_update.versions import NOT_INSTALLED

# Releases of one app resemble each other in size, and in how well they can be packed; twice that is to the safe side.
_GROWTH = 2
# What text and programs can be packed to, where no kept archive of the app says better.
_USUAL_RATIO = 2.5


@dataclass(frozen=True)
class Sight:
    """What was seen of the disk with regard to one goal.

    ``mounted``: what is mounted inside the folder; ``foreign``: folders in it that this user cannot empty.
    ``installed_size``: bytes of the installed version, the user's persistent files aside.  ``keeps``: it is not on the
    shelf, and is put there first.  ``unpacked``: bytes of the wanted one, where its archive is on the shelf.
    ``lists``: names of its lists of packages that differ from the installed ones, ``None`` while that is not known.
    ``ratio``: unpacked bytes to packed ones of the installed version's archive, if that is there.
    """

    disk: Disk
    mounted: tuple[bytes, ...] = ()
    foreign: tuple[bytes, ...] = ()
    installed_size: int = 0
    keeps: bool = False
    unpacked: int | None = None
    lists: tuple[str, ...] | None = None
    ratio: float | None = None


@dataclass(frozen=True, kw_only=True)
class ReleaseDecision(Decision):
    """``goal`` ``None``: there is nothing to do, or it is refused.  ``old``: the installed version."""

    seen: Look | None = None
    goal: Goal | None = None
    old: Target = field(default_factory=lambda: Target(""))


def decide(
    config: ReleaseConfig,
    request: Request,
    known: ReleaseStatus,
    seen: Look,
    goal: Goal | None,
    sight: Sight,
    refusals: tuple[Refusal, ...],
    *,
    current: bool,
) -> ReleaseDecision:
    """``goal``: what :mod:`~trio_update.updaters.release.goal` found; ``refusals``: what spoke against it already.

    ``current``: there is none because the installed version is the newest.
    """
    plan = _plan(config, known, seen, goal, sight)
    if goal is not None:
        refusals = (*refusals, *refuse_goal(config, request, seen, goal, sight))
        steps = space_steps(config, seen, goal, sight)
        plan = replaced(plan, disk_needed=upper_bound(steps))
        if tight := tightness(steps, sight.disk):
            plan = replaced(plan, warnings=(*plan.warnings, tight))
        if sight.lists is None and config.dependency_files and seen.exists and not isinstance(request, Recover):
            told = f"whether {goal.version} needs other packages shows only when it has been downloaded"
            plan = replaced(plan, warnings=(*plan.warnings, told))
    elif seen.vacancy is not None and not refusals:
        why = nothing_to_install(config.path, "its releases have not been asked for yet, refresh it first")
        refusals = (Refusal(Reason.INVALID, f"{config.name} cannot be updated: {why}"),)
    elif current:
        plan = replaced(plan, up_to_date=True, to_version=plan.from_version, download_bytes=0, disk_needed=0)
    return _decided(
        ReleaseDecision(
            request=request,
            known=known,
            plan=plan,
            refusals=refusals,
            seen=seen,
            goal=goal,
            old=Target(_present(seen)),
        )
    )


def _present(seen: Look) -> str:
    if seen.info is not None:
        return seen.info.version
    return NOT_INSTALLED if seen.vacancy is not None else ""


def decide_nothing(config: ReleaseConfig, request: Request, known: ReleaseStatus, why: str) -> ReleaseDecision:
    """The disk could not be read."""
    refusals = (*refuse_held(config, request), Refusal(Reason.INVALID, f"{config.name} cannot be updated: {why}"))
    disk = Disk(config.path, Unknown(why))
    return _decided(ReleaseDecision(request=request, known=known, plan=_blank(config, known, disk), refusals=refusals))


def _decided(decision: ReleaseDecision) -> ReleaseDecision:
    """With the messages and the id in the plan, and no goal where there are refusals."""
    messages = tuple(refusal.message for refusal in decision.refusals)
    plan = identified(replaced(decision.plan, refusals=messages), type(decision.request).__name__)
    return replace(decision, plan=plan, goal=None if decision.refusals else decision.goal)


def refuse_held(config: ReleaseConfig, request: Request) -> tuple[Refusal, ...]:
    """An app that its configuration holds back is not upgraded."""
    if not config.hold or not isinstance(request, Upgrade):
        return ()
    return (Refusal(Reason.HELD, f"{config.name} is held back: {config.hold}"),)


def refuse_state(config: ReleaseConfig, request: Request, seen: Look) -> tuple[Refusal, ...]:
    """Why nothing can be done to the app as it was found, whatever the version."""
    refusals = list(refuse_held(config, request))
    if seen.obstacles:
        why = f"{config.name} cannot be updated: {'; '.join(seen.obstacles)}"
    elif seen.vacancy is not None:
        if not isinstance(request, Rollback):
            return tuple(refusals)
        why = f"{config.name} is {NOT_INSTALLED}, so that there is nothing to go back from: use an upgrade"
        return (*refusals, Refusal(Reason.BAD_VERSION, why))
    elif seen.broken and not isinstance(request, Recover):
        why = f"{config.name} cannot be updated: {seen.broken}. Recover it first."
    elif seen.place.executable and seen.info is None:
        why = (
            f"{seen.broken}, and nothing else says which program this is: write {RELEASE_INFO} by hand "
            "(project_owner, project_name, version, asset_name), or install the app anew"
        )
    elif seen.info is not None and seen.program.refusal:
        why = f"{config.name} cannot be updated: {seen.place.folder / seen.info.asset_name} {seen.program.refusal}"
    else:
        return tuple(refusals)
    return (*refusals, Refusal(Reason.INVALID, why))


def refuse_goal(config: ReleaseConfig, request: Request, seen: Look, goal: Goal, sight: Sight) -> tuple[Refusal, ...]:
    """Why the app cannot go to a version, as far as that can be told before it is there."""
    refusals = [Refusal(Reason.INVALID, why) for why in immovable(seen, sight)]
    if sight.lists and not isinstance(request, Recover):
        refusals.append(refuse_lists(config, goal.version, sight.lists))
    if (short := shortage(space_steps(config, seen, goal, sight), sight.disk)) is not None:
        refusals.append(short)
    return tuple(refusals)


def immovable(seen: Look, sight: Sight) -> list[str]:
    """Why a folder could not be removed once it is replaced."""
    found = []
    if sight.mounted:
        names = _named(sight.mounted)
        found.append(f"something is mounted inside the folder, at {names}: unmount it, then try again")
    if sight.foreign:
        found.append(
            f"there are folders in {seen.place.folder} that belong to somebody else and could not be removed "
            f"afterwards: {_named(sight.foreign)}. Give them to the user that trio-update runs as (sudo chown -R), "
            "then try again"
        )
    return found


def refuse_lists(config: ReleaseConfig, version: str, changed: Sequence[str]) -> Refusal:
    """The refusal of a version that needs other packages."""
    return Refusal(
        Reason.INVALID,
        f"{config.name} cannot go to {version}: it needs other packages ({', '.join(changed)} changed), "
        "and this version of trio-update cannot install them: update the app by hand",
    )


def space_steps(config: ReleaseConfig, seen: Look, goal: Goal, sight: Sight) -> tuple[Step, ...]:
    """What an installation writes beside what is there: the download, what comes out of it, the version before.

    All three lie on the disk at once until the switch.  Only an archive itself tells how much comes out of it, so for
    one that has to be downloaded the bound is twice the larger of two: what is installed now, and the download times
    the ratio by which the installed version's archive was packed.  Nothing is refused for that bound: the archive is
    judged again when it is there.
    """
    name, size = _asset_of(goal)
    steps = []
    if goal.kept is None:
        untold = Unknown(f"the forge does not tell the size of {name}" if goal.asset else "the release is not known")
        steps.append(exact(f"downloading {name}", size) if size is not None else Step(f"downloading {name}", 0, untold))
    unpacking = f"unpacking {name}"
    if seen.place.executable and size is not None:
        steps.append(exact(unpacking, size))
    elif sight.unpacked is not None:
        steps.append(exact(unpacking, sight.unpacked))
    elif size is not None and not seen.place.executable:
        packed = int(size * max(sight.ratio or _USUAL_RATIO, 1))
        steps.append(Step(unpacking, 0, _GROWTH * max(packed, sight.installed_size)))
    if sight.keeps:
        version = seen.info.version if seen.info is not None else "what is installed"
        # What its release brought is less, where that can be had.
        steps.append(Step(f"keeping {version}", 0, sight.installed_size))
    return tuple(steps)


def _asset_of(goal: Goal) -> tuple[str, int | None]:
    if goal.kept is not None:
        return goal.kept.record.asset_name, goal.kept.record.size
    return (goal.asset.name, goal.asset.size) if goal.asset is not None else (f"the asset of {goal.version}", None)


def _blank(config: ReleaseConfig, known: ReleaseStatus, disk: Disk, losses: tuple[str, ...] = ()) -> Plan:
    untold = Unknown("the release is not known")
    return Plan(
        name=config.name,
        up_to_date=False,
        from_version=known.version,
        to_version=known.remote_version,
        from_hash="",
        to_hash="",
        download_bytes=untold,
        services=config.managed_services,
        disk_free=disk.free,
        disk_needed=untold,
        warnings=(*known.anomalies, *losses),
    )


def _plan(config: ReleaseConfig, known: ReleaseStatus, seen: Look, goal: Goal | None, sight: Sight) -> Plan:
    plan = _blank(config, known, sight.disk, seen.program.warnings if goal is not None else ())
    if version := _present(seen):
        plan = replaced(plan, from_version=version)
    if seen.vacancy is not None:
        # The status says the same as an anomaly, which a plan would have from its last look.
        told = (
            ()
            if seen.obstacles
            else (will_install(config.name, config.path), *warn_of_packages(config.dependency_files))
        )
        others = (warning for warning in plan.warnings if warning not in told)
        plan = replaced(plan, warnings=(*told, *others))
    if goal is None:
        return plan
    asset = _identity(goal)
    size = asset.size if asset is not None else None
    untold = Unknown("the forge does not tell it" if asset is not None else "the release is not known")
    return replaced(
        plan,
        to_version=goal.version,
        release_notes=goal.release.notes if goal.release is not None else "",
        asset_name=asset.name if asset is not None else "",
        asset_size=size,
        asset_digest=asset.digest if asset is not None else "",
        download_bytes=0 if goal.kept is not None else (size if size is not None else untold),
    )


def _identity(goal: Goal) -> Asset | None:
    """What will be installed, wherever it comes from."""
    if goal.asset is not None or goal.kept is None:
        return goal.asset
    record = goal.kept.record
    return Asset(name=record.asset_name, url="", size=record.size, digest=f"sha256:{record.sha256}")


def _named(paths: tuple[bytes, ...]) -> str:
    return named(tuple(os.fsencode(path) for path in paths))
