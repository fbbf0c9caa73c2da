"""The last step of a status and of a plan on their way out.

Text leaves in five ways, and each has one place that no text can go around: errors (their base class), the lines of
jobs (``JobRun.report``; progress, events, replies and the history are made of these lines and of errors), log records
(:mod:`trio_update.logs`), and statuses and plans, here.  Behind these places nothing else composes text, so that the
wire and the client need no rule of their own.  Here, and not in each updater: a kind of app that another package
brings must not have to remember it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from trio_update.model import Unknown
from trio_update.text import without_secrets

S = TypeVar("S", bound=msgspec.Struct)

# Published by others for everybody: a link in them would lose its query, and there is nothing of ours to hide.
_PUBLISHED = frozenset({"release_notes"})


def harmless(value: S) -> S:
    """``value`` without secrets of addresses in its text; the same object when there were none.

    Structs within it stay as they are, but :class:`Unknown`: commits and releases are public, and an asset's address is
    needed whole to download it.
    """
    changes: dict[str, object] = {}
    for name in value.__struct_fields__:
        old = getattr(value, name)
        if name not in _PUBLISHED and (new := _harmless(old)) != old:
            changes[name] = new
    return msgspec.structs.replace(value, **changes) if changes else value


def _harmless(value: object) -> object:
    if isinstance(value, str):
        # A member of an enum is text too, and must stay a member.
        return without_secrets(value) if "://" in value else value
    if isinstance(value, Unknown):
        return harmless(value)
    if isinstance(value, tuple):
        return tuple(map(_harmless, value))
    if isinstance(value, list):
        return list(map(_harmless, value))
    if isinstance(value, Mapping):
        return {key: _harmless(item) for key, item in value.items()}
    return value
