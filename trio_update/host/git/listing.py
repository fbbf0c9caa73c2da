"""What a remote has, without a clone: its branch, the branch that it shows, its tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trio_update.errors import CommandFailed
from trio_update.host.git.command import SILENCE, TRANSFER, explain, git_argv, git_environment
from trio_update.host.git.output import Tag, lines, text
from trio_update.host.processes.runner import Runner

# A thousand tags take 70 kB; what is longer than this is no list of a project's refs.
_LARGEST = 16 << 20


@dataclass(frozen=True)
class Listing:
    """``tip`` of the branch that was asked for, ``None`` if it is not there; ``default``: the one that HEAD names."""

    tip: str | None
    default: str | None
    tags: tuple[Tag, ...] = ()


async def list_remote(runner: Runner, url: str, branch: str) -> Listing:
    """Ask the remote at ``url``, in no repository's configuration but the user's own.

    Raises: OperationFailed.
    """
    where = Path("/")
    wanted = f"refs/heads/{branch}"
    arguments = ("ls-remote", "--symref", "--end-of-options", url, "HEAD", wanted, "refs/tags/*")
    try:
        done = await runner.run(
            git_argv(TRANSFER, arguments),
            cwd=where,
            env=git_environment(where),
            silence=SILENCE,
            timeout=SILENCE,
            max_output=_LARGEST,
        )
    except CommandFailed as failed:
        raise explain(failed, url) from None
    refs: dict[str, str] = {}
    default = None
    for line in lines(done.stdout):
        what, _, name = text(line).partition("\t")
        if what.startswith("ref: refs/heads/") and name == "HEAD":
            default = what.removeprefix("ref: refs/heads/")
        elif not what.startswith("ref: "):
            refs[name] = what
    return Listing(refs.get(wanted), default, _tags(refs))


def _tags(refs: Mapping[str, str]) -> tuple[Tag, ...]:
    """Annotated tags are listed twice, the second time as what they lead to."""
    found = []
    for ref, name in refs.items():
        if ref.startswith("refs/tags/") and not ref.endswith("^{}"):
            found.append(Tag(ref.removeprefix("refs/tags/"), refs.get(f"{ref}^{{}}", name)))
    return tuple(found)
