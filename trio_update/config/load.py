"""Files → :class:`Config`, every problem at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from trio_update.config.apps import BUILT_IN, Judged, app_name, judge_app, judge_built_in
from trio_update.config.includes import Sources, read_sources, sources_of
from trio_update.config.ini import Fault, Section
from trio_update.config.kinds import AppKind, Kinds, by_type
from trio_update.config.looks import home_folder, look_app, look_file, real_path
from trio_update.config.merge import merge
from trio_update.config.names import printable
from trio_update.config.nesting import keep_apart, keep_data
from trio_update.config.options import ServiceProvider, foreign_tables, server_table, update_manager_table
from trio_update.config.reading import Reading, Told, read_options
from trio_update.config.rules import Cost, Table
from trio_update.config.values import AppConfig, Config, DisabledApp, Problem, ServerConfig, UpdateManagerConfig, place
from trio_update.errors import TrioUpdateError

DATA_PATH = Path("~/printer_data")
"""Where servers of printers keep their data."""

_DATA_PATH = re.compile(r"\{\s*data_path\s*\}")


class ConfigInvalid(TrioUpdateError):
    """The server cannot start with this configuration.

    ``problems`` holds everything that is wrong with it, in file order; ``stops`` those that keep it from starting.
    """

    def __init__(self, problems: Sequence[Problem], stops: Sequence[Problem] | None = None) -> None:
        self.problems = tuple(problems)
        self.stops = tuple(problems if stops is None else stops)
        listed = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"the configuration cannot be used, mend it and start again:{listed}")


def read_file(path: Path, kinds: Sequence[AppKind], data_path: Path = DATA_PATH) -> Config:
    """Read a ``moonraker.conf`` with everything that it includes.  Blocks on the disk; no network.

    Everything that is wrong is told in ``problems`` and costs as little as is safe: an option counts as not given, an
    app is held back (``hold`` says why) or, where it is not known what it is, becomes a :class:`DisabledApp`.
    ``data_path`` is what ``{data_path}`` stands for.

    Raises:
        ConfigInvalid: the address or port to listen on cannot be used, or a file cannot be read, so that what it says
            is not known.
    """
    return _read(read_sources(path), path, kinds, data_path)


def read_text(text: str, kinds: Sequence[AppKind], data_path: Path = DATA_PATH) -> Config:
    """As :func:`read_file`, of a text that is in no file and can therefore include none."""
    return _read(sources_of(text, "the text"), None, kinds, data_path)


def _read(sources: Sources, path: Path | None, kinds: Sequence[AppKind], data_path: Path) -> Config:
    findings = Findings(sources.problems, sources.stops, sources.notes)
    data_path = _at_home(data_path)
    by_name, by_app = _sorted(_expanded(sources.sections, str(data_path)), findings)
    update_manager = judge_update_manager(by_name, findings)
    server = judge_server(by_name, findings)
    apps: list[AppConfig] = []
    disabled: list[DisabledApp] = []
    if by_app or "update_manager" in by_name:
        apps, disabled = _apps(by_app, update_manager, data_path, findings, by_type(kinds))
    else:
        why = "there is no [update_manager] section: nothing is managed, add one"
        findings.notes.append(Problem(sources.files[0], 0, why))
    order = {file: index for index, file in enumerate(sources.files)}

    def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
        return tuple(sorted(problems, key=lambda problem: (order[problem.file], problem.line)))

    if findings.stops:
        raise ConfigInvalid(in_order(findings.problems), in_order(findings.stops))
    return Config(
        source=path,
        update_manager=update_manager,
        server=server,
        apps=tuple(apps),
        disabled=tuple(disabled),
        problems=in_order(findings.problems),
        notes=in_order(findings.notes),
    )


def _sorted(
    sections: Iterable[Section], findings: Findings
) -> tuple[dict[str, list[Section]], dict[str, list[Section]]]:
    """The sections by their names, and those of apps by the app's."""
    by_name: dict[str, list[Section]] = {}
    by_app: dict[str, list[Section]] = {}
    for section in sections:
        if (name := app_name(section)) is None:
            findings.add_all(_misspelt(section))
            by_name.setdefault(" ".join(section.name.split()), []).append(section)
        else:
            by_app.setdefault(name, []).append(section)
    return by_name, by_app


def _misspelt(section: Section) -> Iterator[Told]:
    """Names of sections are as exact as those of options are not: `[Update-Manager x]` is somebody else's section."""
    first, *rest = section.name.split() or [""]
    meant = first.lower().replace("-", "_")
    if meant in ("update_manager", "trio_update") and first != meant:
        name = printable(" ".join((meant, *rest)))
        yield Told(section, Fault(section.line, f"this section is not read: did you mean [{name}]?"))


def _at_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        # The option that it stands in tells that.
        return path


def _expanded(sections: Iterable[Section], written: str) -> list[Section]:
    """The sections with ``{data_path}`` as it is written out: nothing that may stand in a file has it as a text."""

    def expand(section: Section) -> Section:
        if not any("data_path" in option.value for option in section.options):
            return section
        options = [
            msgspec.structs.replace(option, value=_DATA_PATH.sub(lambda _: written, option.value))
            for option in section.options
        ]
        return msgspec.structs.replace(section, options=tuple(options))

    return [expand(section) for section in sections]


class Findings:
    """Problems and notes as they come up; ``stops`` are the problems with which a server cannot start.

    ``held``: why apps are to be held back that rely on ``[update_manager]``.
    """

    def __init__(
        self, problems: Iterable[Problem] = (), stops: Iterable[Problem] = (), notes: Iterable[Problem] = ()
    ) -> None:
        self.problems = list(problems)
        self.stops = list(stops)
        self.notes = list(notes)
        self.held: list[str] = []

    def add(self, section: Section, fault: Fault, cost: Cost = Cost.OPTION, whom: str = "") -> None:
        """What is wrong, and what it costs (``whom``, if not the app that the section is about)."""
        costs = {Cost.HOLD: f"{whom}held back: ", Cost.DISABLE: "disabled: "}
        problem = _problem(section, fault, costs.get(cost, ""))
        self.problems.append(problem)
        if cost is Cost.STOP:
            self.stops.append(problem)

    def add_all(self, told: Iterable[Told]) -> None:
        """What was told of sections."""
        for one in told:
            self.add(one.section, one.fault, one.cost)

    def note(self, section: Section, fault: Fault) -> None:
        """What is right and worth knowing."""
        self.notes.append(_problem(section, fault))


def _problem(section: Section, fault: Fault, cost: str = "") -> Problem:
    return Problem(section.file, fault.line, f"[{printable(section.name)}] {cost}{fault.why}")


def judge_update_manager(by_name: Mapping[str, Sequence[Section]], findings: Findings) -> UpdateManagerConfig:
    """``[update_manager]``."""
    reading = _read_section(by_name.get("update_manager", ()), update_manager_table(), findings)
    for one in reading.told:
        findings.add(one.section, one.fault, one.cost, "klipper and moonraker ")
        if one.cost is Cost.HOLD:
            findings.held.append(f"{place(one.section.file, one.fault.line)}: {one.fault.why}")
    return UpdateManagerConfig(**reading.values)


def judge_server(by_name: Mapping[str, Sequence[Section]], findings: Findings) -> ServerConfig:
    """``[trio_update]``, and what is read of the sections of other servers."""
    reading = _read_section(by_name.get("trio_update", ()), server_table(look_file), findings)
    findings.add_all(reading.told)
    values = dict(reading.values)
    provider = values.get("service_provider", ServiceProvider.NONE)
    if provider is not ServiceProvider.NONE:
        why = f"services are not restarted: service_provider {provider} is not supported by this version yet"
        given = reading.given["service_provider"]
        findings.add(given.section, Fault(given.option.line, why))
    for name, table in foreign_tables().items():
        foreign = _read_section(by_name.get(name, ()), table, findings, foreign=True)
        findings.add_all(foreign.told)
        values |= foreign.values
    return ServerConfig(**values)


def _read_section(sections: Sequence[Section], table: Table, findings: Findings, *, foreign: bool = False) -> Reading:
    """Sections of another server may come in several parts in one file."""
    reading = read_options(merge(sections, in_parts=foreign), table, foreign=foreign)
    for section, fault in reading.notes:
        findings.note(section, fault)
    return reading


def _apps(
    by_app: Mapping[str, Sequence[Section]],
    update_manager: UpdateManagerConfig,
    data_path: Path,
    findings: Findings,
    kinds: Kinds,
) -> tuple[list[AppConfig], list[DisabledApp]]:
    home, channel = home_folder(), update_manager.channel
    built_in = {app.name: app for app in BUILT_IN if app.type in kinds}
    judged: list[Judged] = [
        judge_app(name, sections, look_app, kinds) for name, sections in by_app.items() if name not in built_in
    ]
    judged += [
        judge_built_in(app, by_app.get(name, ()), home, channel, look_app, kinds, findings.held)
        for name, app in built_in.items()
    ]
    judged = keep_data(keep_apart(judged, real_path, kinds), data_path, real_path, kinds)
    for one in judged:
        findings.add_all(one.told)
        for section, note in one.notes:
            findings.note(section, note)
    return [one.app for one in judged if one.app], [one.disabled for one in judged if one.disabled]
