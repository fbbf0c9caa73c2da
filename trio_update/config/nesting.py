"""Apps whose folders lie in one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trio_update.config.apps import Judged, disabled
from trio_update.config.ini import Fault, Section
from trio_update.config.kinds import AppKind, Kinds
from trio_update.config.names import printable
from trio_update.config.values import AppConfig

Resolve = Callable[[Path], Path]


def keep_apart(
    judged: Sequence[Judged], sections: Mapping[str, Sequence[Section]], resolve: Resolve, kinds: Kinds
) -> list[Judged]:
    """Disable each app whose updates, which replace its whole folder, would take that of another one with it.

    A folder that the outer app is told to keep (``persistent_files``) is in no danger, nor is one in a git clone, whose
    updates bring along what git does not know.  ``resolve`` gives the place that a path means.
    """
    places = [(one.app, resolve(one.app.path)) for one in judged if one.app is not None]
    of_app = {kind.config: kind for kind in kinds.values()}
    return [one if one.app is None else _judge(one, one.app, of_app[type(one.app)], places, sections) for one in judged]


def _judge(
    one: Judged,
    app: AppConfig,
    kind: AppKind,
    places: Sequence[tuple[AppConfig, Path]],
    sections: Mapping[str, Sequence[Section]],
) -> Judged:
    if not kind.replaces_folder or kind.keeps_strangers:
        return one
    folder = next(place for other, place in places if other is app)
    kept = [folder / path for path in app.kept_inside]
    for other, inner in places:
        if inner == folder or not inner.is_relative_to(folder) or any(map(inner.is_relative_to, kept)):
            continue
        (section,) = sections[app.name]
        line = next(option.line for option in section.options if option.name == "path")
        why = (
            f"'path' {printable(str(app.path), 200)} holds the folder of {other.name}, "
            f"{printable(str(other.path), 200)}: an update would replace that too. Move one of them"
            + (", or name the inner one in 'persistent_files'" if "persistent_files" in kind.options else "")
        )
        return disabled(app.name, kind.type, [(section, Fault(line, why))])
    return one
