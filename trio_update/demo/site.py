"""What the playground consists of: its apps, their upstreams and clones, and a configuration for them."""

from __future__ import annotations

import random
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from trio_update.demo.github.server import GitHub
from trio_update.demo.gitserver import Behaviour, GitServer
from trio_update.demo.releases import BIG, DAMAGED, RELEASE_APPS, TOOL, WEB_CLIENT, ZIP_APP, ReleaseApp, publish
from trio_update.demo.repos import BEHIND, PIN, Files, State, Upstream, add_commits, clone, make_clone, make_upstream
from trio_update.errors import CommandFailed
from trio_update.logs import get_logger

_log = get_logger(__name__)

SLOW = "slow"
UNHEALTHY = "unhealthy"

_BUILDERS = 4
_SLOW_RATE = 20_000.0
_SLOW_FILES = 120
_SLOW_FILE_SIZE = 4_000


@dataclass(frozen=True, slots=True)
class App:
    """One app of the playground; ``options`` are lines of its section."""

    name: str
    description: str
    make: Callable[[Upstream, Path, str], object]
    options: Callable[[Upstream, Path], tuple[str, ...]] = lambda upstream, path: ()


def _in_state(state: State) -> Callable[[Upstream, Path, str], object]:
    return lambda upstream, path, url: make_clone(state, upstream, path, url=url)


def _channel(channel: str) -> Callable[[Upstream, Path], tuple[str, ...]]:
    return lambda upstream, path: (f"channel: {channel}",)


def _pin(upstream: Upstream, path: Path) -> tuple[str, ...]:
    return (f"pinned_commit: {upstream.commits()[PIN - 1]}",)


def _make_slow(upstream: Upstream, path: Path, url: str) -> None:
    clone(upstream, path, url=url, behind=3)


def _make_unhealthy(upstream: Upstream, path: Path, url: str) -> None:
    add_commits(upstream, 1, files={"selfcheck.sh": b"#!/bin/sh\nexit 0\n"})
    clone(upstream, path, url=url)
    broken = b"#!/bin/sh\necho 'the new version cannot find its printer' >&2\nexit 1\n"
    add_commits(upstream, 3, files={"selfcheck.sh": broken})


def _selfcheck(upstream: Upstream, path: Path) -> tuple[str, ...]:
    return (f"health_command: /bin/sh {path}/selfcheck.sh", "health_timeout: 10")


APPS = (
    App("behind", f"{BEHIND} commits behind", _in_state(State.BEHIND)),
    App("current", "up to date", _in_state(State.CURRENT)),
    App("stable", "on a release, channel stable", _in_state(State.STABLE), _channel("stable")),
    App("beta", "on a release, channel beta", _in_state(State.BETA), _channel("beta")),
    App("pinned", "behind, pinned to a commit below the newest", _in_state(State.PINNED), _pin),
    App("dirty", "files changed by hand", _in_state(State.DIRTY)),
    App("diverged", "a commit that upstream does not have", _in_state(State.DIVERGED)),
    App("detached", "on no branch", _in_state(State.DETACHED)),
    App("untracked", "behind, with files of the user's", _in_state(State.UNTRACKED)),
    App("shallow", "behind, a shallow clone", _in_state(State.SHALLOW)),
    App("blobless", "behind, a clone without file contents of the past", _in_state(State.BLOBLESS)),
    App("corrupt", "had lost objects in a power cut: the first refresh repairs it", _in_state(State.CORRUPT)),
    App(SLOW, "its upstream takes half a minute: abort it", _make_slow),
    App(UNHEALTHY, "its new version fails its health check", _make_unhealthy, _selfcheck),
)


@dataclass(frozen=True, slots=True)
class Site:
    """Where things are."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "moonraker.conf"

    @property
    def upstreams(self) -> Path:
        return self.folder / "upstreams"

    @property
    def apps(self) -> Path:
        return self.folder / "apps"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def offline(self) -> Path:
        """While there is such a file, nobody answers for GitHub."""
        return self.folder / "offline"

    @property
    def hanging(self) -> Path:
        """While there is such a file, downloads of releases stop half-way for a while."""
        return self.folder / "hang"

    def make_folders(self) -> None:
        for folder in (self.upstreams, self.apps, self.data):
            folder.mkdir()


async def build(site: Site, server: GitServer, github: GitHub, port: int) -> None:
    """Make every app, a few side by side, and the configuration.

    Raises:
        ExceptionGroup: of ``CommandFailed`` and ``OSError``.
    """
    builders = trio.CapacityLimiter(_BUILDERS)
    sections: dict[str, str] = {}

    async def one(app: App) -> None:
        sections[app.name] = await trio.to_thread.run_sync(_build_app, app, site, server, limiter=builders)

    async def one_release(app: ReleaseApp) -> None:
        await trio.to_thread.run_sync(app.install, site.apps / app.name, limiter=builders)
        sections[app.name] = app.section(site.apps / app.name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.to_thread.run_sync, publish, github, limiter=builders))
        for app in APPS:
            nursery.start_soon(one, app)
        for release_app in RELEASE_APPS:
            nursery.start_soon(one_release, release_app)
    names = [app.name for app in (*APPS, *RELEASE_APPS)]
    text = "\n".join((_head(port, github), *(sections[name] for name in names)))
    await trio.Path(site.config).write_text(text)
    server.faults[SLOW] = Behaviour(rate=_SLOW_RATE)


def _head(port: int, github: GitHub) -> str:
    lines = (
        "# The playground's configuration.",
        "[trio_update]",
        "host: 127.0.0.1",
        f"port: {port}",
        f"github_api_url: {github.api_url}",
        f"github_url: {github.web_url}",
        "",
        "[update_manager]",
        "enable_system_updates: False",
    )
    return "\n".join(lines) + "\n"


def _build_app(app: App, site: Site, server: GitServer) -> str:
    upstream = make_upstream(site.upstreams / f"{app.name}.git")
    path = site.apps / app.name
    app.make(upstream, path, server.url(app.name))
    lines = (
        f"[update_manager {app.name}]",
        "type: git_repo",
        f"path: {path}",
        f"origin: {server.url(app.name)}",
        "primary_branch: master",
        "is_system_service: False",
        *app.options(upstream, path),
        "info_tags:",
        f"  desc={app.description}",
    )
    return "\n".join(lines) + "\n"


async def keep_slow_busy(site: Site, server: GitServer) -> None:
    """Let the slow app's upstream move on each time when somebody has fetched all of it.

    Otherwise the refresh at the start would bring everything, and the upgrade would have nothing left to fetch and be
    over before it can be aborted.
    """
    upstream = Upstream(site.upstreams / f"{SLOW}.git")
    while True:
        # What was fetched so far was for building the clone.
        seen = server.packs[SLOW]
        await server.packs_reach(SLOW, seen + 1)
        try:
            await trio.to_thread.run_sync(partial(_move_on, upstream, server.packs[SLOW]))
        except (CommandFailed, OSError) as error:
            # Users are invited to break things; that must not end the playground.
            _log.warning("the upstream of %s does not move on any more: %s", SLOW, error)
            return


def _move_on(upstream: Upstream, seed: int) -> None:
    # Noise, which cannot be compressed; always the same noise.
    noise = random.Random(seed)  # noqa: S311 - no secret
    files: Files = {f"data/{number}.bin": noise.randbytes(_SLOW_FILE_SIZE) for number in range(_SLOW_FILES)}
    add_commits(upstream, 1, files=files)


def describe(site: Site, server: GitServer, github: GitHub, url: str, *, default: bool) -> str:
    """What the user sees; ``default``: the client commands find this server without being told where."""
    ask = "trio-update" if default else f"TRIO_UPDATE_URL={url} trio-update"
    text = f"""\
        The playground is at {url}

          apps           {site.apps}/NAME
          upstreams      {site.upstreams}/NAME.git, fetched from {server.url("NAME")}
          releases       from a stand-in for GitHub at {github.web_url}
          configuration  {site.config}

        In another terminal:

          {ask} status
          {ask} watch                    # what happens, as it happens
          {ask} upgrade behind           # {BEHIND} commits
          {ask} rollback behind          # and back
          {ask} upgrade {SLOW}             # takes half a minute; in a third terminal:
          {ask} abort
          {ask} upgrade {UNHEALTHY}        # fails its health check and is put back
          {ask} recover dirty            # local changes are kept as a patch
          {ask} recover diverged --hard

        Apps that come as a release ({WEB_CLIENT}, {ZIP_APP} and {TOOL} can do the same):

          {ask} plan {WEB_CLIENT}           # what an upgrade would bring
          {ask} upgrade {WEB_CLIENT}        # your config.json stays
          rm {site.apps}/{WEB_CLIENT}/index.html
          {ask} refresh {WEB_CLIENT}        # sees it
          {ask} recover {WEB_CLIENT}        # brings it back
          touch {site.hanging}        # every download hangs half-way, until you remove the file
          {ask} upgrade {TOOL}             # hangs; in a third terminal:
          {ask} abort
          touch {site.offline}     # GitHub is gone, until you remove the file
          {ask} rollback {WEB_CLIENT}       # needs no network
          rm -r {site.apps}/{ZIP_APP}
          {ask} refresh {ZIP_APP}           # sees that it is not installed
          {ask} upgrade {ZIP_APP}           # installs it
          {ask} upgrade {BIG}      # downloads for half a minute: abort it
          {ask} upgrade {DAMAGED}          # is not what was published: nothing changes

        And for all of them:

          {ask} upgrade                  # everything
          {ask} history

        Break what you like: only {site.folder} is touched, and it is removed at the end.  Ctrl-C ends it."""
    return textwrap.dedent(text)
