"""Text that people read: what must not stand in it, and how names and moments are written.

Pure functions, for every room: each of these was written several times before, and the copies disagreed.
"""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Iterable, Sequence

# What stands behind `://`: as far as the next white space; or beyond it up to an `@`, when there is a colon that begins
# no port: that is a password with a space in it, which git takes.  Bounded, so that a line full of `://` costs no more
# than its length.  ASCII: a password may hold a no-break space.  A path behind `file://` names no user, and may hold
# `@`, `?` and `#`; it is passed over here, because another address may follow it without a space.
_ADDRESS = re.compile(
    r"(?<=://)(?<!file://)(?:[^\s/@:[]{0,256}:(?!\d*(?:[^\w\s]?\s|/))[^\r\n@]{0,256}@)?\S*",
    re.ASCII | re.IGNORECASE,
)
_QUERY = re.compile(r"[?#]")
_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:/]*):(?P<port>[^/]*)")
# Marks that end the sentence or the quotation around an address, not the address.
_MARKS = "'\"`.,:;!)]}>"
_HIDDEN = "…"
CUT = "…"
MESSAGES_SIZE = 16 * 1024
LINE_SIZE = 2048
_WORD = re.compile(r"[^\s'\"`:/@?#,;()\[\]]+")


def without_secrets(text: str) -> str:
    """``text`` with every address in it shown without what may be a secret: user, password, query and fragment.

    The user ``git`` stays, because it is the same for everybody.  Where nothing tells whether an ``@`` belongs to a
    password or to a path (``https://user:pa/ss@host``, ``https://host/@scope``), ``…`` stands for all in front of the
    last one, or of it all: what is hidden without need can be looked up, what is shown cannot be taken back.

    Text without ``://`` comes back as it is: ``git@host:path`` has no place for a secret.
    """
    if "://" not in text:
        return text
    cut: set[str] = set()
    shown = _ADDRESS.sub(lambda found: _harmless(found[0], cut), text)
    # One pass whatever their number: a pattern of all of them would cost their number times the length.
    return _WORD.sub(lambda word: _HIDDEN if word[0].rstrip(".") in cut else word[0], shown) if cut else shown


def _harmless(address: str, cut: set[str]) -> str:
    """``address`` without its secrets.  What a program may take for its host, though it is half of a secret, goes into
    ``cut``: curl ends the host at the first slash, and says that it cannot resolve `ss` of `ada:p@ss/word@host`.
    """
    user, at, place = address.rpartition("@")
    authority = re.split(r"[/?#]", user, maxsplit=1)[0]
    if authority != user:
        cut.update(word.rstrip(".") for word in _WORD.findall(authority.rpartition("@")[2]) if word.strip("."))
    if _QUERY.search(user):
        # Half of a token, or of a password, may stand on either side of the `@`.
        return _HIDDEN
    query = _QUERY.search(place)
    if query is not None:
        place = place[: query.start()] + place[len(place.rstrip(_MARKS)) :]
    return (_user(user) if at else "") + _without_half_a_password(place)


def _user(text: str) -> str:
    if text == _HIDDEN or "/" in text:
        return f"{_HIDDEN}@"
    return "git@" if text.partition(":")[0] == "git" else ""


def _without_half_a_password(place: str) -> str:
    """A port that is no number is a password whose host has been forgotten, or follows behind a slash."""
    found = _PORT.match(place)
    if found is None:
        return place
    port = found["port"].rstrip(_MARKS)
    # PORT stands for a number where an address is explained.
    if port in {"", "PORT"} or (port.isascii() and port.isdigit()):
        return place
    return f"{found['host']}:{_HIDDEN}{place[found.start('port') + len(port) :]}"


def printable(text: str, limit: int = 60) -> str:
    """``text`` made fit for a message, on one line: without secrets, unprintable characters escaped, shortened."""
    shown = "".join(char if char.isprintable() else escaped(char) for char in without_secrets(text)[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def escaped(char: str) -> str:
    """A character as Python writes it in ASCII (``\\x1b``, ``\\udc80``)."""
    return ascii(char)[1:-1]


def without_surrogates(value: object) -> object:
    """``value``, of dicts, lists and scalars, with text that UTF-8 can hold.

    Names of files may hold bytes that are not UTF-8, which Python keeps as lone surrogates (PEP 383): they are escaped.
    """
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_surrogates(item) for item in value]
    return value


def named(names: Sequence[str | bytes], most: int = 5) -> str:
    """The first ``most`` names, and how many more there are.  Bytes that are not UTF-8 are shown as ``\\xNN``."""
    shown = ", ".join(
        name if isinstance(name, str) else name.decode(errors="backslashreplace") for name in names[:most]
    )
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def moment(seconds: float) -> str:
    """A moment (unix seconds) in this machine's time zone, to the minute; ``?`` for what no calendar holds."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "?"


def wire_size(text: str) -> int:
    """Bytes that ``text`` takes in JSON at worst, escaped for HTML too.

    A control character takes six bytes of JSON and a quote in HTML six, so neither characters nor bytes of the
    original say how large a status becomes.
    """
    # What was no UTF-8 in the name of a file leaves escaped.
    known = text.encode("utf-8", "backslashreplace").decode()
    return len(json.dumps(html.escape(known), ensure_ascii=False).encode()) - 2


def shorten(text: str, size: int) -> str:
    """``text``, cut so that it takes at most ``size`` bytes on the wire; a mark at its end tells of a cut."""
    if wire_size(text[: size + 1]) <= size and len(text) <= size:
        return text
    room = size - wire_size(CUT)
    if room < 0:
        return ""
    low, high = 0, min(len(text), room)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if wire_size(text[:middle]) <= room else (low, middle - 1)
    return text[:low] + CUT


def bounded(lines: Iterable[str], *, each: int = LINE_SIZE, size: int = MESSAGES_SIZE) -> tuple[str, ...]:
    """The last of ``lines`` that take ``size`` bytes together, each cut to ``each``; a mark stands for the others."""
    kept: list[str] = []
    for line in reversed([shorten(line, each) for line in lines]):
        size -= wire_size(line) + 3
        if size < 0:
            kept.append(CUT)
            break
        kept.append(line)
    return tuple(reversed(kept))
