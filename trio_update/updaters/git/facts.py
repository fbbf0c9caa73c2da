"""What can be seen of a clone, as values: collected by looking, judged by pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trio_update.host.git.folder import GitFolder
from trio_update.host.git.output import Difference, Settings, Tag, WorkTree
from trio_update.host.git.refs import Followed
from trio_update.model import Commit
from trio_update.updaters.place import Vacancy
from trio_update.updaters.space import Disk
from trio_update.versions import GitVersion


@dataclass(frozen=True)
class Tracking:
    """The branch of a remote that a clone follows; ``url`` is ``None`` when the remote has none."""

    remote: str
    branch: str
    url: str | None

    @property
    def followed(self) -> Followed:
        return Followed(self.remote, self.branch)


@dataclass(frozen=True)
class Pin:
    """What is known of ``pinned_commit``: its full hash, and whether it lies ahead of HEAD."""

    commit: str | None
    ahead: bool


@dataclass(frozen=True)
class Seen:
    """A clone as it stands, before it is decided where an update leads.

    ``upstream`` is the tip of the tracked branch; ``None``: the branch is gone, and ``default`` is the remote's own
    choice if it was just asked.  ``tree`` counts the commits that HEAD and this tip lack of each other, also where the
    clone's own upstream is another ref, or none.

    ``tags``, newest first, are those that the tip reaches and HEAD doesn't; where the two have not diverged, only those
    that contain HEAD.  They, and the ``version`` of HEAD, are asked for only where the channel goes by tags.
    ``related`` False: the histories of HEAD and the tip have no commit in common.
    """

    folder: GitFolder
    settings: Settings
    tree: WorkTree
    tracking: Tracking | None
    upstream: str | None = None
    pin: Pin | None = None
    tags: tuple[Tag, ...] = ()
    version: GitVersion | None = None
    default: str | None = None
    related: bool = True


@dataclass(frozen=True)
class Facts:
    """Everything that was seen of a clone in one look, and of the way to the ``target``, a commit that was chosen.

    ``target`` and ``target_version`` are ``None`` when there is nothing to go to.
    """

    seen: Seen
    target: str | None = None
    version: GitVersion | None = None
    target_version: GitVersion | None = None
    commits: tuple[Commit, ...] = ()
    commits_count: int = 0

    @property
    def head(self) -> str | None:
        return self.seen.tree.head


@dataclass(frozen=True)
class Change:
    """What differs between two commits, and what of the user's, or of the disk's, stands in the way of it.

    Paths are relative to the clone.  ``taken``: untracked files in the place of new ones.  ``missing``: why
    commits of submodules cannot be had.  ``concealed``: files that
    are hidden from git and change; ``changed_in_hiding``: those that the user changed.  ``locked``: folders and
    files that this user cannot write to.  ``mounted``: changed paths that something is mounted on or below.
    ``hides``: the index has hidden files.  ``sizes``: bytes that each written file takes, ``None`` when git
    does not know them.  ``packages``: those of the system that the install script did not name before.
    """

    files: Mapping[bytes, Difference]
    disk: Disk
    taken: tuple[bytes, ...] = ()
    missing: tuple[str, ...] = ()
    hides: bool = False
    concealed: tuple[bytes, ...] = ()
    changed_in_hiding: tuple[str, ...] = ()
    locked: tuple[str, ...] = ()
    mounted: tuple[bytes, ...] = ()
    sizes: tuple[int, ...] | None = ()
    index_size: int = 0
    packages: tuple[str, ...] = ()

    @property
    def added(self) -> tuple[bytes, ...]:
        return tuple(path for path, found in self.files.items() if found.kind == "A")

    @property
    def deleted(self) -> tuple[bytes, ...]:
        return tuple(path for path, found in self.files.items() if found.kind == "D")


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

    ``mounted``: where in it something is mounted.  ``depth`` is of a shallow clone.  ``locked``: folders that this user
    could not remove with the old clone.
    """

    old: OldClone
    live: Path
    url: str
    disk: Disk
    mounted: tuple[bytes, ...] = ()
    depth: int | None = None
    locked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Install:
    """First installation: a clone of ``url`` in a vacant place; ``commit`` as far as the remote tells it without one.

    ``former``: the commit that was there when the app was last seen, for a recovery.
    """

    vacancy: Vacancy
    url: str
    commit: str
    former: str | None = None


@dataclass(frozen=True)
class Wanted:
    """An earlier version that a rollback names: its commit if the clone has it, and whether HEAD contains that."""

    name: str
    commit: str | None = None
    version: str = ""
    behind: bool = False
