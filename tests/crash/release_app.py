"""Apps that come as assets of releases, of each type, and what the server does to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tests.crash.install_verdict import ReleaseInstallJudge
from tests.crash.operations import Serve, World
from tests.crash.points import Point
from tests.crash.project import Tree, differences, put, take
from tests.crash.release_files import (
    ADDED,
    CHANGED,
    FORMER,
    MINE,
    MISSING,
    NEWEST,
    OLDEST,
    PERSISTENT,
    RUINED,
    VERSIONS,
    publish,
    release,
)
from tests.crash.release_verdict import SHELF, ReleaseJudge
from tests.crash.scenes import SERVER_SECTIONS, Place
from tests.crash.servers import Server
from tests.crash.troubles import TROUBLES, Trouble
from tests.support.mounts import MOUNTS
from tests.support.releases import REPO
from trio_update.demo.github.server import GitHub

KINDS = ("web", "zip", "executable")


@dataclass(frozen=True)
class ReleaseOperation:
    """From version ``old`` (empty: not installed) to ``new``.

    The user has made ``added`` in the folder, and removed ``missing``.
    ``keeps``: the versions on the shelf afterwards.  ``cut_behind``: the call of the operation before a start, and
    what it is about.  The rest is what every operation has.
    """

    name: str
    family: str
    scene: str
    path: str
    old: str
    new: str
    keeps: tuple[str, ...]
    added: Tree = field(default_factory=dict)
    missing: frozenset[bytes] = frozenset()
    cut: str | None = None
    cut_behind: tuple[str, str] = ("", "")
    forward: bool = False
    mounted: bool = False
    troubles: Sequence[Trouble] = ()

    def tree(self, version: str) -> Tree:
        return release(self.family, version) | (MINE[self.family] if self.old else {})

    @property
    def old_tree(self) -> Tree:
        if not self.old:
            return {}
        return {path: item for path, item in (self.tree(self.old) | self.added).items() if path not in self.missing}

    @property
    def new_tree(self) -> Tree:
        return self.tree(self.new)

    def judge(self, place: Place, world: World) -> ReleaseJudge:
        return ReleaseJudge(place, self) if self.old else ReleaseInstallJudge(place, self)

    async def looked(self, server: Server) -> None:
        await server.when_ready("refresh?name=app")
        await server.ask("history", "GET")  # behind whatever the database was doing

    def cutting_point(self, points: Sequence[Point]) -> Point:
        call, what = self.cut_behind
        numbers = [number for number, point in enumerate(points) if point.call == call and what in point.what]
        return points[numbers[(len(numbers) - 1) // 2] + 1]


_UPGRADE, _ROLLBACK = "upgrade?name=app", "rollback?name=app"
_RECOVER, _HARD = "recover?name=app&hard=false", "recover?name=app&hard=true"
_LATER = (OLDEST, FORMER)
_DAMAGED = CHANGED, frozenset({MISSING})


def _upgrades() -> tuple[ReleaseOperation, ...]:
    foreign = (OLDEST, NEWEST, (OLDEST, NEWEST))
    return (
        ReleaseOperation("web-upgrade", "web", "web-foreign", _UPGRADE, *foreign, ADDED, troubles=TROUBLES),
        ReleaseOperation(
            "zip-upgrade", "zip", "zip-changed", _UPGRADE, FORMER, NEWEST, VERSIONS, CHANGED, troubles=TROUBLES
        ),
        ReleaseOperation(
            "executable-upgrade", "executable", "executable-foreign", _UPGRADE, *foreign, troubles=TROUBLES
        ),
    )


def _ways_back() -> tuple[ReleaseOperation, ...]:
    back = (FORMER, OLDEST, _LATER)
    same = (FORMER, FORMER, _LATER)
    return (
        ReleaseOperation("web-rollback", "web", "web-ours", _ROLLBACK, *back),
        ReleaseOperation("zip-rollback", "zip", "zip-newest", _ROLLBACK, NEWEST, FORMER, VERSIONS),
        ReleaseOperation("executable-rollback", "executable", "executable-ours", _ROLLBACK, *back),
        # A hard one downloads what is on the shelf again.
        ReleaseOperation("web-recover", "web", "web-damaged", _HARD, *same, *_DAMAGED),
        ReleaseOperation("zip-recover", "zip", "zip-damaged", _RECOVER, *same, *_DAMAGED),
        ReleaseOperation("executable-recover", "executable", "executable-damaged", _RECOVER, *same, RUINED),
    )


def _mounted() -> tuple[ReleaseOperation, ...]:
    """A folder that cannot change places: its content is copied over.  Where nothing can be mounted, none."""
    if "bind" not in MOUNTS:
        return ()
    upgrade = next(operation for operation in _upgrades() if operation.family == "zip")
    return (replace(upgrade, name="zip-refill", mounted=True, troubles=()),)


def _install() -> ReleaseOperation:
    return ReleaseOperation("install-web", "web", "web-absent", _UPGRADE, "", NEWEST, (NEWEST,), troubles=TROUBLES)


def _starts() -> Iterator[ReleaseOperation]:
    """Starts that settle what an earlier death left."""
    for former in _upgrades():
        # Of an executable, whose description is not exchanged then.
        yield _start(former, "", ("renameat2", "RENAME_EXCHANGE"))
        yield _start(former, "-final", ("renameat2", "/version-"))
    yield _start(_install(), "", ("renameat2", "/tree"))
    yield _start(_install(), "-final", ("renameat2", "/version-"))
    for former in _mounted():
        yield _start(former, "", ("unlinkat", "/home/app"))
        yield _start(former, "-final", ("renameat2", "/version-"))


def _start(former: ReleaseOperation, suffix: str, behind: tuple[str, str]) -> ReleaseOperation:
    name = f"{former.name}{suffix}"
    return replace(former, name=f"start-{name}", scene=f"cut-{name}", cut=former.name, cut_behind=behind, troubles=())


OPERATIONS: Mapping[str, ReleaseOperation] = {
    operation.name: operation for operation in (*_upgrades(), _install(), *_ways_back(), *_mounted(), *_starts())
}

_SECTION = """\
github_api_url: {github.api_url}
github_url: {github.web_url}

[update_manager app]
type: {kind}
path: {app}
repo: {repo}
"""
_KEPT = ("persistent_files:", *(f"  {path}" for path in PERSISTENT))
_OPTIONS = {
    "web": _KEPT,
    "zip": ("is_system_service: False", "virtualenv: {app}/venv", *_KEPT),
    "executable": ("is_system_service: False",),
}


def configuration(place: Place, kind: str, github: GitHub) -> str:
    """A configuration with one app of that type."""
    section = _SECTION.format(github=github, kind=kind, app=place.app, repo=REPO)
    options = "\n".join(_OPTIONS[kind]).format(app=place.app)
    return f"{SERVER_SECTIONS}{section}{options}\n"


def install(place: Place, kind: str, added: Tree) -> None:
    """What somebody else has installed, with what the user has beside it."""
    put(place.app, release(kind, OLDEST) | MINE[kind] | added)
    # A mode that no release and no umask gives.
    place.app.chmod(0o2775)


@dataclass(frozen=True)
class MakeScenes:
    """Makes the scenes of one type: what somebody else installed, then what the server made of it, one by one."""

    kind: str

    async def __call__(self, place: Place, world: World, serve: Serve) -> None:
        kind, github = self.kind, world.github
        place.empty(configuration(place, kind, github))
        publish(github, *VERSIONS)
        await serve("refresh?name=app")
        self._keep(place, "absent")
        place.empty(configuration(place, kind, github))
        install(place, kind, {} if kind == "executable" else ADDED)
        publish(github, OLDEST)
        await serve("refresh?name=app")
        self._keep(place, "foreign")
        publish(github, OLDEST, FORMER)
        await serve(_UPGRADE)
        self._keep(place, "ours")
        publish(github, *VERSIONS)
        await serve(_UPGRADE)
        self._keep(place, "newest")
        place.lay_out(f"{kind}-ours")
        put(place.app, RUINED if kind == "executable" else CHANGED)
        self._keep(place, "changed")
        (place.app / MISSING.decode()).unlink(missing_ok=True)
        self._keep(place, "damaged")

    def _keep(self, place: Place, name: str) -> None:
        """What stands here, which the judge takes for granted, is a scene."""
        scene = f"{self.kind}-{name}"
        for operation in OPERATIONS.values():
            if operation.scene == scene:
                told = differences(take(place.app, SHELF), operation.old_tree, exact=True)
                assert not told, (scene, told)
        place.keep(scene)
