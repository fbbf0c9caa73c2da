"""Why git failed, in a sentence of its own for each cause, with what to do about it.

git's own words stay behind it, cut to the line that tells most, where they add something.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trio_update.errors import CommandFailed

_SAID = " git said: "


class Explained(CommandFailed):
    """A failure whose cause is known: it reads as that, the command behind it helps nobody."""

    def __str__(self) -> str:
        return self.output


@dataclass(frozen=True)
class _Cause:
    """Words of git's, and what they mean.  ``{path}``, ``{user}`` and ``{url}`` are filled in; so are named groups."""

    words: re.Pattern[str]
    meaning: str
    quote: bool = True


def _cause(words: str, meaning: str, *, quote: bool = True) -> _Cause:
    return _Cause(re.compile(words), meaning, quote)


_LOCAL = (
    _cause(
        r"dubious ownership in repository at '(?P<place>[^\n']*)'",
        "The clone at {place} belongs to another user than {user}, who runs the updates, so git refuses to read it. "
        "Give it to that user: sudo chown -R {user} {place}",
        quote=False,
    ),
    _cause(
        r"No space left on device",
        "The disk is full. Free some space and try again.",
    ),
    _cause(
        r"unknown repository extension|Expected git repo version",
        "The clone at {path} was made, or changed, by a newer git than the one that is installed here. Update git, or "
        "let a hard recovery make a fresh clone.",
    ),
    _cause(r"Disk quota exceeded", "The quota of {user} on this disk is used up. Free some space and try again."),
    _cause(
        r"Read-only file system",
        "The file system of {path} is read-only, often because of a disk error. See the kernel's log, mend it, and "
        "mount it for writing again.",
    ),
    _cause(r"Input/output error", "The disk reports an error. See the kernel's log, and save what is dear to you."),
    _cause(
        r"insufficient permission for adding an object|Permission denied(?! \((?:publickey|password|keyboard))",
        "{user} may not read or write something in {path}, most often after a command was run as another user. Give "
        "all of it to that user: sudo chown -R {user} {path}.",
    ),
    _cause(
        r"Operation not permitted",
        "Something in {path} may not be changed. Look at its owner, and at its attributes with `lsattr`.",
    ),
    _cause(
        r"(?:git-lfs|filter-process): .*not found|(?:external filter|subprocess) '[^'\n]+' failed|"
        r"(?:clean|smudge) filter '?[^'\s]+'? failed",
        "Files of {path} pass through a filter program that git's configuration names, and it does not work here. "
        "Install it: for 'lfs' that is the package git-lfs.",
    ),
    _cause(r"[Oo]ut of memory|Cannot allocate memory", "This computer has too little free memory for it."),
    _cause(
        r"Too many open files", "Too many files are open on this computer. Restart what holds them, or the computer."
    ),
    _cause(
        r"Unable to create '(?P<place>[^\n]*)\.lock': File exists",
        "Another git command works on this clone, or one that ended left {place}.lock behind.",
        quote=False,
    ),
    _cause(
        r"(?:unable to|could not|failed to|cannot) write|write error",
        "The disk is full or does not take the data. Look at its free space, and into the kernel's log.",
    ),
)
_REMOTE = (
    _cause(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|[Hh]ost key for \S+ has changed",
        "The remote shows another ssh host key than before, so it may be another computer. Ask its owner. If the key "
        "was changed on purpose, forget the old one with `ssh-keygen -R HOST` and connect once by hand.",
        quote=False,
    ),
    _cause(
        r"Host key verification failed",
        "The remote's ssh host key is not known. Connect once by hand with ssh as {user}, and compare the key.",
    ),
    _cause(
        r"Permission denied \((?:publickey|password|keyboard)",
        "The remote refused this machine's ssh key. Add the public key of {user} to the account, or use an https URL.",
    ),
    _cause(
        r"terminal prompts disabled|could not read (?:Username|Password)",
        "The remote asks for a password: the repository was deleted, renamed or made private, or always needed one. "
        "Look at it in a browser. Then correct the URL, or store credentials for {user}, or use an ssh key.",
    ),
    _cause(
        r"Authentication failed|returned error: 401",
        "The remote refused the stored credentials. Renew them.",
    ),
    _cause(
        r"returned error: 403|Permission to \S+ denied|access denied",
        "The remote forbids the access. Look whether the account may read the repository, and at limits of the server.",
    ),
    _cause(
        r"returned error: 404|[Rr]epository '?\S*'? ?not found|does not appear to be a git repository|"
        r"returned error: 410",
        "There is no such repository at the remote's address: it was deleted, renamed or made private. Look at it in a "
        "browser, and correct the URL.",
    ),
    _cause(r"returned error: 429", "The remote has had too many requests. Wait, it is asked again later."),
    _cause(r"returned error: 5\d\d", "The remote's server has trouble of its own. Wait, it is asked again later."),
    _cause(
        r"resolve proxy|[Pp]roxy CONNECT aborted|CONNECT tunnel failed|from proxy|SOCKS\d? ",
        "The proxy does not let it through. Look at http.proxy of git's configuration, and at https_proxy of this "
        "service's environment.",
    ),
    _cause(
        r"certificate (?:is not yet valid|has expired|is not yet activated)|not yet activated|chain uses expired",
        "The certificate of the remote is not valid at the time that this computer's clock shows. Look at the clock "
        "first (`timedatectl`).",
    ),
    _cause(
        r"SSL certificate problem|certificate verification failed|unable to get local issuer|self.signed certificate|"
        r"gnutls_handshake|SSL_ERROR|error setting certificate|SSL connect error|TLS connect",
        "No safe connection to the remote can be made. Look whether the package ca-certificates is installed and "
        "current, and whether something between here and there opens connections.",
    ),
    _cause(
        r"[Cc]ould not resolve host|[Tt]emporary failure in name resolution|Name or service not known|"
        r"No address associated",
        "The network or its name service is down. Look at the connection, it is asked again later.",
    ),
    _cause(
        r"Connection refused|[Tt]imed out|Failed to connect|Network is unreachable|No route to host|"
        r"Couldn't connect to server",
        "The remote's server cannot be reached. Look at the connection and at the URL, it is asked again later.",
    ),
    _cause(
        r"remote helper for '(?P<name>[^'\n]*)'|protocol '(?P<other>[^'\n]*)' is not supported|unknown transport",
        "git knows no way to reach such an address. Set an https or ssh URL.",
    ),
    _cause(
        r"transport '(?P<name>[^'\n]*)' not allowed",
        "Addresses of the kind '{name}' are not allowed. Set an https or ssh URL.",
    ),
    _cause(
        r"shallow update not allowed|fetch/clone from a shallow|shallow file has changed",
        "The remote or this clone has only a part of the history, and the two do not fit. Get all of it with "
        "`git fetch --unshallow`, or recover the app with a fresh clone.",
    ),
    _cause(
        r"couldn't find remote ref (?P<name>\S+)|Remote branch (?P<other>\S+) not found",
        "The remote has no such branch any more. Set another one.",
    ),
    _cause(
        r"refusing to fetch into (?:current )?branch",
        "The branch is checked out in another work tree of the same repository. Check out another one there.",
    ),
    _cause(
        r"cannot lock ref '(?P<name>[^'\n]*)'",
        "A branch or tag of the remote cannot be noted here, most often because another one that is a part of its name "
        "is in the way. Remove what the remote has no longer: git remote prune origin",
    ),
    _cause(
        r"early EOF|RPC failed|hung up unexpectedly|transfer closed|Connection (?:reset|was reset|closed)|"
        r"unexpected disconnect",
        "The connection to the remote broke off. It is asked again later.",
    ),
)


def explain(failed: CommandFailed, url: str = "", path: Path | None = None) -> CommandFailed:
    """The same failure with its cause and what to do, where that is known; ``url`` of the remote that was asked."""
    found = _explained(failed, _LOCAL, "", path)
    return found if found is not failed else _explained(failed, _REMOTE, f"{url}: " if url else "", path)


def explain_disk(failed: CommandFailed, path: Path | None = None) -> CommandFailed:
    """The same for what any command may meet, with a remote or without."""
    return _explained(failed, _LOCAL, "", path)


def tells_of_lock(output: str) -> bool:
    """Whether a command failed because of a lock, its own words or ours."""
    return ".lock': File exists" in output or (".lock" in output and "Another git command works" in output)


def _explained(failed: CommandFailed, causes: Sequence[_Cause], where: str, path: Path | None) -> CommandFailed:
    if _SAID in failed.output:
        return failed
    own = failed.output
    if causes is _LOCAL:
        # What the remote says of its own disk and files is no trouble of ours.
        own = "\n".join(line for line in own.split("\n") if not line.startswith("remote: "))
    for cause in causes:
        if (match := cause.words.search(own)) is not None:
            sentence = _filled(cause.meaning, match, path)
            said = f"{_SAID}{_telling(own, match.start())}" if cause.quote else ""
            return Explained(failed.argv, failed.returncode, f"{where}{sentence}{said}")
    return failed


def _filled(meaning: str, match: re.Match[str], path: Path | None) -> str:
    known = {"path": str(path or "the clone"), "user": _user()}
    known |= {key: value for key, value in match.groupdict().items() if value is not None}
    return re.sub(r"\{(\w+)\}", lambda name: known.get(name[1], name[0]), meaning)


def _telling(output: str, at: int) -> str:
    start = output.rfind("\n", 0, at) + 1
    end = output.find("\n", at)
    return output[start : end if end >= 0 else None].strip()


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"
