"""The arguments of a request: read, merged, converted, checked.  Nothing that is in doubt gets through."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args
from urllib.parse import parse_qsl

import msgspec

from trio_update.web.api.faults import BadRequest

MAX_DEPTH = 64
_MAX_FIELDS = 64

# What an authenticating proxy or a browser adds to a URL is not an argument of ours.
_NOT_OURS = frozenset({"token", "access_token"})

# The closing quote is optional and the loop possessive: an unclosed string is swallowed whole, in linear time.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_NOT_A_BRACKET = dict.fromkeys(i for i in range(128) if chr(i) not in "[]{}")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_FLOAT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_PLACE = re.compile(r"(?P<what>.*) - at `\$\.(?P<name>.*)`")

_KINDS = {"int": int, "bool": bool, "float": float}

P = TypeVar("P", bound=msgspec.Struct)


class NotJson(BadRequest):
    """The text is not JSON, or nested more deeply than :data:`MAX_DEPTH`."""


def parse_json(data: str | bytes) -> Any:
    """Decode one JSON document (RFC 8259, UTF-8).  Raises :class:`NotJson`."""
    try:
        text = data if isinstance(data, str) else data.decode()
        check_depth(text)
        return msgspec.json.decode(text)
    except ValueError as error:  # covers msgspec's errors and bad UTF-8
        raise NotJson(f"not JSON: {error}") from error


def check_depth(text: str) -> None:
    """Raise :class:`NotJson` when ``text`` nests objects and arrays beyond :data:`MAX_DEPTH`.

    The decoder alone would go on to the interpreter's recursion limit, and how far that is depends on the caller.
    """
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _STRING.sub("", text).translate(_NOT_A_BRACKET):
        if bracket in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise NotJson(f"not accepted: nested more than {MAX_DEPTH} levels deep")
        elif bracket in "]}":
            depth -= 1


def parse_urlencoded(data: bytes) -> list[tuple[str, str]]:
    """The pairs of a query string or of a form (``application/x-www-form-urlencoded``).  Raises BadRequest."""
    try:
        return parse_qsl(data.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise BadRequest(f"the query or form is not readable: {error}") from error


def merge(params: type[msgspec.Struct], texts: Iterable[Iterable[tuple[str, str]]], body: object) -> dict[str, object]:
    """All arguments of an HTTP request: ``texts`` are those of the query, then of the form; ``body`` is the JSON.

    Text is converted to the type that ``params`` declares, or to the one that a hint names (``limit:int=5``).  What
    comes later wins.  Raises BadRequest, also for a name that occurs twice in one source.
    """
    merged: dict[str, object] = {}
    for source in texts:
        seen: dict[str, object] = {}
        for key, text in source:
            name, _, hint = key.partition(":")
            if name in seen:
                raise BadRequest(f"argument `{name}` is given more than once")
            seen[name] = _hinted(name, hint, text) if hint else _converted(name, _kind(params, name), text)
        merged |= seen
    if isinstance(body, Mapping):
        merged |= body
    elif body is not None:
        raise BadRequest("the body must be a JSON object that holds the arguments by name")
    return {name: value for name, value in merged.items() if name not in _NOT_OURS}


def typed(params: type[P], arguments: Mapping[str, object], *, name_decides: bool = False) -> P:
    """Check ``arguments`` against ``params``; unknown ones are ignored.  Raises BadRequest.

    ``name_decides``: leaving out `name` means *everything*.  Then arguments without a `name` are most likely a
    misspelt one, and must not start an upgrade of the whole machine.
    """
    if name_decides and arguments and "name" not in arguments:
        raise BadRequest("arguments were given, but not `name`: give a `name`, or no argument at all to mean every app")
    try:
        return msgspec.convert(arguments, params)
    except msgspec.ValidationError as error:
        found = _PLACE.fullmatch(str(error))
        if found is None:
            raise BadRequest(str(error)) from error
        raise BadRequest(f"argument `{found['name']}`: {found['what']}") from error


def _kind(params: type[msgspec.Struct], name: str) -> type:
    for field in msgspec.structs.fields(params):
        if field.encode_name == name:
            return next(kind for kind in (bool, int, float, str) if kind in _flattened(field.type))
    return str


def _flattened(annotation: Any) -> set[Any]:
    return {annotation}.union(*(_flattened(part) for part in get_args(annotation)))


def _hinted(name: str, hint: str, text: str) -> object:
    if hint == "json":
        return parse_json(text)
    if hint not in _KINDS:
        raise BadRequest(f"argument `{name}`: unknown type hint `{hint}`; known are int, bool, float and json")
    return _converted(name, _KINDS[hint], text)


def _converted(name: str, kind: type, text: str) -> object:
    if kind is bool and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if kind is int and _INTEGER.fullmatch(text):
        return int(text)
    if kind is float and _FLOAT.fullmatch(text):
        return float(text)
    if kind is str:
        return text
    raise BadRequest(f"argument `{name}`: expected {kind.__name__}, got the text `{text[:40]}`")
