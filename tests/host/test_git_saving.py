"""What is saved comes back, byte by byte, whatever git's configuration says and whatever the change is."""

from __future__ import annotations

import os
import random
import re
import shlex
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.upstream import Upstream, git
from trio_update.errors import OperationFailed
from trio_update.host.git.bundles import local_tips, save_commits, save_stashes
from trio_update.host.git.patches import Scratch
from trio_update.host.git.repository import Repository
from trio_update.host.git.saving import save_changes
from trio_update.host.processes.runner import Runner

HOSTILE = {
    "nothing": (),
    "colours": (("color.ui", "always"), ("color.diff", "always"), ("diff.colorMoved", "zebra")),
    "no prefix": (("diff.noprefix", "true"), ("format.noprefix", "true")),
    "mnemonic prefix": (("diff.mnemonicPrefix", "true"),),
    "no context": (("diff.context", "0"), ("diff.interHunkContext", "3")),
    "external": (("diff.external", "false"), ("diff.txt.command", "false"), ("core.attributesFile", "ATTRIBUTES")),
    "textconv": (("diff.txt.textconv", "tr a-z A-Z <"), ("core.attributesFile", "ATTRIBUTES")),
    "binary driver": (("diff.txt.binary", "true"), ("core.attributesFile", "ATTRIBUTES")),
    "order file": (("diff.orderFile", "/nowhere"),),
    "other algorithm": (("diff.algorithm", "patience"), ("diff.indentHeuristic", "false"), ("diff.relative", "true")),
    "submodules": (("diff.submodule", "log"), ("diff.ignoreSubmodules", "all"), ("submodule.recurse", "true")),
    "blanks": (("apply.whitespace", "fix"), ("apply.ignoreWhitespace", "change"), ("core.whitespace", "tab-in-indent")),
    "blanks are errors": (("apply.whitespace", "error-all"), ("diff.wsErrorHighlight", "all")),
    "crlf": (("core.autocrlf", "true"), ("core.safecrlf", "true")),
    "crlf in": (("core.autocrlf", "input"), ("core.safecrlf", "true")),
    "formats": (("format.pretty", "oneline"), ("format.attach", "x"), ("format.signature", "s"), ("format.to", "a@b")),
    "renames": (("diff.renames", "copies"), ("status.renames", "copies"), ("diff.suppressBlankEmpty", "true")),
    "short names": (("core.abbrev", "4"), ("core.quotePath", "true"), ("diff.dirstat", "lines")),
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    upstream = Upstream(tmp_path / "upstream")
    blanks = "".join(f"line {number} \t\n\n" for number in range(40))
    upstream.commit({"sub/text.txt": blanks, "gone": "x\n", "plain": "p\n", "link": "l\n", "crlf": "a\r\nb\r\n"})
    (upstream.path / "binary").write_bytes(bytes(range(256)) * 40)
    upstream.commit({'größe \t"x"\n': "1\n", "folder/file": "f\n", "empty": ""}, tag="v1.0.0")
    return upstream.clone(tmp_path / "app")


def change_everything(path: Path) -> None:
    text = (path / "sub/text.txt").read_text().replace("line 7 ", "mine 7  ").replace("line 30", "\tmine 30 ")
    (path / "sub/text.txt").write_text(text + "no end of line ")
    (path / "binary").write_bytes(bytes(range(255, -1, -1)) * 50)
    (path / "gone").unlink()
    (path / "plain").chmod(0o755)
    (path / "link").unlink()
    (path / "link").symlink_to("/nowhere/at all")
    (path / "crlf").write_bytes(b"a\r\nb\r\nmine\r\n")
    (path / 'größe \t"x"\n').write_bytes(b"\xff\xfe latin \xe9\n")
    (path / "empty").write_text("no more")
    (path / "new").write_text("staged as new\n")
    (path / os.fsdecode(b"new\xff\x01")).write_text("")
    git(path, "add", "new", os.fsdecode(b"new\xff\x01"), "main.py")
    (path / "intended").write_text("intended\n")
    git(path, "add", "-N", "intended")
    (path / "main.py").write_text("main\n" * 100)


def snapshot(path: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for item in sorted(path.rglob("*")):
        name = str(item.relative_to(path))
        if name == ".git" or name.startswith(".git/"):
            continue
        if item.is_symlink():
            found[name] = os.readlink(item)
        elif item.is_file():
            found[name] = (stat.S_IMODE(item.stat().st_mode) & 0o100, item.read_bytes())
    return found


def as_committed(files: dict[str, object]) -> dict[str, object]:
    """Without what git itself puts into files and takes out of them: ends of lines, and names of contents."""
    return {
        name: (found[0], re.sub(rb"\$Id:[^$]*\$", b"$Id$", found[1].replace(b"\r\n", b"\n")))
        if isinstance(found, tuple)
        else found
        for name, found in files.items()
    }


class Aside:
    """Where things are saved, made when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def __call__(self) -> Path:
        self.path.mkdir(parents=True, exist_ok=True)
        return self.path

    @property
    def names(self) -> set[str]:
        return {item.name for item in self.path.iterdir()} if self.path.exists() else set()


async def save(path: Path, aside: Aside, *, base: str | None = "HEAD", goal: str | None = "HEAD") -> tuple[str, ...]:
    notes = await save_changes(Repository(path, Runner("test")), base=base, goal=goal, folder=aside)
    assert not list((path / ".git").glob("tmp_*"))
    return notes


def type_in(path: Path, note: str) -> None:
    """Do what a note says behind its colon, as the user would, with the user's configuration."""
    argv = shlex.split(note.partition(": ")[2].partition(" (see")[0])
    assert argv[0] == "git"
    subprocess.run(argv, cwd=path, check=True)


@pytest.mark.parametrize("name", HOSTILE)
async def test_changes_come_back_under_any_configuration(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "attributes").write_text("*.txt diff=txt\nlink diff=txt\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    environ = {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")}
    for key, value in HOSTILE[name]:
        shown = value.replace("ATTRIBUTES", str(tmp_path / "attributes"))
        git(clone, "config", "--global", key, shown, environ=environ)
    if "crlf" in name:
        # As a clone made with this configuration is.
        git(clone, "rm", "-rq", "--cached", ".", environ=environ)
        git(clone, "reset", "-q", "--hard", environ=environ)
    change_everything(clone)
    before = snapshot(clone)
    aside = Aside(tmp_path / "a side")
    (note,) = [note for note in await save(clone, aside) if "apply" in note and "staged" not in note]
    git(clone, "reset", "-q", "--hard", environ=environ)
    type_in(clone, note)
    if "crlf" in name:
        # How lines end is what the configuration says, not what was there.
        assert as_committed(snapshot(clone)) == as_committed(before)
    else:
        assert snapshot(clone) == before


async def test_what_was_staged_and_changed_again_is_saved_in_both_states(clone: Path, tmp_path: Path) -> None:
    (clone / "main.py").write_text("staged\n")
    (clone / "new").write_text("staged and deleted\n")
    git(clone, "add", "main.py", "new")
    (clone / "main.py").write_text("changed again\n")
    (clone / "new").unlink()
    index = git(clone, "write-tree")
    notes = await save(clone, Aside(tmp_path / "aside"))
    git(clone, "reset", "-q", "--hard")
    for note in notes:
        type_in(clone, note)
    assert (clone / "main.py").read_text() == "changed again\n"
    assert git(clone, "write-tree") == index


async def test_nothing_changed_saves_nothing(clone: Path, tmp_path: Path) -> None:
    (clone / "main.py").touch()
    (clone / "notes").write_text("untracked, in nobody's way")
    aside = Aside(tmp_path / "aside")
    assert await save(clone, aside) == ()
    assert not aside.path.exists()


async def test_a_file_in_conflict_is_saved_with_its_marks(clone: Path, tmp_path: Path) -> None:
    git(clone, "checkout", "-qb", "other")
    (clone / "main.py").write_text("theirs\n")
    git(clone, "commit", "-qam", "theirs")
    git(clone, "checkout", "-q", "master")
    (clone / "main.py").write_text("ours\n")
    git(clone, "commit", "-qam", "ours")
    git(clone, "merge", "-q", "other", check=False)
    (clone / "plain").write_text("staged\n")
    git(clone, "add", "plain")
    (clone / "plain").write_text("again\n")
    before = snapshot(clone)
    assert b"<<<<<<<" in (clone / "main.py").read_bytes()
    notes = await save(clone, Aside(tmp_path / "aside"))
    git(clone, "reset", "-q", "--hard")
    type_in(clone, notes[0])
    assert snapshot(clone) == before
    assert "+staged" in (tmp_path / "aside/staged.patch").read_text()


async def test_a_file_that_git_was_told_to_forget_is_saved(clone: Path, tmp_path: Path) -> None:
    git(clone, "rm", "-q", "--cached", "main.py")
    (clone / "main.py").write_text("mine\n")
    notes = await save(clone, Aside(tmp_path / "aside"))
    git(clone, "reset", "-q", "--hard")
    assert (clone / "main.py").read_text() != "mine\n"
    type_in(clone, notes[0])
    assert (clone / "main.py").read_text() == "mine\n"


async def test_a_change_that_git_was_told_not_to_see_is_saved(clone: Path, tmp_path: Path) -> None:
    git(clone, "update-index", "--assume-unchanged", "main.py")
    git(clone, "update-index", "--skip-worktree", "plain")
    for name in ("main.py", "plain"):
        (clone / name).write_text("mine\n")
    (note,) = await save(clone, Aside(tmp_path / "aside"))
    git(clone, "update-index", "--no-assume-unchanged", "main.py")
    git(clone, "update-index", "--no-skip-worktree", "plain")
    before = snapshot(clone)
    git(clone, "reset", "-q", "--hard")
    type_in(clone, note)
    assert snapshot(clone) == before


async def test_what_a_sparse_checkout_leaves_out_is_no_deletion(clone: Path, tmp_path: Path) -> None:
    git(clone, "sparse-checkout", "set", "--cone", "sub")
    assert not (clone / "folder").exists()
    assert await save(clone, Aside(tmp_path / "aside")) == ()
    (clone / "sub/text.txt").write_text("mine\n")
    (note,) = await save(clone, Aside(tmp_path / "aside"))
    assert "deleted" not in (tmp_path / "aside/changes.patch").read_text()
    git(clone, "reset", "-q", "--hard")
    type_in(clone, note)
    assert (clone / "sub/text.txt").read_text() == "mine\n"


async def test_a_folder_or_a_link_in_place_of_tracked_files_is_saved(clone: Path, tmp_path: Path) -> None:
    (clone / "plain").unlink()
    (clone / "plain").mkdir()
    (clone / "plain/mine").write_text("mine\n")
    (clone / "folder/file").unlink()
    (clone / "folder").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_text("elsewhere\n")
    (clone / "folder").symlink_to(tmp_path / "elsewhere")
    (clone / "main.py").write_text("mine\n")
    aside = Aside(tmp_path / "aside")
    notes = await save(clone, aside)
    assert (aside.path / "untracked/plain/mine").read_text() == "mine\n"
    assert os.readlink(aside.path / "untracked/folder") == str(tmp_path / "elsewhere")
    git(clone, "clean", "-qfd", "plain", "folder")
    git(clone, "reset", "-q", "--hard")
    type_in(clone, notes[0])
    assert (clone / "main.py").read_text() == "mine\n"
    assert (tmp_path / "elsewhere/file").read_text() == "elsewhere\n"


async def test_untracked_files_in_the_way_are_saved_unless_they_are_the_same(clone: Path, tmp_path: Path) -> None:
    git(clone, "checkout", "-q", "HEAD~1")
    (clone / "folder").write_text("a file of mine\n")
    (clone / "empty").write_text("")
    (clone / 'größe \t"x"\n').write_text("mine\n")
    aside = Aside(tmp_path / "aside")
    (note,) = await save(clone, aside, goal="master")
    assert snapshot(aside.path) == {
        "untracked/folder": (0, b"a file of mine\n"),
        'untracked/größe \t"x"\n': (0, b"mine\n"),
    }
    assert "in the way" in note


async def test_a_clone_without_a_commit_saves_what_the_first_one_overwrites(clone: Path, tmp_path: Path) -> None:
    (clone / "main.py").write_text("mine\n")
    goal = git(clone, "rev-parse", "HEAD")
    git(clone, "update-ref", "-d", "refs/heads/master")
    aside = Aside(tmp_path / "aside")
    notes = await save(clone, aside, base=None, goal=goal)
    assert notes
    saved = "".join(item.read_text(errors="replace") for item in aside.path.rglob("*") if item.is_file())
    assert "mine\n" in saved


@pytest.mark.parametrize("required", ["true", "false"])
async def test_a_filter_that_is_missing_stops_nothing(clone: Path, tmp_path: Path, required: str) -> None:
    (clone / ".gitattributes").write_text("*.big filter=big -text\n*.id ident\n*.eol eol=crlf\n")
    for name in ("a.big", "b.big", "c.id", "d.eol"):
        (clone / name).write_text("$Id$\nold\n")
    git(clone, "config", "filter.big.clean", "tr a-z b-za")
    git(clone, "config", "filter.big.smudge", "tr b-za a-z")
    git(clone, "config", "filter.big.required", required)
    git(clone, "add", "-A")
    git(clone, "commit", "-qm", "filtered")
    for name in ("a.big", "b.big", "c.id", "d.eol"):
        (clone / name).unlink()
    git(clone, "checkout", "-qf")
    for name in ("a.big", "c.id", "d.eol"):
        (clone / name).write_bytes((clone / name).read_bytes().replace(b"old", b"mine"))
    before = snapshot(clone)
    notes = await save(clone, Aside(tmp_path / "with"))
    git(clone, "reset", "-q", "--hard")
    type_in(clone, notes[0])
    assert as_committed(snapshot(clone)) == as_committed(before)
    before = snapshot(clone)
    git(clone, "config", "filter.big.clean", "no-such-program")
    aside = Aside(tmp_path / "without")
    notes = await save(clone, aside)
    if required == "true":
        for name in ("a.big", "c.id", "d.eol"):
            assert (aside.path / "changed" / name).read_bytes() == before[name][1]  # type: ignore[index]
    else:
        assert "apply" in notes[0]


async def test_a_patch_that_does_not_apply_again_does_not_count(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_everything(clone)
    before = snapshot(clone)
    whole = Scratch.write_patch

    async def cut(self: Scratch, target: Path, command: str, *arguments: str) -> bool:
        written = await whole(self, target, command, *arguments)
        os.truncate(target, target.stat().st_size // 2)
        return written

    monkeypatch.setattr(Scratch, "write_patch", cut)
    git(clone, "reset", "-q")  # nothing is staged, so that copies hold everything
    git(clone, "add", "-N", "new", "intended")
    aside = Aside(tmp_path / "aside")
    (note,) = await save(clone, aside)
    assert "whole copies" in note
    assert aside.names == {"changed"}
    for name, content in snapshot(aside.path / "changed").items():
        assert before[name] == content
    assert {"main.py", "sub/text.txt", "binary", "link", "crlf", "new", "intended"} <= set(
        snapshot(aside.path / "changed")
    )


async def test_staged_changes_that_cannot_be_saved_stop_it(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clone / "main.py").write_text("staged\n")
    git(clone, "add", "main.py")
    (clone / "main.py").write_text("again\n")

    async def never(self: Scratch, patch: Path, names: frozenset[bytes], *, cached: bool = False) -> bool:
        return not cached

    monkeypatch.setattr(Scratch, "applies_backwards", never)
    with pytest.raises(OperationFailed, match="nothing was changed: commit it"):
        await save(clone, Aside(tmp_path / "aside"))


async def test_a_big_file_is_saved_and_comes_back(clone: Path, tmp_path: Path) -> None:
    source = random.Random(1)
    (clone / "binary").write_bytes(source.randbytes(60_000_000))
    before = (clone / "binary").read_bytes()
    (note,) = await save(clone, Aside(tmp_path / "aside"))
    git(clone, "reset", "-q", "--hard")
    type_in(clone, note)
    assert (clone / "binary").read_bytes() == before


def merge_of_two(path: Path) -> None:
    git(path, "checkout", "-qb", "side")
    (path / "side").write_text("side\n")
    git(path, "add", "side")
    git(path, "commit", "-qm", "side")
    git(path, "checkout", "-q", "master")
    (path / "main.py").write_text("mine\n")
    git(path, "commit", "-qam", "mine")
    git(path, "merge", "-q", "--no-ff", "-m", "a merge", "side")


def a_detached_head(path: Path) -> None:
    git(path, "checkout", "-q", "--detach")
    merge_of_two_on(path)


def merge_of_two_on(path: Path) -> None:
    (path / "main.py").write_bytes(b"latin \xe9\n")
    git(path, "-c", "i18n.commitEncoding=latin1", "commit", "-qam", "gr\u00fc\u00dfe")


def another_branch_and_the_primary_one(path: Path) -> None:
    merge_of_two_on(path)
    git(path, "checkout", "-qb", "feature", "HEAD~1")
    (path / "plain").write_text("feature\n")
    git(path, "commit", "-qam", "feature")


def a_rebase_that_stopped(path: Path) -> None:
    git(path, "checkout", "-qb", "topic", "HEAD~1")
    (path / "main.py").write_text("topic\n")
    git(path, "commit", "-qam", "topic")
    git(path, "rebase", "-q", "master", check=False)


@pytest.mark.parametrize(
    "make", [merge_of_two, a_detached_head, another_branch_and_the_primary_one, a_rebase_that_stopped]
)
@pytest.mark.parametrize("hostile", ["nothing", "formats", "no prefix"])
async def test_commits_come_back_by_their_names(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], hostile: str
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    make(clone)
    for key, value in HOSTILE[hostile]:
        git(clone, "config", key, value)
    mine = set(git(clone, "rev-list", "--branches", "HEAD", "--not", "--remotes").split())
    aside = Aside(tmp_path / "a side")
    notes = await save_commits(
        Repository(clone, Runner("test")), tips=local_tips("master"), known=("origin/master",), folder=aside
    )
    assert str(len(mine)) in notes[0]
    assert aside.names == {"commits.bundle", "commits.txt"}
    fresh = Upstream(tmp_path / "other").path  # stands beside, to show that nothing of it is needed
    git(fresh.parent, "clone", "-q", f"file://{tmp_path}/upstream", "fresh")
    for line in (aside.path / "commits.txt").read_text().splitlines():
        if line.startswith("    git fetch"):
            subprocess.run(shlex.split(line), cwd=tmp_path / "fresh", check=True)
    assert mine <= set(git(tmp_path / "fresh", "rev-list", "--all").split())
    type_in(clone, notes[0])


async def test_commits_that_the_remote_has_need_no_saving(clone: Path, tmp_path: Path) -> None:
    aside = Aside(tmp_path / "aside")
    repository = Repository(clone, Runner("test"))
    assert await save_commits(repository, tips=local_tips("master"), known=(), folder=aside) == ()
    git(clone, "reset", "-q", "--hard", "HEAD~1")
    assert await save_commits(repository, tips=local_tips("nowhere"), known=(), folder=aside) == ()
    assert not aside.path.exists()


async def test_a_bundle_that_was_cut_does_not_count(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge_of_two(clone)
    aside = Aside(tmp_path / "aside")
    whole = Repository.git

    async def cut(self: Repository, *arguments: str, **options: object) -> object:
        done = await whole(self, *arguments, **options)  # type: ignore[arg-type]
        if arguments[:2] == ("bundle", "create"):
            bundle = aside.path / "commits.bundle"
            os.truncate(bundle, bundle.stat().st_size - 30)
        return done

    monkeypatch.setattr(Repository, "git", cut)
    with pytest.raises(OperationFailed, match="could not be saved whole"):
        await save_commits(Repository(clone, Runner("test")), tips=("HEAD",), known=(), folder=aside)
    assert aside.names == set()


@pytest.mark.parametrize("form", ["sha1", "sha256"])
async def test_commits_of_a_shallow_clone_and_of_any_object_format_are_saved(tmp_path: Path, form: str) -> None:
    upstream = tmp_path / "upstream"
    upstream.mkdir()
    git(upstream, "init", "-q", "-b", "master", f"--object-format={form}")
    for number in range(3):
        (upstream / "file").write_text(str(number))
        git(upstream, "add", "-A")
        git(upstream, "commit", "-qm", str(number))
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{upstream}", "app")
    path = tmp_path / "app"
    (path / "file").write_text("mine")
    git(path, "commit", "-qam", "mine")
    aside = Aside(tmp_path / "aside")
    repository = Repository(path, Runner("test"))
    (note,) = await save_commits(repository, tips=local_tips("master"), known=("origin/master",), folder=aside)
    type_in(path, note)


async def test_stashes_are_saved_under_any_configuration(clone: Path, tmp_path: Path) -> None:
    for key, value in (
        *(("log.date", "iso"), ("diff.noprefix", "true"), ("color.ui", "always"), ("stash.showPatch", "false")),
        *(("diff.context", "0"), ("format.pretty", "raw"), ("diff.external", "false")),
    ):
        git(clone, "config", key, value)
    (clone / "main.py").write_text("first\n")
    (clone / "untracked é").write_text("untracked\n")
    git(clone, "stash", "-q", "--include-untracked")
    (clone / "binary").write_bytes(b"\0second")
    git(clone, "stash", "-q")
    aside = Aside(tmp_path / "aside")
    (note,) = await save_stashes(Repository(clone, Runner("test")), aside)
    assert "2 stashes" in note
    for number in (0, 1):
        git(clone, "apply", str(aside.path / f"stash-{number}.patch"))
    assert (clone / "main.py").read_text() == "first\n"
    assert (clone / "untracked é").read_text() == "untracked\n"
    assert (clone / "binary").read_bytes() == b"\0second"
    assert aside.names == {"stash-0.patch", "stash-1.patch"}


async def test_a_work_tree_is_judged_by_another_repository(clone: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", f"file://{tmp_path}/upstream", "fresh")
    change_everything(clone)
    (clone / ".git/HEAD").write_text("")
    (clone / ".git/index").write_text("")
    aside = Aside(tmp_path / "aside")
    notes = await save_changes(
        Repository(clone, Runner("test")), base="HEAD", goal=None, folder=aside, git_dir=tmp_path / "fresh/.git"
    )
    type_in(tmp_path / "fresh", notes[0])
    saved, mine = snapshot(tmp_path / "fresh"), snapshot(clone)
    for name in ("main.py", "sub/text.txt", "binary", "link", "crlf", "plain"):
        assert saved[name] == mine[name]
    assert "gone" in saved
