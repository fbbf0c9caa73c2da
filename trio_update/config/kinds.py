"""What a configuration needs to know of a kind of app; :class:`trio_update.updaters.kinds.Kind` says it and more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from trio_update.config.convert import Table, as_branch, as_path, as_project, scalar
from trio_update.config.values import AppConfig

# A kind has a `type` of its own, which hides the builtin one in its class.
ConfigClass = type[AppConfig]


class AppKind(Protocol):
    """A kind of app, as sections are judged by it."""

    @property
    def type(self) -> str:
        """What ``type`` says in a section of this kind, in lower case."""

    @property
    def config(self) -> ConfigClass: ...

    @property
    def options(self) -> Table:
        """Options beyond those that every app has."""

    @property
    def required(self) -> tuple[str, ...]:
        """The options without which a section of this kind means nothing."""

    @property
    def replaces_folder(self) -> bool:
        """An update puts another folder in the place of the app's own."""

    @property
    def keeps_strangers(self) -> bool:
        """What lies in the folder and does not belong to the app comes along into the new one."""


class Later(msgspec.Struct, frozen=True):
    """A kind of app that is known from other servers and cannot be managed yet."""

    options: Table
    required: tuple[str, ...]


LATER: Mapping[str, Later] = {
    "python": Later(
        {"virtualenv": scalar(as_path), "project_name": scalar(as_project), "primary_branch": scalar(as_branch)},
        ("virtualenv",),
    )
}

Kinds = Mapping[str, AppKind]


def by_type(kinds: Sequence[AppKind]) -> Kinds:
    """The kinds by what ``type`` says."""
    return {kind.type: kind for kind in kinds}
