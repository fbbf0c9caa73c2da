"""How large the status may become on the wire, whatever upstreams, files and updaters say.

Clients hold a status in memory several times, and a browser's page stands still while it reads one of megabytes.  Kinds
of apps bound what they know to be long; this is around all of them, and cuts the copy that is shown only.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TypeVar

import msgspec

from trio_update.model import NOT_SENT, AppName, AppStatus
from trio_update.text import CUT, shorten, wire_size

# In bytes.  What is around the apps, with everything that is wrong with a configuration, fits beside them in 1 MiB.
APP_SIZE = 128 * 1024
APPS_SIZE = 896 * 1024
NOTICES_SIZE = 64 * 1024

# From the most that is kept to the least: bytes of each text, entries of each list.
_LEVELS = ((8192, 1000), (2048, 300), (512, 100), (256, 30), (96, 10), (96, 3))
# No text takes more bytes for a character.
_WORST = 7
# What stands around each value: its name, quotes, separators; numbers take less than that.
_FRAME = 48

S = TypeVar("S", bound=msgspec.Struct)


def bounded_apps(apps: Mapping[AppName, AppStatus]) -> dict[AppName, AppStatus]:
    """The same statuses, and of those that are too long copies, cut as much as it takes; a mark tells of each cut."""
    found = {app: bounded_status(status, APP_SIZE) for app, status in apps.items()}
    if sum(_most(status) for status in found.values()) <= APPS_SIZE or sum(map(size_of, found.values())) <= APPS_SIZE:
        return found
    share = APPS_SIZE // len(found)
    return {app: bounded_status(status, share) for app, status in found.items()}


def bounded_status(status: S, size: int) -> S:
    """``status`` itself if it takes no more than ``size`` bytes on the wire, else one with everything long cut."""
    if _most(status) <= size or (_least(status) <= size and size_of(status) <= size):
        return status
    # Cutting costs time: a level that leaves too much in any case is passed over.
    levels = [level for level in _LEVELS if _least(status, *level) <= size] or _LEVELS[-1:]
    for text, entries in levels:
        cut = _cut_struct(status, text, entries)
        if size_of(cut) <= size:
            break
    return cut


def size_of(value: object) -> int:
    """Bytes on the wire at worst."""
    return _size(value, wire_size)


def _most(value: object) -> int:
    """The same without looking at any character, and so never too small."""
    return _size(value, lambda text: _WORST * len(text))


def _least(value: object, text: int = sys.maxsize, entries: int = sys.maxsize) -> int:
    """What is left of a value, cut to texts of so many bytes and lists of so many entries, at the least."""
    return _size(value, lambda found: min(len(found), text - _WORST), entries, frame=0)


def _size(value: object, measure: Callable[[str], int], entries: int = sys.maxsize, *, frame: int = _FRAME) -> int:
    if isinstance(value, str):
        return frame + measure(value)
    if isinstance(value, msgspec.Struct):
        parts: Iterable[object] = (getattr(value, name) for name in value.__struct_fields__ if name not in NOT_SENT)
    elif isinstance(value, Mapping):
        parts = (part for item in islice(value.items(), entries) for part in item)
    elif isinstance(value, tuple | list):
        parts = islice(value, entries)
    else:
        return frame
    return frame + sum(_size(part, measure, entries, frame=frame) for part in parts)


def _cut_struct(value: S, text: int, entries: int) -> S:
    changes: dict[str, object] = {}
    for name in value.__struct_fields__:
        old = getattr(value, name)
        if name not in NOT_SENT and (new := _cut(old, text, entries)) is not old:
            changes[name] = new
    return msgspec.structs.replace(value, **changes) if changes else value


def _cut(value: object, text: int, entries: int) -> object:
    if isinstance(value, enum.Enum):
        return value
    if isinstance(value, str):
        return shorten(value, text)
    if isinstance(value, msgspec.Struct):
        return _cut_struct(value, text, entries)
    if isinstance(value, Mapping):
        return {shorten(str(key), text): _cut(item, text, entries) for key, item in islice(value.items(), entries)}
    if isinstance(value, tuple | list):
        kept = [_cut(item, text, entries) for item in value[:entries]]
        if len(value) > entries and isinstance(value[0], str):
            kept[-1] = CUT
        return type(value)(kept) if type(value) in {tuple, list} else value
    return value
