"""How git is called: hardened, without questions, and deaf to what a user configured for human eyes.

Every command runs with the clone's hooks, file-system monitor and ``ext::`` transport switched off, and without a
terminal to ask at: a repository is data from elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from trio_update.host.git.why import explain, explain_disk

__all__ = ["explain", "explain_disk", "git_argv", "git_environment", "tells_no_access"]

SILENCE = 60.0
LOCAL_TIMEOUT = 600.0

_HARDENING = (
    ("core.fsmonitor", "false"),
    ("core.hooksPath", "/dev/null"),
    ("protocol.ext.allow", "never"),
    ("log.showSignature", "false"),
    # git's automatic maintenance detaches itself with setsid, and could neither be ended nor reaped.
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


def tells_no_access(output: str) -> bool:
    """Whether a command failed because something could not be reached or written, which says nothing of damage."""
    return _NO_ACCESS.search(output) is not None


_NO_ACCESS = re.compile(
    r"unknown repository extension|Expected git repo version|by a newer git than|"
    r"dubious ownership|belongs to another user|Permission denied|Read-only file system|No space left|"
    r"Disk quota exceeded|insufficient permission|Operation not permitted|Too many open files|"
    r"Cannot allocate memory|[Oo]ut of memory|Input/output error|\.lock': File exists|Another git command works|"
    r"(?:clean|smudge|external|process) filter"
)
