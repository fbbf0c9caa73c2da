"""One updater a kind of app: looks, plans, prepares; never commits by itself."""

from __future__ import annotations

from trio_update.config import AppConfig, GitRepoConfig
from trio_update.host.forge.base import Forges
from trio_update.host.http.client import Web
from trio_update.host.processes.runner import Runner
from trio_update.updaters.base import Updater
from trio_update.updaters.git.updater import GitRepo
from trio_update.updaters.release.updater import ReleaseApp


def make_updater(config: AppConfig, runner: Runner, web: Web, forges: Forges, *, debug: bool) -> Updater:
    """The updater for one configured app."""
    if isinstance(config, GitRepoConfig):
        return GitRepo(config, runner, debug=debug)
    return ReleaseApp(config, forges.forge(config.forge_url), web, debug=debug)
