"""What must be true of a clone and its surroundings after a death, judged without trusting the app's own git."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.crash.operations import Fault, Kind, State, ask_again, journal_leftovers
from tests.crash.project import DIRTY, EXCLUDED, HOOK, IN_THE_WAY, USER, Project, Tree, differences, expected, git, take
from tests.crash.scenes import Place
from tests.crash.servers import Server

if TYPE_CHECKING:
    from tests.crash.git_app import GitOperation


@dataclass(frozen=True)
class GitJudge:
    """Implementation of :class:`tests.crash.operations.Judge`."""

    place: Place
    operation: GitOperation
    project: Project
    cleared: bool = False  # the user has taken away what was in the way

    @property
    def precious(self) -> Tree:
        """What the user did to the app's files, or put in their place."""
        return DIRTY if self.cleared else DIRTY | IN_THE_WAY

    def state(self) -> tuple[State, list[Fault]]:
        """Which version the work tree is, every file of it and nothing else."""
        found = take(self.place.app)
        from_new = differences(found, self.operation.new_tree(self.project))
        if not from_new:
            return State.NEW, []
        from_old = differences(found, self.operation.old_tree(self.project))
        if not from_old:
            return State.OLD, []
        if self.operation.forward and not differences(
            found, expected(self.project.tree(self.project.v1), USER | IN_THE_WAY)
        ):
            return State.KNOWN, []
        lost = [
            Fault(Kind.LOST, f"{os.fsdecode(path)!r} of the user's: {found.get(path)}")
            for path, item in USER.items()
            if found.get(path) != item
        ]
        version, off = min(("new", from_new), ("old", from_old), key=lambda pair: len(pair[1]))
        return State.NEITHER, [*lost, Fault(Kind.MIXED, f"like the {version} version, but {'; '.join(off)}"[:800])]

    def faults(self) -> tuple[State, list[Fault]]:
        """Everything about the disk."""
        state, faults = self.state()
        faults += self.of_git(state)
        faults += self.leftovers()
        faults += self.losses()
        return state, faults

    def untrue(self, status: Mapping[str, Any], state: State) -> Iterator[Fault]:
        """What the server says of the app and is not so."""
        if self._is_invalid(state):
            return
        if not status["is_valid"] or status["corrupt"] or status["current_hash"] != self.commit(state):
            yield Fault(Kind.INVALID, f"the status says {status}"[:600])

    def _is_invalid(self, state: State) -> bool:
        """Whether the user's own commits and changes are still there, which a status complains of."""
        return self.operation.dirty and state is State.OLD

    async def again(self, server: Server, state: State) -> list[Fault]:
        """What was cut, where only that helps; then an upgrade."""
        faults = await ask_again(server, self.operation.path) if self._is_invalid(state) else []
        cleared = state is State.KNOWN
        if cleared:
            self._clear_the_way()
        if failed := await ask_again(server, "upgrade?name=app"):
            return faults + failed
        newest = replace(self.operation, goal=self.operation.newest)
        final, more = replace(self, operation=newest, cleared=cleared).faults()
        if final is not State.NEW:
            more.append(Fault(Kind.MIXED, f"after an upgrade the app is {final}"))
        return faults + more

    def _clear_the_way(self) -> None:
        """What the user has to do, and is told, before an upgrade brings files to where theirs are."""
        for path in IN_THE_WAY:
            (self.place.app / os.fsdecode(path)).unlink()

    def commit(self, state: State) -> str:
        if state is State.KNOWN:
            return self.project.v1
        return self.operation.goal(self.project) if state is State.NEW else self.operation.start(self.project)

    def of_git(self, state: State) -> Iterator[Fault]:
        """HEAD, branch, index and objects."""
        app = self.place.app
        quiet = {"GIT_OPTIONAL_LOCKS": "0"}
        try:
            if git("symbolic-ref", "HEAD", cwd=app) != b"refs/heads/master\n":
                yield Fault(Kind.MIXED, "HEAD is not on master")
            head = git("rev-parse", "HEAD", cwd=app).decode().strip()
            if state is not State.NEITHER and head != self.commit(state):
                yield Fault(Kind.MIXED, f"the files are {state}, HEAD is {head[:8]}")
            if state is not State.OLD or not self.operation.dirty:
                told = git("status", "--porcelain=v2", "--untracked-files=no", cwd=app, environ=quiet)
                if told:
                    yield Fault(Kind.MIXED, f"git status says {told!r}")
            elif git("diff", "--cached", "--name-only", cwd=app, environ=quiet) != b"run.sh\n":
                yield Fault(Kind.LOST, "what the user had staged is not staged any more")
        except subprocess.CalledProcessError as error:
            yield Fault(Kind.BROKEN, f"git {error.cmd[1]}: {error.stderr!r}")
        yield from self._fsck()
        yield from self.of_users()

    def of_users(self) -> Iterator[Fault]:
        """What is the user's and lies in `.git`."""
        app = self.place.app
        hook, exclude = app / ".git" / "hooks" / "post-merge", app / ".git" / "info" / "exclude"
        for path, content in ((hook, HOOK), (exclude, EXCLUDED)):
            if not path.exists() or path.read_bytes() != content:
                yield Fault(Kind.LOST, f"{path.name} of the user's in .git")

    def _fsck(self) -> Iterator[Fault]:
        done = subprocess.run(
            ["git", "fsck", "--full", "--no-dangling", "--no-progress"],
            cwd=self.place.app,
            env=self.place.environment(),
            capture_output=True,
            check=False,
        )
        if done.returncode or done.stdout or done.stderr:
            yield Fault(Kind.BROKEN, f"git fsck: {(done.stdout + done.stderr)[:400]!r}")

    def leftovers(self) -> Iterator[Fault]:
        """Locks, temporary files, stages, journal entries."""
        for directory, folders, files in os.walk(self.place.app / ".git"):
            for name in (*folders, *files):
                if name.endswith(".keep") and not Path(directory, name).stat().st_size:
                    continue  # killed before git wrote whose it is: like one of the user's, and as harmless
                if name == "trio-update" and Path(directory).name == "refs":
                    continue  # what is fetched for us has refs of its own
                if name.endswith((".lock", ".keep", ".tmp")) or name.startswith(("tmp_", "trio-update")):
                    yield Fault(Kind.LEFTOVER, str(Path(directory, name).relative_to(self.place.run)))
        for path in self.place.app.parent.iterdir():
            if path != self.place.app:
                yield Fault(Kind.LEFTOVER, f"{path.name} beside the app")
        yield from journal_leftovers(self.place)

    def losses(self) -> Iterator[Fault]:
        """What the user changed and is not there any more must have been saved before; true at every instant."""
        if not self.operation.dirty:
            return
        app = self.place.app
        gone = {path for path, item in self.precious.items() if _content(app, path) != item.content}
        if gone:
            yield from self._unsaved(gone)
        branch = app / ".git" / "refs" / "heads" / "master"
        moved = not branch.exists() or branch.read_text().strip() != self.project.local
        if moved and not self._commit_is_saved():
            yield Fault(Kind.LOST, "the user's own commit was not saved")

    def _unsaved(self, gone: set[bytes]) -> Iterator[Fault]:
        problems = []
        folders = list(self.place.saved.glob("*")) if self.place.saved.exists() else []
        for folder in folders:
            left = gone - {
                path for path, item in IN_THE_WAY.items() if _content(folder / "untracked", path) == item.content
            }
            # Whole copies, where git could not make a patch: it was killed while it did.
            left -= {path for path in left if _content(folder / "changed", path) == self.precious[path].content}
            try:
                patched = self._patched(folder / "changes.patch", left) if left else {}
            except (OSError, subprocess.CalledProcessError) as error:
                problems.append(f"{folder.name}: {error} {getattr(error, 'stderr', '')!r}")
                continue
            missing = [path for path in left if patched.get(path) != self.precious[path].content]
            if not missing:
                return
            problems.append(f"{folder.name}: the patch does not bring back {missing}")
        yield Fault(Kind.LOST, f"{gone} changed, and was not saved: {problems or 'there is no saved folder'}")

    def _patched(self, patch: Path, paths: set[bytes]) -> dict[bytes, bytes]:
        """What ``paths`` hold in the version that the patch was made against, after it was applied."""
        reference, index = self.project.reference, self.place.root / "patched-index"
        hard = "hard" in self.operation.name
        base = self.project.v3 if hard else self.project.local
        environ = {"GIT_INDEX_FILE": str(index), "GIT_OBJECT_DIRECTORY": str(self.place.root / "patched-objects")}
        environ["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(reference / "objects")
        (self.place.root / "patched-objects").mkdir(exist_ok=True)
        git("read-tree", base, cwd=reference, environ=environ)
        git("apply", "--cached", "--whitespace=nowarn", str(patch), cwd=reference, environ=environ)
        return {
            path: git("cat-file", "blob", f":{os.fsdecode(path)}", cwd=reference, environ=environ) for path in paths
        }

    def _commit_is_saved(self) -> bool:
        if not self.place.saved.exists():
            return False
        for bundle in (*self.place.saved.glob("*/commits.bundle"), *self.place.saved.glob("*/local.bundle")):
            try:
                git("bundle", "verify", "--quiet", str(bundle), cwd=self.project.reference)
                return self.project.local.encode() in git("bundle", "list-heads", str(bundle), cwd=bundle.parent)
            except subprocess.CalledProcessError:
                continue
        return False


def _content(folder: Path, path: bytes) -> bytes | None:
    try:
        return Path(folder, os.fsdecode(path)).read_bytes()
    except OSError:
        return None
