"""Values → wire.  Nothing else writes the ``?`` of an unknown value, and nothing else escapes text.

Mainsail puts job messages and commit texts into its page as HTML.  For clients of that kind, text that came from
outside (:data:`trio_update.model.Outside`) is escaped; the others get it as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import get_args

import msgspec

from trio_update.events import JobMessage, Notice
from trio_update.model import FROM_OUTSIDE, NOT_SENT, AppStatus, JobRecord, JobView, Plan, Status, Unknown

_STATUSES_KEPT = 4
_FRAMES_KEPT = 32

_encode = msgspec.json.Encoder().encode


def escape(text: str) -> str:
    """Make ``text`` harmless inside an HTML element."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _to_json(value: object) -> str:
    try:
        return _encode(value).decode()
    except UnicodeEncodeError:
        # Names of files may hold bytes that are not UTF-8, which Python keeps as lone surrogates (PEP 383).
        return _encode(_without_surrogates(value)).decode()


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    return value


@cache
def from_outside(struct: type[msgspec.Struct]) -> frozenset[str]:
    """The fields of ``struct``, and of the structs within it, whose text somebody else wrote; told by their types."""
    # Each struct once: a kind of app may have one that holds itself.
    todo, seen, names = [struct], {struct}, set()
    while todo:
        for field in msgspec.structs.fields(todo.pop()):
            parts = list(_parts(field.type))
            if FROM_OUTSIDE in parts:
                names.add(field.name)
            for part in parts:
                if isinstance(part, type) and issubclass(part, msgspec.Struct) and part not in seen:
                    seen.add(part)
                    todo.append(part)
    return frozenset(names)


def _parts(annotation: object) -> Iterator[object]:
    """A type and what it is made of, as far as the marks of annotated types."""
    yield annotation
    if (mark := getattr(annotation, "__metadata__", None)) is not None:
        yield from mark
    for part in get_args(annotation):
        yield from _parts(part)


@cache
def _outside_anywhere() -> frozenset[str]:
    """What is from outside under its name wherever it stands: in a mapping, which has no types, and in the status of a
    kind of app whose author gave such a field another type."""
    return frozenset().union(*map(from_outside, (Status, AppStatus, Plan, JobRecord, JobView, JobMessage)))


@cache
def _escaped_fields(struct: type[msgspec.Struct]) -> frozenset[str]:
    return from_outside(struct) | _outside_anywhere()


def to_wire(value: object, *, escaped: bool = False) -> object:
    """``value`` as dicts, lists and scalars that JSON knows; every :class:`Unknown` becomes ``?``."""
    return _to_wire(value, escaped, outside=False)


def _to_wire(value: object, escaped: bool, *, outside: bool) -> object:
    if isinstance(value, str):
        return escape(value) if escaped and outside else value
    if isinstance(value, Unknown):
        return "?"
    if isinstance(value, msgspec.Struct):
        return _struct(value, escaped)
    if isinstance(value, Mapping):
        names = _outside_anywhere()
        return {key: _to_wire(item, escaped, outside=key in names) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_to_wire(item, escaped, outside=outside) for item in value]
    return value


def _struct(value: msgspec.Struct, escaped: bool) -> dict[str, object]:
    config = value.__struct_config__
    fields: dict[str, object] = {}
    if config.tag_field is not None:
        fields[config.tag_field] = config.tag
    names = _escaped_fields(type(value))
    for name in value.__struct_fields__:
        if name in NOT_SENT:
            continue
        fields[name] = _to_wire(getattr(value, name), escaped, outside=name in names)
    return fields


@dataclass(slots=True)
class _Encoded:
    """One status, encoded at most once in each way; holds the status so that its identity stays taken."""

    status: Status
    plain: str = ""
    escaped: str = ""
    body: bytes = b""
    etag: str = ""


class Wire:
    """Encodes, and remembers what it encoded for as long as it may be asked for again.

    A status and an event are recognised by identity: they are immutable, and the engine hands out the same object
    until something changes.
    """

    def __init__(self) -> None:
        self._statuses: dict[int, _Encoded] = {}
        self._frames: dict[tuple[int, bool], tuple[Notice, str]] = {}

    def text(self, value: object, *, escaped: bool = False) -> str:
        """``value`` as JSON."""
        if isinstance(value, Status):
            return self._status(value, escaped)
        return _to_json(to_wire(value, escaped=escaped))

    def status_body(self, status: Status) -> tuple[bytes, str]:
        """The HTTP body that answers with ``status``, and its entity tag (RFC 9110, section 8.8.3)."""
        entry = self._entry(status)
        if not entry.body:
            entry.body = b'{"result":' + self._status(status, escaped=False).encode() + b"}"
            entry.etag = f'"{hashlib.blake2b(entry.body, digest_size=12).hexdigest()}"'
        return entry.body, entry.etag

    def frame(self, event: Notice, *, escaped: bool = False) -> str:
        """The notification that tells a WebSocket client of ``event``."""
        key = (id(event), escaped)
        kept = self._frames.get(key)
        if kept is not None:
            return kept[1]
        if isinstance(event, JobMessage):
            frame = self.notification("notify_update_response", event, escaped=escaped)
        else:
            frame = self.notification("notify_update_refreshed", event.status, escaped=escaped)
        if len(self._frames) >= _FRAMES_KEPT:
            del self._frames[next(iter(self._frames))]
        self._frames[key] = (event, frame)
        return frame

    def notification(self, method: str, param: object, *, escaped: bool = False) -> str:
        """A JSON-RPC notification with one positional parameter, as clients of this API expect them."""
        return f'{{"jsonrpc":"2.0","method":"{method}","params":[{self.text(param, escaped=escaped)}]}}'

    def _status(self, status: Status, escaped: bool) -> str:
        entry = self._entry(status)
        if escaped:
            entry.escaped = entry.escaped or _to_json(to_wire(status, escaped=True))
            return entry.escaped
        entry.plain = entry.plain or _to_json(to_wire(status))
        return entry.plain

    def _entry(self, status: Status) -> _Encoded:
        entry = self._statuses.get(id(status))
        if entry is None:
            if len(self._statuses) >= _STATUSES_KEPT:
                del self._statuses[next(iter(self._statuses))]
            entry = self._statuses[id(status)] = _Encoded(status)
        return entry
