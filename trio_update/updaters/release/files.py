"""The files of a version that is being made: unpacked, given their owner, written, kept.

Blocking functions; all raise :class:`~trio_update.errors.FileTrouble` besides what they tell.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from trio_update.errors import OperationFailed
from trio_update.host.archive.extract import Archive, BadArchive, extract
from trio_update.host.files import durable
from trio_update.host.files.carry import carry_paths
from trio_update.host.files.durable import translated
from trio_update.updaters.release.info import with_version
from trio_update.updaters.release.obtain import check_cancelled
from trio_update.updaters.release.program import judge_installed, judge_program, keep_capabilities
from trio_update.updaters.release.shelf import Record, is_packed, write_record


def unpack(archive: Archive, tree: Path, name: str) -> None:
    """Unpack a judged archive into a new folder ``tree``.  Raises: OperationFailed for what is not as it says.

    All files are of now.  Reproducible archives give one time to all versions of a file; where sizes agree too, a web
    server then tells browsers that nothing has changed, and they go on with the old page.  What we packed gets its
    times back: there are files of the user's in it, and whoever knew one of that time knew the same content.
    """
    with translated("make", tree):
        tree.mkdir()
        tree.chmod(0o755)
    try:
        extract(archive, tree, keep_times=is_packed(archive.path), check=check_cancelled)
    except BadArchive as error:
        raise OperationFailed(f"{name} was not unpacked: {error}") from error


def adopt(tree: Path, live: Path) -> None:
    """Give a new folder the mode of the one that it replaces, and, when we are root, everything in it its owner."""
    with translated("look at", live):
        old = live.stat()
    with translated("set the owner of", tree):
        if os.geteuid() == 0 and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
            for directory, folders, names in os.walk(tree):
                check_cancelled()
                for name in (*folders, *names):
                    os.chown(Path(directory, name), old.st_uid, old.st_gid, follow_symlinks=False)
            os.chown(tree, old.st_uid, old.st_gid)
        tree.chmod(stat.S_IMODE(old.st_mode))


def make_program(asset: Path, program: Path, live: Path) -> tuple[str, ...]:
    """A copy of the asset that can be executed, with what can be kept of the one that it replaces.

    That is its mode, but for setuid; when we are root its owner and its capabilities, too.  Returns warnings.  Raises:
    OperationFailed for what is no program for this machine, or must not be replaced.
    """
    if why := judge_installed(live).refusal:
        raise OperationFailed(f"{live} {why}")
    judged = judge_program(asset, live)
    if judged.refusal:
        raise OperationFailed(f"{program.name} was not installed: what was downloaded {judged.refusal}")
    with translated("make", program):
        copy_file(asset, program)
        mode = 0o755
        if live.is_file():
            old = live.stat()
            mode = stat.S_IMODE(old.st_mode) & 0o777 | 0o700
            if os.geteuid() == 0:
                os.chown(program, old.st_uid, old.st_gid)
        program.chmod(mode | stat.S_IXUSR)
    keep_capabilities(live, program)
    return judged.warnings


def describe(live: Path, described: Path, version: str) -> None:
    """Write a program's ``release_info.json`` with another version; mode and owner are those of the present one."""
    with translated("read", live):
        content, old = live.read_bytes(), live.stat()
    durable.write_atomically(described, with_version(content, version), stat.S_IMODE(old.st_mode))
    if os.geteuid() == 0:
        with translated("set the owner of", described):
            os.chown(described, old.st_uid, old.st_gid)


def copy_file(source: Path, target: Path) -> None:
    """Copy the content alone; ``target`` must not exist."""
    with source.open("rb") as reader, target.open("xb") as writer:
        while data := reader.read(1 << 20):
            check_cancelled()
            writer.write(data)


def save_aside(live: Path, aside: Path, paths: tuple[bytes, ...]) -> None:
    """Bring the ``paths`` of ``live`` to the same places below ``aside``, durably."""
    carry_paths(live, aside, paths)
    durable.sync_filesystem(aside)


def record_packed(folder: Path, version: str, asset_name: str, used: int) -> None:
    """Write the record of what we packed ourselves, when everything in it is saved elsewhere, too."""
    asset = folder / "asset"
    digest = durable.sha256_of(asset, check_cancelled)
    with translated("look at", asset):
        size = asset.stat().st_size
    record = Record(
        version=version, asset_name=asset_name, sha256=digest, size=size, used=used, packed=True, saved=True
    )
    write_record(folder, record)


def size_of(folder: Path, leave_out: tuple[bytes, ...]) -> int:
    """Bytes in all files below ``folder``, but for those in ``leave_out`` and below."""
    total = 0
    root = os.fsencode(folder)
    with translated("look at", folder):
        for directory, folders, names in durable.walk(root):
            check_cancelled()
            base = os.path.relpath(directory, root)

            def counts(name: bytes, base: bytes = base) -> bool:
                return os.path.normpath(os.path.join(base, name)) not in leave_out

            folders[:] = filter(counts, folders)
            total += sum(os.lstat(os.path.join(directory, name)).st_size for name in filter(counts, names))
    return total


def content_of(path: Path) -> bytes | None:
    """What a file holds; ``None`` when there is none."""
    with translated("read", path):
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
