"""Which packages of the system an install script names: the words of its assignments to ``PKGLIST``.

The script is never run, and most of what changes in one has nothing to do with packages.  So it is not parsed as a
shell would: what stands around an assignment (functions, conditions, here-documents with stray quotes) is not
understood, on purpose, because one quote that was misread would hide everything behind it.  Whatever might be assigned
counts, on whatever branch it stands; to name a package too many costs less than to overlook one.
"""

from __future__ import annotations

import re

_ASSIGNMENT = re.compile(r"(?<![\w$\-./{])PKGLIST\+?=")
_COMMENTED = re.compile(r"(?:^|\s)#")
# Debian policy, 5.6.1, with an architecture; what is behind `=` or `/` says which version is wanted.
_PACKAGE = re.compile(r"([a-z0-9][a-z0-9+.\-]*[a-z0-9+](?::[a-z0-9-]+)?)(?:[=/]\S*)?")
# Stands for what only a shell could tell; a word with it in it is no name.
_UNKNOWN = "\0"
_CLOSED_BY = {"(": ")", "{": "}"}


def packages(script: bytes) -> tuple[str, ...]:
    """The packages that a script names, each once, in their order.  Never raises, whatever the bytes are."""
    text = script.decode("utf-8", "replace").replace("\r\n", "\n").replace(_UNKNOWN, " ")
    found: dict[str, None] = {}
    at = 0
    while (match := _ASSIGNMENT.search(text, at)) is not None:
        value, at = _value(text, match.end())
        if _COMMENTED.search(text[text.rfind("\n", 0, match.start()) + 1 : match.start()]):
            at = _line_end(text, match.end())
            continue
        for word in value.split():
            if (name := _PACKAGE.fullmatch(word)) is not None:
                found[name[1]] = None
    return tuple(found)


def new_packages(old: bytes | None, new: bytes | None) -> tuple[str, ...]:
    """The packages that ``new`` names and ``old`` did not; ``None``: there is no such script."""
    before = set(packages(old)) if old is not None else set()
    return tuple(name for name in (packages(new) if new is not None else ()) if name not in before)


def _value(text: str, start: int) -> tuple[str, int]:
    """What is assigned at ``start``, a word or the words of an array, and where it ends."""
    if text.startswith("(", start):
        return _read(text, start + 1, len(text), ")")
    return _read(text, start, len(text), " \t\n;&|)")


def _read(text: str, at: int, stop: int, ends: str) -> tuple[str, int]:
    """The text up to ``stop``, or to a character of ``ends`` that is not quoted, and where that is.

    Without quotes, and with a mark where only a shell could tell what stands there.
    """
    pieces: list[str] = []
    while at < stop and text[at] not in ends:
        char = text[at]
        if char in "\"'" and ends:
            end = _closing(text, at)
            pieces.append(text[at + 1 : end] if char == "'" else _read(text, at + 1, end, "")[0])
            at = end + 1 if text.startswith(char, end) else end
        elif char == "\\":
            # The end of a line that goes on in the next one is no blank: `a\` and `b` are one word.
            pieces.append(text[at + 1 : at + 2].removeprefix("\n"))
            at += 2
        elif char in "$`":
            pieces.append(_UNKNOWN)
            at = _behind_expansion(text, at)
        elif char == "#" and ends == ")" and text[at - 1] in " \t\n(":
            at = _line_end(text, at)
        else:
            pieces.append(char)
            at += 1
    return "".join(pieces), at


def _closing(text: str, at: int) -> int:
    """Where the quote at ``at`` is closed; the end of its line when it never is."""
    pattern = r'(?:\\.|[^"\\])*' if text[at] == '"' else "[^']*"
    match = re.compile(pattern, re.DOTALL).match(text, at + 1)
    end = match.end() if match is not None else len(text)
    return end if end < len(text) else _line_end(text, at)


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return end if end >= 0 else len(text)


def _behind_expansion(text: str, at: int) -> int:
    """Where an expansion ends that begins at ``at``: ``$NAME``, ``${…}``, ``$(…)``, or a command in backticks."""
    if text[at] == "`":
        end = text.find("`", at + 1)
        return end + 1 if end >= 0 else _line_end(text, at)
    opening = text[at + 1 : at + 2]
    if opening not in _CLOSED_BY or not opening:
        name = re.compile(r"\$(?:\w+|.)?", re.DOTALL).match(text, at)
        return name.end() if name is not None else at + 1
    depth = 0
    for place in range(at + 1, len(text)):
        depth += (text[place] == opening) - (text[place] == _CLOSED_BY[opening])
        if depth == 0:
            return place + 1
    return _line_end(text, at)
