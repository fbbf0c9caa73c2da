"""Names that come from a configuration or a client and end up in commands: judged once, where they enter.

Every ``check_…`` returns None for a name that can be used, otherwise the reason as the end of a sentence that begins
with the name's place.  No reason repeats a URL: it may carry a password.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote, urlsplit

from trio_update.text import printable as printable  # noqa: PLC0414 - other modules of this room take it from here

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_APP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_. -]*")
_HOST_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?")
_REMOTE_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|\w[\w.-]*")
_SCP_LIKE = re.compile(rf"(?:([^@:/\s]+)@)?({_REMOTE_HOST.pattern}):(.+)")
_BRACKETED = re.compile(r"\[[^\]]*\]")
_SCHEMES = ("https", "http", "ssh", "git", "file")
_FORMS = "an https, http, ssh, git or file URL, `user@host:path`, or an absolute path"

APP_NAME_LIMIT = 64


def has_control(text: str) -> bool:
    """Whether a character of `text` is a control character (C0, DEL, C1), line ends and tabs among them."""
    return _CONTROL.search(text) is not None


def check_app_name(name: str) -> str | None:
    """Judge an app's name: it becomes a key on the wire, a service, and a part of file names."""
    if not name:
        return "is empty"
    if len(name) > APP_NAME_LIMIT:
        return f"is longer than {APP_NAME_LIMIT} characters"
    if not _APP_NAME.fullmatch(name) or name != name.strip():
        return "may hold letters, digits, `_`, `.`, `-` and spaces, and must begin with a letter or a digit"
    return None


def check_branch_name(name: str) -> str | None:
    """Judge a branch's name by the rules of git-check-ref-format(1), ``--branch``.

    Two are added: no control characters beyond ASCII, and none of the names that git gives another meaning
    (``HEAD``, and ``@`` for it).
    """
    pieces = name.split("/")
    rules = (
        (not name, "is empty"),
        (name.startswith("-"), "begins with `-`, which git would take for an option"),
        (name in ("HEAD", "@"), "is a name that git keeps for itself"),
        (has_control(name), "holds a control character"),
        (any(char in " ~^:?*[\\" for char in name), "holds a space or one of `~ ^ : ? * [ \\`"),
        (".." in name or "@{" in name, "holds `..` or `@{`"),
        ("" in pieces, "begins or ends with `/`, or holds `//`"),
        (any(piece.startswith(".") for piece in pieces), "has a part that begins with `.`"),
        (any(piece.endswith(".lock") for piece in pieces), "has a part that ends with `.lock`"),
        (name.endswith("."), "ends with `.`"),
    )
    return next((why for broken, why in rules if broken), None)


def check_remote_url(url: str) -> str | None:
    """Judge where git is told to fetch from: see gitremote-helpers(7) and git-fetch(1), "GIT URLS".

    ``NAME::…`` is refused because git runs a program of that name for it (``ext::`` runs any command); hosts, users and
    paths that begin with ``-`` because ssh would take them for options (CVE-2017-1000117).
    """
    if not url:
        return "is empty"
    if has_control(url):
        return "holds a control character"
    if url.startswith("-"):
        return "begins with `-`, which git would take for an option"
    if "::" in _BRACKETED.sub("", url):
        return f"names a transport helper (`NAME::…`), which can run any command; give {_FORMS}"
    if url.startswith("/"):
        return None
    return _check_url(url) if "://" in url else _check_scp_like(url)


def _check_url(url: str) -> str | None:
    parts = split_url(url)
    if parts is None or parts.scheme not in _SCHEMES:
        return f"is not something git may fetch from; give {_FORMS}"
    if parts.scheme == "file":
        return None if not parts.netloc and parts.path.startswith("/") else "must be `file:///` and an absolute path"
    if any(char.isspace() for char in url):
        return "holds white space"
    user, _, host = parts.netloc.rpartition("@")
    if unquote(user).startswith("-") or host.startswith("-"):
        return "has a user or host that begins with `-`, which ssh would take for an option"
    if not _REMOTE_HOST.fullmatch(re.sub(r":\d*$", "", host)):
        return "names no host, or one that cannot be"
    return None


def _check_scp_like(url: str) -> str | None:
    parts = _SCP_LIKE.fullmatch(url)
    if parts is None or any(char.isspace() for char in url):
        return f"is not something git may fetch from; give {_FORMS}"
    if parts[3].startswith("-"):
        return "has a path that begins with `-`, which ssh would take for an option"
    return None


def check_host_name(name: str) -> str | None:
    """Judge a host's name (RFC 1123, and the underscore that some networks use)."""
    labels = name.removesuffix(".").split(".")
    if len(name) > 253 or not all(len(label) <= 63 and _HOST_LABEL.fullmatch(label) for label in labels):
        return "is neither an IP address nor a host name"
    if labels[-1].isdigit():
        # A name whose last label is a number would be read as an IPv4 address by every resolver.
        return "is not an IP address"
    return None


def split_url(url: str) -> SplitResult | None:
    """`url` in its parts, or None when it cannot be one (brackets that do not match, a port that is no number)."""
    try:
        parts = urlsplit(url)
        # Reading it is what judges it.
        _ = parts.port
    except ValueError:
        return None
    return parts
