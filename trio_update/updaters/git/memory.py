"""What looks at a clone remember of each other: each thing until the files that it came from change."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from trio_update.errors import OperationFailed
from trio_update.host.git.folder import GitFolder, survey
from trio_update.host.git.output import Settings, Tag
from trio_update.host.git.refs import Refs, Stamps, TagView, list_refs, read_stamps
from trio_update.host.git.remote import Gone
from trio_update.host.git.repository import Repository
from trio_update.host.threads import in_thread
from trio_update.updaters.git.facts import Tracking
from trio_update.updaters.git.target import naming_tags
from trio_update.versions import GitVersion, inferred, read_description

# All tags that may name a commit: the remote's, and the clone's own.
Naming = tuple[tuple[Tag, ...], tuple[Tag, ...]]


class Views:
    """What git is shown for the names of commits: of the ``installed`` one also tags that only the clone has."""

    def __init__(self, folder: GitFolder, refs: Refs) -> None:
        self.naming: Naming = refs.tags, refs.local
        self.remote = self.installed = TagView(folder, refs.tags, naming_tags)
        if refs.local:
            self.installed = TagView(folder, (*refs.tags, *refs.local), naming_tags)

    async def close(self) -> None:
        """Remove them from the disk; may be called in a cancelled scope."""
        await self.remote.close()
        await self.installed.close()


@dataclass
class Memory:
    """Saves a look three processes out of seven when nothing has changed but the remote."""

    # Why commits of submodules could not be had, and the way whose commits are all here.
    missing: dict[str, str] = field(default_factory=dict)
    supplied: tuple[str | None, str | None] | None = None
    _config: tuple[int, ...] = ()
    _settings: Settings = field(default_factory=Settings)
    _listed: tuple[Tracking | None, str | None] | None = None
    _stamps: Stamps | None = None
    _refs: Refs = field(default_factory=Refs)
    _described: tuple[str, Naming] | None = None
    _version: GitVersion | None = None
    _gone: dict[Tracking, Gone] = field(default_factory=dict)
    _strangers: set[tuple[str, str]] = field(default_factory=set)

    async def settings(self, repository: Repository, folder: GitFolder) -> Settings:
        """The clone's configuration."""
        if folder.config_identity != self._config:
            self._settings = await repository.settings(folder)
            self._config = folder.config_identity
        return self._settings

    async def refs(
        self, repository: Repository, folder: GitFolder, settings: Settings, tracking: Tracking | None
    ) -> Refs:
        """What the clone knows of the tracked remote."""
        followed = tracking.followed if tracking is not None else None
        own_ref = followed.own_ref(settings) if followed is not None else None
        # Before git is asked: what comes in between is seen the next time.
        stamps, known = await in_thread(read_stamps, folder, followed, own_ref), self._stamps
        if (tracking, own_ref) != self._listed or known is None or stamps.tags != known.tags:
            self._refs = await list_refs(repository, followed, own_ref)
        elif stamps != known:
            tip, own = stamps.heads
            if tip is not None and (own is not None or own_ref is None) and known.heads[0] is not None:
                # Only the branch has moved, as it does most often: its file tells where to.
                self._refs = replace(self._refs, tip=tip, own=own)
            else:
                self._refs = await list_refs(repository, followed, own_ref)
        self._listed, self._stamps = (tracking, own_ref), stamps
        return self._refs

    def keep_version(self, head: str, views: Views, ahead: frozenset[str]) -> None:
        """Tags that came, went or moved among commits ``ahead``, which HEAD does not contain, don't change its name."""
        if self._described is None or self._described[0] != head:
            return
        changed = {
            tag for before, now in zip(self._described[1], views.naming, strict=True) for tag in {*before} ^ {*now}
        }
        if all(tag.commit in ahead for tag in changed):
            self._described = head, views.naming

    async def version(self, repository: Repository, head: str, views: Views) -> GitVersion:
        """The version of HEAD, which depends on the commit and on where the tags are."""
        return (await self.versions(repository, head, views, None))[0]

    async def versions(
        self, repository: Repository, head: str, views: Views, other: str | None
    ) -> tuple[GitVersion, GitVersion | None]:
        """The same, and the version of another commit."""
        known = self._version if self._described == (head, views.naming) else None
        others = [other] if other is not None else []
        if known is None:
            together = others if views.installed is views.remote else []
            found = await describe(repository, views.installed, head, *together)
            known = found[0]
            self._version, self._described = known, (head, views.naming)
            if together:
                return known, found[1]
        found = await describe(repository, views.remote, *others)
        return known, found[0] if others else None

    def answered(self, tracking: Tracking, gone: Gone | None) -> None:
        """What the remote said of the branch: a look that doesn't ask it must not find an old ref of it again."""
        if gone is None:
            self._gone.pop(tracking, None)
        else:
            self._gone[tracking] = gone

    def gone(self, tracking: Tracking | None) -> Gone | None:
        return self._gone.get(tracking) if tracking is not None else None

    def tried(self, head: str, tip: str) -> bool:
        """Whether this was asked of these two commits before: more history of a shallow clone has not related them."""
        pair = head, tip
        known = pair in self._strangers
        self._strangers.add(pair)
        return known


async def describe(repository: Repository, view: TagView, *commits: str) -> list[GitVersion]:
    """The versions of commits: one process for all, and another for each that no tag describes."""
    if not commits:
        return []
    lines = await repository.describe(*commits, environ=await view.environ())
    return [
        read_description(line) or inferred(await repository.count(commit), commit[:8])
        for commit, line in zip(commits, lines, strict=True)
    ]


async def short_version(repository: Repository, commit: str, tracking: Tracking | None = None) -> str:
    """The version of one commit, as clients are shown it, by the tags of the remote that is tracked."""
    folder = await in_thread(survey, repository.path)
    if folder is None:
        raise OperationFailed(f"No git repository at {repository.path}")
    views = Views(folder, await list_refs(repository, tracking.followed if tracking is not None else None, None))
    try:
        return (await describe(repository, views.installed, commit))[0].short
    finally:
        await views.close()
