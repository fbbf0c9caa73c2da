"""What looks at a clone remember of each other: each thing until the files that it came from change."""

from __future__ import annotations

from dataclasses import dataclass, field

from trio_update.host.git.folder import GitFolder, tags_identity
from trio_update.host.git.output import Settings
from trio_update.host.git.repository import Repository
from trio_update.host.threads import in_thread
from trio_update.versions import GitVersion, inferred, read_description


@dataclass
class Memory:
    """Saves a look two processes out of seven when nothing has changed but the remote."""

    _config: tuple[int, ...] = ()
    _settings: Settings = field(default_factory=Settings)
    _described: tuple[str, tuple[int, ...]] = ("", ())
    _version: GitVersion | None = None

    async def settings(self, repository: Repository, folder: GitFolder) -> Settings:
        """The clone's configuration."""
        if folder.config_identity != self._config:
            self._settings = await repository.settings(folder)
            self._config = folder.config_identity
        return self._settings

    async def versions(
        self, repository: Repository, folder: GitFolder, head: str, other: str | None
    ) -> tuple[GitVersion, GitVersion | None]:
        """The version of HEAD, which depends on the commit and on where the tags are, and that of another commit."""
        # Before git is asked: a tag that comes in between is seen the next time.
        described = head, await in_thread(tags_identity, folder)
        known = self._version if described == self._described else None
        wanted = [head] if known is None else []
        found = await describe(repository, *wanted, *([other] if other is not None else []))
        if known is None:
            known = found[0]
            self._version, self._described = known, described
        return known, found[-1] if other is not None else None


async def describe(repository: Repository, *commits: str) -> list[GitVersion]:
    """The versions of commits: one process for all, and another for each that no tag describes."""
    if not commits:
        return []
    lines = await repository.describe(*commits)
    return [
        read_description(line) or inferred(await repository.count(commit), commit[:8])
        for commit, line in zip(commits, lines, strict=True)
    ]


async def short_version(repository: Repository, commit: str) -> str:
    """The version of one commit, as clients are shown it."""
    return (await describe(repository, commit))[0].short
