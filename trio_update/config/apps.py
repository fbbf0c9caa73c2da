"""``[update_manager NAME]`` sections → apps, or disabled apps with every reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from trio_update.config.convert import Look
from trio_update.config.ini import Fault, Section
from trio_update.config.kinds import Kinds
from trio_update.config.looks import is_missing
from trio_update.config.merge import Merged, merge
from trio_update.config.names import check_app_name, printable
from trio_update.config.options import any_app_table, app_table, required
from trio_update.config.reading import Reading, Told, missed_options, missing_options, notices, read_options
from trio_update.config.rules import Cost, Table
from trio_update.config.values import AppConfig, DisabledApp, HealthCheck, place
from trio_update.model import AppName, Channel


class BuiltIn(msgspec.Struct, frozen=True):
    """An app that is managed without a section, when its folder exists.

    ``folders`` are names in the user's home, by the option that they stand for; ``options`` are values of its section.
    """

    name: str
    folders: Mapping[str, str]
    options: Mapping[str, str]
    type: str = "git_repo"


BUILT_IN = (
    BuiltIn(
        "klipper",
        {"path": "klipper", "virtualenv": "klippy-env"},
        {
            "origin": "https://github.com/Klipper3d/klipper.git",
            "requirements": "scripts/klippy-requirements.txt",
        },
    ),
    BuiltIn(
        "moonraker",
        {"path": "moonraker", "virtualenv": "moonraker-env"},
        {
            "origin": "https://github.com/Arksine/moonraker.git",
            "requirements": "scripts/moonraker-requirements.txt",
        },
    ),
)


class Judged(msgspec.Struct, frozen=True):
    """What became of the sections of one name: an app, a disabled app, or nothing (a built-in that is not there).

    ``told`` is what is wrong with them, ``notes`` what is right and worth knowing.  ``at``: where it says, or would
    say, which folder is the app's.
    """

    app: AppConfig | None = None
    disabled: DisabledApp | None = None
    told: tuple[Told, ...] = ()
    notes: tuple[tuple[Section, Fault], ...] = ()
    at: tuple[Section, int] | None = None


def app_name(section: Section) -> str | None:
    """The app that a section is about, None when it is about something else.

    The older ``[update_manager client NAME]`` means the same as ``[update_manager NAME]``.
    """
    words = section.name.split()
    if len(words) < 2 or words[0] != "update_manager":
        return None
    return " ".join(words[2:] if words[1] == "client" and len(words) > 2 else words[1:])


class Defaults(msgspec.Struct, frozen=True):
    """What holds for a built-in app where its section is silent.

    ``held``: why it must be held back as long as its own section names no channel.
    """

    type: str
    values: Mapping[str, Any]
    held: tuple[str, ...] = ()


def judge_app(
    name: str, sections: Sequence[Section], look: Look | None, kinds: Kinds, defaults: Defaults | None = None
) -> Judged:
    """Judge the sections of one name.  ``look`` judges the folder; ``None``: the disk is not looked at."""
    merged = merge(sections, f"duplicate name '{printable(name)}'")
    told = _name_told(name, merged)
    kind = _type(merged, any_app_table(name, look, kinds), defaults)
    if kind is None:
        # All options of all types: so everything is told at once.
        reading = read_options(merged, any_app_table(name, look, kinds))
        told += [*reading.told, *missing_options(reading, merged, ("type",))]
        return Judged(disabled=_disabled(name, kind, told), told=tuple(told))
    table = app_table(kind, name, look, kinds)
    reading = _read(merged, table, required(kind, kinds), _fitting(defaults, kind, kinds))
    told += reading.told
    if look is not None:
        told += missed_options(merged, table, reading.values)
    if kind not in kinds:
        why = f"apps of type {kind} are not supported by this version yet"
        told.append(Told(merged.last, Fault(merged.last.line, why), Cost.DISABLE))
    given = reading.given.get("path")
    at = (merged.last, merged.last.line) if given is None else (given.section, given.option.line)
    if look is not None and "path" in reading.values:
        told += _look(reading, table, at, look)
    if kind not in kinds or any(one.cost is Cost.DISABLE for one in told):
        return Judged(disabled=_disabled(name, kind, told), told=tuple(told), at=at)
    held = defaults.held if defaults is not None and "channel" not in reading.given else ()
    app = _app(kinds[kind].config, name, _held_back(reading.values, told, held))
    return Judged(app=app, told=tuple(told), notes=tuple(reading.notes), at=at)


def _fitting(defaults: Defaults | None, kind: str, kinds: Kinds) -> Mapping[str, Any]:
    """The defaults that there are for a type: those of a clone hold for an app that is made to be another one, too."""
    values = dict(defaults.values) if defaults is not None else {}
    if kind in kinds and values.get("channel") not in kinds[kind].channels:
        values.pop("channel", None)
    return values


def _type(merged: Merged, table: Table, defaults: Defaults | None) -> str | None:
    """The type that the sections name, whatever else is wrong with them."""
    guess = read_options(merged, {"type": table["type"]})
    if defaults is not None and "type" not in {*guess.given, *merged.bare}:
        return defaults.type
    kind: str | None = guess.values.get("type")
    return kind


def _read(merged: Merged, table: Table, wanted: Sequence[str], defaults: Mapping[str, Any]) -> Reading:
    """The options, those of ``defaults`` included where the sections are silent, and what is missing."""
    there = {*merged.options, *merged.bare}
    unset = {option: value for option, value in defaults.items() if option in table and option not in there}
    # What lies in the folder can be judged only when that is known.
    folder = read_options(merged, {"path": table["path"]}).values.get("path", unset.get("path"))
    reading = read_options(merged, table, required=wanted, folder=folder)
    reading.values = {**unset, **reading.values}
    reading.told += missing_options(reading, merged, wanted)
    return reading


def _look(reading: Reading, table: Table, at: tuple[Section, int], look: Look) -> Iterator[Told]:
    """What the disk says: about the folder, and (as notes) about what should be in it."""
    (section, line), folder = at, reading.values["path"]
    if is_missing(folder):
        why = f"'path' {printable(str(folder), 200)} does not exist: the app is not installed"
        yield Told(section, Fault(line, why))
    elif "path" not in reading.given and (why := look(folder) or ""):
        yield Told(section, Fault(line, f"'path' {printable(str(folder), 200)} {why}"), Cost.DISABLE)
    else:
        reading.notes += notices(reading, table, folder)


def _held_back(values: Mapping[str, Any], told: Iterable[Told], held: Sequence[str]) -> dict[str, Any]:
    """The values, with what holds the app back until its section is mended, besides what the user holds it back for."""
    graver = (one for one in told if one.cost is Cost.HOLD)
    reasons = [f"{place(one.section.file, one.fault.line)}: {one.fault.why}" for one in graver]
    reasons = [*filter(None, [values.get("hold", "")]), *reasons, *held]
    return {**values, "hold": "; ".join(reasons)} if reasons else dict(values)


def judge_built_in(
    built_in: BuiltIn,
    sections: Sequence[Section],
    home: Path | None,
    channel: Channel,
    look: Look,
    kinds: Kinds,
    held: Sequence[str] = (),
) -> Judged:
    """Judge what is said of a built-in app; it is there when its folder is, or its section.

    ``channel`` is that of ``[update_manager]``; ``held`` says what is wrong with it.
    """
    folders = {option: home / folder for option, folder in built_in.folders.items()} if home is not None else {}
    values = {**built_in.options, **folders, "channel": channel}
    if sections:
        return judge_app(built_in.name, sections, look, kinds, Defaults(built_in.type, values, tuple(held)))
    if "path" not in folders or is_missing(folders["path"]) or look(folders["path"]) is not None:
        return Judged()
    return Judged(app=_app(kinds[built_in.type].config, built_in.name, _held_back(values, (), held)))


def _name_told(name: str, merged: Merged) -> list[Told]:
    if not (why := _name_fault(name)):
        return []
    first = merged.sections[0]
    return [Told(first, Fault(first.line, why), Cost.DISABLE)]


def _name_fault(name: str) -> str | None:
    if name == "system":
        return "the name 'system' is reserved for the packages of the system; give the app another one"
    why = check_app_name(name)
    return f"the name '{printable(name)}' {why}" if why else None


def _disabled(name: str, kind: str | None, told: Iterable[Told]) -> DisabledApp:
    reasons = tuple(one.fault.why for one in told if one.cost is Cost.DISABLE)
    return DisabledApp(name=printable(name, 200), type=kind, reasons=reasons)


def disable(one: Judged, name: str, kind: str, why: str) -> Judged:
    """The same app, not managed, because of what its folder is."""
    at = one.at
    told = one.told if at is None else (*one.told, Told(at[0], Fault(at[1], why), Cost.DISABLE))
    return Judged(disabled=DisabledApp(name=name, type=kind, reasons=(why,)), told=told, at=at)


def _app(kind: type[AppConfig], name: str, values: Mapping[str, Any]) -> AppConfig:
    fields = dict(values)
    if "managed_services" not in fields and "is_system_service" in fields:
        fields["managed_services"] = (name,) if fields["is_system_service"] else ()
    if "virtualenv" not in fields and "env" in fields:
        fields["virtualenv"] = fields["env"]
    health = {
        field: fields[f"health_{field}"] for field in ("command", "url", "timeout") if f"health_{field}" in fields
    }
    known = {field: fields[field] for field in kind.__struct_fields__ if field in fields}
    return kind(name=AppName(name), health=HealthCheck(**health), **known)
