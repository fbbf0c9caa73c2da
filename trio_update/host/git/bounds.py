"""How much of what strangers wrote is kept: sizes are those that it has on the wire, where escapes count.

A control character takes six bytes of JSON and a quote in HTML six, so neither characters nor bytes of the original
say how large a status becomes.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from trio_update.model import Commit

COMMITS_SIZE = 60 * 1024
MESSAGES_SIZE = 16 * 1024
LINE_SIZE = 2048

_MARK = "…"
# Each row: message, subject, names (author and tag).  The last one fits for as many commits as a log keeps.
_LEVELS = ((8192, 1024, 256), (4096, 1024, 256), (2048, 512, 256), (1024, 512, 256), (256, 256, 128), (0, 192, 96))
# Hash, date, and the names of the fields.
_FRAME = 192


def wire_size(text: str) -> int:
    """Bytes that ``text`` takes in JSON at worst, escaped for HTML too."""
    return len(msgspec.json.encode(html.escape(text))) - 2


def shorten(text: str, size: int) -> str:
    """``text``, cut so that it takes at most ``size`` bytes on the wire; a mark at its end tells of a cut."""
    if wire_size(text[: size + 1]) <= size and len(text) <= size:
        return text
    room = size - wire_size(_MARK)
    if room < 0:
        return ""
    low, high = 0, min(len(text), room)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if wire_size(text[:middle]) <= room else (low, middle - 1)
    return text[:low] + _MARK


def bounded(lines: Iterable[str], *, each: int = LINE_SIZE, size: int = MESSAGES_SIZE) -> tuple[str, ...]:
    """The last of ``lines`` that take ``size`` bytes together, each cut to ``each``; a mark stands for the others."""
    kept: list[str] = []
    for line in reversed([shorten(line, each) for line in lines]):
        size -= wire_size(line) + 3
        if size < 0:
            kept.append(_MARK)
            break
        kept.append(line)
    return tuple(reversed(kept))


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
