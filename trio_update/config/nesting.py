"""Apps whose folders lie in one another, or hold the server's data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from trio_update.config.apps import Judged, disable
from trio_update.config.kinds import AppKind, Kinds
from trio_update.config.names import printable
from trio_update.config.values import AppConfig

Resolve = Callable[[Path], Path]


def keep_apart(judged: Sequence[Judged], resolve: Resolve, kinds: Kinds) -> list[Judged]:
    """Disable each app whose updates, which replace its whole folder, would take that of another one with it.

    A folder that the outer app is told to keep (``persistent_files``) is in no danger, nor is one in a git clone, whose
    updates bring along what git does not know.  ``resolve`` gives the place that a path means.
    """
    places = [(one.app, resolve(one.app.path)) for one in judged if one.app is not None]
    of_app = {kind.config: kind for kind in kinds.values()}
    return [one if one.app is None else _judge(one, one.app, of_app[type(one.app)], places) for one in judged]


def _judge(one: Judged, app: AppConfig, kind: AppKind, places: Sequence[tuple[AppConfig, Path]]) -> Judged:
    if not kind.replaces_folder or kind.keeps_strangers:
        return one
    folder = next(place for other, place in places if other is app)
    kept = [folder / path for path in app.kept_inside]
    for other, inner in places:
        if inner == folder or not inner.is_relative_to(folder) or any(map(inner.is_relative_to, kept)):
            continue
        why = (
            f"'path' {printable(str(app.path), 200)} holds the folder of {other.name}, "
            f"{printable(str(other.path), 200)}: an update would replace that too. Move one of them"
            + (", or name the inner one in 'persistent_files'" if "persistent_files" in kind.options else "")
        )
        return disable(one, app.name, kind.type, why)
    return one


def keep_data(judged: Sequence[Judged], data_path: Path, resolve: Resolve, kinds: Kinds) -> list[Judged]:
    """Disable each app in whose folder ``data_path`` lies: what replaces the folder would take the journal with it."""
    data = resolve(data_path)
    of_app = {kind.config: kind for kind in kinds.values()}

    def judge(one: Judged) -> Judged:
        if one.app is None or not (kind := of_app[type(one.app)]).replaces_folder:
            return one
        if not data.is_relative_to(resolve(one.app.path)):
            return one
        what = "a hard recovery" if kind.keeps_strangers else "an update"
        why = (
            f"'path' {printable(str(one.app.path), 200)} holds DATA_PATH, {printable(str(data_path), 200)}: "
            f"{what} would replace that too. Choose another one of the two"
        )
        return disable(one, one.app.name, kind.type, why)

    return [judge(one) for one in judged]
