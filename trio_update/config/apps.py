"""``[update_manager NAME]`` sections → apps, or disabled apps with every reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from trio_update.config.convert import Look, Table
from trio_update.config.ini import Fault, Section
from trio_update.config.kinds import Kinds
from trio_update.config.names import check_app_name, printable
from trio_update.config.options import (
    OVERRIDES,
    Reading,
    any_app_table,
    app_table,
    override_table,
    read_options,
    required,
)
from trio_update.config.values import AppConfig, DisabledApp, HealthCheck
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

    ``notes``: what stands there and has no effect yet.
    """

    app: AppConfig | None = None
    disabled: DisabledApp | None = None
    faults: tuple[tuple[Section, Fault], ...] = ()
    notes: tuple[tuple[Section, Fault], ...] = ()


def app_name(section: Section) -> str | None:
    """The app that a section is about, None when it is about something else.

    The older ``[update_manager client NAME]`` means the same as ``[update_manager NAME]``.
    """
    words = section.name.split()
    if len(words) < 2 or words[0] != "update_manager":
        return None
    return " ".join(words[2:] if words[1] == "client" and len(words) > 2 else words[1:])


def judge_app(name: str, sections: Sequence[Section], look_folder: Look, kinds: Kinds) -> Judged:
    """Judge the sections of one name; more than one is a fault, because it cannot be known which was meant."""
    faults = _duplicates(name, sections)
    if why := _name_fault(name):
        faults.append((sections[0], Fault(sections[0].line, why)))
    read = [_read_app(name, section, look_folder, kinds) for section in sections]
    faults += _with_sections(sections, [reading.faults for _, reading in read])
    kind, reading = read[0]
    if faults or kind is None:
        return disabled(name, kind, faults)
    notes = tuple(_with_sections(sections, [reading.unused]))
    return Judged(app=_app(kinds[kind].config, name, reading.values), notes=notes)


def judge_built_in(
    built_in: BuiltIn, sections: Sequence[Section], home: Path | None, channel: Channel, look_folder: Look, kinds: Kinds
) -> Judged:
    """Judge the overrides of a built-in app; it is there when its folder is."""
    name = built_in.name
    faults = _duplicates(name, sections)
    table = override_table(built_in.type, name, look_folder, kinds)
    known = app_table(built_in.type, name, look_folder, kinds)
    readings = [_read_overrides(section, table, known) for section in sections]
    faults += _with_sections(sections, [reading.faults for reading in readings])
    if faults:
        return disabled(name, built_in.type, faults)
    if home is None or look_folder(home / built_in.folders["path"]) is not None:
        return Judged()
    folders = {option: home / folder for option, folder in built_in.folders.items()}
    values = {**built_in.options, **folders, "channel": channel}
    if readings:
        values |= readings[0].values
    notes = tuple(_with_sections(sections, [reading.unused for reading in readings]))
    return Judged(app=_app(kinds[built_in.type].config, name, values), notes=notes)


def _duplicates(name: str, sections: Sequence[Section]) -> list[tuple[Section, Fault]]:
    if not sections:
        return []
    first = sections[0].place
    why = f"duplicate name '{printable(name)}': already at {first}; keep one of the sections"
    return [(section, Fault(section.line, why)) for section in sections[1:]]


def _with_sections(sections: Sequence[Section], found: Sequence[list[Fault]]) -> list[tuple[Section, Fault]]:
    return [
        (section, fault)
        for section, faults in zip(sections, found, strict=True)
        for fault in sorted(faults, key=lambda fault: fault.line)
    ]


def _name_fault(name: str) -> str | None:
    if name == "system":
        return "the name 'system' is reserved for the packages of the system; give the app another one"
    why = check_app_name(name)
    return f"the name '{printable(name)}' {why}" if why else None


def _read_app(name: str, section: Section, look_folder: Look, kinds: Kinds) -> tuple[str | None, Reading]:
    """Read a section by its type, which stands in it."""
    guess = read_options(section, any_app_table(name, look_folder, kinds))
    kind: str | None = guess.values.get("type")
    if kind is None:
        if "type" not in guess.lines:
            guess.faults.append(Fault(section.line, "the option 'type' is missing"))
        return None, guess
    reading = read_options(section, app_table(kind, name, look_folder, kinds))
    for option in required(kind, kinds):
        if option not in reading.lines:
            reading.faults.append(Fault(section.line, f"the option '{option}' is missing"))
    if kind not in kinds:
        reading.faults.append(Fault(section.line, f"apps of type {kind} are not supported by this version yet"))
    return kind, reading


def _read_overrides(section: Section, table: Table, known: Table) -> Reading:
    allowed = tuple(option for option in section.options if option.name in table or option.name not in known)
    reading = read_options(msgspec.structs.replace(section, options=allowed), table)
    for option in section.options:
        if option not in allowed:
            why = f"'{option.name}' cannot be set for this app, only {', '.join(OVERRIDES)} can"
            reading.faults.append(Fault(option.line, why))
    return reading


def disabled(name: str, kind: str | None, faults: list[tuple[Section, Fault]]) -> Judged:
    """An app that cannot be managed, for these reasons."""
    reasons = tuple(fault.why for _, fault in faults)
    return Judged(disabled=DisabledApp(name=printable(name, 200), type=kind, reasons=reasons), faults=tuple(faults))


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
