"""Which options each section may hold, how they are converted, and what is wrong with those that stand there."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Mapping
from typing import Any

import msgspec

from trio_update.config import addresses as net
from trio_update.config import convert as to
from trio_update.config import render
from trio_update.config.convert import Look, Rule, Table, listing, scalar
from trio_update.config.ini import Fault, Section
from trio_update.config.kinds import LATER, Kinds
from trio_update.config.names import printable
from trio_update.config.render import BadValue

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


_NOT_YET = "is accepted and not used by this version yet"


class ServiceProvider(enum.StrEnum):
    SYSTEMD_DBUS = "systemd_dbus"
    SYSTEMD_CLI = "systemd_cli"
    SUPERVISORD_CLI = "supervisord_cli"
    NONE = "none"


class Reading(msgspec.Struct):
    """A section's options: values by name, the lines they stand on, every fault, and what has no effect yet."""

    values: dict[str, Any]
    lines: dict[str, int]
    faults: list[Fault]
    unused: list[Fault] = []


def update_manager_table() -> Table:
    """``[update_manager]``."""
    return {
        "enable_auto_refresh": scalar(to.as_flag),
        "refresh_window": scalar(to.as_window, render.window),
        "refresh_interval": scalar(to.as_hours, render.hours),
        "enable_system_updates": scalar(to.as_flag).not_yet(),
        "enable_packagekit": scalar(to.as_flag).not_yet(),
        "channel": scalar(to.as_channel),
    }


def server_table(look_file: Look) -> Table:
    """``[trio_update]``."""
    return {
        "host": scalar(net.as_host),
        "port": scalar(to.as_integer(0, 65535)),
        "moonraker_url": scalar(net.as_base_url).not_yet(),
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
        "server": {"klippy_uds_address": scalar(to.as_path).not_yet()},
        "authorization": {
            "trusted_clients": listing(net.as_client).not_yet(),
            "cors_domains": listing(net.as_origin_pattern),
            "enable_api_key": scalar(to.as_flag).not_yet(),
        },
    }


def app_table(kind: str, name: str, look_folder: Look, kinds: Kinds) -> Table:
    """``[update_manager NAME]`` of one type."""
    own = kinds[kind].options if kind in kinds else LATER[kind].options
    return {**_common(name, look_folder, kinds), **own}


def override_table(kind: str, name: str, look_folder: Look, kinds: Kinds) -> Table:
    """``[update_manager klipper]`` and ``[update_manager moonraker]``."""
    table = app_table(kind, name, look_folder, kinds)
    return {option: table[option] for option in OVERRIDES}


def any_app_table(name: str, look_folder: Look, kinds: Kinds) -> Table:
    """All options of all types, for a section whose type is not known."""
    table: dict[str, Rule] = {}
    for kind in known_types(kinds):
        table |= app_table(kind, name, look_folder, kinds)
    return table


def required(kind: str, kinds: Kinds) -> tuple[str, ...]:
    """The options without which a section of this type means nothing."""
    return kinds[kind].required if kind in kinds else LATER[kind].required


def known_types(kinds: Kinds) -> tuple[str, ...]:
    """What ``type`` may say, those included that cannot be managed yet."""
    return tuple(dict.fromkeys((*kinds, *LATER)))


def _common(name: str, look_folder: Look, kinds: Kinds) -> dict[str, Rule]:
    return {
        "type": scalar(to.as_choice(*known_types(kinds))),
        "channel": scalar(to.as_channel),
        "path": scalar(to.as_seen_path(look_folder)),
        "refresh_interval": scalar(to.as_hours, render.hours),
        "info_tags": listing(to.as_text),
        "report_anomalies": scalar(to.as_flag),
        "managed_services": to.services(name),
        "is_system_service": scalar(to.as_flag),
        "health_command": scalar(to.as_command, render.command),
        "health_url": scalar(net.as_web_url),
        "health_timeout": scalar(to.as_seconds),
        "keep_versions": scalar(to.as_integer(0, 1000)),
        "hold": to.hold,
    }


def read_options(section: Section, table: Table, *, foreign: bool = False) -> Reading:
    """Convert a section's options by `table`; in a `foreign` one everything that is not in the table is passed over."""
    reading = Reading({}, {}, [] if foreign else list(section.faults))
    for option in section.options:
        rule = table.get(option.name)
        if rule is None:
            if not foreign:
                reading.faults.append(Fault(option.line, _unknown(option.name, table)))
            continue
        if option.name in reading.lines:
            first = reading.lines[option.name]
            reading.faults.append(Fault(option.line, f"duplicate option '{option.name}': already on line {first}"))
            continue
        reading.lines[option.name] = option.line
        try:
            reading.values[option.name] = rule(option.value)
            if not rule.used:
                reading.unused.append(Fault(option.line, f"'{option.name}' {_NOT_YET}"))
        except BadValue as exc:
            reading.faults.append(Fault(option.line + exc.offset, f"'{option.name}' {exc}"))
    return reading


def _unknown(name: str, table: Table) -> str:
    near = difflib.get_close_matches(name[:64], table, n=1)
    hint = f": did you mean '{near[0]}'?" if near else ""
    return f"unknown option '{printable(name)}'{hint}"
