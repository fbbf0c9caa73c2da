"""The remote's branch and tags in a namespace of ours, and how git is shown the remote's tags alone.

A clone's refspecs are its user's, and need not map what is followed here (``clone --depth 1 --branch v1.0``,
``--single-branch``, ``tagOpt = --no-tags``); its ``refs/tags`` keep what was moved or withdrawn upstream.  So all of it
is fetched to ``refs/trio-update/REMOTE``, forced and pruned, and chosen and named from there.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from trio_update.errors import FileTrouble
from trio_update.host.git.folder import GitFolder
from trio_update.host.git.output import Settings, Tag
from trio_update.host.git.repository import Repository
from trio_update.host.threads import in_thread

NAMESPACE = "refs/trio-update/"
_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_PLAIN = re.compile(r"\w[\w+-]*(?:[./]\w[\w+-]*)*", re.ASCII)


@dataclass(frozen=True)
class Followed:
    """One branch of a remote, and where it and the remote's tags are kept in the clone."""

    remote: str
    branch: str

    @property
    def space(self) -> str:
        """The namespace.  A remote's name may hold what a ref's must not: git-config takes what git-remote refuses."""
        plain = _PLAIN.fullmatch(self.remote) and not self.remote.endswith(".lock")
        return NAMESPACE + (self.remote if plain else f"x-{self.remote.encode().hex()}")

    @property
    def head(self) -> str:
        return f"{self.space}/heads/{self.branch}"

    @property
    def tags(self) -> str:
        return f"{self.space}/tags/"

    def own_ref(self, settings: Settings) -> str | None:
        """The remote-tracking ref that the clone's own refspecs give the branch.

        ``None``: they leave it out, or would put it among the user's branches or tags (a mirror).
        """
        ref, found = f"refs/heads/{self.branch}", None
        for spec in settings.values.get(f"remote.{self.remote}.fetch", ()):
            source, _, target = spec.removeprefix("+").partition(":")
            if source.startswith("^"):
                if _matched(source[1:], ref) is not None:
                    return None
                continue
            part = _matched(source, ref)
            if part is not None and found is None and target.startswith("refs/remotes/"):
                found = target.replace("*", part, 1)
        return found


def _matched(pattern: str, ref: str) -> str | None:
    """What ``*`` stands for where the pattern of a refspec matches, empty where it has none; ``None``: no match."""
    before, star, after = pattern.partition("*")
    if not star:
        return "" if pattern == ref else None
    if len(ref) < len(before) + len(after) or not (ref.startswith(before) and ref.endswith(after)):
        return None
    return ref[len(before) : len(ref) - len(after)]


@dataclass(frozen=True)
class Refs:
    """What the clone knows of the remote: the tip of the followed branch, and tags, newest first.

    ``own``: where the clone's own remote-tracking ref stands.  ``local``: tags of the clone that the remote has not, or
    not any more: they may name what is installed, and nothing is updated to them.  A clone whose remote was never asked
    by us takes its own refs for the remote's.
    """

    tip: str | None = None
    own: str | None = None
    tags: tuple[Tag, ...] = ()
    local: tuple[Tag, ...] = ()


async def list_refs(repository: Repository, followed: Followed | None, own_ref: str | None) -> Refs:
    """One process.  Raises: CommandFailed."""
    if followed is None:
        return Refs(tags=_named(await repository.refs("refs/tags"), "refs/tags/"))
    found = await repository.refs("refs/tags", followed.space, *([own_ref] if own_ref is not None else []))
    commits = {ref.name: ref.commit for ref in found}
    tip, own = commits.get(followed.head), commits.get(own_ref or "")
    tags, clones = _named(found, followed.tags), _named(found, "refs/tags/")
    if tip is None:
        return Refs(own, own, clones)
    names = {tag.name for tag in tags}
    return Refs(tip, own, tags, tuple(tag for tag in clones if tag.name not in names))


def _named(refs: Iterable[Tag], prefix: str) -> tuple[Tag, ...]:
    return tuple(Tag(ref.name.removeprefix(prefix), ref.commit) for ref in refs if ref.name.startswith(prefix))


@dataclass(frozen=True)
class Stamps:
    """What tells that a ref has come, gone or moved.

    git makes each by a rename in a folder of refs, or packs them all, or (reftable) lists its tables anew.  ``heads``:
    where the followed branch and the clone's own ref of it stand, if a file says so.
    """

    tags: tuple[int, ...]
    branches: tuple[int, ...]
    heads: tuple[str | None, str | None]


def read_stamps(folder: GitFolder, followed: Followed | None, own_ref: str | None) -> Stamps:
    """Blocking."""
    common = folder.common_dir
    ours = [common / followed.tags] if followed is not None else []
    branches = [common / name.rpartition("/")[0] for name in (followed.head if followed else None, own_ref) if name]
    tables = [common / "packed-refs", common / "reftable" / "tables.list"]
    tags = [directory for root in (common / "refs" / "tags", *ours) for directory, _, _ in os.walk(root)]
    heads = _read(common, followed.head if followed is not None else None), _read(common, own_ref)
    return Stamps(_stamped(*tables, *tags), _stamped(*branches), heads)


def _read(common: Path, ref: str | None) -> str | None:
    try:
        content = (common / ref).read_text("ascii").strip() if ref is not None else ""
    except (OSError, ValueError):
        return None
    return content if _HASH.fullmatch(content) else None


def _stamped(*paths: str | Path) -> tuple[int, ...]:
    return tuple(part for path in paths for part in _stamp(path))


def _stamp(path: str | Path) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return found.st_ino, found.st_size, found.st_mtime_ns


@dataclass
class TagView:
    """Makes git see only those of the ``tags`` that ``naming`` leaves, by the objects of a clone and refs of our own.

    git-describe and the decorations of git-log look at ``refs/tags`` alone.  The folder is made when needed, in
    the system's folder for temporary files: a look must not write to the clone.
    """

    folder: GitFolder
    tags: Sequence[Tag]
    naming: Callable[[Sequence[Tag]], Sequence[Tag]]
    _made: Path | None = field(default=None, init=False)

    async def environ(self) -> Mapping[str, str]:
        """What a git command gets to see it.  Raises: FileTrouble."""
        if self._made is None:
            self._made = await in_thread(self._make)
        return {
            "GIT_DIR": str(self._made),
            "GIT_OBJECT_DIRECTORY": str(self.folder.common_dir / "objects"),
            # Tells the objects of a partial clone apart from missing ones; git reads no other file of the clone.
            "GIT_NO_REPLACE_OBJECTS": "1",
        }

    async def close(self) -> None:
        """Remove the folder; may be called in a cancelled scope."""
        if self._made is not None:
            made, self._made = self._made, None
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                await in_thread(shutil.rmtree, made, True)

    def _make(self) -> Path:
        try:
            made = Path(tempfile.mkdtemp(prefix="trio-update-tags-"))
        except OSError as error:
            raise FileTrouble("make a folder in", tempfile.gettempdir(), error.errno, str(error)) from error
        try:
            self._fill(made)
        except OSError as error:
            shutil.rmtree(made, ignore_errors=True)
            raise FileTrouble("write to", made, error.errno, error.strerror or str(error)) from error
        return made

    def _fill(self, made: Path) -> None:
        tags = self.naming(self.tags)
        sha256 = any(len(tag.commit) == 64 for tag in tags)
        extensions = "[extensions]\n\tobjectFormat = sha256\n" if sha256 else ""
        (made / "config").write_text(f"[core]\n\trepositoryFormatVersion = {int(sha256)}\n\tbare = true\n{extensions}")
        (made / "HEAD").write_text("ref: refs/heads/none\n")
        (made / "refs").mkdir()
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(self.folder.common_dir / "shallow", made / "shallow")
        # Sorted and peeled, as the first line says: else git would read every one of the objects.
        lines = sorted(f"{tag.commit} refs/tags/{tag.name}\n" for tag in tags)
        lines.sort(key=lambda line: line.partition(" ")[2].encode("utf-8", "replace"))
        header = "# pack-refs with: peeled fully-peeled sorted \n"
        (made / "packed-refs").write_text(header + "".join(lines), encoding="utf-8", errors="replace")
