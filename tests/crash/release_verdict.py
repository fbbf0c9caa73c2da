"""What must be true of a web or zip app, or an executable, and its surroundings after a death."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tests.crash.operations import Fault, Kind, State, ask_again, journal_leftovers
from tests.crash.project import Tree, differences, take
from tests.crash.release_files import MINE, NEWEST, PACKABLE, asset
from tests.crash.scenes import Place
from tests.crash.servers import Server
from trio_update.updaters.release.shelf import Record

if TYPE_CHECKING:
    from tests.crash.release_app import ReleaseOperation

SHELF = b".trio-update"
_TOP_MODE = stat.S_IFDIR | 0o2775


# What the shelf sets aside instead of removing it.
ASIDE = "yours-1"


@dataclass(frozen=True)
class ReleaseJudge:
    """Implementation of :class:`tests.crash.operations.Judge`."""

    place: Place
    operation: ReleaseOperation
    top_mode: int = _TOP_MODE

    @property
    def shelf(self) -> Path:
        app = self.place.app
        return app / ".trio-update" if self._is_program else app.parent / ".app.trio-update"

    @property
    def _is_program(self) -> bool:
        return self.operation.family == "executable"

    def state(self) -> tuple[State, list[Fault]]:
        found = _tree_of(self.place.app)
        from_new = differences(found, self.operation.new_tree, exact=True)
        if not from_new:
            return State.NEW, []
        from_old = differences(found, self.operation.old_tree, exact=True)
        if not from_old:
            return State.OLD, []
        version, off = min(("new", from_new), ("old", from_old), key=lambda pair: len(pair[1]))
        return State.NEITHER, [Fault(Kind.MIXED, f"like the {version} version, but {'; '.join(off)}"[:800])]

    def faults(self) -> tuple[State, list[Fault]]:
        state, faults = self.state()
        faults += self._of_shelf(state)
        faults += self.leftovers()
        faults += self.losses()
        if state is State.NEW:
            faults += self._unsaved()
        if self.place.app.is_dir() and (mode := self.place.app.stat().st_mode) != self.top_mode:
            faults.append(Fault(Kind.MIXED, f"the app's folder has mode {mode:o}"))
        return state, faults

    def _of_shelf(self, state: State) -> Iterator[Fault]:
        """Before the commit nothing on the shelf changes; afterwards it has what it should, every version whole."""
        former = self.place.in_template(self.operation.scene, self.shelf)
        if state is State.OLD:
            if told := differences(_tree_of(self.shelf), _tree_of(former), exact=True):
                yield Fault(Kind.MIXED, f"the app is old, and on the shelf {'; '.join(told)}"[:600])
        elif state is State.NEW:
            yield from self.of_kept(self.operation.keeps)
            yield from self._of_aside(former)
            yield from self._of_replaced()

    def of_kept(self, versions: tuple[str, ...]) -> Iterator[Fault]:
        """The shelf has these versions, each of them whole, and nothing else but the folder before the last switch."""
        found = {}
        for folder in sorted(self.shelf.glob("version-*")):
            try:
                record = msgspec.json.decode((folder / "record.json").read_bytes(), type=Record)
                content = (folder / "asset").read_bytes()
            except (OSError, msgspec.DecodeError) as error:
                yield Fault(Kind.BROKEN, f"{folder.name} on the shelf: {error}")
                continue
            found[record.version] = folder
            right = asset(self.operation.family, record.version)
            if (record.sha256, record.size) != (hashlib.sha256(content).hexdigest(), len(content)) or (
                content != right and not record.packed
            ):
                yield Fault(Kind.BROKEN, f"{record.version} on the shelf is not what it was")
            if strange := {path.name for path in folder.iterdir()} - {"record.json", "asset"}:
                yield Fault(Kind.LEFTOVER, f"{strange} in {folder.name} on the shelf")
        if set(found) != set(versions):
            yield Fault(Kind.LOST, f"on the shelf are {sorted(found)}, and not {sorted(versions)}")
        known = {"replaced", ASIDE, *(path.name for path in found.values())}
        if strange := {path.name for path in self.shelf.glob("*")} - known:
            yield Fault(Kind.LEFTOVER, f"{strange} on the shelf")

    def _of_aside(self, former: Path) -> Iterator[Fault]:
        """A folder that was packed is no version any more, and still there, once and whole."""
        packed = {
            (record.sha256, record.size)
            for folder in former.glob("version-*")
            if (record := msgspec.json.decode((folder / "record.json").read_bytes(), type=Record)).is_only_copy
            and record.version not in self.operation.keeps
        }
        asset = self.shelf / ASIDE / "asset"
        content = asset.read_bytes() if asset.exists() else None
        there = set() if content is None else {(hashlib.sha256(content).hexdigest(), len(content))}
        if there != packed:
            yield Fault(Kind.LOST, f"set aside on the shelf: {sorted(there)}, and not {sorted(packed)}")

    def _of_replaced(self) -> Iterator[Fault]:
        """The former folder stays whole for programs that still read in it."""
        if self._is_program or self.operation.mounted:
            return
        if told := differences(_tree_of(self.shelf / "replaced"), self.operation.old_tree, exact=True):
            yield Fault(Kind.MIXED, f"the former folder: {'; '.join(told)}"[:600])

    def leftovers(self) -> Iterator[Fault]:
        yield from journal_leftovers(self.place)
        home = self.place.app.parent
        for path in (*home.glob("*"), *self.place.app.glob("*")):
            if ".trio-update" in path.name and path != self.shelf:
                yield Fault(Kind.LEFTOVER, f"{path.relative_to(home)}")
        for folder in (home, self.place.data):
            for directory, folders, names in os.walk(folder):
                for name in (*folders, *names):
                    if name.endswith(".tmp"):
                        yield Fault(Kind.LEFTOVER, str(Path(directory, name).relative_to(self.place.run)))

    def losses(self) -> Iterator[Fault]:
        """The user's files are in their place at every instant, whichever version is."""
        found = _tree_of(self.place.app)
        for path, item in MINE[self.operation.family].items():
            if found.get(path) != item:
                yield Fault(Kind.LOST, f"{os.fsdecode(path)!r} of the user's: {found.get(path)}"[:300])

    def _unsaved(self) -> Iterator[Fault]:
        """What the user had made or changed, and no version has, is saved or packed."""
        saved: Tree = {}
        for folder in sorted(self.place.saved.glob("*/files")):
            saved |= take(folder)
        packed = self._packed()
        for path, item in self.operation.added.items():
            if stat.S_ISDIR(item.mode) or saved.get(path) == item or packed.get(path) == item.content:
                continue
            yield Fault(
                Kind.LOST, f"{os.fsdecode(path)!r}, which was the user's, was not saved: {saved.get(path)}"[:300]
            )

    def _packed(self) -> dict[bytes, bytes]:
        folder = self.shelf / f"version-{self.operation.old}"
        if self._is_program or not folder.exists():
            return {}
        if not msgspec.json.decode((folder / "record.json").read_bytes(), type=Record).packed:
            return {}
        with zipfile.ZipFile(folder / "asset") as packed:
            return {name.encode(): packed.read(name) for name in packed.namelist() if not name.endswith("/")}

    def untrue(self, status: Mapping[str, Any], state: State) -> Iterator[Fault]:
        version = self.operation.new if state is State.NEW else self.operation.old
        right = (status["version"], status["remote_version"], status["is_valid"]) == (version, NEWEST, True)
        if not right or status["warnings"] or (state is State.NEW and status["anomalies"]):
            yield Fault(Kind.INVALID, f"the app is {state}, {version}, the status says {status}"[:600])

    async def again(self, server: Server, state: State) -> list[Fault]:
        """What was cut, if it was undone; the way back from an update, and to the newest version from anywhere."""
        operation = self.operation
        faults, steps = list[Fault](), list[tuple[str, Tree]]()
        if state is State.OLD:
            steps.append((operation.path, operation.new_tree))
        if operation.path.startswith("upgrade") and operation.old:
            # Only where the forge could not say what the old version brought.
            brings = PACKABLE if self._packed() else {}
            steps.append(("rollback?name=app", operation.tree(operation.old) | brings))
        steps.append(("upgrade?name=app", operation.tree(NEWEST)))
        for request, wanted in steps:
            if failed := await ask_again(server, request):
                return faults + failed
            if told := differences(_tree_of(self.place.app), wanted, exact=True):
                faults.append(Fault(Kind.MIXED, f"after {request} {'; '.join(told)}"[:600]))
        kept = tuple(sorted({*operation.keeps, NEWEST}))
        return [*faults, *self.leftovers(), *self.of_kept(kept)]


def _tree_of(folder: Path) -> Tree:
    return take(folder, SHELF) if folder.is_dir() else {}
