"""How much of what the authors of commits wrote is kept: sizes are those that it has on the wire."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from trio_update.model import Commit
from trio_update.text import shorten, wire_size

COMMITS_SIZE = 60 * 1024

# Each row: message, subject, names (author and tag).  The last one fits for as many commits as a log keeps.
_LEVELS = ((8192, 1024, 256), (4096, 1024, 256), (2048, 512, 256), (1024, 512, 256), (256, 256, 128), (0, 192, 96))
# Hash, date, and the names of the fields.
_FRAME = 192


def bounded_commits(commits: Sequence[Commit], size: int = COMMITS_SIZE) -> tuple[Commit, ...]:
    """The same commits, with texts cut as much as it takes for all of them to fit into ``size`` bytes on the wire."""
    for message, subject, name in _LEVELS:
        cut = tuple(_cut(commit, message, subject, name) for commit in commits)
        if sum(map(_commit_size, cut)) <= size:
            return cut
    return cut


def _cut(commit: Commit, message: int, subject: int, name: int) -> Commit:
    return replace(
        commit,
        author=shorten(commit.author, name),
        subject=shorten(commit.subject, subject),
        message=shorten(commit.message, message),
        tag=None if commit.tag is None else shorten(commit.tag, name),
    )


def _commit_size(commit: Commit) -> int:
    return _FRAME + sum(wire_size(text) for text in (commit.author, commit.subject, commit.message, commit.tag or ""))
