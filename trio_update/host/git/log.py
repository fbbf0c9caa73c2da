"""Reading ``git log`` as it streams: what clients are shown of commits, whatever their authors wrote.

Fields end with NUL, the one byte that no message holds, and are counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from trio_update.errors import OperationFailed
from trio_update.host.git.bounds import bounded_commits
from trio_update.host.git.output import text
from trio_update.model import Commit
from trio_update.versions import read_tag

# With ``-z``: the last field of each commit ends with NUL, too.
LOG_FORMAT = "%H%x00%an%x00%ct%x00%at%x00%D%x00%s%x00%b"
MAX_UNTAGGED = 30
TAG_HORIZON = 100

# Hash, author, dates of committer and author, decorations, subject, body: bytes that are kept of each.
_FIELD_LIMITS = (64, 1024, 32, 32, 64 * 1024, 4096, 16 * 1024)
_SHA, _AUTHOR, _COMMITTED, _AUTHORED, _REFS, _SUBJECT, _BODY = range(len(_FIELD_LIMITS))
_HASH = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
# Clients make a calendar date of it; the last second of the year 9999 is the last one that all of them can show.
_LATEST = 253_402_300_799


class CommitLog:
    """Reads ``git log -z`` as it streams: keeps what clients are shown, counts the rest.

    Kept: the newest :data:`MAX_UNTAGGED` commits, and every tagged one among the newest :data:`TAG_HORIZON`.  A field
    is cut while it comes, so that no message takes more memory than is kept of it.
    """

    def __init__(self) -> None:
        self.count = 0
        self.tagged = False
        self.tip: str | None = None
        self._kept: list[Commit] = []
        self._untagged = 0
        self._fields: list[bytes] = []
        self._field = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Raises :class:`OperationFailed` when what comes is not a log in :data:`LOG_FORMAT`."""
        *ended, rest = chunk.split(b"\0")
        for part in ended:
            self._add(part)
            self._end_field()
        self._add(rest)

    def commits(self) -> tuple[Commit, ...]:
        """What was kept, newest first and bounded in size; call it once, when the stream has ended."""
        if self._fields or self._field:
            raise OperationFailed(f"git log ended in the middle of a commit, after {self.count} whole ones")
        return bounded_commits(self._kept)

    def _add(self, part: bytes) -> None:
        # One byte more than the limit tells that there was more.
        room = _FIELD_LIMITS[len(self._fields)] + 1 - len(self._field)
        if room > 0:
            self._field += part[:room]

    def _end_field(self) -> None:
        self._fields.append(bytes(self._field))
        self._field.clear()
        if len(self._fields) == len(_FIELD_LIMITS):
            fields, self._fields = self._fields, []
            self._take(fields)

    def _take(self, fields: Sequence[bytes]) -> None:
        if not _HASH.fullmatch(fields[_SHA]):
            raise OperationFailed(f"git log printed {fields[_SHA][:40]!r} where the hash of a commit was expected")
        self.count += 1
        if self.tip is None:
            self.tip = text(fields[_SHA])
        self.tagged = self.tagged or bool(fields[_REFS])
        if self.count > TAG_HORIZON:
            return
        commit = read_commit(fields)
        if commit.tag is None:
            self._untagged += 1
            if self._untagged > MAX_UNTAGGED:
                return
        self._kept.append(commit)


def read_commit(fields: Sequence[bytes]) -> Commit:
    """The fields of :data:`LOG_FORMAT` of one commit, each no longer than what is kept of it and one byte."""
    return Commit(
        sha=text(fields[_SHA]),
        author=_cut(fields, _AUTHOR),
        date=_date(fields[_COMMITTED], fields[_AUTHORED]),
        subject=_cut(fields, _SUBJECT),
        message=_cut(fields, _BODY).strip(),
        tag=_tag(fields[_REFS]),
    )


def _cut(fields: Sequence[bytes], index: int) -> str:
    raw, limit = fields[index], _FIELD_LIMITS[index]
    # A character that was cut in two is no character.
    return text(raw) if len(raw) <= limit else text(raw[:limit]).rstrip("\ufffd") + "…"


def _date(*candidates: bytes) -> str:
    """The first that is a time in seconds; git tells nothing of a date that it cannot read."""
    for raw in candidates:
        if raw.isdigit() and int(raw) <= _LATEST:
            return str(int(raw))
    return "0"


def _tag(refs: bytes) -> str | None:
    """Of several tags on a commit the highest version; no ref holds a blank."""
    if len(refs) > _FIELD_LIMITS[_REFS]:
        refs = refs.rpartition(b", ")[0]
    names = [ref.removeprefix("tag: refs/tags/") for ref in text(refs).split(", ") if ref.startswith("tag: refs/tags/")]
    versions = [(version.key, name) for name in names if (version := read_tag(name)) is not None]
    return max(versions)[1] if versions else next(iter(names), None)
