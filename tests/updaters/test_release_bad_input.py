"""Downloads, releases and installed folders that are not as they should be: told, and nothing is changed by them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.releases import (
    PROGRAM,
    ReleaseSite,
    content_of,
    make_zip,
    program_of,
    release_info,
    status_of,
    write_files,
)
from tests.support.upstream import git
from trio_update.demo.github.server import Fault, FaultKind, SimAsset
from trio_update.model import Unknown


def asset_bytes(site: ReleaseSite, version: str) -> bytes:
    content = site.asset_of(version).content
    assert isinstance(content, bytes)
    return content


async def test_another_digest_than_announced(site: ReleaseSite) -> None:
    asset = site.asset_of("v3.0.0")
    asset.digest = f"sha256:{'0' * 64}"
    site.publish("v3.0.0", asset)
    async with site.manager() as (manager, _):
        got = hashlib.sha256(asset_bytes(site, "v3.0.0")).hexdigest()
        await site.expect_failure(manager, asset.name, f"expected {asset.digest}", f"got sha256:{got}")


async def test_a_digest_that_nobody_could_check(site: ReleaseSite) -> None:
    asset = site.asset_of("v3.0.0")
    asset.digest = "sha256:abc"
    site.publish("v3.0.0", asset)
    async with site.manager() as (manager, _):
        await site.expect_failure(manager, asset.name, "'sha256:abc'", "cannot be checked")


async def test_content_that_changed_on_its_way(site: ReleaseSite) -> None:
    async with site.manager() as (manager, _):
        site.github.faults.append(Fault("assets", FaultKind.CORRUPT, at=20))
        expected = hashlib.sha256(asset_bytes(site, "v2.0.0")).hexdigest()
        await site.expect_failure(manager, f"expected sha256:{expected}", "got sha256:")
        await manager.upgrade("app", who="test")
        site.expect("v2.0.0")


async def test_changed_content_of_an_old_release_without_a_digest(web: ReleaseSite) -> None:
    asset = web.asset_of("v3.0.0")
    asset.digest = None
    web.publish("v3.0.0", asset)
    async with web.manager() as (manager, _):
        at = asset_bytes(web, "v3.0.0").index(b"index.html") + 30
        web.github.faults.append(Fault("assets", FaultKind.CORRUPT, at=at))
        await web.expect_failure(manager, "app.zip", "`index.html`")
        await manager.upgrade("app", who="test")
        web.expect("v3.0.0")


@pytest.mark.parametrize("digest", ["auto", None])
@pytest.mark.parametrize("more", [-10, 10])
async def test_another_size_than_announced(site: ReleaseSite, more: int, digest: str | None) -> None:
    asset = site.asset_of("v3.0.0")
    asset.digest = digest
    site.publish("v3.0.0", asset)
    size = len(asset_bytes(site, "v3.0.0"))
    async with site.manager() as (manager, _):
        site.github.faults.append(Fault("assets", FaultKind.WRONG_SIZE, at=size + more))
        await site.expect_failure(manager, asset.name, f"expected {size} bytes", f"got {size + more}")


async def test_a_login_page_instead_of_the_asset(site: ReleaseSite) -> None:
    async with site.manager() as (manager, _):
        site.github.faults.append(Fault("web", FaultKind.HTML, path="/download/"))
        size = len(asset_bytes(site, "v2.0.0"))
        await site.expect_failure(manager, site.asset_of("v2.0.0").name, f"expected {size} bytes")


@pytest.mark.parametrize("host", ["web", "assets"])
@pytest.mark.parametrize("code", [403, 404, 410])
async def test_an_asset_that_is_not_to_be_had(web: ReleaseSite, code: int, host: Any) -> None:
    async with web.manager() as (manager, _):
        path = "/download/" if host == "web" else ""
        web.github.faults.append(Fault(host, FaultKind.STATUS, code=code, path=path))
        await web.expect_failure(manager, "app.zip", str(code))


def assets(*names: str) -> list[SimAsset]:
    return [SimAsset(name=name, content=make_zip(content_of("v3.0.0"))) for name in names]


@pytest.mark.parametrize("site", ["web", "zip"], indirect=True)
@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], ["v3.0.0", "ada/app", "no assets"]),
        (["source.tar.gz", "notes.txt"], ["no zip", "source.tar.gz, notes.txt"]),
        (["one.zip", "two.zip"], ["several zips", "one.zip, two.zip", "asset_name"]),
    ],
)
async def test_a_release_without_the_one_fitting_asset(site: ReleaseSite, names: list[str], words: list[str]) -> None:
    site.publish("v3.0.0").assets[:] = assets(*names)
    async with site.manager() as (manager, _):
        (plan,) = await manager.plan("app")
        assert (plan.up_to_date, plan.to_version, len(plan.refusals)) == (False, "v3.0.0", 1)
        assert isinstance(plan.download_bytes, Unknown)
        await site.expect_failure(manager, *words)
        for word in words:
            assert word in plan.refusals[0]
        assert status_of(manager).remote_version == "v3.0.0"
        assert status_of(manager).anomalies == (f"There is an update that cannot be installed: {plan.refusals[0]}",)


async def test_a_program_that_the_release_does_not_have(executable: ReleaseSite) -> None:
    executable.publish("v3.0.0", SimAsset(name="tool-arm64", content=b"x"), SimAsset(name="all.zip", content=b"x"))
    async with executable.manager() as (manager, _):
        await executable.expect_failure(manager, "no asset tool", "tool-arm64, all.zip")


@pytest.mark.parametrize("asset_name", ["", "web-client.zip"])
async def test_the_right_one_of_several_assets(web: ReleaseSite, asset_name: str) -> None:
    names = ["docs.zip", "web-client.zip"] if asset_name else ["docs.zip", "app.zip"]
    web.publish("v3.0.0", *assets(*names))
    web.github.repos["ada/app"].releases[-1].assets[0].content = b"not this one"
    write_files(web.path, {"release_info.json": release_info("v1.0.0", asset=asset_name)})
    async with web.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        web.expect("v3.0.0", {"release_info.json": release_info("v3.0.0", asset=asset_name)})


IN_ARCHIVE: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "there is no release_info.json in app.zip"),
    "not JSON": (b"{", "release_info.json of app.zip is not JSON"),
    "a list": (b"[]", "release_info.json of app.zip is no JSON object"),
    "no version": (b'{"project_owner": "ada", "project_name": "app"}', "'version' in release_info.json of app.zip"),
    "version is a number": (
        b'{"project_owner": "ada", "project_name": "app", "version": 3}',
        "'version' in release_info.json of app.zip",
    ),
    "asset is a path": (release_info("v3.0.0", asset="../tool"), "'asset_name' in release_info.json of app.zip"),
    "too large": (release_info("v3.0.0", more="x" * 70_000), "release_info.json of app.zip is larger than"),
}


@pytest.mark.parametrize("site", ["web", "zip"], indirect=True)
@pytest.mark.parametrize("case", IN_ARCHIVE)
async def test_an_archive_that_does_not_say_what_it_is(site: ReleaseSite, case: str) -> None:
    content, why = IN_ARCHIVE[case]
    inside = {name: data for name, data in content_of("v3.0.0").items() if name != "release_info.json"}
    if content is not None:
        inside["release_info.json"] = content
    site.publish("v3.0.0", SimAsset(name="app.zip", content=make_zip(inside)))
    async with site.manager() as (manager, _):
        message = await site.expect_failure(manager, "release v3.0.0 cannot be installed", why)
        assert "trio-update" not in message


async def test_an_archive_with_a_folder_for_its_release_info(web: ReleaseSite) -> None:
    web.publish("v3.0.0", SimAsset(name="app.zip", content=make_zip({"release_info.json/x": b"", "index.html": b""})))
    async with web.manager() as (manager, _):
        await web.expect_failure(manager, "release v3.0.0 cannot be installed", "release_info.json of app.zip")


@pytest.mark.parametrize("site", ["web", "zip"], indirect=True)
async def test_an_archive_of_another_repo_is_installed_and_told(site: ReleaseSite) -> None:
    inside = content_of("v3.0.0") | {"release_info.json": release_info("v3.0.0", owner="eve", name="fork")}
    site.publish("v3.0.0", SimAsset(name="app.zip", content=make_zip(inside)))
    async with site.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        status = status_of(manager)
        assert (status.version, status.owner, status.repo_name, status.is_valid) == ("v3.0.0", "eve", "fork", True)
        assert status.anomalies == ("The installed release is of eve/fork, configured is ada/app: eve/fork is used",)
        # What was known is of the other project and says nothing about this one.
        assert isinstance(status.remote_version, Unknown)
        assert status.remote is None


@pytest.mark.parametrize("tag", ["v3.0.0", "app/v3.0.0", "nightly 7%", "über-3"])
async def test_the_tag_wins_over_the_version_in_the_archive(web: ReleaseSite, tag: str) -> None:
    inside = content_of("v2.9.0") | {"release_info.json": release_info("v2.9.0", more=["kept"])}
    web.publish(tag, SimAsset(name="app.zip", content=make_zip(inside)))
    async with web.manager() as (manager, listener):
        await manager.upgrade("app", who="test")
        await listener.until(f"The archive of {tag} says that it is v2.9.0: taken as {tag}")
        status = status_of(manager)
        assert (status.version, status.remote_version, status.anomalies) == (tag, tag, ())
        info = json.loads((web.path / "release_info.json").read_bytes())
        assert (info["version"], info["more"]) == (tag, ["kept"])
        await manager.upgrade("app", who="test")
        assert manager.job().outcome == "unchanged"
        await manager.rollback("app", who="test")
        web.expect("v1.0.0")
    assert not web.saved(), "what we wrote there is no change of the user's"


INSTALLED: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "there is no release_info.json in"),
    "not JSON": (b"{", "is not JSON"),
    "zeros": (bytes(50), "is not JSON"),
    "no object": (b"[1]", "is no JSON object"),
    "wrong types": (b'{"project_owner": 1, "project_name": "app", "version": "v1.0.0"}', "'project_owner' in"),
    "too large": (release_info("v1.0.0", more="x" * 70_000), "is larger than 65536 bytes"),
}


@pytest.mark.parametrize("case", INSTALLED)
async def test_a_folder_that_does_not_say_what_it_is(site: ReleaseSite, case: str) -> None:
    content, why = INSTALLED[case]
    write_files(site.path, {"release_info.json": content})
    async with site.manager() as (manager, _):
        status = status_of(manager)
        assert not status.is_valid
        (warning,) = status.warnings
        assert why in warning
        assert str(site.path) in warning
        assert status.version == Unknown(warning)
        # The releases are those of the configured repo.
        assert (status.owner, status.repo_name, status.remote_version) == ("ada", "app", "v2.0.0")
        message = await site.expect_failure(manager, why, "Recover it first")
        (plan,) = await manager.plan("app")
        assert plan.refusals == (message,) == (f"app cannot be updated: {warning}. Recover it first.",)
        if site.kind == "executable":
            await site.expect_failure(manager, "write release_info.json by hand", recover=True)
        else:
            await manager.recover("app", hard=False, who="test")
            site.expect("v2.0.0")
            assert status_of(manager).warnings == ()


@pytest.mark.parametrize("odd", ["folder", "pipe"])
async def test_something_else_in_place_of_the_release_info(web: ReleaseSite, odd: str) -> None:
    path = web.path / "release_info.json"
    path.unlink()
    if odd == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    async with web.manager() as (manager, _):
        await manager.refresh(None)
        status = status_of(manager)
        assert status.warnings == (f"{path} is no file",)
        assert (status.anomalies, status.last_error) == ((), "")


async def test_a_disk_that_cannot_be_read_is_no_trouble_of_the_forge(web: ReleaseSite) -> None:
    async with web.manager() as (manager, _):
        # A link to itself is not to be read by anyone, root included.
        (web.path / "release_info.json").unlink()
        (web.path / "release_info.json").symlink_to("release_info.json")
        for _ in range(3):
            await manager.refresh(None)
        status = status_of(manager)
        assert not status.is_valid
        assert len(status.warnings) == 1
        assert "release_info.json" in status.warnings[0]
        assert (status.anomalies, status.unreachable_since) == ((), None)
        assert (status.version, status.remote_version) == ("v1.0.0", "v2.0.0")


async def test_a_disk_that_cannot_be_read_at_the_start_is_told(web: ReleaseSite) -> None:
    async with web.manager() as (manager, _):
        assert status_of(manager).is_valid
    (web.path / "release_info.json").unlink()
    (web.path / "release_info.json").symlink_to("release_info.json")
    async with web.manager(refresh=False) as (manager, _):
        status = status_of(manager)
        assert not status.is_valid
        assert "release_info.json" in status.warnings[0]
        assert (status.version, status.remote_version) == ("v1.0.0", "v2.0.0")


async def test_a_program_without_a_name(executable: ReleaseSite) -> None:
    write_files(executable.path, {"release_info.json": release_info("v1.0.0")})
    async with executable.manager() as (manager, _):
        (warning,) = status_of(manager).warnings
        assert "does not name the asset: it needs 'asset_name'" in warning
        await executable.expect_failure(manager, "asset_name")


@pytest.mark.parametrize("name", ["new", "packed", "tree", "asset", "-v", "naïve tool"])
async def test_programs_may_be_called_as_they_like(executable: ReleaseSite, name: str) -> None:
    (executable.path / PROGRAM).rename(executable.path / name)
    write_files(executable.path, {"release_info.json": release_info("v1.0.0", asset=name)})
    executable.publish("v3.0.0", SimAsset(name=name, content=program_of("v3.0.0")))
    async with executable.manager() as (manager, _):
        await manager.upgrade("app", who="test")
        assert (executable.path / name).read_bytes() == program_of("v3.0.0")
        assert status_of(manager).version == "v3.0.0"
        await manager.rollback("app", who="test")
        assert (executable.path / name).read_bytes() == program_of("v1.0.0")
        executable.expect_tidy()


async def test_a_folder_of_another_repo_is_followed_and_told(site: ReleaseSite) -> None:
    asset = PROGRAM if site.kind == "executable" else ""
    write_files(site.path, {"release_info.json": release_info("v1.0.0", owner="eve", name="fork", asset=asset)})
    site.publish("v1.5.0", repo="eve/fork")
    async with site.manager() as (manager, _):
        status = status_of(manager)
        assert (status.owner, status.repo_name, status.remote_version) == ("eve", "fork", "v1.5.0")
        assert (status.is_valid, status.warnings) == (True, ())
        assert status.anomalies == ("The installed release is of eve/fork, configured is ada/app: eve/fork is used",)
        assert not site.github.asked("api", "ada/app")
        await manager.upgrade("app", who="test")
        assert status_of(manager).version == "v1.5.0"


@pytest.mark.parametrize("manifest", ["manifest.json", "site.webmanifest", ".webmanifest"])
async def test_a_web_client_of_old_is_upgraded(web: ReleaseSite, manifest: str) -> None:
    repo = "mainsail-crew/mainsail"
    inside = content_of("v2.9.0") | {
        "release_info.json": release_info("v2.9.0", owner="mainsail-crew", name="mainsail")
    }
    web.publish("v2.9.0", SimAsset(name="mainsail.zip", content=make_zip(inside)), repo=repo)
    write_files(web.path, {"release_info.json": None, ".version": b"v2.8.0\n", manifest: b'{"name": "Mainsail"}'})
    async with web.manager(repo=repo) as (manager, _):
        status = status_of(manager)
        assert (status.owner, status.repo_name) == ("mainsail-crew", "mainsail")
        assert (status.version, status.remote_version) == ("v2.8.0", "v2.9.0")
        assert (status.is_valid, status.anomalies) == (True, ())
        await manager.upgrade("app", who="test")
        assert status_of(manager).version == "v2.9.0"
        assert not (web.path / ".version").exists()
        await manager.rollback("app", who="test")
        assert (status_of(manager).version, (web.path / ".version").read_bytes()) == ("v2.8.0", b"v2.8.0\n")


async def test_the_tag_cannot_win_over_a_version_that_only_an_old_client_tells(web: ReleaseSite) -> None:
    repo = "mainsail-crew/mainsail"
    inside = {"index.html": b"new", ".version": b"v2.9.0\n", "manifest.json": b'{"name": "Mainsail"}'}
    web.publish("v3.0.0", SimAsset(name="mainsail.zip", content=make_zip(inside)), repo=repo)
    write_files(
        web.path, {"release_info.json": None, ".version": b"v2.8.0\n", "manifest.json": b'{"name": "Mainsail"}'}
    )
    async with web.manager(repo=repo) as (manager, _):
        await web.expect_failure(manager, "release v3.0.0 cannot be installed: the archive says that it is v2.9.0")


@pytest.mark.parametrize(("kind", "name"), [("zip", "mainsail"), ("executable", "fluidd"), ("web", "somebody")])
@pytest.mark.parametrize("site", ["web"], indirect=True)
async def test_only_web_clients_that_are_known_do_without_release_info(site: ReleaseSite, kind: str, name: str) -> None:
    site.kind = kind
    manifest = json.dumps({"name": name}).encode()
    write_files(site.path, {"release_info.json": None, ".version": b"v2.8.0", "manifest.json": manifest})
    async with site.manager() as (manager, _):
        (warning,) = status_of(manager).warnings
        assert "there is no release_info.json" in warning


async def test_a_file_in_the_folders_place(site: ReleaseSite) -> None:
    site.folder.joinpath("apps", "plain").write_bytes(b"mine")
    async with site.manager(path=site.folder / "apps" / "plain") as (manager, _):
        (warning,) = status_of(manager).warnings
        assert f"{site.folder / 'apps' / 'plain'} is not a folder" in warning
        message = await site.expect_failure(manager, "is not a folder")
        await site.expect_failure(manager, "is not a folder", recover=True)
        (plan,) = await manager.plan("app")
        assert plan.refusals == (message,) == (f"app cannot be updated: {warning}",)


@pytest.mark.parametrize("absolute", [True, False])
async def test_a_link_to_the_folder_stays_one(site: ReleaseSite, absolute: bool) -> None:
    disk = site.path.parent / "disk"
    disk.mkdir()
    site.path.rename(disk / "real")
    site.path.symlink_to(disk / "real" if absolute else Path("disk/real"))
    target = site.path.readlink()
    async with site.manager() as (manager, _):
        assert status_of(manager).is_valid
        await manager.upgrade("app", who="test")
        assert (site.path.is_symlink(), site.path.readlink()) == (True, target)
        site.expect("v2.0.0")
        await manager.rollback("app", who="test")
        assert (site.path.is_symlink(), site.path.readlink()) == (True, target)
        site.expect("v1.0.0")


@pytest.mark.parametrize("above", [0, 1])
async def test_a_folder_of_a_git_repository_is_left_alone(site: ReleaseSite, above: int) -> None:
    repository = [site.path, site.path.parent][above]
    git(repository, "init", "-q")
    async with site.manager() as (manager, _):
        status = status_of(manager)
        (warning,) = status.warnings
        assert f"{site.path} is inside the git repository {repository}" in warning
        assert status.version == "v1.0.0"
        await site.expect_failure(manager, "inside the git repository")
        await site.expect_failure(manager, "inside the git repository", recover=True)


@pytest.mark.parametrize("link", [False, True])
async def test_a_home_that_is_a_git_repository_does_not_count(
    web: ReleaseSite, monkeypatch: pytest.MonkeyPatch, link: bool
) -> None:
    home = web.path.parent
    git(home, "init", "-q")
    if link:
        home = web.folder / "home"
        home.symlink_to("apps")
    monkeypatch.setenv("HOME", str(home))
    async with web.manager() as (manager, _):
        assert status_of(manager).warnings == ()
        await manager.upgrade("app", who="test")
        web.expect("v2.0.0")


def removed(path: Path) -> None:
    for below in sorted(path.rglob("*"), reverse=True):
        below.rmdir() if below.is_dir() else below.unlink()
    path.rmdir()


@pytest.mark.parametrize("site", ["web", "zip"], indirect=True)
@pytest.mark.parametrize("gone", [lambda path: path, lambda path: path.parent], ids=["folder", "parent too"])
async def test_a_folder_that_is_gone_is_brought_back(site: ReleaseSite, gone: Callable[[Path], Path]) -> None:
    async with site.manager() as (manager, _):
        removed(gone(site.path))
        await manager.refresh(None)
        status = status_of(manager)
        assert (status.installed, status.warnings) == (False, ())
        await manager.recover("app", hard=False, who="test")
        # Not known any more what was installed: the newest.
        site.expect("v2.0.0")
        assert status_of(manager).is_valid


READ_ONLY = """
import contextlib, ctypes, os, pathlib, subprocess, sys
import trio
from tests.support.releases import ReleaseSite, photo, status_of
from trio_update.demo.github.server import GitHub, serve_github
from trio_update.errors import Refused

folder, kind = pathlib.Path(sys.argv[1]), sys.argv[2]

def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)

async def expect(site, *paths):
    async with site.manager() as (manager, _):
        status = status_of(manager)
        assert len(status.warnings) == len(paths), status.warnings
        for path, warning in zip(paths, status.warnings):
            assert warning.startswith(f"{path} is not writable"), warning
        assert (status.version, status.remote_version, status.is_valid) == ("v1.0.0", "v2.0.0", False)
        before = photo(folder / "apps")
        for call in (lambda: manager.upgrade("app", who="t"), lambda: manager.recover("app", hard=True, who="t")):
            try:
                await call()
            except Refused as error:
                assert str(paths[0]) in str(error), error
            else:
                raise AssertionError("was not refused")
        assert photo(folder / "apps") == before
        site.expect_tidy()

async def main():
    async with trio.open_nursery() as nursery:
        github = await nursery.start(serve_github, GitHub())
        site = ReleaseSite(folder, github, kind)
        site.install("v1.0.0"), site.publish("v1.0.0"), site.publish("v2.0.0")
        apps, app = site.path.parent, site.path
        mount("--bind", apps, apps)
        mount("-o", "remount,ro,bind", apps)
        await expect(site, *([app] if kind == "executable" else [app, apps]))
        # The folder on a disk of its own, in a parent that is not ours.
        mount("-t", "tmpfs", "none", app)
        site.install("v1.0.0")
        if kind != "executable":
            await expect(site, apps)
        mount("-o", "remount,ro", app)
        await expect(site, *([app] if kind == "executable" else [app, apps]))
        nursery.cancel_scope.cancel()

trio.run(main)
"""


@pytest.mark.parametrize("kind", ["web", "executable"])
def test_a_folder_that_cannot_be_written_to_is_told_and_left(tmp_path: Path, kind: str) -> None:
    # In a mount namespace of its own, which ends with it: the rest of the system sees nothing of this.
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*namespace, sys.executable, "-W", "error", "-c", textwrap.dedent(READ_ONLY), str(tmp_path), kind],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
