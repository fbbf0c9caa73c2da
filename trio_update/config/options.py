"""Which options each section may hold, how they are read, and what it costs when a value cannot be used.

What it costs is a question of what is safe.  The rules say it; why they say it:

- An option that limits what an update does holds upgrades back: `pinned_commit`, `channel`, `primary_branch`, `hold`.
  Its default would go further than the user wanted.
- So does one that guards an update (`health_command`, `health_url`) or says what it must not take away
  (`persistent_files`), or what the new version needs (`virtualenv`, `requirements`, `enable_node_updates`, …).
- One that says what the app is costs the app: `type`, `path`, `repo`, and `forge_url`, because the same name at another
  forge is another project.
- `keep_versions`: nothing is pruned.  What was not kept cannot be had back without a network.
- `github_api_url`: no GitHub at all.  Somebody who has one of their own did not mean github.com, least of all for
  their token.
- `origin`: none.  Whoever wrote one meant no other, so that the official one does not step in for klipper either.
- `enable_auto_refresh`, `enable_system_updates`: no.  `enable_api_key`: yes.  A list of who is trusted without the odd
  entry trusts less.
- `host`, `port`: the start.  Where else would clients find the server, and who would find it there?
- Everything else (how an app is shown, how often it is looked after): the default.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from trio_update.config import addresses as net
from trio_update.config import convert as to
from trio_update.config import render
from trio_update.config.convert import Look
from trio_update.config.kinds import LATER, Kinds
from trio_update.config.rules import Rule, Table, listing, scalar
from trio_update.model import Channel

# Answers nobody (RFC 2606).
_NO_GITHUB = "https://github.invalid"
_KEEP_ALL = 1000


class ServiceProvider(enum.StrEnum):
    SYSTEMD_DBUS = "systemd_dbus"
    SYSTEMD_CLI = "systemd_cli"
    SUPERVISORD_CLI = "supervisord_cli"
    NONE = "none"


def update_manager_table() -> Table:
    """``[update_manager]``."""
    return {
        "enable_auto_refresh": scalar(to.as_flag).otherwise(False),
        "refresh_window": scalar(to.as_window, render.window),
        "refresh_interval": scalar(to.as_hours, render.hours),
        "enable_system_updates": scalar(to.as_flag).otherwise(False).not_yet(),
        "enable_packagekit": scalar(to.as_flag).not_yet(),
        "channel": scalar(to.as_channel).holds_back(),
    }


def server_table(look_file: Look) -> Table:
    """``[trio_update]``."""
    return {
        "host": scalar(net.as_host).stops(),
        "port": scalar(to.as_integer(0, 65535)).stops(),
        "moonraker_url": scalar(net.as_base_url).not_yet(),
        "github_api_url": scalar(net.as_base_url).otherwise(_NO_GITHUB),
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


def app_table(kind: str, name: str, look: Look | None, kinds: Kinds) -> Table:
    """``[update_manager NAME]`` of one type; ``look`` judges its folder."""
    own = kinds[kind].options if kind in kinds else LATER[kind].options
    place = {
        "channel": _channel(kind, look, kinds),
        "path": scalar(to.as_app_path(look, _danger(kind, kinds))).identifies(),
    }
    return {**_common(name, kinds), **place, **own}


def any_app_table(name: str, look: Look | None, kinds: Kinds) -> Table:
    """All options of all types, for a section whose type is not known."""
    table: dict[str, Rule] = {}
    for kind in known_types(kinds):
        table |= app_table(kind, name, look, kinds)
    return table


def required(kind: str, kinds: Kinds) -> tuple[str, ...]:
    """The options without which a section of this type means nothing."""
    return kinds[kind].required if kind in kinds else LATER[kind].required


def known_types(kinds: Kinds) -> tuple[str, ...]:
    """What ``type`` may say, those included that cannot be managed yet."""
    return tuple(dict.fromkeys((*kinds, *LATER)))


def _channel(kind: str, look: Look | None, kinds: Kinds) -> Rule:
    if kind not in kinds or look is None:
        # In code the status tells it, as it does of every app that is at odds with its kind.
        return scalar(to.as_channel).holds_back()
    default = next(one.default for one in msgspec.structs.fields(kinds[kind].config) if one.name == "channel")
    return scalar(to.as_channel_of(kinds[kind].channels, Channel(default), kind)).holds_back()


def _danger(kind: str, kinds: Kinds) -> str:
    """What would happen to a folder that must never be replaced."""
    if kind not in kinds or not kinds[kind].replaces_folder:
        return "what is the app's could not be told from what is yours, give it a folder of its own"
    return f"{'a hard recovery' if kinds[kind].keeps_strangers else 'an update'} would replace all of it"


def _common(name: str, kinds: Kinds) -> dict[str, Rule]:
    return {
        "type": scalar(to.as_choice(*known_types(kinds))).identifies(),
        "refresh_interval": scalar(to.as_hours, render.hours),
        "info_tags": listing(to.as_text),
        "report_anomalies": scalar(to.as_flag),
        "managed_services": to.services(name),
        "is_system_service": scalar(to.as_flag),
        "health_command": scalar(to.as_command, render.command, verbatim=True).holds_back(),
        "health_url": scalar(net.as_web_url).holds_back(),
        "health_timeout": scalar(to.as_seconds),
        "keep_versions": scalar(to.as_integer(0, _KEEP_ALL)).otherwise(_KEEP_ALL),
        "hold": to.hold,
    }
