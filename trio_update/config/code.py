"""A :class:`Config` that was made in code → the same, judged as if it stood in a file, every problem at once.

Each struct is written back as the options of a section (:mod:`trio_update.config.render`) and judged by what judges
sections, so that there is one set of rules: texts become what they say, ``~`` the home.  What :func:`read_file` gave
comes out as it went in.  One rule of files does not hold: an app's folder need not exist, because the app's status
tells that, and a recovery can bring it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from trio_update.config.apps import Judged, judge_app
from trio_update.config.convert import Table
from trio_update.config.ini import Fault, Option, Section
from trio_update.config.kinds import AppKind, Kinds, by_type
from trio_update.config.load import ConfigInvalid, Findings, judge_server, judge_update_manager
from trio_update.config.looks import look_danger, look_file, real_path
from trio_update.config.nesting import keep_apart
from trio_update.config.options import app_table, foreign_tables, server_table, update_manager_table
from trio_update.config.render import BadValue
from trio_update.config.values import AppConfig, Config, HealthCheck, Problem, ServerConfig, UpdateManagerConfig


def judge_code(config: Config, kinds: Sequence[AppKind]) -> Config:
    """The configuration as a manager can use it.  Blocks on the disk; no network.

    Raises: ConfigInvalid with everything that is wrong, each with its place in ``config``.
    """
    if not isinstance(config, Config):
        raise ConfigInvalid([_of_wrong_type("the argument", config, Config)])
    findings = Findings([], fatal=False)
    own = _own_sections(config, findings)
    update_manager = judge_update_manager(own, findings)
    server = judge_server(own, findings)
    apps = _apps(config.apps, by_type(kinds), findings)
    if findings.problems:
        places = ["Config.update_manager", "Config.server", "Config.apps", *map(_place, range(_count(config.apps)))]
        raise ConfigInvalid(sorted(findings.problems, key=lambda problem: places.index(problem.file)))
    return msgspec.structs.replace(config, update_manager=update_manager, server=server, apps=apps)


def _own_sections(config: Config, findings: Findings) -> dict[str, list[Section]]:
    parts: tuple[tuple[str, object, type[msgspec.Struct], Mapping[str, Table]], ...] = (
        (
            "Config.update_manager",
            config.update_manager,
            UpdateManagerConfig,
            {"update_manager": update_manager_table()},
        ),
        ("Config.server", config.server, ServerConfig, {"trio_update": server_table(look_file), **foreign_tables()}),
    )
    sections: dict[str, list[Section]] = {}
    for place, value, kind, tables in parts:
        if not isinstance(value, kind):
            findings.problems.append(_of_wrong_type(place, value, kind))
            continue
        sections |= {name: [_section(name, place, value, table)] for name, table in tables.items()}
    for name in foreign_tables():
        # What stands in a file's section for another server is that server's business; what code gives is ours.
        for section in sections.get(name, ()):
            for fault in section.faults:
                findings.add(section, fault)
    return sections


def _of_wrong_type(place: str, value: object, kind: type) -> Problem:
    return Problem(place, 0, f"must be a {kind.__name__}, not a value of type {type(value).__name__}")


def _count(apps: object) -> int:
    return len(apps) if isinstance(apps, tuple | list) else 0


def _place(index: int) -> str:
    return f"Config.apps[{index}]"


def _apps(apps: object, kinds: Kinds, findings: Findings) -> tuple[AppConfig, ...]:
    if not isinstance(apps, tuple | list):
        findings.problems.append(_of_wrong_type("Config.apps", apps, tuple))
        return ()
    sections: dict[str, list[Section]] = {}
    for index, app in enumerate(apps):
        place = _place(index)
        if why := _unusable(app, kinds):
            findings.problems.append(Problem(place, 0, why))
        else:
            kind = _type_of(app)
            table = app_table(kind, app.name, look_danger, kinds)
            section = _section(f"update_manager {app.name}", place, app, table, type=kind)
            sections.setdefault(app.name, []).append(section)
    judged: list[Judged] = [judge_app(name, found, look_danger, kinds) for name, found in sections.items()]
    judged = keep_apart(judged, sections, real_path, kinds)
    for one in judged:
        for section, fault in one.faults:
            if not _is_told(section, fault):
                findings.add(section, Fault(0, fault.why))
    return tuple(one.app for one in judged if one.app is not None)


def _unusable(app: object, kinds: Kinds) -> str | None:
    """Why ``app`` is nothing whose options could be judged."""
    if not isinstance(app, AppConfig):
        return f"must be an AppConfig, not a value of type {type(app).__name__}"
    kind = kinds.get(_type_of(app))
    if kind is None or type(app) is not kind.config:
        return f"{type(app).__name__} belongs to no known kind of app: give its Kind in `kinds`"
    parts: tuple[tuple[str, object, type], ...] = (("name", app.name, str), ("health", app.health, HealthCheck))
    for field, value, wanted in parts:
        if not isinstance(value, wanted):
            return f"'{field}' must be a {wanted.__name__}, not a value of type {type(value).__name__}"
    return None


def _type_of(app: AppConfig) -> str:
    return str(app.__struct_config__.tag)


def _section(name: str, place: str, value: msgspec.Struct, table: Table, **given: str) -> Section:
    options = [Option(option, text, 0) for option, text in given.items()]
    faults = []
    for option, found in _given(value, table):
        try:
            options.append(Option(option, _in_utf_8(table[option].write(found)), 0))
        except BadValue as exc:
            faults.append(Fault(0, f"'{option}' {exc}"))
    return Section(name, place, 0, tuple(options), tuple(faults))


def _in_utf_8(text: str) -> str:
    """The text as a file could hold it.  Raises: BadValue."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadValue("holds bytes that are not UTF-8") from None
    return text


def _is_told(section: Section, fault: Fault) -> bool:
    """Whether an option seems to be missing because what is wrong with it kept it from being written."""
    return any(fault.why == f"the option {told.why.split(' ')[0]} is missing" for told in section.faults)


def _given(value: msgspec.Struct, table: Table) -> Iterator[tuple[str, object]]:
    """The options that ``value`` gives, without those that say what is the case anyway."""
    for option in table:
        of, field = value, option
        if option.startswith("health_") and isinstance(value, AppConfig):
            of, field = value.health, option.removeprefix("health_")
        described = next((one for one in msgspec.structs.fields(of) if one.name == field), None)
        if described is None:
            continue
        found = getattr(of, field)
        if found is not None and not (type(found) is type(described.default) and found == described.default):
            yield option, found
