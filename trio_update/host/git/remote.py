"""Asking a remote: what is brought into our namespace, whatever the clone's own refspecs and refs are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from trio_update.errors import CommandFailed
from trio_update.host.git.folder import GitFolder
from trio_update.host.git.lanes import alone
from trio_update.host.git.output import Settings, text
from trio_update.host.git.packed import seed_tags
from trio_update.host.git.refs import Followed
from trio_update.host.git.repository import Repository
from trio_update.host.git.transfer import bring, delete_refs, fetch
from trio_update.host.threads import in_thread
from trio_update.progress import Report

# A server that counts or compresses objects says so every second; silence for this long means that it is gone.
FETCH_SILENCE = 60.0
# A command line of refspecs stays well below what the system takes.
_REFSPECS = 500

_NO_BRANCH = re.compile(r"couldn't find remote ref (?!HEAD)", re.IGNORECASE)
_TAKEN = re.compile(r"'(?P<there>refs/[^']+)' exists; cannot create '(?P<wanted>refs/[^']+)'")


@dataclass(frozen=True)
class Gone:
    """The branch is not on the remote; ``default``: the one that the remote shows instead, if it tells."""

    default: str | None


async def ask(
    repository: Repository,
    folder: GitFolder,
    followed: Followed,
    settings: Settings,
    report: Report,
    *,
    submodules: bool = False,
) -> Gone | None:
    """Bring the branch and the remote's tags, forced and pruned; ``None``: it was brought.

    The user's own refs are kept as git-fetch would: the remote-tracking ref where the clone's refspecs map the branch,
    and tags that are new to the clone, so that the app's own ``git describe`` goes on telling its version.  Tags that
    the clone has are never moved or removed.  Raises: OperationFailed.
    """
    own_ref, shallow = followed.own_ref(settings), folder.shallow
    if not shallow:
        async with alone(folder.common_dir):
            await in_thread(seed_tags, folder, followed.tags)
    try:
        await _fetch(repository, followed, settings, own_ref, report, shallow=shallow, submodules=submodules)
    except CommandFailed as failed:
        if not _NO_BRANCH.search(failed.output):
            raise
        await delete_refs(repository, followed.head, *([own_ref] if own_ref is not None else []))
        return Gone(await default_branch(repository, followed.remote))
    if shallow:
        await _fetch_tags_of_shallow(repository, followed, report)
    return None


async def _fetch(
    repository: Repository,
    followed: Followed,
    settings: Settings,
    own_ref: str | None,
    report: Report,
    *,
    shallow: bool,
    submodules: bool,
) -> None:
    branch = f"refs/heads/{followed.branch}"
    refspecs = [f"+{branch}:{followed.head}"]
    if not shallow:  # git would bring the whole history of every tag
        refspecs.append(f"+refs/tags/*:{followed.tags}*")
    tags = settings.get(f"remote.{followed.remote}.tagopt") not in {"--tags", "--no-tags"}
    refmap = f"+{branch}:{own_ref}" if own_ref is not None else ""
    bring = partial(
        fetch,
        repository,
        followed.remote,
        refspecs=refspecs,
        submodules=submodules,
        report=report,
        silence=FETCH_SILENCE,
    )
    try:
        await bring(refmap=refmap, tags=tags)
    except CommandFailed as failed:
        if await _make_room(repository, followed, own_ref, failed) is None:
            refmap = ""
        # What remains in the way is among the user's own tags.
        await bring(refmap=refmap, tags=False)


async def _make_room(
    repository: Repository, followed: Followed, own_ref: str | None, failed: CommandFailed
) -> str | None:
    """After a fetch that could not write a ref because ``release`` is in the way of ``release/1.1``.

    The remote has no ref of the older name any more, so ours and remote-tracking ones of that name go; a tag or branch
    of the user's stays.  Returns the remote-tracking ref that can be written now, if one can.  Raises what failed when
    it was something else.
    """
    pairs = [(found["there"], found["wanted"]) for found in _TAKEN.finditer(failed.output)]
    if not pairs:
        raise failed
    stale = {
        there for there, _ in pairs if there.startswith((f"{followed.space}/", f"refs/remotes/{followed.remote}/"))
    }
    # git names one of several.
    below = [wanted for there, wanted in pairs if there in stale and there.startswith(f"{wanted}/")]
    if below:
        listed = await repository.git("for-each-ref", "--format=%(refname)", *below)
        stale.update(line for line in text(listed.stdout).split("\n") if line)
    await delete_refs(repository, *sorted(stale))
    blocked = any(wanted == own_ref and there not in stale for there, wanted in pairs)
    return None if blocked else own_ref


async def default_branch(repository: Repository, remote: str) -> str | None:
    """The branch that the remote's HEAD names, or the only one that there is.  Raises: OperationFailed."""
    done = await repository.git(
        "ls-remote", "--symref", "--end-of-options", remote, "HEAD", "refs/heads/*", timeout=FETCH_SILENCE
    )
    branches = []
    for line in text(done.stdout).split("\n"):
        what, _, name = line.partition("\t")
        if what.startswith("ref: refs/heads/") and name == "HEAD":
            return what.removeprefix("ref: refs/heads/")
        if name.startswith("refs/heads/"):
            branches.append(name.removeprefix("refs/heads/"))
    return branches[0] if len(branches) == 1 else None


async def _fetch_tags_of_shallow(repository: Repository, followed: Followed, report: Report) -> None:
    """Bring the tags of commits that a shallow clone has; others would bring the history that it leaves out."""
    there, commits = await _remote_tags(repository, followed.remote), await _local_commits(repository, followed)
    wanted = {name: oid for name, (oid, commit) in there.items() if commit in commits}
    listed = await repository.git("for-each-ref", "--format=%(objectname) %(refname)", followed.tags.rstrip("/"))
    had = {}
    for line in text(listed.stdout).split("\n"):
        oid, _, ref = line.partition(" ")
        had[ref.removeprefix(followed.tags)] = oid
    await delete_refs(repository, *(followed.tags + name for name in had if name and name not in wanted))
    missing = [name for name, oid in wanted.items() if had.get(name) != oid]
    for start in range(0, len(missing), _REFSPECS):
        refspecs = [f"+refs/tags/{name}:{followed.tags}{name}" for name in missing[start : start + _REFSPECS]]
        await fetch(
            repository, followed.remote, refspecs=refspecs, refmap="", tags=False, report=report, silence=FETCH_SILENCE
        )


async def _remote_tags(repository: Repository, remote: str) -> Mapping[str, tuple[str, str]]:
    """The remote's tags by name: the object of each, and what it leads to."""
    done = await repository.git("ls-remote", "--tags", "--end-of-options", remote, timeout=FETCH_SILENCE)
    found: dict[str, tuple[str, str]] = {}
    for line in text(done.stdout).split("\n"):
        oid, _, ref = line.partition("\t")
        name = ref.removeprefix("refs/tags/")
        if name.endswith("^{}"):
            name = name.removesuffix("^{}")
            found[name] = (found[name][0], oid)  # stands behind the tag itself
        elif name:
            found[name] = (oid, oid)
    return found


async def _local_commits(repository: Repository, followed: Followed) -> frozenset[str]:
    # git cat-file would ask a partial clone's remote for each commit that is missing.
    done = await repository.git("rev-list", "--end-of-options", followed.head, "HEAD", check=(0, 128))
    return frozenset(text(done.stdout).split())


async def deepen(repository: Repository, followed: Followed, commits: int, report: Report) -> None:
    """Bring some more history of a shallow clone, ``commits`` of each end.  Raises: OperationFailed."""
    await bring(
        repository,
        *("--no-tags", "--refmap=", f"--deepen={commits}", "--recurse-submodules=no"),
        *("--end-of-options", followed.remote, f"+refs/heads/{followed.branch}:{followed.head}"),
        report=report,
        silence=FETCH_SILENCE,
    )
