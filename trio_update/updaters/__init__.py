"""One updater a kind of app: looks, plans, prepares; never commits by itself."""

from __future__ import annotations

from trio_update.config import AppConfig, GitRepoConfig
from trio_update.updaters.base import Tools, Updater
from trio_update.updaters.git.updater import GitRepo
from trio_update.updaters.release.updater import ReleaseApp


def make_updater(config: AppConfig, tools: Tools) -> Updater:
    """The updater for one configured app."""
    if isinstance(config, GitRepoConfig):
        return GitRepo(config, tools)
    return ReleaseApp(config, tools)
