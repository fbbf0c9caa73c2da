"""Submodules: the user's work inside them, and how they move with the commits of their clone."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.support.upstream import NAME, Bench, Upstream, git, status_of
from tests.updaters.test_git_update import ready
from trio_update.config import HealthCheck
from trio_update.demo.gitserver import GitServer, serve_git
from trio_update.errors import OperationFailed, Refused
from trio_update.host.git.submodules import resolve_url


@dataclass
class Yard:
    """An app with the submodule ``part``, which has the submodule ``inner``; served over HTTP."""

    folder: Path
    server: GitServer
    works: dict[str, Upstream] = field(default_factory=dict)

    def make(self, name: str) -> Upstream:
        self.works[name] = Upstream(self.folder / name)
        return self.works[name]

    def publish(self) -> None:
        for name, work in self.works.items():
            target = self.server.root / f"{name}.git"
            if not target.exists():
                git(self.folder, "init", "-q", "--bare", "-b", "master", str(target))
            git(work.path, "push", "-q", "--mirror", str(target))

    def link(self, outer: str, path: str, inner: str, commit: str | None = None) -> None:
        """Let the work tree of ``outer`` have submodule ``path`` at a commit of ``inner``."""
        work = self.works[outer].path
        if not (work / path / ".git").exists():
            git(work, "submodule", "--quiet", "add", "--name", inner, self.server.url(inner), path)
        git(work / path, "fetch", "-q", str(self.works[inner].path), "+refs/*:refs/all/*")
        git(work / path, "checkout", "-q", commit or self.works[inner].head)


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    async with trio.open_nursery() as nursery:
        (tmp_path / "git").mkdir()
        server = await nursery.start(partial(serve_git, tmp_path / "git"))
        yard = Yard(tmp_path, server)
        for name in ("inner", "part", "app-work"):
            yard.make(name).commit({"README": f"{name}\n", "lib/one.py": "1\n"})
        yield yard
        nursery.cancel_scope.cancel()


@pytest.fixture
async def site(yard: Yard) -> Bench:
    """A whole clone; nothing new upstream."""

    def build() -> Bench:
        yard.publish()
        yard.link("part", "inner", "inner")
        yard.works["part"].commit()
        yard.publish()
        yard.link("app-work", "part", "part")
        yard.works["app-work"].commit(tag="v1.0")
        yard.publish()
        git(yard.folder, "clone", "-q", "--recurse-submodules", yard.server.url("app-work"), str(yard.folder / "app"))
        return Bench(yard.folder, yard.works["app-work"], yard.folder / "app")

    return await trio.to_thread.run_sync(build)


async def publish(yard: Yard) -> None:
    await trio.to_thread.run_sync(yard.publish)


async def advance(yard: Yard, *, files: dict[str, str | None] | None = None) -> tuple[str, str]:
    """New commits of all three; what `part` and `inner` are at then."""

    def work() -> tuple[str, str]:
        inner = yard.works["inner"].commit(files)
        yard.publish()
        yard.link("part", "inner", "inner", inner)
        part = yard.works["part"].commit(files)
        yard.publish()
        yard.link("app-work", "part", "part", part)
        yard.works["app-work"].commit()
        yard.publish()
        return part, inner

    return await trio.to_thread.run_sync(work)


def at(bench: Bench) -> tuple[str, str]:
    return git(bench.path / "part", "rev-parse", "HEAD"), git(bench.path / "part/inner", "rev-parse", "HEAD")


def whole(bench: Bench) -> None:
    assert bench.git("status", "--porcelain") == ""
    assert "-dirty" not in bench.git("submodule", "status", "--recursive")
    assert not [line for line in bench.git("submodule", "status", "--recursive").splitlines() if line[0] in "+U"]


def the_saved(bench: Bench) -> dict[str, Path]:
    """Saved files by their path below the job's folder."""
    saved = bench.data_path / "trio_update" / "saved"
    found = [path for path in saved.rglob("*") if path.is_file()] if saved.exists() else []
    return {str(path.relative_to(saved)).split("/", 1)[1]: path for path in found}


def find(bench: Bench, end: str) -> Path:
    (found,) = [path for name, path in the_saved(bench).items() if name.endswith(end)]
    return found


async def test_submodules_of_every_depth_move_along_and_back_without_the_network(yard: Yard, site: Bench) -> None:
    before = at(site)
    wanted = await advance(yard)
    (site.path / "part/inner/notes").write_text("mine")
    async with ready(site, origin=yard.server.url("app-work")) as manager:
        await manager.upgrade(NAME, who="test")
        assert at(site) == wanted
        assert status_of(manager).is_valid
        (yard.folder / "git").rename(yard.folder / "away")
        await manager.rollback(NAME, who="test")
        assert at(site) == before
        assert status_of(manager).is_valid, status_of(manager).warnings
    assert (site.path / "part/inner/notes").read_text() == "mine"
    site.expect_tidy()


async def test_a_failing_health_check_puts_submodules_back(yard: Yard, site: Bench) -> None:
    before = at(site)
    await advance(yard, files={"lib/two.py": "2\n", "lib/one.py": None})
    async with ready(site, health=HealthCheck(command=("false",))) as manager:
        with pytest.raises(OperationFailed, match="The app is back at"):
            await manager.upgrade(NAME, who="test")
        assert status_of(manager).is_valid
    assert at(site) == before
    assert not (site.path / "part/inner/lib/two.py").exists()
    assert (site.path / "part/lib/one.py").exists()
    whole(site)


async def test_a_commit_that_only_a_tag_leads_to_is_fetched_by_its_id(yard: Yard, site: Bench) -> None:
    def release() -> str:
        part = yard.works["part"]
        git(part.path, "checkout", "-q", "--detach")
        commit = part.commit(tag="released")
        git(part.path, "checkout", "-q", "master")
        yard.publish()
        yard.link("app-work", "part", "part", commit)
        yard.works["app-work"].commit()
        yard.publish()
        return commit

    commit = await trio.to_thread.run_sync(release)
    async with ready(site) as manager:
        await manager.upgrade(NAME, who="test")
        assert status_of(manager).is_valid
    assert at(site)[0] == commit


async def test_a_commit_that_cannot_be_had_fails_before_anything_changes(yard: Yard, site: Bench) -> None:
    before, head = at(site), site.head

    def lose() -> None:
        commit = yard.works["part"].commit()
        yard.link("app-work", "part", "part", commit)
        git(yard.works["part"].path, "reset", "-q", "--hard", "HEAD~1")
        yard.works["app-work"].commit()
        yard.publish()

    await trio.to_thread.run_sync(lose)
    async with ready(site) as manager:
        await manager.refresh()
        (refusal,) = (await manager.plan(NAME))[0].refusals
        assert "app cannot go to" in refusal
        assert "of submodule" in refusal
        assert "cannot be had" in refusal
        with pytest.raises(OperationFailed, match=r"of submodule .*part cannot be had") as caught:
            await manager.upgrade(NAME, who="test")
        assert "Nothing was changed" in str(caught.value)
        assert status_of(manager).is_valid
    assert (site.head, at(site)) == (head, before)


async def test_a_commit_that_can_be_had_again_is_had(yard: Yard, site: Bench) -> None:
    await advance(yard)
    site_of = yard.server.root / "part.git"
    site_of.rename(yard.folder / "away")
    async with ready(site) as manager:
        await manager.refresh()
        assert "cannot be had" in (await manager.plan(NAME))[0].refusals[0]
        (yard.folder / "away").rename(site_of)
        await manager.refresh()
        assert (await manager.plan(NAME))[0].refusals == ()
        await manager.upgrade(NAME, who="test")
    whole(site)


async def test_a_submodule_that_moved_to_another_url_is_followed(yard: Yard, site: Bench) -> None:
    def move() -> None:
        shutil.move(yard.server.root / "part.git", yard.server.root / "renamed.git")
        yard.works["renamed"] = yard.works.pop("part")
        yard.works["renamed"].commit()
        work = yard.works["app-work"].path
        git(work, "config", "-f", ".gitmodules", "submodule.part.url", yard.server.url("renamed"))
        yard.publish()
        git(work / "part", "fetch", "-q", str(yard.works["renamed"].path), "master")
        git(work / "part", "checkout", "-q", "FETCH_HEAD")
        yard.works["app-work"].commit()
        yard.publish()

    await trio.to_thread.run_sync(move)
    old = git(site.path / "part", "remote", "get-url", "origin")
    async with ready(site) as manager:
        await manager.upgrade(NAME, who="test")
        assert git(site.path / "part", "remote", "get-url", "origin") == yard.server.url("renamed")
        assert site.git("config", "submodule.part.url") == yard.server.url("renamed")
        await manager.rollback(NAME, who="test")
        assert git(site.path / "part", "remote", "get-url", "origin") == old
        assert status_of(manager).is_valid


async def test_a_local_path_in_gitmodules_is_no_more_allowed_than_git_allows_it(yard: Yard, site: Bench) -> None:
    def lead_here() -> None:
        secret = yard.make("secret")
        commit = secret.commit()
        work = yard.works["app-work"].path
        git(work, "config", "-f", ".gitmodules", "submodule.part.url", secret.url)
        git(work / "part", "fetch", "-q", secret.url, "master")
        git(work / "part", "checkout", "-q", commit)
        yard.works["app-work"].commit()
        yard.publish()

    await trio.to_thread.run_sync(lead_here)
    before = site.head
    async with ready(site) as manager:
        with pytest.raises(OperationFailed, match="transport 'file' not allowed"):
            await manager.upgrade(NAME, who="test")
    assert site.head == before


def to_plain_folder(yard: Yard) -> None:
    """`part` becomes an ordinary folder with the same files."""
    work = yard.works["app-work"].path
    git(work, "rm", "-q", "-r", "--cached", "part")
    for path in (work / "part/.git", work / "part/inner/.git", work / "part/.gitmodules", work / ".gitmodules"):
        path.unlink(missing_ok=True)
    yard.works["app-work"].commit({"part/new": "new\n"})
    yard.publish()


@pytest.mark.parametrize("healthy", [True, False])
async def test_a_submodule_that_became_a_plain_folder_and_back(yard: Yard, site: Bench, healthy: bool) -> None:
    before = at(site)
    await trio.to_thread.run_sync(to_plain_folder, yard)
    (site.path / "part/notes").write_text("mine")
    async with ready(site, health=HealthCheck(command=("true" if healthy else "false",))) as manager:
        if healthy:
            await manager.upgrade(NAME, who="test")
            assert not (site.path / "part/.git").exists()
            site.expect_whole(site.upstream.head)
            assert status_of(manager).is_valid
            await manager.rollback(NAME, who="test")
        else:
            with pytest.raises(OperationFailed, match="The app is back at"):
                await manager.upgrade(NAME, who="test")
        assert status_of(manager).is_valid, status_of(manager).warnings
    assert at(site) == before
    assert not (site.path / "part/new").exists()
    assert (site.path / "part/notes").read_text() == "mine"


async def test_what_the_user_has_in_the_way_in_or_around_submodules_is_refused(yard: Yard, site: Bench) -> None:
    await advance(yard, files={"lib/two.py": "2\n"})
    (site.path / "part/inner/lib/two.py").write_text("mine")
    before = at(site)
    async with ready(site) as manager:
        await manager.refresh()
        (plan,) = await manager.plan(NAME)
        assert "part/inner/lib/two.py" in plan.refusals[0]
        with pytest.raises(Refused, match=r"part/inner/lib/two.py"):
            await manager.upgrade(NAME, who="test")
    assert (site.path / "part/inner/lib/two.py").read_text() == "mine"
    assert at(site) == before
    (site.path / "part/inner/lib/two.py").unlink()
    await trio.to_thread.run_sync(to_plain_folder, yard)
    (site.path / "part/new").write_text("mine")
    async with ready(site) as manager:
        with pytest.raises(Refused, match="part/new"):
            await manager.upgrade(NAME, who="test")
    assert (site.path / "part/new").read_text() == "mine"


@pytest.mark.parametrize("hard", [False, True])
async def test_a_moved_submodule_does_not_stop_a_recovery(yard: Yard, site: Bench, hard: bool) -> None:
    def move() -> None:
        work = yard.works["app-work"].path
        (work / "libs").mkdir()
        git(work, "mv", "part", "libs/part")
        yard.works["app-work"].commit()
        yard.publish()

    before = at(site)
    await trio.to_thread.run_sync(move)
    async with ready(site) as manager:
        await manager.upgrade(NAME, who="test")
        assert status_of(manager).is_valid, status_of(manager).warnings
        assert not (site.path / "part").exists()
        assert git(site.path / "libs/part", "rev-parse", "HEAD") == before[0]
    # Back by hand, a commit on top, and a branch that has nothing to do with the primary one: then it moves again.
    site.git("checkout", "-q", "-B", "mine", "v1.0", check=False)
    site.git("submodule", "--quiet", "update", "--recursive")
    (site.path / "part/lib/one.py").write_text("mine\n")
    (site.path / "part/notes").write_text("mine")
    site.git("commit", "-q", "--allow-empty", "-m", "local")
    async with ready(site) as manager:
        await manager.recover(NAME, hard=hard, who="test")
        assert status_of(manager).is_valid, status_of(manager).warnings
    assert git(site.path / "libs/part", "rev-parse", "HEAD") == before[0]
    assert "+mine" in find(site, "submodules/part/changes.patch").read_text()
    assert (site.path / "part/notes").read_text() == "mine"
    assert not (site.path / "part/lib").exists()


def spoil(site: Bench) -> None:
    """The user works at every depth: changes, a commit, a staged file, untracked ones."""
    for where in ("part", "part/inner"):
        inside = site.path / where
        (inside / "README").write_text(f"mine in {where}\n")
        git(inside, "checkout", "-q", "--detach")
        (inside / "main.py").write_text("committed\n")
        git(inside, "commit", "-q", "-m", f"local in {where}", "main.py")
        (inside / "lib/one.py").write_text(f"changed in {where}\n")
        (inside / "staged").write_text("staged\n")
        git(inside, "add", "staged")
        (inside / "notes").write_text(f"untracked in {where}\n")


@pytest.mark.parametrize("hard", [False, True])
async def test_a_recovery_saves_what_was_done_in_submodules(yard: Yard, site: Bench, hard: bool) -> None:
    before = at(site)
    spoil(site)
    async with ready(site) as manager:
        assert status_of(manager).is_dirty
        await manager.recover(NAME, hard=hard, who="test")
        assert status_of(manager).is_valid, status_of(manager).warnings
        log = "\n".join(manager.job().log)
    assert at(site) == before
    for where in ("part", "part/inner"):
        patch, bundle = find(site, f"submodules/{where}/changes.patch"), find(site, f"submodules/{where}/local.bundle")
        assert str(patch) in log
        assert (site.path / where / "notes").read_text() == f"untracked in {where}\n"
        inside = site.path / where
        git(inside, "fetch", "-q", str(bundle), "HEAD")
        assert git(inside, "log", "-1", "--format=%s", "FETCH_HEAD") == f"local in {where}"
        if not hard:
            git(inside, "checkout", "-q", "FETCH_HEAD")
            assert not (inside / "staged").exists()
        git(inside, "apply", str(patch))
        assert (inside / "lib/one.py").read_text() == f"changed in {where}\n"
        assert (inside / "staged").read_text() == "staged\n"
    site.expect_tidy()


async def test_what_is_changed_in_a_submodule_is_named(yard: Yard, site: Bench) -> None:
    (site.path / "part/inner/lib/one.py").write_text("mine\n")
    site.git("config", "submodule.part.ignore", "all")
    async with ready(site) as manager:
        status = status_of(manager)
        assert status.is_dirty
        assert status.warnings == ("Repo is dirty, modified files: part/inner/lib/one.py",)
        with pytest.raises(Refused, match=r"part/inner/lib/one.py"):
            await manager.upgrade(NAME, who="test")


async def test_a_hard_recovery_brings_only_the_submodules_that_the_clone_had(yard: Yard, site: Bench) -> None:
    site.git("submodule", "--quiet", "deinit", "--force", "part")
    async with ready(site) as manager:
        await manager.recover(NAME, hard=True, who="test")
        assert status_of(manager).is_valid
        assert not list((site.path / "part").iterdir())
    shutil.rmtree(site.path)
    url = yard.server.url("app-work")
    await trio.to_thread.run_sync(git, site.folder, "clone", "-q", url, str(site.path))
    await trio.to_thread.run_sync(git, site.path, "submodule", "--quiet", "update", "--init")
    async with ready(site) as manager:
        await manager.recover(NAME, hard=True, who="test")
        assert status_of(manager).is_valid
    assert (site.path / "part/README").exists()
    assert not list((site.path / "part/inner").iterdir())


@pytest.mark.parametrize("damage", ["missing", "objects", "gitfile"])
async def test_nothing_in_a_damaged_submodule_is_lost(yard: Yard, site: Bench, damage: str) -> None:
    before = at(site)
    inside = site.path / "part"
    (inside / "notes").write_text("untracked\n")
    (inside / "inner/notes").write_text("deep\n")
    (inside / "lib/one.py").write_text("mine\n")
    match damage:
        case "missing":
            shutil.rmtree(site.path / ".git/modules/part")
        case "objects":
            shutil.rmtree(site.path / ".git/modules/part/objects")
        case _:
            (inside / ".git").write_text("gitdir: nowhere\n")
    async with ready(site) as manager:
        assert not status_of(manager).is_valid
        with pytest.raises(Refused, match="use a hard one"):
            await manager.recover(NAME, hard=False, who="test")
        assert (inside / "lib/one.py").read_text() == "mine\n"
        await manager.recover(NAME, hard=True, who="test")
        assert status_of(manager).is_valid, status_of(manager).warnings
    assert at(site) == before
    assert (inside / "notes").read_text() == "untracked\n"
    assert (inside / "inner/notes").read_text() == "deep\n"
    assert "+mine" in find(site, "submodules/part/changes.patch").read_text()


@pytest.mark.parametrize(
    ("base", "url", "found"),
    [
        ("https://h/o/r.git", "../s.git", "https://h/o/s.git"),
        ("https://h/o/r.git/", "../../p/s", "https://h/p/s"),
        ("git@h:o/r", "../s", "git@h:o/s"),
        ("git@h:r", "../s", "git@h:s"),
        ("/a/b", "./c", "/a/b/c"),
        ("https://h/o/r", "https://x/y", "https://x/y"),
    ],
)
def test_urls_of_submodules_are_relative_to_the_repository_around_them(base: str, url: str, found: str) -> None:
    assert resolve_url(base, url) == found
