"""What a request to a clone leads to: pure decisions from what was seen, to a plan, refusals and a way to go."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from msgspec.structs import replace as replaced

from trio_update.errors import Reason, Refusal
from trio_update.host.git.folder import GitFolder
from trio_update.host.git.output import Settings
from trio_update.model import Commit, Plan, Release, Unknown
from trio_update.updaters.base import Decision, Recover, Request, Rollback, Target, Upgrade
from trio_update.updaters.git.facts import Change, Facts, Seen
from trio_update.updaters.git.judge import named
from trio_update.updaters.git.kind import GitRepoConfig, GitStatus
from trio_update.updaters.plans import identified
from trio_update.updaters.space import Disk, Step, exact, shortage, upper_bound

# A file takes whole blocks of its file system.
_BLOCK = 4096
_NAMED = 5


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


@dataclass(frozen=True)
class OldClone:
    """What can still be learned of a clone that is to be replaced; everything may be missing."""

    folder: GitFolder | None
    settings: Settings
    head: str | None

    @property
    def filter(self) -> str | None:
        return self.settings.get("remote.origin.partialclonefilter")


@dataclass(frozen=True)
class Replacement:
    """Hard recovery: a fresh clone of ``url`` in the place of ``old``, which really is at ``live``.

    ``mounted``: where in it something is mounted.  ``depth`` is of a shallow clone.
    """

    old: OldClone
    live: Path
    url: str
    disk: Disk
    mounted: tuple[bytes, ...] = ()
    depth: int | None = None


@dataclass(frozen=True, kw_only=True)
class GitDecision(Decision):
    """``way``: what is to be done; ``None`` when there is nothing, or when it is refused."""

    way: Move | Restore | Replacement | None = None
    old: Target = field(default_factory=lambda: Target(""))


@dataclass(frozen=True)
class Wanted:
    """An earlier version that a rollback names: its commit if the clone has it, and whether HEAD contains that."""

    name: str
    commit: str | None = None
    version: str = ""
    behind: bool = False


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
        return _decided(GitDecision(request=request, known=known, plan=plan, refusals=refusals, old=old))
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
        return _decided(GitDecision(request=request, known=known, plan=plan, refusals=refusals, old=old))
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
    return _decided(GitDecision(request=request, known=known, plan=plan, refusals=refusals, old=way.old, way=way))


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
    refusals = (*_refuse_locked(way.change), *_refuse_mounted(way.change))
    decision = GitDecision(request=request, known=known, plan=plan, refusals=refusals, old=way.old, way=way)
    return _decided(decision)


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
    return _decided(
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
    return _decided(GitDecision(request=request, known=known, plan=plan, refusals=(*held, *refusals)))


def _decided(decision: GitDecision) -> GitDecision:
    """With the messages and the id in the plan, and no way to go where there are refusals."""
    messages = tuple(refusal.message for refusal in decision.refusals)
    plan = identified(replaced(decision.plan, refusals=messages), type(decision.request).__name__)
    return replace(decision, plan=plan, way=None if decision.refusals else decision.way)


def refuse_held(config: GitRepoConfig) -> tuple[Refusal, ...]:
    """An app that its configuration holds back is not upgraded."""
    return (Refusal(Reason.HELD, f"{config.name} is held back: {config.hold}"),) if config.hold else ()


def refuse_invalid(config: GitRepoConfig, status: GitStatus) -> tuple[Refusal, ...]:
    """An app that needs a recovery first is not moved."""
    return () if status.is_valid else (cannot_update(config, "; ".join(status.warnings)),)


def cannot_update(config: GitRepoConfig, why: str) -> Refusal:
    """The refusal of what a recovery has to mend first."""
    return Refusal(Reason.INVALID, f"{config.name} cannot be updated: {why}. Recover it first.")


def earlier_version(request: Rollback) -> str | None:
    """The version that a rollback is about; ``None``: the app had none before."""
    if request.version is not None:
        return request.version
    return request.earlier[-1].version if request.earlier else None


def recorded_commit(earlier: Sequence[Release], wanted: str) -> str | None:
    """The commit that an earlier update had recorded for a version."""
    return next((release.hash for release in reversed(earlier) if release.version == wanted), None)


def refuse_version(config: GitRepoConfig, wanted: Wanted | None, head: str | None) -> tuple[Refusal, ...]:
    """Why a rollback cannot go to the version that it names."""
    if wanted is None:
        why = f"{config.name} was not updated yet: there is no earlier version to go back to"
    elif wanted.commit is None:
        why = f"{config.name} has no version '{wanted.name}'"
    elif wanted.commit == head:
        why = f"{config.name} is at {wanted.name} already"
    elif not wanted.behind:
        why = f"'{wanted.name}' is no earlier version of {config.name}: use an upgrade"
    else:
        return ()
    return (Refusal(Reason.BAD_VERSION, why),)


def refuse_change(config: GitRepoConfig, change: Change, to: str) -> tuple[Refusal, ...]:
    """Why a move would lose something of the user's, fail in its middle, or leave the app without what it needs."""
    found: list[Refusal] = []

    def refuse(why: str) -> None:
        found.append(Refusal(Reason.INVALID, f"{config.name} cannot go to {to}: {why}"))

    if change.taken:
        refuse(f"untracked files are in the place of new ones, move them away: {named(change.taken)}")
    if change.changed_in_hiding:
        refuse(
            f"you changed files that are hidden from git ({', '.join(change.changed_in_hiding[:_NAMED])}), which the "
            "update would overwrite: show them to it with `git update-index --no-assume-unchanged FILE`"
        )
    elif change.concealed:
        refuse(f"files that are hidden from git (assume-unchanged, skip-worktree) change: {named(change.concealed)}")
    found += (*_refuse_locked(change), *_refuse_mounted(change))
    for what, name in _dependency_files(config):
        if os.fsencode(name) in change.files:
            refuse(f"{what} change ({name}), and this version cannot install them")
    if (short := shortage(space_steps(change, to), change.disk)) is not None:
        found.append(short)
    return tuple(found)


def _refuse_locked(change: Change) -> tuple[Refusal, ...]:
    if not change.locked:
        return ()
    more = len(change.locked) - _NAMED
    names = ", ".join(change.locked[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    why = (
        f"there are folders in the clone that cannot be written to: {names}. Give them to the user that trio-update "
        "runs as (sudo chown -R), then try again"
    )
    return (Refusal(Reason.INVALID, why),)


def _refuse_mounted(change: Change) -> tuple[Refusal, ...]:
    if not change.mounted:
        return ()
    why = f"something is mounted on files that change: {named(change.mounted)}. Unmount it, then try again"
    return (Refusal(Reason.INVALID, why),)


def refuse_replacement(config: GitRepoConfig, way: Replacement) -> tuple[Refusal, ...]:
    """Why a fresh clone cannot take the place of the old one."""
    if way.old.folder is not None and way.old.folder.linked:
        why = f"{config.path} is a worktree or submodule of another repository: a fresh clone cannot take its place"
        return (Refusal(Reason.NOT_SUPPORTED, why),)
    found = []
    place = os.fsencode(way.live)
    if place in way.mounted:
        why = f"{way.live} is a mount point, which cannot be exchanged: move the clone into a folder on it"
        found.append(Refusal(Reason.NOT_SUPPORTED, why))
    elif way.mounted:
        first = os.fsdecode(way.mounted[0])
        why = f"{first} is mounted inside the clone and would go away with it: unmount it first"
        found.append(Refusal(Reason.NOT_SUPPORTED, why))
    if not way.url:
        why = f"{config.name} has no remote to clone from: set `origin` in its section"
        found.append(Refusal(Reason.INVALID, why))
    return tuple(found)


def _dependency_files(config: GitRepoConfig) -> list[tuple[str, str]]:
    files_of = [
        ("its Python requirements", config.requirements),
        ("its system packages", config.system_dependencies),
        ("its system packages", config.install_script),
    ]
    if config.enable_node_updates:
        files_of += [("its node packages", "package.json"), ("its node packages", "package-lock.json")]
    return [(what, name) for what, name in files_of if name]


def space_steps(change: Change, to: str) -> tuple[Step, ...]:
    """What a move writes: each new or changed file in whole blocks, and a second index until that replaces the first.

    git removes a file before it writes it anew, so that this is never exceeded, not by an undo either.  Folders and
    what filters (line ends, LFS) make of a file are not known to git's objects, the reserve is for those.
    """
    what = f"going to {to}"
    if change.sizes is None:
        if any(found.is_submodule for found in change.files.values()):
            return (Step(what, 0, Unknown("submodules change, whose files git does not count")),)
        return (Step(what, 0, Unknown("a partial clone gets its files only when they are needed")),)
    blocks = sum(-(-size // _BLOCK) * _BLOCK for size in (*change.sizes, 2 * change.index_size))
    return (exact(what, blocks),)


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
