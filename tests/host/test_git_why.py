"""Each cause of a failing fetch has a sentence of its own, with what to do; locks are waited for, or removed."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.support.upstream import Upstream, git
from trio_update.errors import CommandFailed
from trio_update.host.git.command import explain
from trio_update.host.git.lanes import alone
from trio_update.host.git.repository import Repository
from trio_update.host.git.transfer import fetch
from trio_update.host.processes.runner import Completed, Runner

LOCAL = [
    ("error: cannot open '.git/FETCH_HEAD': Permission denied", "sudo chown -R"),
    (
        "error: insufficient permission for adding an object to repository database .git/objects\n"
        "fatal: failed to write object\nfatal: unpack-objects failed",
        "may not read or write",
    ),
    ("error: unable to write file .git/objects/aa/bb: Permission denied", "may not read or write"),
    ("fatal: could not open '.git/objects/pack/tmp_pack_x' for writing: Read-only file system", "is read-only"),
    ("error: cannot open '.git/FETCH_HEAD': Read-only file system", "is read-only"),
    ("fatal: write error: Disk quota exceeded", "quota of"),
    ("fatal: write error: No space left on device", "The disk is full. Free"),
    ("error: unable to write file main.py", "does not take the data"),
    ("error: unable to unlink old 'main.py': Operation not permitted", "lsattr"),
    ("error: file write error (Input/output error)", "disk reports an error"),
    ("fatal: Out of memory, malloc failed (tried to allocate 500000000 bytes)", "too little free memory"),
    (
        "fatal: detected dubious ownership in repository at '/home/pi/klipper'\n"
        "To add an exception for this directory, call:\n\n\tgit config --global --add safe.directory /home/pi/klipper",
        "sudo chown -R",
    ),
]
REMOTE = [
    ("fatal: could not read Username for 'https://x': terminal prompts disabled", "deleted, renamed or made private"),
    ("remote: Invalid username\nfatal: Authentication failed for 'https://x/'", "Renew them"),
    ("fatal: unable to access 'https://x/': The requested URL returned error: 403", "forbids"),
    ("remote: Repository not found.\nfatal: repository 'https://x/' not found", "no such repository"),
    ("ERROR: Repository not found.\nfatal: Could not read from remote repository.", "no such repository"),
    ("fatal: unable to access 'https://x/': The requested URL returned error: 404", "no such repository"),
    ("fatal: '/x' does not appear to be a git repository", "no such repository"),
    ("fatal: unable to access 'https://x/': The requested URL returned error: 503", "trouble of its own"),
    ("fatal: unable to access 'https://x/': Could not resolve host: x", "name service"),
    ("ssh: Could not resolve hostname x: Temporary failure in name resolution", "name service"),
    ("fatal: unable to access 'https://x/': Could not resolve proxy: p", "proxy"),
    ("fatal: unable to access 'https://x/': Received HTTP code 407 from proxy after CONNECT", "proxy"),
    ("fatal: unable to access 'https://x/': SSL certificate problem: certificate is not yet valid", "clock"),
    ("fatal: unable to access 'https://x/': SSL certificate problem: certificate has expired", "clock"),
    ("fatal: unable to access 'https://x/': server certificate verification failed. CAfile: none", "ca-certificates"),
    ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", "ssh-keygen -R"),
    ("Host key verification failed.\nfatal: Could not read from remote repository.", "Connect once by hand"),
    ("git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.", "public key"),
    ("fatal: Unable to find remote helper for 'htps'", "Set an https or ssh URL"),
    ("fatal: transport 'ext' not allowed", "'ext' are not allowed"),
    (" ! [rejected] a -> b (shallow update not allowed)", "git fetch --unshallow"),
    ("fatal: couldn't find remote ref refs/heads/master", "no such branch"),
    ("fatal: unable to access 'https://x/': Failed to connect to x port 443: Connection refused", "cannot be reached"),
    ("error: RPC failed; curl 18 transfer closed\nfatal: early EOF", "broke off"),
    ("error: cannot lock ref 'refs/remotes/origin/a/b': 'refs/remotes/origin/a' exists", "git remote prune"),
]


@pytest.mark.parametrize(("words", "advice"), LOCAL + REMOTE)
def test_each_cause_has_a_sentence_of_its_own(words: str, advice: str) -> None:
    found = explain(CommandFailed(["git", "fetch"], 128, words), "https://example.org/a.git", Path("/home/pi/klipper"))
    assert advice in found.output
    assert "\n" not in found.output
    assert "{" not in found.output
    assert len(found.output) < 500
    assert explain(found, "https://example.org/a.git").output == found.output
    assert ("The disk is full" in found.output) == (advice in {"The disk is full. Free", "does not take the data"})


def test_a_full_disk_of_the_remotes_is_not_ours() -> None:
    words = "remote: fatal: write error: No space left on device\nfatal: the remote end hung up unexpectedly"
    assert "broke off" in explain(CommandFailed(["git"], 128, words)).output


def test_what_is_not_known_stays_as_it_is() -> None:
    failed = CommandFailed(["git"], 128, "fatal: something new")
    assert explain(failed) is failed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_a_clone_of_another_user_is_told_in_one_sentence(clone: Path) -> None:
    subprocess.run(["chown", "-R", "12345", str(clone)], check=True)
    with pytest.raises(CommandFailed) as caught:
        await fetch(Repository(clone, Runner("test")), "origin")
    assert "belongs to another user than root" in caught.value.output
    assert str(caught.value).count("safe.directory") == 0
    assert f"sudo chown -R root {clone}" in caught.value.output
    subprocess.run(["chown", "-R", "0", str(clone)], check=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    upstream = Upstream(tmp_path / "upstream")
    upstream.commit(tag="v1.0.0")
    path = upstream.clone(tmp_path / "app")
    upstream.commit(tag="v1.1.0")
    return path


LOCKS = [
    *("refs/remotes/origin/master.lock", "packed-refs.lock", "refs/tags/v1.1.0.lock"),
    *("objects/info/commit-graphs/commit-graph-chain.lock", "shallow.lock"),
]


@pytest.mark.parametrize("name", LOCKS)
async def test_a_lock_that_nobody_holds_is_removed_by_a_fetch(clone: Path, name: str) -> None:
    lock = clone / ".git" / name
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    git(clone, "pack-refs", "--all", check=False)
    await fetch(Repository(clone, Runner("test")), "origin")
    assert git(clone, "rev-parse", "origin/master") == git(clone, "ls-remote", "origin", "master").split()[0]


@contextlib.contextmanager
def busy_git(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A git process that works in a folder until the end of the block."""
    with subprocess.Popen(["git", "cat-file", "--batch"], cwd=path, stdin=subprocess.PIPE) as busy:
        yield busy
        assert busy.stdin is not None
        busy.stdin.close()


async def test_who_may_hold_a_lock_is_told(clone: Path) -> None:
    lock = clone / ".git/refs/remotes/origin/master.lock"
    lock.touch()
    with busy_git(clone) as busy:
        with pytest.raises(CommandFailed, match=rf"process {busy.pid} \(`git cat-file --batch`\)"):
            await fetch(Repository(clone, Runner("test")), "origin")
        assert lock.exists()


async def test_a_process_in_another_work_tree_may_hold_the_lock(clone: Path, tmp_path: Path) -> None:
    git(clone, "worktree", "add", "-q", str(tmp_path / "tree"))
    (clone / ".git/refs/remotes/origin/master.lock").touch()
    with busy_git(tmp_path / "tree") as busy, pytest.raises(CommandFailed, match=f"process {busy.pid} "):
        await fetch(Repository(clone, Runner("test")), "origin")


async def test_work_trees_of_one_repository_fetch_one_at_a_time(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(clone, "worktree", "add", "-q", str(tmp_path / "tree"))
    other = Upstream(tmp_path / "other upstream")
    other.commit()
    apart = other.clone(tmp_path / "apart")
    running: dict[Path, int] = {}
    together: list[set[Path]] = []
    run = Runner.run

    async def watched(self: Runner, argv: list[str], **options: object) -> Completed:
        if "fetch" not in argv:
            return await run(self, argv, **options)  # type: ignore[arg-type]
        path = options["cwd"]
        assert isinstance(path, Path)
        running[path] = 1
        together.append(set(running))
        try:
            await trio.sleep(0.1)
            return await run(self, argv, **options)  # type: ignore[arg-type]
        finally:
            del running[path]

    monkeypatch.setattr(Runner, "run", watched)
    async with trio.open_nursery() as nursery:
        for path in (clone, tmp_path / "tree", apart):
            nursery.start_soon(fetch, Repository(path, Runner("test")), "origin")
    assert not any({clone, tmp_path / "tree"} <= paths for paths in together)
    assert any(apart in paths and len(paths) > 1 for paths in together)


async def test_a_lane_is_free_again_after_a_cancellation(clone: Path) -> None:
    async with trio.open_nursery() as nursery:
        held = trio.Event()

        async def hold() -> None:
            async with alone(clone / ".git"):
                held.set()
                await trio.sleep_forever()

        nursery.start_soon(hold)
        await held.wait()
        with trio.move_on_after(0.05) as scope:
            async with alone(clone / ".." / "app" / ".git"):
                pass
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()
    with trio.fail_after(5):
        async with alone(clone / ".git"):
            pass
