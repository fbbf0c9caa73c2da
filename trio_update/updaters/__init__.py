"""One updater a kind of app: looks, plans, prepares; never commits by itself."""

from __future__ import annotations

from trio_update.config import AppConfig
from trio_update.host.processes import Runner
from trio_update.updaters.base import Updater
from trio_update.updaters.git_repo import GitRepo


def make_updater(config: AppConfig, runner: Runner, *, debug: bool) -> Updater:
    """The updater for one configured app."""
    return GitRepo(config, runner, debug=debug)
