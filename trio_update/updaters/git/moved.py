"""Clones whose project has moved: the remote follows, when the old address itself says so."""

from __future__ import annotations

from trio_update.errors import OperationFailed
from trio_update.host.git.address import read_address
from trio_update.host.git.folder import survey
from trio_update.host.git.repository import Repository
from trio_update.host.http.client import Web
from trio_update.host.threads import in_thread
from trio_update.updaters.git.kind import GitRepoConfig


async def follow_move(config: GitRepoConfig, repository: Repository, web: Web) -> bool:
    """Set the remote ``origin`` to the configured one if it still names ``moved_origin`` and that redirects there.

    Without the redirect nothing is done: a configuration copied from somewhere must not lead a clone to
    another repository.  Raises: OperationFailed when git cannot write the clone's configuration.
    """
    if not config.moved_origin or not config.origin:
        return False
    folder = await in_thread(survey, config.path)
    current = (await repository.settings(folder)).remotes().get("origin") if folder is not None else None
    if current is None or not read_address(current).same_as(read_address(config.moved_origin)):
        return False
    if not current.startswith(("http://", "https://")):
        return False
    try:
        target = await web.redirect_of(f"{current.rstrip('/')}/info/refs?service=git-upload-pack")
    except OperationFailed:
        return False  # not reachable: the look that follows says so
    if target is None or not read_address(target.split("/info/refs")[0]).same_as(read_address(config.origin)):
        return False
    await repository.git("remote", "set-url", "origin", config.origin)
    return True
