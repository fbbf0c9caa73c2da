"""A clone with files of the user's in it, and what the server does to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import trio

from tests.crash.git_verdict import GitJudge
from tests.crash.install_verdict import GitInstallJudge
from tests.crash.operations import Serve, World
from tests.crash.points import SERVER, Point
from tests.crash.project import (
    DIRTY,
    EXCLUDED,
    HOOK,
    IN_THE_WAY,
    USER,
    Project,
    Tree,
    differences,
    expected,
    git,
    publish,
    publish_parted,
    put,
    take,
)
from tests.crash.scenes import SERVER_SECTIONS, Place
from tests.crash.servers import Server
from tests.crash.troubles import Trouble

FAMILY = "git_repo"

_CONFIGURATION = """\
[update_manager app]
type: git_repo
path: {app}
origin: {origin}
primary_branch: master
is_system_service: False
"""


@dataclass(frozen=True)
class GitOperation:
    """``goal``: the commit it goes to, ``start``: the one it comes from.  ``dirty``: the user has changed the clone.

    ``newest``: the commit that an upgrade leads to in the end.

    The rest is what every :class:`tests.crash.operations.Operation` has.
    """

    name: str
    scene: str
    path: str
    start: Callable[[Project], str]
    goal: Callable[[Project], str]
    dirty: bool = False
    newest: Callable[[Project], str] = lambda project: project.v3
    forward: bool = False
    cut: str | None = None
    family: str = FAMILY
    mounted: bool = False
    troubles: Sequence[Trouble] = ()

    def new_tree(self, project: Project) -> Tree:
        return expected(project.tree(self.goal(project)), USER)

    def old_tree(self, project: Project) -> Tree:
        dirty = DIRTY if self.dirty else {}
        return expected({**project.tree(self.start(project)), **dirty}, USER | (IN_THE_WAY if self.dirty else {}))

    def judge(self, place: Place, world: World) -> GitJudge:
        return GitJudge(place, self, world.project)

    async def looked(self, server: Server) -> None:
        """No scene's database knows the anomaly that every scene's clone has: it shows that the clone was looked at."""
        with trio.fail_after(60):
            while not (await server.app())["anomalies"]:  # noqa: ASYNC110 - the server is asked, as a client would
                await trio.sleep(0.005)
            await server.ask("history", "GET")  # behind whatever the database was doing

    def cutting_point(self, points: Sequence[Point]) -> Point:
        """The middle of the switch: where most is half done."""
        # How many files git opens to read is not always the same.
        points = [point for point in points if point.call != "openat"]
        if self.name in {"start-upgrade", "start-upgrade-part"}:
            inside = [point for point in points if point.process == "reset.1"]
            return inside[len(inside) * 2 // 3]
        if self.name == "start-soft":
            inside = [point for point in points if point.process == "checkout.1"]
            return inside[len(inside) // 2]
        own = [point for point in points if point.process == SERVER]
        switch = next(number for number, point in enumerate(own) if point.call == "renameat2")
        if self.name == "start-hard":
            return own[switch + 1]
        removing = [point for point in own[switch:] if point.call in {"unlink", "unlinkat"} and "HEAD" in point.what]
        return removing[0]


@dataclass(frozen=True)
class GitInstall(GitOperation):
    """The first installation, of a clone that is not there: nothing is the user's."""

    def new_tree(self, project: Project) -> Tree:
        return expected(project.tree(self.goal(project)), {})

    def old_tree(self, project: Project) -> Tree:
        return {}

    def judge(self, place: Place, world: World) -> GitJudge:
        return GitInstallJudge(place, self, world.project)

    async def looked(self, server: Server) -> None:
        await server.when_ready("refresh?name=app")
        await server.ask("history", "GET")  # behind whatever the database was doing

    def cutting_point(self, points: Sequence[Point]) -> Point:
        """Right behind the switch."""
        own = [point for point in points if point.process == SERVER]
        return own[next(number for number, point in enumerate(own) if point.call == "renameat2") + 1]


_UPGRADE, _ROLLBACK = "upgrade?name=app", "rollback?name=app"
_SOFT, _HARD = "recover?name=app&hard=false", "recover?name=app&hard=true"


def _v1(project: Project) -> str:
    return project.v1


def _v3(project: Project) -> str:
    return project.v3


def _local(project: Project) -> str:
    return project.local


def _p1(project: Project) -> str:
    return project.p1


def _p3(project: Project) -> str:
    return project.p3


OPERATIONS: Mapping[str, GitOperation] = {
    operation.name: operation
    for operation in (
        GitOperation("upgrade", "behind", _UPGRADE, _v1, _v3),
        # The fetch keeps a pack instead of unpacking it, as it does when it brings a hundred objects.
        GitOperation("upgrade-pack", "packed", _UPGRADE, _v1, _v3),
        GitOperation("rollback", "upgraded", _ROLLBACK, _v3, _v1),
        # With a submodule, whose commits have to be fetched and checked out too.
        GitOperation("upgrade-part", "parted", _UPGRADE, _p1, _p3, newest=_p3),
        GitOperation("rollback-part", "parted-upgraded", _ROLLBACK, _p3, _p1, newest=_p3),
        GitOperation("start-upgrade-part", "cut-upgrade-part", _UPGRADE, _p1, _p3, newest=_p3, cut="upgrade-part"),
        GitInstall("install", "absent", _UPGRADE, _v1, _v3),
        GitInstall("start-install", "cut-install", _UPGRADE, _v1, _v3, cut="install"),
        GitOperation("soft", "diverged", _SOFT, _local, _v3, dirty=True, forward=True),
        GitOperation("hard", "diverged", _HARD, _local, _v3, dirty=True),
        # Starts that settle what an earlier death left: they may die as well.
        GitOperation("start-upgrade", "cut-upgrade", _UPGRADE, _v1, _v3, cut="upgrade"),
        GitOperation("start-soft", "cut-soft", _SOFT, _local, _v3, dirty=True, forward=True, cut="soft"),
        GitOperation("start-hard", "cut-hard", _HARD, _local, _v3, dirty=True, cut="hard"),
        GitOperation("start-hard-final", "cut-hard-final", _HARD, _local, _v3, dirty=True, cut="hard"),
    )
}


def configuration(place: Place, project: Project, origin: str = "") -> str:
    """A configuration with one clone."""
    return f"{SERVER_SECTIONS}\n{_CONFIGURATION.format(app=place.app, origin=origin or project.url)}"


async def make_scenes(place: Place, world: World, serve: Serve) -> None:
    """The database is filled by a server: it knows the clone as it was before the user's files and the update came."""
    project = world.project
    place.empty(configuration(place, project))
    git("clone", "--quiet", project.url, str(place.app), cwd=place.root)
    await serve("refresh?name=app")
    place.keep("clean")
    publish(project, project.v3)
    for scene, operation in (("behind", "upgrade"), ("packed", "upgrade-pack"), ("diverged", "soft")):
        place.lay_out("clean")
        _give_user_files(place)
        if scene == "packed":
            git("config", "fetch.unpackLimit", "1", cwd=place.app)
        if scene == "diverged":
            _diverge(place, project)
        _check(place, operation, project)
        place.keep(scene)
    place.lay_out("clean")
    await serve("upgrade?name=app")
    _give_user_files(place)
    _check(place, "rollback", project)
    place.keep("upgraded")
    place.empty(configuration(place, project))
    await serve("refresh?name=app")
    place.keep("absent")
    await _make_parted_scenes(place, project, serve)


async def _make_parted_scenes(place: Place, project: Project, serve: Serve) -> None:
    origin = f"file://{project.parted}"
    place.empty(configuration(place, project, origin))
    git("clone", "--quiet", origin, str(place.app), cwd=place.root)
    allowed = ("-c", "protocol.file.allow=always")
    git(*allowed, "submodule", "--quiet", "update", "--init", cwd=place.app)
    await serve("refresh?name=app")
    place.keep("parted-clean")
    publish_parted(project)
    _give_user_files(place)
    _check(place, "upgrade-part", project)
    place.keep("parted")
    place.lay_out("parted-clean")
    await serve("upgrade?name=app")
    _give_user_files(place)
    _check(place, "rollback-part", project)
    place.keep("parted-upgraded")


def _give_user_files(place: Place) -> None:
    """Make everything that is the user's and that git doesn't track."""
    put(place.app, USER)
    (place.app / ".git" / "hooks" / "post-merge").write_bytes(HOOK)
    (place.app / ".git" / "info" / "exclude").write_bytes(EXCLUDED)


def _diverge(place: Place, project: Project) -> None:
    """The user commits on an old version, changes tracked files, stages one of them, leaves a file in the way."""
    git("fetch", "--quiet", str(project.reference), "refs/heads/mine", cwd=place.app)
    git("reset", "--quiet", "--hard", project.local, cwd=place.app)
    put(place.app, DIRTY | IN_THE_WAY)
    git("add", "run.sh", cwd=place.app)


def _check(place: Place, operation: str, project: Project) -> None:
    """The scene is what the judge takes for granted."""
    assert differences(take(place.app), OPERATIONS[operation].old_tree(project)) == []
