"""One record for a kind of app, and the list of those that there are.

Light on purpose: a configuration is checked without anything that updates apps, or Trio, being imported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from trio_update.config import DATA_PATH, AppConfig, Config, Table, judge_code, read_file, read_text
from trio_update.errors import TrioUpdateError
from trio_update.model import AppStatus, Channel

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from trio_update.updaters.base import Effect, Tools, Updater

    EffectClass = type[Effect]

__all__ = [
    "ENTRY_POINTS",
    "Installed",
    "Kind",
    "KindInvalid",
    "installed_kinds",
    "judge_config",
    "load_config",
    "parse_config",
]

# A kind has a `type` of its own, which hides the builtin one in its class.
ConfigClass = type[AppConfig]
StatusClass = type[AppStatus]

# Packages that bring kinds of apps name them here, each a Kind: `firmware = "my_package:FIRMWARE"`.
ENTRY_POINTS = "trio_update.kinds"


class KindInvalid(TrioUpdateError):
    """A kind of app that contradicts itself, or another one."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Everything that tells one kind of app from the others; said once, in that kind's own module.

    Attributes:
        type: What ``type`` says in a section, and ``configured_type`` in the status: lower case letters, digits and
            ``_``.  It is the tag of ``config``.
        config: The struct of a section: ``class MyConfig(AppConfig, frozen=True, kw_only=True, tag="my")``.
        status: The struct of the status, with the same tag.
        options: Options beyond those that every app has, named as the fields of ``config``.
        required: Options without which a section means nothing; when not given, the fields of ``config`` that have no
            default.
        effects: Gives the structs of all effects that the updater hands over, each with a tag that no other effect
            has.  The journal reads its entries with them: an entry that a released version wrote must stay readable.
        make: Makes the updater of one app.  No input and output, no awaiting.
        replaces_folder: An update puts another folder in the place of the app's own: nothing that must stay, such as
            the journal, may lie in it.
        keeps_strangers: What lies in the folder and does not belong to the app comes along into the new one, other
            apps too.
        channels: The channels that there are for apps of this kind.

    ``effects`` and ``make`` are called when a manager opens, and import what they need only then.

    Raises: KindInvalid for a record that contradicts itself.
    """

    type: str = field(init=False)
    config: ConfigClass
    status: StatusClass
    options: Table = field(repr=False)
    required: tuple[str, ...] = ()
    effects: Callable[[], tuple[EffectClass, ...]]
    make: Callable[[Any, Tools], Updater]
    replaces_folder: bool = True
    keeps_strangers: bool = False
    channels: tuple[Channel, ...] = tuple(Channel)

    def __post_init__(self) -> None:
        tag = self.config.__struct_config__.tag
        if not isinstance(tag, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", tag):
            raise KindInvalid(
                f"{self.config.__name__} must have the type of its kind of app as its tag: lower case letters, "
                f"digits and `_`, not {tag!r}"
            )
        if self.status.__struct_config__.tag != tag:
            raise KindInvalid(f"{self.status.__name__} must have the tag '{tag}', as {self.config.__name__} has")
        object.__setattr__(self, "type", tag)
        if not self.required:
            fields = msgspec.structs.fields(self.config)
            object.__setattr__(
                self, "required", tuple(one.name for one in fields if one.required and one.name != "name")
            )
        if stray := [option for option in self.required if option not in {"path", *self.options}]:
            raise KindInvalid(f"kind '{self.type}' requires options that it does not have: {', '.join(stray)}")


def built_in_kinds() -> tuple[Kind, ...]:
    """The kinds of apps that come with this package.  A new one is added here, and in a folder of its own."""
    from trio_update.updaters.git.kind import GIT_REPO
    from trio_update.updaters.release.kind import EXECUTABLE, WEB, ZIP

    return (GIT_REPO, WEB, ZIP, EXECUTABLE)


def all_kinds(further: Sequence[Kind] = ()) -> tuple[Kind, ...]:
    """The built-in kinds and ``further`` ones.  Raises: KindInvalid when two are of one type."""
    kinds = (*built_in_kinds(), *further)
    types = [kind.type for kind in kinds]
    if twice := sorted({kind for kind in types if types.count(kind) > 1}):
        raise KindInvalid(f"there are two kinds of apps of the type {', '.join(twice)}: leave one of them out")
    return kinds


def effects_of(kinds: Sequence[Kind]) -> tuple[type[Effect], ...]:
    """All effects that a journal may hold.  Raises: KindInvalid when two have the same tag, or one has none.

    Kinds may share effects.
    """
    by_tag: dict[object, type[Effect]] = {}
    for kind in kinds:
        for effect in kind.effects():
            tag = effect.__struct_config__.tag if issubclass(effect, msgspec.Struct) else None
            if tag is None:
                raise KindInvalid(f"{effect.__name__} of kind '{kind.type}' must be a msgspec.Struct with a tag")
            if by_tag.setdefault(tag, effect) is not effect:
                raise KindInvalid(
                    f"two effects have the tag {tag!r}, {by_tag[tag].__qualname__} and {effect.__qualname__} of kind "
                    f"'{kind.type}': a journal entry could be read as either, rename one"
                )
    return tuple(by_tag.values())


@dataclass(frozen=True)
class Installed:
    """Kinds of apps that installed packages bring; ``problems``: what is wrong with others, by their entry points."""

    kinds: tuple[Kind, ...] = ()
    problems: tuple[tuple[str, str], ...] = ()


def installed_kinds() -> Installed:
    """The kinds of apps of all installed packages, by their entry points; a broken one does not stop the others."""
    from importlib.metadata import entry_points

    kinds: list[Kind] = []
    problems = []
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        try:
            kind = _kind_of(entry)
            if kind not in kinds:
                # A contradiction must not wait for the manager, which could only refuse to open.
                effects_of(all_kinds((*kinds, kind)))
                kinds.append(kind)
        except Exception as error:  # noqa: BLE001 - another package's code: whatever it raises must stay its own trouble
            why = f"this kind of app ({entry.value}) cannot be used: {type(error).__name__}: {error}"
            problems.append((f"{ENTRY_POINTS}:{entry.name}", why))
    return Installed(tuple(kinds), tuple(problems))


def _kind_of(entry: EntryPoint) -> Kind:
    kind = entry.load()
    if not isinstance(kind, Kind):
        raise KindInvalid(f"it is a {type(kind).__name__} and no Kind")
    return kind


def load_config(path: Path, kinds: Sequence[Kind] = (), *, data_path: Path = DATA_PATH) -> Config:
    """Read a ``moonraker.conf`` with everything that it includes.  Blocks on the disk; no network.

    Everything that is wrong is told in ``problems`` and costs as little as is safe: an option counts as not given, an
    app is held back (``hold`` says why) or, where it is not known what it is, becomes a :class:`DisabledApp`.
    ``kinds`` are understood besides the built-in ones.  ``data_path`` is what ``{data_path}`` stands for.

    Raises:
        ConfigInvalid: the address or port to listen on cannot be used, or a file cannot be read, so that what it says
            is not known.
        KindInvalid: two kinds are of one type.
    """
    return read_file(path, all_kinds(kinds), data_path)


def parse_config(text: str, kinds: Sequence[Kind] = (), *, data_path: Path = DATA_PATH) -> Config:
    """As :func:`load_config`, of the text itself; it cannot include files.  Raises as that does."""
    return read_text(text, all_kinds(kinds), data_path)


def judge_config(config: Config, kinds: Sequence[Kind] = ()) -> Config:
    """A configuration that was made in code, as a manager can use it; one that was loaded comes back unchanged.

    Texts become what they say and ``~`` the user's home.  Blocks on the disk; no network.

    Raises:
        ConfigInvalid: with everything that is wrong with it.
        KindInvalid: two kinds are of one type.
    """
    return judge_code(config, all_kinds(kinds))
