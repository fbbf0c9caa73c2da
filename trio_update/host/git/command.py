"""How git is called: hardened, without questions, and with advice when it fails.

Every command runs with the clone's hooks, file-system monitor and ``ext::`` transport switched off, and without a
terminal to ask at: a repository is data from elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from trio_update.errors import CommandFailed

SILENCE = 60.0
LOCAL_TIMEOUT = 600.0

_HARDENING = (
    ("core.fsmonitor", "false"),
    ("core.hooksPath", "/dev/null"),
    ("protocol.ext.allow", "never"),
    ("log.showSignature", "false"),
    # git's automatic maintenance detaches itself with setsid: nobody could end or reap it.
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("advice.detachedHead", "false"),
    # A command that we give to one repository must not go on into others.
    ("submodule.recurse", "false"),
    # With it a fetch that prunes takes the user's own tags away.
    ("fetch.pruneTags", "false"),
)
# What a user's configuration says for human eyes must not change what we read.  How to reach a server stays theirs.
_READABLE = (
    ("i18n.logOutputEncoding", "UTF-8"),
    ("i18n.commitEncoding", "UTF-8"),
    *((f"color.{what}", "false") for what in ("ui", "diff", "status", "branch", "remote", "transport", "advice")),
    *((f"column.{what}", "never") for what in ("ui", "branch", "status", "tag")),
    ("core.pager", "cat"),
    ("core.quotePath", "false"),
    ("core.abbrev", "auto"),
    ("core.warnAmbiguousRefs", "false"),
    *((f"log.{what}", "false") for what in ("abbrevCommit", "decorate", "follow")),
    ("log.date", "default"),
    *((f"status.{what}", "false") for what in ("branch", "short", "showStash", "submoduleSummary")),
    *((f"diff.{what}", "false") for what in ("noprefix", "mnemonicPrefix", "relative", "renames")),
    ("diff.suppressBlankEmpty", "false"),
    ("diff.orderFile", "/dev/null"),
    ("diff.context", "3"),
    ("diff.interHunkContext", "0"),
    ("diff.algorithm", "default"),
    ("diff.submodule", "short"),
    ("diff.colorMoved", "no"),
    ("diff.wsErrorHighlight", "none"),
    ("apply.whitespace", "nowarn"),
    ("apply.ignoreWhitespace", "no"),
)
# Options for commands that bring objects from elsewhere.
TRANSFER = (
    # A ref that reaches the disk before its objects is how a power cut breaks a clone.
    ("core.fsync", "all"),
    ("core.fsyncMethod", "batch"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", str(int(SILENCE))),
)
# Of the caller's GIT_* environment only what says how to reach a server is kept; GIT_DIR and its like would lead
# every command to another repository.
_KEPT_ENVIRONMENT = ("GIT_SSL_", "GIT_SSH", "GIT_PROXY_", "GIT_HTTP_", "GIT_CONFIG_", "GIT_EXEC_PATH", "GIT_TRACE")


def git_environment(path: Path, environ: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """What git commands in ``path`` need in their environment: English messages, no questions, no other repository.

    Laid over the process's own environment; ``None`` takes a variable out.
    """
    environ = os.environ if environ is None else environ
    foreign = [key for key in environ if key.startswith("GIT_") and not key.startswith(_KEPT_ENVIRONMENT)]
    return dict.fromkeys((*foreign, "SSH_ASKPASS", "DISPLAY"), None) | {
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        # Set but empty: no helper at all, core.askPass of the configuration included.
        "GIT_ASKPASS": "",
        "SSH_ASKPASS_REQUIRE": "never",
        "GIT_OPTIONAL_LOCKS": "0",
        # Without it a folder that is no repository would be judged by the one around it.
        "GIT_CEILING_DIRECTORIES": str(path.parent),
    }


def git_argv(options: Sequence[tuple[str, str]], arguments: Sequence[str]) -> list[str]:
    """A git command with ``options`` (configuration for this call) on top of the hardening ones."""
    argv = ["git"]
    for key, value in (*_HARDENING, *_READABLE, *options):
        argv += ["-c", f"{key}={value}"]
    return [*argv, *arguments]


_PERHAPS_FULL = "the disk is full or does not take the data: look at its free space, and into the kernel's log"
# git tells that it could not write a file of the work tree, and not why.
_DISK_ADVICE = (
    ("No space left on device", "the disk is full: free some space and try again"),
    ("unable to write", _PERHAPS_FULL),
    ("could not write", _PERHAPS_FULL),
    ("failed to write", _PERHAPS_FULL),
    ("write error", _PERHAPS_FULL),
)
_ADVICE = (
    ("terminal prompts disabled", "the remote asks for a password: store credentials for it, or use an ssh key"),
    ("Authentication failed", "the remote refused the stored credentials"),
    ("Permission denied (publickey", "the remote refused this machine's ssh key"),
    ("Host key verification failed", "connect once by hand with ssh, so that the remote's host key is known"),
    ("dubious ownership", "the clone belongs to another user: give it to the user that runs the updates (chown -R)"),
    ("transport 'ext' not allowed", "a remote that runs a command is not allowed: set an https or ssh URL"),
    *_DISK_ADVICE,
    ("Could not resolve host", "the network or the name service is down"),
    (".lock': File exists", "another git command works on this clone"),
)


def explain(failed: CommandFailed, url: str = "") -> CommandFailed:
    """The same failure with what to do about it, where that is known."""
    return _advised(failed, _ADVICE, f" ({url})" if url else "")


def explain_disk(failed: CommandFailed) -> CommandFailed:
    """The same for what any command may meet, with a remote or without."""
    return _advised(failed, _DISK_ADVICE, "")


def _advised(failed: CommandFailed, known: Sequence[tuple[str, str]], where: str) -> CommandFailed:
    for sign, advice in known:
        if sign in failed.output and advice not in failed.output:
            return CommandFailed(failed.argv, failed.returncode, f"{failed.output}\n{advice}{where}")
    return failed


def tells_no_access(output: str) -> bool:
    """Whether a command failed because something could not be reached or written, which says nothing of damage."""
    return _NO_ACCESS.search(output) is not None


_NO_ACCESS = re.compile(
    r"dubious ownership|Permission denied|Read-only file system|No space left|Disk quota exceeded|"
    r"insufficient permission|Operation not permitted|Too many open files|Cannot allocate memory|[Oo]ut of memory|"
    r"Input/output error|\.lock': File exists|(?:clean|smudge|external|process) filter"
)
