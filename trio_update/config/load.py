"""Files → :class:`Config`, every problem at once.

With :mod:`trio_update.config.includes`, this is all that looks at the disk; the rest of the package is pure.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from trio_update.config.apps import BUILT_IN, Judged, app_name, judge_app, judge_built_in
from trio_update.config.includes import read_sources
from trio_update.config.ini import Fault, Section
from trio_update.config.names import printable
from trio_update.config.nesting import keep_apart
from trio_update.config.options import (
    Reading,
    ServiceProvider,
    Table,
    foreign_tables,
    read_options,
    server_table,
    update_manager_table,
)
from trio_update.config.values import AppConfig, Config, DisabledApp, Problem, ServerConfig, UpdateManagerConfig
from trio_update.errors import TrioUpdateError
from trio_update.model import Channel


class ConfigInvalid(TrioUpdateError):
    """The server cannot start with this configuration; `problems` holds all of them, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        listed = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(f"the configuration cannot be used, mend it and start again:{listed}")


def load_config(path: Path) -> Config:
    """Read a ``moonraker.conf`` with everything that it includes.  Blocks on the disk; no network.

    A broken app section becomes a :class:`DisabledApp`, told in ``problems`` too; the other apps are not affected.

    Raises:
        ConfigInvalid: a section of the server is broken, or a file cannot be read, so that what it says is not known.
    """
    sources = read_sources(path)
    findings = _Findings(list(sources.problems), fatal=sources.incomplete)
    by_name: dict[str, list[Section]] = {}
    by_app: dict[str, list[Section]] = {}
    for section in sources.sections:
        if (name := app_name(section)) is None:
            by_name.setdefault(section.name, []).append(section)
        else:
            by_app.setdefault(name, []).append(section)

    update_manager = _update_manager(by_name, findings)
    server = _server(by_name, findings)
    apps, disabled = _apps(by_app, update_manager.channel, findings)
    order = {file: index for index, file in enumerate(sources.files)}
    problems = sorted(findings.problems, key=lambda problem: (order[problem.file], problem.line))
    if findings.fatal:
        raise ConfigInvalid(problems)
    return Config(
        source=path,
        update_manager=update_manager,
        server=server,
        apps=tuple(apps),
        disabled=tuple(disabled),
        problems=tuple(problems),
    )


class _Findings:
    """Problems as they come up, and whether one of them stops the start."""

    def __init__(self, problems: list[Problem], *, fatal: bool) -> None:
        self.problems = problems
        self.fatal = fatal

    def add(self, section: Section, fault: Fault, *, fatal: bool = False) -> None:
        self.problems.append(Problem(section.file, fault.line, f"[{printable(section.name)}] {fault.why}"))
        self.fatal = self.fatal or fatal


def _update_manager(by_name: Mapping[str, Sequence[Section]], findings: _Findings) -> UpdateManagerConfig:
    return UpdateManagerConfig(**_read_own(by_name.get("update_manager", ()), update_manager_table(), findings).values)


def _server(by_name: Mapping[str, Sequence[Section]], findings: _Findings) -> ServerConfig:
    sections = by_name.get("trio_update", ())
    reading = _read_own(sections, server_table(_look_file), findings)
    values = dict(reading.values)
    provider = values.get("service_provider", ServiceProvider.NONE)
    if provider is not ServiceProvider.NONE:
        why = f"services are not restarted: service_provider {provider} is not supported by this version yet"
        findings.add(sections[0], Fault(reading.lines["service_provider"], why))
    if "github_api_url" in values:
        values.setdefault("github_url", _web_host(values["github_api_url"]))
    for name, table in foreign_tables().items():
        values |= _read_foreign(by_name.get(name, ()), table, findings)
    return ServerConfig(**values)


def _web_host(api_url: str) -> str:
    parts = urlsplit(api_url)
    # Only GitHub itself serves its API from a host of its own.
    return "https://github.com" if parts.hostname == "api.github.com" else f"{parts.scheme}://{parts.netloc}"


def _read_own(sections: Sequence[Section], table: Table, findings: _Findings) -> Reading:
    result = Reading({}, {}, [])
    for index, section in enumerate(sections):
        reading = read_options(section, table)
        for fault in reading.faults:
            findings.add(section, fault, fatal=True)
        if index == 0:
            result = reading
        else:
            first = f"{sections[0].file}:{sections[0].line}"
            findings.add(section, Fault(section.line, f"duplicate section: already at {first}"), fatal=True)
    return result


def _read_foreign(sections: Sequence[Section], table: Table, findings: _Findings) -> dict[str, object]:
    """Sections of another server may come in several parts; an option that is read may not."""
    values: dict[str, object] = {}
    found: dict[str, str] = {}
    for section in sections:
        reading = read_options(section, table, foreign=True)
        for fault in reading.faults:
            findings.add(section, fault, fatal=True)
        for name, line in reading.lines.items():
            if name in found:
                findings.add(section, Fault(line, f"duplicate option '{name}': already at {found[name]}"), fatal=True)
            found.setdefault(name, f"{section.file}:{line}")
        values |= reading.values
    return values


def _apps(
    by_app: Mapping[str, Sequence[Section]], channel: Channel, findings: _Findings
) -> tuple[list[AppConfig], list[DisabledApp]]:
    home = _home()
    built_in = {app.name: app for app in BUILT_IN}
    judged: list[Judged] = [
        judge_app(name, sections, _look_folder) for name, sections in by_app.items() if name not in built_in
    ]
    judged += [judge_built_in(app, by_app.get(name, ()), home, channel, _look_folder) for name, app in built_in.items()]
    judged = keep_apart(judged, by_app, _real)
    for one in judged:
        for section, fault in one.faults:
            findings.add(section, fault)
    return [one.app for one in judged if one.app], [one.disabled for one in judged if one.disabled]


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _home() -> Path | None:
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home if home.is_absolute() else None


def _look_folder(path: Path) -> str | None:
    """Why `path` cannot be an app's folder, None when it can."""
    found = _stat(path)
    if isinstance(found, str):
        return found
    if not stat.S_ISDIR(found.st_mode):
        return "is not a folder"
    home = _home()
    # Compared as the system sees it: a link, or `..`, can lead there too.
    for forbidden, what in ((Path("/"), "the root of the file system"), (home, "the home folder itself")):
        other = _stat(forbidden) if forbidden else ""
        if not isinstance(other, str) and os.path.samestat(found, other):
            return f"is {what}: an update would replace all of it"
    if home is not None and _real(home).is_relative_to(_real(path)):
        return "holds the home folder: an update would replace all of it"
    return None


def _look_file(path: Path) -> str | None:
    """Why `path` cannot be read as a file, None when it can."""
    found = _stat(path)
    if isinstance(found, str):
        return found
    return None if stat.S_ISREG(found.st_mode) else "is not a file"


def _stat(path: Path) -> os.stat_result | str:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except OSError as exc:
        return f"cannot be looked at: {exc.strerror}"
