"""Bring the user's own files from an old tree into a new one."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

from trio_update.host.files.durable import mount_points, translated

# Where a hard link cannot be had: other filesystem, no such thing there, not our file, too many already.
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS})
# In the top folder of whatever is carried to, until it is in its place.
TEMPORARY = b".trio-update.tmp"
_GITFILE_LIMIT = 8192


@dataclass(frozen=True)
class CarryReport:
    """What :func:`carry_over` did; paths are relative, as bytes, because a name need not be UTF-8.

    ``carried`` counts the files that are in the target now; ``put_aside`` are those that had to go under the aside
    folder because their place is taken; ``left_out`` is what cannot be carried.
    """

    carried: int
    put_aside: tuple[bytes, ...]
    left_out: tuple[bytes, ...]


def carry_over(
    source: Path, target: Path, tracked: Container[bytes], *, aside: Path, skip: tuple[bytes, ...] = (b".git",)
) -> CarryReport:
    """Bring everything in ``source`` that is not a ``tracked`` path into ``target``; ``source`` is not changed.

    ``tracked`` are the paths that belong to the software, not to the user.  ``target`` is checked out already.

    Regular files are hard-linked (nothing is copied, and what a program still appends to the old file is in the new
    one as well), or copied where that is not possible; symbolic links, FIFOs and folders, empty ones too, are made
    anew with mode and times, and owner when we are root.  Nothing is written through a symbolic link.  Nested
    repositories come whole; of the top level, ``skip`` stays behind.  What has its place taken by something else in
    ``target`` goes to the same path under ``aside``.

    Left out are sockets, devices, what is mounted inside, submodules, and the ``.git`` file of a former one.

    Doing it again is harmless and brings what came later.  The data is not synced.

    Raises:
        FileTrouble: something cannot be read or written; do it again when that is mended.
    """
    carrier = _Carrier(os.fsencode(source), os.fsencode(target), os.fsencode(aside), tracked, skip)
    try:
        carrier.walk()
    finally:
        carrier.clean()
    return CarryReport(carrier.carried, tuple(carrier.put_aside), tuple(carrier.left_out))


def carry_paths(source: Path, target: Path, paths: tuple[bytes, ...]) -> CarryReport:
    """Bring some paths of ``source``, files or whole folders, into ``target``, which has nothing in their places.

    As :func:`carry_over` otherwise; nothing is put aside.
    """
    root = os.fsencode(target)
    # Nothing is in the way, so nothing can go aside; were it otherwise, the file in ``source`` would win.
    carrier = _Carrier(os.fsencode(source), root, root, (), ())
    try:
        carrier.walk(paths)
    finally:
        carrier.clean()
    return CarryReport(carrier.carried, (), tuple(carrier.left_out))


def replace_with(source: Path, target: Path, path: bytes) -> None:
    """Put one file of ``source`` at the same place in ``target``, at once; what stood there is gone."""
    root = os.fsencode(target)
    carrier = _Carrier(os.fsencode(source), root, root, (), ())
    try:
        carrier.put(path)
    finally:
        carrier.clean()


def same_content(one: bytes, other: bytes) -> bool:
    """Whether ``other`` is what carrying ``one`` over makes: the same inode, or a copy with its size and time."""
    there = _status(other)
    return there is not None and _same(one, os.lstat(one), other, there)


@dataclass
class _Carrier:
    source: bytes
    target: bytes
    aside: bytes
    tracked: Container[bytes]
    skip: tuple[bytes, ...]
    carried: int = 0
    put_aside: list[bytes] = field(default_factory=list)
    left_out: list[bytes] = field(default_factory=list)
    # Directories whose mode and times are set when they are full: where they are, and relative to the source.
    _made: dict[bytes, bytes] = field(default_factory=dict)

    def walk(self, only: tuple[bytes, ...] | None = None) -> None:
        """Everything, or ``only`` some paths."""
        mounts = mount_points()
        real_source = os.path.realpath(self.source)
        pending: list[tuple[bytes, bytes]] = [(b"", self.target)] if only is None else []

        def visit(path: bytes, base: bytes) -> None:
            with translated("carry over", _join(self.source, path)):
                status = os.lstat(_join(self.source, path))
                if _join(real_source, path) in mounts or self._is_submodule(path, status):
                    self.left_out.append(path)
                elif stat.S_ISDIR(status.st_mode):
                    pending.append((path, self._base(path, base)))
                elif path not in self.tracked:
                    self._carry(path, status, base)

        for path in only or ():
            visit(path, self.target)
        while pending:
            directory, base = pending.pop()
            names = self._names(directory)
            if not names:
                self._make_directory(directory, base)
            for name in names:
                visit(_join(directory, name), base)
        self._finish_directories()

    def put(self, path: bytes) -> None:
        """Put one file in its place, whatever stands there."""
        with translated("carry over", _join(self.source, path)):
            status = os.lstat(_join(self.source, path))
            self._make_directory(os.path.dirname(path), self.target)
            self._place(path, status, self.target)
        self._finish_directories()

    def _names(self, directory: bytes) -> list[bytes]:
        with translated("read", _join(self.source, directory)):
            names = sorted(os.listdir(_join(self.source, directory)))
        return names if directory else [name for name in names if name not in self.skip]

    def _is_submodule(self, path: bytes, status: os.stat_result) -> bool:
        there = _status(_join(self.target, path)) if path in self.tracked and stat.S_ISDIR(status.st_mode) else None
        return there is not None and stat.S_ISDIR(there.st_mode)

    def _base(self, path: bytes, base: bytes) -> bytes:
        """Where the content of a directory goes: aside, if the target has or tracks something else in its place."""
        if base == self.aside:
            return base
        there = _status(_join(base, path))
        taken = path in self.tracked if there is None else not stat.S_ISDIR(there.st_mode)
        return self.aside if taken else base

    def _carry(self, path: bytes, status: os.stat_result, base: bytes) -> None:
        if not self._can_carry(path, status):
            self.left_out.append(path)
            return
        there = _status(_join(base, path))
        same = there is not None and _same(_join(self.source, path), status, _join(base, path), there)
        if there is not None and not same:
            base = self.aside
        if base == self.aside:
            self.put_aside.append(path)
        else:
            self.carried += 1
        if not same:
            self._make_directory(os.path.dirname(path), base)
            self._place(path, status, base)

    def _can_carry(self, path: bytes, status: os.stat_result) -> bool:
        if stat.S_ISREG(status.st_mode):
            return os.path.basename(path) != b".git" or not self._leads_back(path)
        return stat.S_ISLNK(status.st_mode) or stat.S_ISFIFO(status.st_mode)

    def _leads_back(self, path: bytes) -> bool:
        """Whether a ``.git`` file points into what stays behind: in the target it would break every git command."""
        gitfile = _join(self.source, path)
        with open(gitfile, "rb") as file:
            content = file.read(_GITFILE_LIMIT)
        named = content.removeprefix(b"gitdir:").strip()
        leads_to = os.path.realpath(_join(os.path.dirname(gitfile), named))
        left_behind = (os.path.realpath(_join(self.source, name)) for name in self.skip)
        return any(leads_to.startswith(directory + b"/") for directory in left_behind)

    def _make_directory(self, directory: bytes, base: bytes) -> None:
        """Make ``directory`` with its parents, open to us until it is full; what the target has stays as it is."""
        if base == self.aside:
            Path(os.fsdecode(base)).mkdir(parents=True, exist_ok=True)
        parts = directory.split(b"/") if directory else []
        for depth in range(1, len(parts) + 1):
            path = b"/".join(parts[:depth])
            made = _join(base, path)
            if made in self._made:
                continue
            with translated("make", made):
                try:
                    os.mkdir(made, stat.S_IRWXU)
                except FileExistsError:
                    continue
            self._made[made] = path

    def _finish_directories(self) -> None:
        # When all entries are made, because each changes the time; the innermost first, because an outer one may shut
        # us out.
        for made, path in reversed(self._made.items()):
            with translated("carry over", made):
                origin = _join(self.source, path)
                make_alike(origin, made)

    def _place(self, path: bytes, status: os.stat_result, base: bytes) -> None:
        """Put the entry in its place in one step, so that a kill leaves no half of it there."""
        origin = _join(self.source, path)
        temporary = _join(base, TEMPORARY)
        _unlink(temporary)
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(origin), temporary)
            make_alike(origin, temporary)
        elif stat.S_ISFIFO(status.st_mode):
            os.mkfifo(temporary)
            make_alike(origin, temporary)
        else:
            _link_or_copy(origin, temporary)
        os.rename(temporary, _join(base, path))

    def clean(self) -> None:
        for base in (self.target, self.aside):
            with contextlib.suppress(OSError):
                _unlink(_join(base, TEMPORARY))


def _join(directory: bytes, path: bytes) -> bytes:
    return os.path.join(directory, path) if path else directory


def _status(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _unlink(path: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _same(a: bytes, status_a: os.stat_result, b: bytes, status_b: os.stat_result) -> bool:
    """Whether ``b`` is what carrying ``a`` over makes: the same inode, or a copy with its size and time."""
    # Not left to the sizes: a program may append between the two looks at one inode.
    if os.path.samestat(status_a, status_b):
        return True
    if stat.S_IFMT(status_a.st_mode) != stat.S_IFMT(status_b.st_mode):
        return False
    if stat.S_ISLNK(status_a.st_mode):
        return os.readlink(a) == os.readlink(b)
    if stat.S_ISREG(status_a.st_mode):
        return (status_a.st_size, status_a.st_mtime_ns) == (status_b.st_size, status_b.st_mtime_ns)
    return True


def _link_or_copy(origin: bytes, destination: bytes) -> None:
    try:
        os.link(origin, destination, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copyfile(origin, destination, follow_symlinks=False)
        make_alike(origin, destination)


def make_alike(origin: bytes, made: bytes) -> None:
    """Give ``made`` the mode, times and extended attributes of ``origin``, and its owner when we are root."""
    status = os.lstat(origin)
    # The owner first: a change of owner clears the set-user-ID bit.
    if os.geteuid() == 0:
        os.chown(made, status.st_uid, status.st_gid, follow_symlinks=False)
    shutil.copystat(origin, made, follow_symlinks=False)
