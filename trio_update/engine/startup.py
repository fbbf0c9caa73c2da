"""What a manager needs before it can work: its folders, and what it knew last."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from trio_update.config import AppConfig, Config
from trio_update.engine.board import Board
from trio_update.errors import FileTrouble, StartFailed
from trio_update.host.files.carry import TEMPORARY
from trio_update.host.lock import InstanceLock
from trio_update.host.store import Store
from trio_update.logs import get_logger
from trio_update.model import AppName, AppStatus
from trio_update.updaters.base import Updater
from trio_update.updaters.kinds import Kind

_log = get_logger(__name__)


def config_digest(config: AppConfig) -> str:
    """Tells whether a stored snapshot was made under this configuration."""
    return hashlib.sha256(msgspec.json.encode(config, enc_hook=str)).hexdigest()[:16]


@contextmanager
def locked(data_path: Path) -> Iterator[None]:
    """Keep other managers off DATA_PATH while the context lasts.  Raises: DataPathHeld, StartFailed."""
    with ExitStack() as held:
        try:
            held.enter_context(InstanceLock(data_path / "database" / "trio_update.lock"))
        except FileTrouble as error:
            raise StartFailed(f"DATA_PATH cannot be used: {error}") from error
        yield


def kinds_of(config: Config, kinds: Sequence[Kind]) -> dict[AppName, Kind]:
    """What kind of app each one is, once the configuration was judged by these kinds."""
    by_config = {kind.config: kind for kind in kinds}
    return {app.name: by_config[type(app)] for app in config.apps}


async def restore(
    config: Config, kinds: Mapping[AppName, Kind], store: Store, board: Board, updaters: Mapping[AppName, Updater]
) -> list[AppName]:
    """Put the stored snapshots on the board.  Returns the apps that have none, or one of another configuration."""
    types: dict[AppName, type[AppStatus]] = {app: kind.status for app, kind in kinds.items()}
    stored = await store.snapshots(types)
    earlier = await store.earlier()
    changed = []
    for app in config.apps:
        digest, status = stored.get(app.name, ("", None))
        board.put(app.name, status if status is not None else updaters[app.name].initial())
        board.set_earlier(app.name, earlier.get(app.name, ()))
        if digest != config_digest(app):
            changed.append(app.name)
    return changed


def make_folders(data_path: Path) -> None:
    """Make the folders below DATA_PATH that everything else expects.  Raises: StartFailed."""
    for folder in (data_path / "database", data_path / "trio_update" / "journal"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartFailed(f"DATA_PATH cannot be used: cannot make {folder}: {error.strerror}") from error


def refuse_inside_app(data_path: Path, config: Config, kinds: Mapping[AppName, Kind]) -> None:
    """Refuse a DATA_PATH inside an app's folder: an update would take the journal with it.  Raises: StartFailed."""
    place = Path(os.path.realpath(data_path))
    for app in config.apps:
        if kinds[app.name].replaces_folder and place.is_relative_to(os.path.realpath(app.path)):
            raise StartFailed(
                f"DATA_PATH {data_path} lies in the folder of {app.name}, {app.path}, which an update replaces: choose "
                "another DATA_PATH, or another 'path' for the app"
            )


def tidy_saved(data_path: Path) -> None:
    """Remove what a killed server was just saving: half a copy, while the file itself is still in its place."""
    saved = data_path / "trio_update" / "saved"
    try:
        for left in saved.glob("*/.*.tmp"):
            left.unlink()
        for folder in saved.glob("*/*"):
            if folder.is_dir() and not folder.is_symlink():
                (folder / os.fsdecode(TEMPORARY)).unlink(missing_ok=True)
    except OSError as error:
        _log.warning("what was left in %s was not removed: %s", saved, error)
