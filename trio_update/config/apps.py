"""``[update_manager NAME]`` sections → apps, or disabled apps with every reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from trio_update.config.convert import Look
from trio_update.config.ini import Fault, Section
from trio_update.config.names import check_app_name, printable
from trio_update.config.options import (
    OVERRIDES,
    Reading,
    Table,
    any_app_table,
    app_table,
    override_table,
    read_options,
    required,
)
from trio_update.config.values import (
    AppConfig,
    DisabledApp,
    ExecutableConfig,
    GitRepoConfig,
    HealthCheck,
    WebConfig,
    ZipConfig,
)
from trio_update.model import AppName, AppType, Channel

_KINDS: dict[AppType, type[AppConfig]] = {
    AppType.GIT_REPO: GitRepoConfig,
    AppType.WEB: WebConfig,
    AppType.ZIP: ZipConfig,
    AppType.EXECUTABLE: ExecutableConfig,
}


class BuiltIn(msgspec.Struct, frozen=True):
    """An app that is managed without a section, when its folder exists.  Folders are names in the user's home."""

    name: str
    folder: str
    virtualenv: str
    origin: str
    requirements: str


BUILT_IN = (
    BuiltIn(
        "klipper",
        "klipper",
        "klippy-env",
        "https://github.com/Klipper3d/klipper.git",
        "scripts/klippy-requirements.txt",
    ),
    BuiltIn(
        "moonraker",
        "moonraker",
        "moonraker-env",
        "https://github.com/Arksine/moonraker.git",
        "scripts/moonraker-requirements.txt",
    ),
)


class Judged(msgspec.Struct, frozen=True):
    """What became of the sections of one name: an app, a disabled app, or nothing (a built-in that is not there)."""

    app: AppConfig | None = None
    disabled: DisabledApp | None = None
    faults: tuple[tuple[Section, Fault], ...] = ()


def app_name(section: Section) -> str | None:
    """The app that a section is about, None when it is about something else.

    The older ``[update_manager client NAME]`` means the same as ``[update_manager NAME]``.
    """
    words = section.name.split()
    if len(words) < 2 or words[0] != "update_manager":
        return None
    return " ".join(words[2:] if words[1] == "client" and len(words) > 2 else words[1:])


def judge_app(name: str, sections: Sequence[Section], look_folder: Look) -> Judged:
    """Judge the sections of one name; more than one is a fault, because it cannot be known which was meant."""
    faults = _duplicates(name, sections)
    if why := _name_fault(name):
        faults.append((sections[0], Fault(sections[0].line, why)))
    read = [_read_app(name, section, look_folder) for section in sections]
    faults += _with_sections(sections, [reading for _, reading in read])
    kind, reading = read[0]
    if faults or kind is None:
        return disabled(name, kind, faults)
    return Judged(app=_app(_KINDS[kind], name, reading.values))


def judge_built_in(
    built_in: BuiltIn, sections: Sequence[Section], home: Path | None, channel: Channel, look_folder: Look
) -> Judged:
    """Judge the overrides of a built-in app; it is there when its folder is."""
    name = built_in.name
    faults = _duplicates(name, sections)
    table = override_table(name, look_folder)
    known = app_table(AppType.GIT_REPO, name, look_folder)
    readings = [_read_overrides(section, table, known) for section in sections]
    faults += _with_sections(sections, readings)
    if faults:
        return disabled(name, AppType.GIT_REPO, faults)
    if home is None or look_folder(home / built_in.folder) is not None:
        return Judged()
    defaults = {
        "path": home / built_in.folder,
        "virtualenv": home / built_in.virtualenv,
        "origin": built_in.origin,
        "requirements": built_in.requirements,
        "channel": channel,
    }
    return Judged(app=_app(GitRepoConfig, name, defaults | (readings[0].values if readings else {})))


def _duplicates(name: str, sections: Sequence[Section]) -> list[tuple[Section, Fault]]:
    if not sections:
        return []
    first = f"{sections[0].file}:{sections[0].line}"
    why = f"duplicate name '{printable(name)}': already at {first}; keep one of the sections"
    return [(section, Fault(section.line, why)) for section in sections[1:]]


def _with_sections(sections: Sequence[Section], readings: Sequence[Reading]) -> list[tuple[Section, Fault]]:
    return [
        (section, fault)
        for section, reading in zip(sections, readings, strict=True)
        for fault in sorted(reading.faults, key=lambda fault: fault.line)
    ]


def _name_fault(name: str) -> str | None:
    if name == "system":
        return "the name 'system' is reserved for the packages of the system; give the app another one"
    why = check_app_name(name)
    return f"the name '{printable(name)}' {why}" if why else None


def _read_app(name: str, section: Section, look_folder: Look) -> tuple[AppType | None, Reading]:
    """Read a section by its type, which stands in it."""
    guess = read_options(section, any_app_table(name, look_folder))
    kind: AppType | None = guess.values.get("type")
    if kind is None:
        if "type" not in guess.lines:
            guess.faults.append(Fault(section.line, "the option 'type' is missing"))
        return None, guess
    reading = read_options(section, app_table(kind, name, look_folder))
    for option in required(kind):
        if option not in reading.lines:
            reading.faults.append(Fault(section.line, f"the option '{option}' is missing"))
    if kind not in _KINDS:
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


def disabled(name: str, kind: AppType | None, faults: list[tuple[Section, Fault]]) -> Judged:
    """An app that cannot be managed, for these reasons."""
    reasons = tuple(fault.why for _, fault in faults)
    return Judged(disabled=DisabledApp(name=printable(name, 200), type=kind, reasons=reasons), faults=tuple(faults))


def _app(kind: type[AppConfig], name: str, values: Mapping[str, Any]) -> AppConfig:
    fields = dict(values)
    if "managed_services" not in fields and fields.get("is_system_service", kind is not WebConfig):
        fields["managed_services"] = (name,)
    if "virtualenv" not in fields and "env" in fields:
        fields["virtualenv"] = fields["env"]
    health = {
        field: fields[f"health_{field}"] for field in ("command", "url", "timeout") if f"health_{field}" in fields
    }
    known = {field: fields[field] for field in kind.__struct_fields__ if field in fields}
    return kind(name=AppName(name), health=HealthCheck(**health), **known)
