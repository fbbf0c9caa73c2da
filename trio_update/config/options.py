"""Which options each section may hold, how they are converted, and what is wrong with those that stand there."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Mapping
from typing import Any

import msgspec

from trio_update.config import addresses as net
from trio_update.config import convert as to
from trio_update.config.convert import BadValue, Converter, Look, listing, scalar
from trio_update.config.ini import Fault, Section
from trio_update.config.names import printable
from trio_update.model import AppType

Table = Mapping[str, Converter]

# What may be set for klipper and moonraker, whose places and origins are known.
OVERRIDES = (
    "channel",
    "pinned_commit",
    "refresh_interval",
    "report_anomalies",
    "hold",
    "health_command",
    "health_url",
    "health_timeout",
    "keep_versions",
)


class ServiceProvider(enum.StrEnum):
    SYSTEMD_DBUS = "systemd_dbus"
    SYSTEMD_CLI = "systemd_cli"
    SUPERVISORD_CLI = "supervisord_cli"
    NONE = "none"


class Reading(msgspec.Struct):
    """A section's options: values by name, the lines they stand on, and every fault."""

    values: dict[str, Any]
    lines: dict[str, int]
    faults: list[Fault]


def update_manager_table() -> Table:
    """``[update_manager]``."""
    return {
        "enable_auto_refresh": scalar(to.as_flag),
        "refresh_window": scalar(to.as_window),
        "refresh_interval": scalar(to.as_hours),
        "enable_system_updates": scalar(to.as_flag),
        "enable_packagekit": scalar(to.as_flag),
        "channel": scalar(to.as_channel),
    }


def server_table(look_file: Look) -> Table:
    """``[trio_update]``."""
    return {
        "host": scalar(net.as_host),
        "port": scalar(to.as_integer(0, 65535)),
        "moonraker_url": scalar(net.as_base_url),
        "github_api_url": scalar(net.as_base_url),
        "github_url": scalar(net.as_base_url),
        "github_token_file": scalar(to.as_seen_path(look_file)),
        "max_concurrent_refreshes": scalar(to.as_integer(1, 1000)),
        "max_websocket_connections": scalar(to.as_integer(1, 100_000)),
        "service_provider": scalar(to.as_choice(*ServiceProvider)),
    }


def foreign_tables() -> Mapping[str, Table]:
    """What is read of sections that belong to another server; the rest of them is none of our business."""
    return {
        "server": {"klippy_uds_address": scalar(to.as_path)},
        "authorization": {
            "trusted_clients": listing(net.as_client),
            "cors_domains": listing(net.as_origin_pattern),
            "enable_api_key": scalar(to.as_flag),
        },
    }


def app_table(kind: AppType, name: str, look_folder: Look) -> Table:
    """``[update_manager NAME]`` of one type."""
    common = _common(name, look_folder)
    match kind:
        case AppType.GIT_REPO:
            return common | _git_repo()
        case AppType.WEB:
            return common | _release()
        case AppType.ZIP:
            return common | _release() | _packages() | _python_packages()
        case AppType.EXECUTABLE:
            return common | _release() | {"system_dependencies": scalar(to.as_inner_path)}
        case _:
            return common | _python()


def override_table(name: str, look_folder: Look) -> Table:
    """``[update_manager klipper]`` and ``[update_manager moonraker]``."""
    table = app_table(AppType.GIT_REPO, name, look_folder)
    return {option: table[option] for option in OVERRIDES}


def any_app_table(name: str, look_folder: Look) -> Table:
    """All options of all types, for a section whose type is not known."""
    table: dict[str, Converter] = {}
    for kind in AppType:
        table |= app_table(kind, name, look_folder)
    return table


def required(kind: AppType) -> tuple[str, ...]:
    """The options without which a section of this type means nothing."""
    match kind:
        case AppType.GIT_REPO:
            return ("path", "origin")
        case AppType.PYTHON:
            return ("virtualenv",)
        case _:
            return ("path", "repo")


def _common(name: str, look_folder: Look) -> dict[str, Converter]:
    return {
        "type": scalar(to.as_type),
        "channel": scalar(to.as_channel),
        "path": scalar(to.as_seen_path(look_folder)),
        "refresh_interval": scalar(to.as_hours),
        "info_tags": listing(to.as_text),
        "report_anomalies": scalar(to.as_flag),
        "managed_services": to.as_services(name),
        "is_system_service": scalar(to.as_flag),
        "health_command": scalar(to.as_command),
        "health_url": scalar(net.as_web_url),
        "health_timeout": scalar(to.as_seconds),
        "keep_versions": scalar(to.as_integer(0, 1000)),
        "hold": to.as_hold,
    }


def _git_repo() -> dict[str, Converter]:
    return {
        "origin": scalar(net.as_remote),
        "primary_branch": scalar(to.as_branch),
        "pinned_commit": scalar(to.as_pin),
        "moved_origin": scalar(net.as_remote),
        "env": scalar(to.as_environment),
        "venv_args": scalar(to.as_quoted),
        "install_script": scalar(to.as_inner_path),
        "pip_environment_variables": listing(to.as_assignment),
        **_packages(),
        **_python_packages(),
    }


def _packages() -> dict[str, Converter]:
    return {"system_dependencies": scalar(to.as_inner_path), "enable_node_updates": scalar(to.as_flag)}


def _python_packages() -> dict[str, Converter]:
    return {"virtualenv": scalar(to.as_path), "requirements": scalar(to.as_inner_path)}


def _release() -> dict[str, Converter]:
    return {
        "repo": scalar(to.as_repo),
        "persistent_files": listing(to.as_persistent_file),
        "forge_url": scalar(net.as_base_url),
    }


def _python() -> dict[str, Converter]:
    return {
        "virtualenv": scalar(to.as_path),
        "project_name": scalar(to.as_project),
        "primary_branch": scalar(to.as_branch),
    }


def read_options(section: Section, table: Table, *, foreign: bool = False) -> Reading:
    """Convert a section's options by `table`; in a `foreign` one everything that is not in the table is passed over."""
    reading = Reading({}, {}, [] if foreign else list(section.faults))
    for option in section.options:
        converter = table.get(option.name)
        if converter is None:
            if not foreign:
                reading.faults.append(Fault(option.line, _unknown(option.name, table)))
            continue
        if option.name in reading.lines:
            first = reading.lines[option.name]
            reading.faults.append(Fault(option.line, f"duplicate option '{option.name}': already on line {first}"))
            continue
        reading.lines[option.name] = option.line
        try:
            reading.values[option.name] = converter(option.value)
        except BadValue as exc:
            reading.faults.append(Fault(option.line + exc.offset, f"'{option.name}' {exc}"))
    return reading


def _unknown(name: str, table: Table) -> str:
    near = difflib.get_close_matches(name[:64], table, n=1)
    hint = f": did you mean '{near[0]}'?" if near else ""
    return f"unknown option '{printable(name)}'{hint}"
