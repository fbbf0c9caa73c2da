"""Putting back the files of a clone that hold nothing: blocking calls, no git.

What they said is taken from where it stands a second time: the logs of refs, what was known of the clone before, its
section of the configuration.
"""

from __future__ import annotations

import os
from pathlib import Path

from trio_update.host.files import durable
from trio_update.host.git.damage import (
    is_lost,
    is_unborn,
    logged,
    logged_head,
    logged_refs,
    lost_copies,
    lost_packs,
    plain_config,
    write_ref,
)
from trio_update.host.git.folder import GitFolder, broken_refs, empty_objects, unlink


def mend_files(folder: GitFolder, url: str, primary_branch: str, known_head: str | None) -> list[str]:
    """Put back, or take away, every file that holds nothing.  Returns what was done.  Raises: FileTrouble."""
    done = []
    if is_lost(folder.common_dir / "config"):
        durable.write_atomically(folder.common_dir / "config", plain_config(folder.common_dir, url, primary_branch))
        done.append("the configuration")
    if is_lost(folder.common_dir / "packed-refs"):
        unlink(folder.common_dir / "packed-refs")
        done += ["packed-refs", *_restore_logged(folder)]
    if is_lost(folder.common_dir / "shallow"):
        unlink(folder.common_dir / "shallow")
        done.append("shallow")
    branch = folder.branch
    if (folder.branch, folder.head) == (None, None):
        branch = _mend_head(folder, primary_branch)
        done.append("HEAD")
    for path in lost_copies(folder.git_dir, folder.common_dir):
        unlink(path)
        done.append(path.name)
    done += _mend_refs(folder, branch or primary_branch, known_head)
    if branch is not None and (ref := _mend_branch(folder, branch, known_head)) is not None:
        done.append(ref)
    return [*done, *_remove_empty(folder)]


def _mend_head(folder: GitFolder, primary_branch: str) -> str | None:
    """Where its log says that HEAD was moved to last, or to the primary branch.  Returns the branch."""
    moved, commit = logged_head(folder.git_dir)
    known = moved is not None and (
        not is_unborn(folder.common_dir, moved) or logged(folder.common_dir, f"refs/heads/{moved}") is not None
    )
    branch = moved if known else None if moved is not None and commit is not None else primary_branch
    content = f"ref: refs/heads/{branch}\n" if branch is not None else f"{commit}\n"
    durable.write_atomically(folder.git_dir / "HEAD", os.fsencode(content))
    return branch


def _mend_refs(folder: GitFolder, branch: str, known_head: str | None) -> list[str]:
    done = []
    for ref in broken_refs(folder):
        name = ref.relative_to(folder.common_dir).as_posix()
        commit = logged(folder.common_dir, name) or (known_head if name == f"refs/heads/{branch}" else None)
        if commit is not None:
            durable.write_atomically(ref, f"{commit}\n".encode())
        else:
            unlink(ref)
        done.append(name)
    return done


def _mend_branch(folder: GitFolder, branch: str, known_head: str | None) -> str | None:
    """Give the branch that HEAD names its commit, if it lost it: one without a log may never have had any."""
    if not is_unborn(folder.common_dir, branch):
        return None
    commit = logged(folder.common_dir, f"refs/heads/{branch}") or logged_head(folder.git_dir)[1] or known_head
    if commit is None:
        return None
    write_ref(folder.common_dir, f"refs/heads/{branch}", commit)
    return f"refs/heads/{branch}"


def _restore_logged(folder: GitFolder) -> list[str]:
    """Refs that were in a lost list and in no file of their own.  git removes the log of one that it removes."""
    done = []
    for ref, commit in logged_refs(folder.common_dir).items():
        wanted = ref.startswith(("refs/heads/", "refs/remotes/")) or ref == "refs/stash"
        if wanted and not ref.endswith("/HEAD") and not (folder.common_dir / ref).exists():
            write_ref(folder.common_dir, ref, commit)
            done.append(ref)
    return done


def _remove_empty(folder: GitFolder) -> list[str]:
    """Objects and packs that hold nothing: what they held is fetched again."""
    empty = empty_objects(folder)
    for pack in lost_packs(folder.common_dir)[0]:
        empty += [path for path in (pack.with_suffix(".idx"), pack) if path.exists()]
    for path in empty:
        unlink(path)
    return [f"{len(empty)} empty objects"] if empty else []


def object_format(common_dir: Path) -> str:
    """By the length of the names that refs hold."""
    files = (path for path in (common_dir / "refs" / "heads").rglob("*") if path.is_file())
    refs = [*logged_refs(common_dir).values(), *(path.read_text("ascii", "replace").strip() for path in files)]
    return "sha256" if any(len(ref) == 64 for ref in refs) else "sha1"


def remove_bisection(git_dir: Path) -> None:
    """The notes of a bisection that `git bisect reset` left."""
    for path in git_dir.glob("BISECT_*"):
        if path.is_file():
            unlink(path)
