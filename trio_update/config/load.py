"""Files → :class:`Config`, every problem at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trio_update.config.apps import BUILT_IN, Judged, app_name, judge_app, judge_built_in
from trio_update.config.convert import Table
from trio_update.config.includes import Sources, read_sources, sources_of
from trio_update.config.ini import Fault, Section
from trio_update.config.kinds import AppKind, Kinds, by_type
from trio_update.config.looks import home_folder, look_file, look_folder, real_path
from trio_update.config.names import printable
from trio_update.config.nesting import keep_apart
from trio_update.config.options import (
    Reading,
    ServiceProvider,
    foreign_tables,
    read_options,
    server_table,
    update_manager_table,
)
from trio_update.config.values import AppConfig, Config, DisabledApp, Problem, ServerConfig, UpdateManagerConfig, place
from trio_update.errors import TrioUpdateError
from trio_update.model import Channel


class ConfigInvalid(TrioUpdateError):
    """The server cannot start with this configuration; `problems` holds all of them, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        listed = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"the configuration cannot be used, mend it and start again:{listed}")


def read_file(path: Path, kinds: Sequence[AppKind]) -> Config:
    """Read a ``moonraker.conf`` with everything that it includes.  Blocks on the disk; no network.

    A broken app section becomes a :class:`DisabledApp`, told in ``problems`` too; the other apps are not affected.

    Raises:
        ConfigInvalid: a section of the server is broken, or a file cannot be read, so that what it says is not known.
    """
    return _read(read_sources(path), path, kinds)


def read_text(text: str, kinds: Sequence[AppKind]) -> Config:
    """As :func:`read_file`, of a text that is in no file and can therefore include none."""
    return _read(sources_of(text, "the text"), None, kinds)


def _read(sources: Sources, path: Path | None, kinds: Sequence[AppKind]) -> Config:
    findings = Findings(list(sources.problems), fatal=sources.incomplete)
    by_name: dict[str, list[Section]] = {}
    by_app: dict[str, list[Section]] = {}
    for section in sources.sections:
        if (name := app_name(section)) is None:
            by_name.setdefault(section.name, []).append(section)
        else:
            by_app.setdefault(name, []).append(section)

    update_manager = judge_update_manager(by_name, findings)
    server = judge_server(by_name, findings)
    apps, disabled = _apps(by_app, update_manager.channel, findings, by_type(kinds))
    order = {file: index for index, file in enumerate(sources.files)}

    def in_order(problems: Sequence[Problem]) -> tuple[Problem, ...]:
        return tuple(sorted(problems, key=lambda problem: (order[problem.file], problem.line)))

    if findings.fatal:
        raise ConfigInvalid(in_order(findings.problems))
    return Config(
        source=path,
        update_manager=update_manager,
        server=server,
        apps=tuple(apps),
        disabled=tuple(disabled),
        problems=in_order(findings.problems),
        notes=in_order(findings.notes),
    )


class Findings:
    """Problems and notes as they come up, and whether one of them stops the start."""

    def __init__(self, problems: list[Problem], *, fatal: bool) -> None:
        self.problems = problems
        self.notes: list[Problem] = []
        self.fatal = fatal

    def add(self, section: Section, fault: Fault, *, fatal: bool = False) -> None:
        """What is wrong."""
        self.problems.append(_told(section, fault))
        self.fatal = self.fatal or fatal

    def note(self, section: Section, fault: Fault) -> None:
        """What is right and has no effect."""
        self.notes.append(_told(section, fault))


def _told(section: Section, fault: Fault) -> Problem:
    return Problem(section.file, fault.line, f"[{printable(section.name)}] {fault.why}")


def judge_update_manager(by_name: Mapping[str, Sequence[Section]], findings: Findings) -> UpdateManagerConfig:
    """``[update_manager]``, once at most."""
    return UpdateManagerConfig(**_read_own(by_name.get("update_manager", ()), update_manager_table(), findings).values)


def judge_server(by_name: Mapping[str, Sequence[Section]], findings: Findings) -> ServerConfig:
    """``[trio_update]``, and what is read of the sections of other servers."""
    sections = by_name.get("trio_update", ())
    reading = _read_own(sections, server_table(look_file), findings)
    values = dict(reading.values)
    provider = values.get("service_provider", ServiceProvider.NONE)
    if provider is not ServiceProvider.NONE:
        why = f"services are not restarted: service_provider {provider} is not supported by this version yet"
        findings.add(sections[0], Fault(reading.lines["service_provider"], why))
    for name, table in foreign_tables().items():
        values |= _read_foreign(by_name.get(name, ()), table, findings)
    return ServerConfig(**values)


def _read_own(sections: Sequence[Section], table: Table, findings: Findings) -> Reading:
    result = Reading({}, {}, [])
    for index, section in enumerate(sections):
        reading = read_options(section, table)
        for fault in reading.faults:
            findings.add(section, fault, fatal=True)
        for unused in reading.unused:
            findings.note(section, unused)
        if index == 0:
            result = reading
        else:
            first = sections[0].place
            findings.add(section, Fault(section.line, f"duplicate section: already at {first}"), fatal=True)
    return result


def _read_foreign(sections: Sequence[Section], table: Table, findings: Findings) -> dict[str, object]:
    """Sections of another server may come in several parts; an option that is read may not."""
    values: dict[str, object] = {}
    found: dict[str, str] = {}
    for section in sections:
        reading = read_options(section, table, foreign=True)
        for fault in reading.faults:
            findings.add(section, fault, fatal=True)
        for unused in reading.unused:
            findings.note(section, unused)
        for name, line in reading.lines.items():
            if name in found:
                findings.add(section, Fault(line, f"duplicate option '{name}': already at {found[name]}"), fatal=True)
            found.setdefault(name, place(section.file, line))
        values |= reading.values
    return values


def _apps(
    by_app: Mapping[str, Sequence[Section]], channel: Channel, findings: Findings, kinds: Kinds
) -> tuple[list[AppConfig], list[DisabledApp]]:
    home = home_folder()
    built_in = {app.name: app for app in BUILT_IN if app.type in kinds}
    judged: list[Judged] = [
        judge_app(name, sections, look_folder, kinds) for name, sections in by_app.items() if name not in built_in
    ]
    judged += [
        judge_built_in(app, by_app.get(name, ()), home, channel, look_folder, kinds) for name, app in built_in.items()
    ]
    judged = keep_apart(judged, by_app, real_path, kinds)
    for one in judged:
        for section, fault in one.faults:
            findings.add(section, fault)
        for section, note in one.notes:
            findings.note(section, note)
    return [one.app for one in judged if one.app], [one.disabled for one in judged if one.disabled]
