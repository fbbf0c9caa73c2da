"""Why a clone must not be moved, restored or replaced: pure decisions, each with its sentence."""

from __future__ import annotations

import os
from collections.abc import Sequence

from trio_update.errors import Reason, Refusal
from trio_update.model import Unknown
from trio_update.text import named
from trio_update.updaters.git.facts import Change, Replacement, Wanted
from trio_update.updaters.git.kind import GitRepoConfig, GitStatus
from trio_update.updaters.space import Step, exact, shortage

# A file takes whole blocks of its file system.
_BLOCK = 4096


def refuse_held(config: GitRepoConfig) -> tuple[Refusal, ...]:
    """An app that its configuration holds back is not upgraded."""
    return (Refusal(Reason.HELD, f"{config.name} is held back: {config.hold}"),) if config.hold else ()


def refuse_invalid(config: GitRepoConfig, status: GitStatus) -> tuple[Refusal, ...]:
    """An app that needs a recovery first is not moved."""
    return () if status.is_valid else (cannot_update(config, "; ".join(status.warnings)),)


def cannot_update(config: GitRepoConfig, why: str) -> Refusal:
    """The refusal of what a recovery has to mend first."""
    if "recover the app" in why.lower():
        return Refusal(Reason.INVALID, f"{config.name} cannot be updated: {why}")
    return Refusal(Reason.INVALID, f"{config.name} cannot be updated: {why}. Recover it first.")


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
    for why in change.missing:
        refuse(why)
    if change.changed_in_hiding:
        refuse(
            f"you changed files that are hidden from git ({named(change.changed_in_hiding)}), which the "
            "update would overwrite: show them to it with `git update-index --no-assume-unchanged FILE`"
        )
    elif change.concealed:
        refuse(f"files that are hidden from git (assume-unchanged, skip-worktree) change: {named(change.concealed)}")
    found += (*refuse_locked(change), *refuse_mounted(change))
    for what, name in dependency_files(config):
        if os.fsencode(name) in change.files:
            refuse(f"{what} change ({name}), and this version cannot install them")
    if change.packages:
        names = ", ".join(change.packages)
        refuse(f"{config.install_script} names further system packages ({names}), and this version cannot install them")
    if (short := shortage(space_steps(change, to), change.disk)) is not None:
        found.append(short)
    return tuple(found)


def refuse_locked(change: Change) -> tuple[Refusal, ...]:
    """Folders that ``sudo`` has left."""
    return refuse_locked_paths(change.locked)


def refuse_locked_paths(locked: Sequence[str]) -> tuple[Refusal, ...]:
    """What this user can neither write, replace nor remove."""
    if not locked:
        return ()
    names = named(locked)
    why = (
        f"there are folders or files in the clone that cannot be written to: {names}. Give them to the user that "
        "trio-update runs as (sudo chown -R), then try again"
    )
    return (Refusal(Reason.INVALID, why),)


def refuse_mounted(change: Change) -> tuple[Refusal, ...]:
    """What is mounted on a file can be neither replaced nor removed."""
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
    found += refuse_locked_paths(way.locked)
    if not way.url:
        why = f"{config.name} has no remote to clone from: set `origin` in its section"
        found.append(Refusal(Reason.INVALID, why))
    return tuple(found)


def dependency_files(config: GitRepoConfig) -> list[tuple[str, str]]:
    """What the app needs besides itself, in words, and the files in the clone that say so."""
    files_of = [
        ("its Python requirements", config.requirements),
        ("its system packages", config.system_dependencies),
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
