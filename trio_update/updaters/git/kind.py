"""Git clones as a kind of app: what a section may say, and what the status shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trio_update.config import AppConfig, inner, render
from trio_update.config import addresses as net
from trio_update.config import convert as to
from trio_update.config.rules import listing, scalar
from trio_update.model import AppStatus, Channel, Commit, Outside, Unknown
from trio_update.updaters.kinds import Kind

if TYPE_CHECKING:
    from trio_update.updaters.base import Effect, Tools, Updater

__all__ = ["GIT_REPO", "GitRepoConfig", "GitStatus"]


class GitRepoConfig(AppConfig, frozen=True, kw_only=True, tag="git_repo"):
    """One ``[update_manager NAME]`` section of type ``git_repo``."""

    channel: Channel = Channel.DEV
    origin: str = ""
    primary_branch: str = "master"
    pinned_commit: str = ""
    moved_origin: str = ""
    virtualenv: Path | None = None
    venv_args: str = ""
    requirements: str = ""
    system_dependencies: str = ""
    install_script: str = ""
    enable_node_updates: bool = False
    pip_environment_variables: tuple[tuple[str, str], ...] = ()


class GitStatus(AppStatus, frozen=True, kw_only=True, tag="git_repo"):
    """State of a git clone (reference: "Git Repo Status")."""

    detected_type: Literal["git_repo"] = "git_repo"
    full_version_string: Outside | Unknown
    current_hash: str | Unknown
    remote_hash: str | Unknown
    remote_alias: str | Unknown
    remote_url: str | Unknown
    recovery_url: str | Unknown
    branch: Outside | Unknown
    is_dirty: bool = False
    corrupt: bool = False
    pristine: bool = False
    detached: bool = False
    commits_behind: tuple[Commit, ...] = ()
    commits_behind_count: int = 0
    git_messages: tuple[Outside, ...] = ()


def _effects() -> tuple[type[Effect], ...]:
    from trio_update.updaters.git.effects import MoveHead, ReplaceClone, RestoreHead
    from trio_update.updaters.place import MakeFolders

    return (MoveHead, RestoreHead, ReplaceClone, MakeFolders)


def _make(config: GitRepoConfig, tools: Tools) -> Updater:
    from trio_update.updaters.git.updater import GitRepo

    return GitRepo(config, tools)


GIT_REPO = Kind(
    config=GitRepoConfig,
    status=GitStatus,
    options={
        "origin": scalar(net.as_remote).missed("a clone that is damaged beyond repair cannot be made anew without it"),
        "primary_branch": scalar(to.as_branch).holds_back(),
        "pinned_commit": scalar(to.as_pin).holds_back(),
        "moved_origin": scalar(net.as_remote),
        "env": inner.interpreter().not_yet(),
        "virtualenv": inner.environment().not_yet(),
        "venv_args": scalar(to.as_quoted, verbatim=True).holds_back().not_yet(),
        # Read to refuse an upgrade that needs other packages than the installed version does.
        "requirements": inner.dependency_file(),
        "system_dependencies": inner.dependency_file(),
        "install_script": inner.dependency_file(),
        "enable_node_updates": scalar(to.as_flag).holds_back(),
        "pip_environment_variables": listing(to.as_assignment, render.assignment).not_yet(),
    },
    required=("path",),
    effects=_effects,
    make=_make,
    # A hard recovery does; untracked files come along.
    keeps_strangers=True,
)
