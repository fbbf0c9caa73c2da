"""Decisions as the pure functions they are: from facts to a target, a status, a goal, a plan; without a disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trio_update.errors import Reason, Refusal
from trio_update.host.git.folder import GitFolder
from trio_update.host.git.output import Difference, Settings, Tag, WorkTree, read_differences
from trio_update.model import AppName, Asset, Channel, Plan, Release, RemoteRelease, Unknown
from trio_update.updaters.base import Rollback, Upgrade
from trio_update.updaters.git.decision import decide_upgrade, earlier_version, recorded_commit
from trio_update.updaters.git.facts import Change, Facts, Pin, Seen, Tracking, Wanted
from trio_update.updaters.git.judge import judge
from trio_update.updaters.git.kind import GitRepoConfig, GitStatus
from trio_update.updaters.git.refuse import refuse_change, refuse_version, space_steps
from trio_update.updaters.git.target import Chosen, choose_target, follows_from_head, track, version_ahead
from trio_update.updaters.plans import ShownPlans, identified, outdated
from trio_update.updaters.release.goal import Goal, recovery_version, rollback_version, upgrade_goal
from trio_update.updaters.release.info import ReleaseInfo
from trio_update.updaters.release.judge import initial_status
from trio_update.updaters.release.kind import WebConfig, ZipConfig
from trio_update.updaters.release.look import Look, Place
from trio_update.updaters.release.shelf import Kept, Record
from trio_update.updaters.space import RESERVE, Disk, Step, exact, shortage, tightness, upper_bound
from trio_update.versions import GitVersion

HEAD, TIP, OTHER = "a" * 40, "b" * 40, "c" * 40
APP = AppName("app")
CONFIG = GitRepoConfig(name=APP, path=Path("/nowhere/app"), origin="https://example.org/ada/app.git")
ORIGIN = Tracking("origin", "master", "https://example.org/ada/app.git")
SETTINGS = Settings(
    {
        "remote.origin.url": ("https://example.org/ada/app.git",),
        "branch.master.remote": ("origin",),
        "branch.master.merge": ("refs/heads/master",),
    }
)
FOLDER = GitFolder(
    path=CONFIG.path,
    git_dir=CONFIG.path / ".git",
    common_dir=CONFIG.path / ".git",
    linked=False,
    branch="master",
    head=None,
    shallow=False,
    index_whole=True,
    config_identity=(),
)
DISK = Disk(CONFIG.path, 1 << 40)


def a_tree(**changes: Any) -> WorkTree:
    tree = WorkTree(head=HEAD, branch="master", upstream="origin/master", ahead=0, behind=3)
    return dataclasses.replace(tree, **changes)


def seen(tree: WorkTree | None = None, **changes: Any) -> Seen:
    values: dict[str, Any] = {"tracking": ORIGIN, "upstream": TIP}
    return Seen(FOLDER, SETTINGS, tree or a_tree(), **(values | changes))


def tags(*names: str) -> tuple[Tag, ...]:
    return tuple(Tag(name, str(number) * 40) for number, name in enumerate(names))


@pytest.mark.parametrize(
    ("channel", "facts", "target"),
    [
        (Channel.DEV, seen(), TIP),
        (Channel.DEV, seen(a_tree(ahead=2, behind=0)), HEAD),
        (Channel.DEV, seen(a_tree(ahead=2, behind=1)), TIP),
        (Channel.DEV, seen(upstream=None), None),
        (Channel.DEV, seen(tracking=None, upstream=None), None),
        (Channel.DEV, seen(pin=Pin(OTHER, ahead=True)), OTHER),
        (Channel.DEV, seen(pin=Pin(OTHER, ahead=False)), HEAD),
        (Channel.DEV, seen(pin=Pin(None, ahead=False)), HEAD),
        (Channel.STABLE, seen(), HEAD),
        (Channel.STABLE, seen(tags=tags("nightly", "v2.0.0-rc1", "v1.9.0")), "2" * 40),
        (Channel.BETA, seen(tags=tags("nightly", "v2.0.0-alpha1", "v2.0.0-rc1", "v1.9.0")), "2" * 40),
        (Channel.STABLE, seen(tags=tags("nightly", "v2.0.0-rc1")), HEAD),
        (Channel.STABLE, seen(upstream=None, tags=tags("v1.9.0")), None),
        (Channel.STABLE, seen(pin=Pin(OTHER, ahead=True), tags=tags("v1.9.0")), OTHER),
    ],
)
def test_the_target_of_an_upgrade(channel: Channel, facts: Seen, target: str | None) -> None:
    assert choose_target(channel, facts).commit == target


@pytest.mark.parametrize(
    ("branch", "values", "expected"),
    [
        ("master", SETTINGS.values, ORIGIN),
        ("other", SETTINGS.values, None),
        (None, SETTINGS.values, ORIGIN),
        (None, {"remote.fork.url": ("u",)}, Tracking("fork", "master", "u")),
        (None, {"remote.fork.url": ("u",), "remote.more.url": ("v",)}, None),
        ("master", {key: value for key, value in SETTINGS.values.items() if "url" not in key}, "no url"),
    ],
)
def test_the_branch_that_is_followed(branch: str | None, values: Any, expected: Any) -> None:
    found = track(CONFIG, dataclasses.replace(FOLDER, branch=branch), Settings(values))
    assert found == (Tracking("origin", "master", None) if expected == "no url" else expected)


def test_versions_that_follow_from_the_one_of_head() -> None:
    version = GitVersion("v1.0", 2, HEAD[:8])
    assert version_ahead(version, HEAD, Chosen(None), 0) is None
    assert version_ahead(version, HEAD, Chosen(HEAD), 0) == version
    assert version_ahead(version, HEAD, Chosen(TIP), 3) == GitVersion("v1.0", 5, TIP[:8])
    assert version_ahead(version, HEAD, Chosen(TIP, Tag("v2.0", TIP)), 3) == GitVersion("v2.0", 0, TIP[:8])
    assert follows_from_head(seen(), Chosen(TIP), tagged=False)
    assert not follows_from_head(seen(), Chosen(TIP), tagged=True)
    assert not follows_from_head(seen(a_tree(ahead=1)), Chosen(TIP), tagged=False)
    assert follows_from_head(seen(a_tree(ahead=1)), Chosen(HEAD), tagged=True)


def judged(tree: WorkTree | None = None, *, debug: bool = False, **changes: Any) -> GitStatus:
    facts = Facts(seen(tree, **changes), TIP, GitVersion("v1.0", 0, "a" * 8), GitVersion("v1.0", 3, "b" * 8))
    unknown = Unknown("not looked at yet")
    names = ("version", "remote_version", "rollback_version", "full_version_string", "current_hash", "remote_hash")
    more = ("remote_alias", "remote_url", "recovery_url", "owner", "repo_name", "branch")
    known: Any = dict.fromkeys((*names, *more), unknown)
    return judge(CONFIG, facts, GitStatus(name=APP, channel=Channel.DEV, **known), debug=debug)


@pytest.mark.parametrize(
    ("tree", "changes", "warning"),
    [
        (a_tree(), {}, None),
        (a_tree(head=None), {}, "The repository has no commit"),
        (a_tree(), {"tracking": None}, "No tracking remote for branch 'master'"),
        (a_tree(), {"tracking": Tracking("origin", "master", None)}, "No URL for remote 'origin'"),
        (a_tree(), {"upstream": None}, "Branch 'master' not found on remote 'origin'"),
        (a_tree(modified=(b"x",)), {}, "Repo is dirty, modified files: x"),
        (a_tree(modified=tuple(b"%d" % n for n in range(7))), {}, "modified files: 0, 1, 2, 3, 4 and 2 more"),
        (a_tree(ahead=1, behind=2), {}, "Repo has diverged from remote: 1 local and 2 remote commits"),
    ],
)
def test_what_makes_a_clone_invalid(tree: WorkTree, changes: dict[str, Any], warning: str | None) -> None:
    status = judged(tree, **changes)
    assert status.is_valid == (warning is None)
    assert len(status.warnings) == (warning is not None)
    assert warning is None or warning in status.warnings[0]


def a_change(**changes: Any) -> Change:
    values: dict[str, Any] = {"files": {b"main.py": Difference("M", "100644", "d" * 40)}, "sizes": (10,)}
    return Change(**(values | {"disk": DISK} | changes))


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        (a_change(), None, ""),
        (a_change(taken=(b"new",)), Reason.INVALID, "untracked files are in the place of new ones"),
        (a_change(locked=("lib",)), Reason.INVALID, "cannot be written to: lib."),
        (a_change(mounted=(b"main.py",)), Reason.INVALID, "mounted on files that change: main.py"),
        (a_change(concealed=(b"main.py",)), Reason.INVALID, "hidden from git (assume-unchanged"),
        (a_change(changed_in_hiding=("a",), concealed=(b"main.py",)), Reason.INVALID, "you changed files"),
        (a_change(disk=Disk(CONFIG.path, RESERVE)), Reason.NO_SPACE, "8.0 MiB needed, 8.0 MiB free"),
        (a_change(disk=Disk(CONFIG.path, RESERVE + 4096)), None, ""),
        (a_change(sizes=None, disk=Disk(CONFIG.path, 0)), None, ""),
        (a_change(disk=Disk(CONFIG.path, Unknown("?"))), None, ""),
    ],
)
def test_what_stands_in_the_way_of_a_move(change: Change, reason: Reason | None, words: str) -> None:
    found = refuse_change(CONFIG, change, "v2")
    assert [refusal.reason for refusal in found] == ([] if reason is None else [reason])
    assert not found or words in found[0].message


def test_a_submodule_has_no_size() -> None:
    (step,) = space_steps(a_change(files={b"part": Difference("M", "160000", "d" * 40)}, sizes=None), "v2")
    assert step.most == Unknown("submodules change, whose files git does not count")


def test_an_upgrade_is_decided_from_facts_alone() -> None:
    facts = Facts(seen(), TIP, GitVersion("v1.0", 0, "a" * 8), GitVersion("v1.0", 3, "b" * 8), (), 3)
    status = judged()
    decision = decide_upgrade(CONFIG, Upgrade(), status, facts, status, a_change())
    assert (decision.plan.from_version, decision.plan.to_version, decision.plan.to_hash) == ("v1.0-0", "v1.0-3", TIP)
    assert (decision.plan.disk_needed, decision.plan.disk_free, decision.plan.download_bytes) == (4096, 1 << 40, 0)
    assert (decision.refusals, decision.plan.refusals) == ((), ())
    assert decision.way is not None
    refused = decide_upgrade(CONFIG, Upgrade(), status, facts, status, a_change(taken=(b"x",)))
    assert refused.plan.refusals == tuple(refusal.message for refusal in refused.refusals) != ()
    assert refused.way is None, "what is refused cannot be carried out by mistake"
    assert refused.plan.plan_id == decision.plan.plan_id


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (None, "was not updated yet"),
        (Wanted("v7"), "has no version 'v7'"),
        (Wanted("v7", HEAD), "is at v7 already"),
        (Wanted("v7", TIP), "'v7' is no earlier version"),
        (Wanted("v7", OTHER, "v7-0", behind=True), ""),
    ],
)
def test_where_a_clone_cannot_go_back_to(wanted: Wanted | None, words: str) -> None:
    found = refuse_version(CONFIG, wanted, HEAD)
    assert len(found) == bool(words)
    assert not words or (found[0].reason, words in found[0].message) == (Reason.BAD_VERSION, True)


def test_the_version_before() -> None:
    earlier = (Release(version="v1", hash=TIP), Release(version="v2", hash=OTHER), Release(version="v1", hash=HEAD))
    assert earlier_version(Rollback(None)) is None
    assert earlier_version(Rollback(None, earlier)) == "v1"
    assert earlier_version(Rollback("v9", earlier)) == "v9"
    assert recorded_commit(earlier, "v1") == HEAD
    assert recorded_commit(earlier, "v3") is None


def test_differences_are_read_with_their_objects() -> None:
    raw = b":100644 100755 %b %b M\0a\nb\0:000000 160000 %b %b A\0part\0" % (b"1" * 40, b"2" * 40, b"0" * 40, b"3" * 40)
    assert read_differences(raw) == {
        b"a\nb": Difference("M", "100755", "2" * 40),
        b"part": Difference("A", "160000", "3" * 40),
    }
    assert read_differences(raw)[b"part"].is_submodule
    assert read_differences(b"") == {}


# Releases

WEB = WebConfig(name=APP, path=Path("/nowhere/app"), repo="ada/app")
DIGEST = "5" * 64


def kept(version: str, used: int = 1, sha256: str = DIGEST) -> Kept:
    record = Record(version=version, asset_name="app.zip", sha256=sha256, size=9, used=used)
    return Kept(Path("/nowhere/shelf") / version, record)


def a_look(version: str | None = "v2.0.0", *shelf: Kept) -> Look:
    info = ReleaseInfo("ada", "app", version) if version is not None else None
    return Look(Place(WEB.path, executable=False), exists=True, info=info, kept=shelf)


ASSET = Asset(name="app.zip", url="https://example.org/app.zip", size=9, digest=f"sha256:{DIGEST}")


def release(tag: str) -> RemoteRelease:
    return RemoteRelease(repo="ada/app", tag=tag, assets=(ASSET,))


@pytest.mark.parametrize("newest", ["v2.0.0", "2.0", "v1.9.0"])
def test_what_is_not_newer_is_no_goal(newest: str) -> None:
    assert upgrade_goal(a_look(), release(newest), ASSET) is None


def test_a_kept_copy_is_taken_only_when_it_is_what_the_release_holds() -> None:
    newest = release("v3.0.0")
    assert upgrade_goal(a_look(), newest, ASSET) == Goal("v3.0.0", release=newest, asset=ASSET)
    whole, other = kept("3.0.0"), kept("v3.0.0", sha256="6" * 64)
    for shelf, taken in ((whole, whole), (other, None)):
        goal = upgrade_goal(a_look("v2.0.0", shelf), newest, ASSET)
        assert goal is not None
        assert goal.kept == taken


@pytest.mark.parametrize(
    ("request_", "shelf", "expected"),
    [
        (Rollback("v1.0.0"), (), "v1.0.0"),
        (Rollback("v2.0"), (), "is at v2.0 already"),
        (Rollback("v3.0.0"), (), "is no earlier version"),
        (Rollback(None), (), "was not updated yet"),
        (Rollback(None), (kept("v1.0.0"), kept("v1.5.0", 2), kept("v3.0.0", 3)), "v1.5.0"),
        (Rollback(None, (Release(version="v1.2.0"),)), (kept("v1.5.0"),), "v1.2.0"),
    ],
)
def test_the_version_that_a_rollback_goes_to(request_: Rollback, shelf: tuple[Kept, ...], expected: str) -> None:
    found = rollback_version(WEB, a_look("v2.0.0", *shelf), request_)
    if isinstance(found, Refusal):
        assert (found.reason, expected in found.message) == (Reason.BAD_VERSION, True)
    else:
        assert found == expected


def test_the_version_that_a_recovery_brings_back() -> None:
    status = initial_status(WEB, debug=False)
    assert recovery_version(a_look("v2.0.0", kept("v1.0.0")), status) == "v2.0.0"
    assert recovery_version(a_look(None, kept("v1.0.0"), kept("v1.5.0", 2)), status) == "v1.5.0"
    assert recovery_version(a_look(None), msgspec.structs.replace(status, version="v1.1.0")) == "v1.1.0"
    assert recovery_version(a_look(None), status) is None


# Space and ids

MIB = 1 << 20


def test_the_step_for_which_there_is_no_room_is_named() -> None:
    steps = (exact("one", 2 * MIB), Step("two", 0, 50 * MIB), exact("three", 4 * MIB))
    assert upper_bound(steps) == 56 * MIB
    short = shortage(steps, Disk(Path("/disk"), RESERVE + 5 * MIB))
    assert short is not None
    assert "on the disk of /disk for three: 14.0 MiB needed, 13.0 MiB free. Free" in short.message
    assert shortage(steps, Disk(Path("/disk"), RESERVE + 6 * MIB)) is None
    assert shortage(steps, Disk(Path("/disk"), RESERVE, removable=6 * MIB)) is None
    assert "up to 64.0 MiB may be needed" in tightness(steps, Disk(Path("/disk"), RESERVE + 6 * MIB))
    assert tightness(steps, Disk(Path("/disk"), RESERVE + 56 * MIB)) == ""
    assert tightness(steps, Disk(Path("/disk"), 0)) == "", "it is refused, and not warned of"
    why = Unknown("nobody tells")
    assert upper_bound((*steps, Step("four", 0, why))) == why


A_PLAN = Plan(
    name=APP,
    up_to_date=False,
    from_version="v1.0",
    to_version="v1.1",
    from_hash=HEAD,
    to_hash=TIP,
    asset_name="app.zip",
    asset_size=9,
    asset_digest="sha256:55",
    packages_install=("one",),
    download_bytes=9,
    disk_free=1,
    disk_needed=2,
)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"disk_free": 7, "disk_needed": 8, "download_bytes": 0}, True),
        ({"warnings": ("x",), "refusals": ("y",), "release_notes": "z", "commits_count": 4}, True),
        ({"from_version": "v0.9"}, False),
        ({"to_version": "v1.2"}, False),
        ({"from_hash": OTHER}, False),
        ({"to_hash": OTHER}, False),
        ({"asset_name": "other.zip"}, False),
        ({"asset_size": 10}, False),
        ({"asset_digest": "sha256:66"}, False),
        ({"packages_install": ("two",)}, False),
        ({"packages_upgrade": ("one",)}, False),
        ({"packages_remove": ("one",)}, False),
        ({"name": AppName("other")}, False),
    ],
)
def test_what_makes_another_plan(changes: dict[str, Any], same: bool) -> None:
    one = identified(A_PLAN, "Upgrade")
    other = identified(msgspec.structs.replace(A_PLAN, **changes), "Upgrade")
    assert (one.plan_id == other.plan_id) == same
    assert (outdated(one.plan_id, one, other) == ()) == same
    assert outdated("", None, other) == ()


def test_the_same_change_by_another_request_is_another_plan() -> None:
    assert identified(A_PLAN, "Upgrade").plan_id != identified(A_PLAN, "Rollback").plan_id


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"to_version": "v1.2"}, "it was v1.0 → v1.1, now it is v1.0 → v1.2."),
        ({"from_version": "v1.1", "up_to_date": True, "to_hash": HEAD}, "now it is nothing to do at v1.1 (aaaaaaaa)"),
        ({"asset_name": "b.zip"}, "asset b.zip instead of app.zip"),
        ({"asset_size": 10}, "app.zip has another content (9 bytes, sha256:55, now 10 bytes, sha256:55)"),
        ({"packages_remove": ("all",)}, "packages to remove: all instead of none"),
        ({"to_version": Unknown("no answer")}, "now it is v1.0 → an unknown version (no answer)"),
    ],
)
def test_the_words_for_what_has_changed(changes: dict[str, Any], words: str) -> None:
    one = identified(A_PLAN, "Upgrade")
    (refusal,) = outdated(one.plan_id, one, identified(msgspec.structs.replace(A_PLAN, **changes), "Upgrade"))
    assert refusal.reason is Reason.PLAN_CHANGED
    assert words in refusal.message


def test_only_the_plans_that_were_shown_last_are_known() -> None:
    shown = ShownPlans()
    plans = [identified(msgspec.structs.replace(A_PLAN, to_version=f"v{n}"), "Upgrade") for n in range(12)]
    for plan in (*plans, plans[5]):
        shown.add(plan)
    assert [shown.find(APP, plan.plan_id) is not None for plan in plans] == [False] * 4 + [True] * 8
    assert shown.find(AppName("other"), plans[-1].plan_id) is None


def test_lists_of_packages_are_of_zip_apps() -> None:
    config = ZipConfig(name=APP, path=WEB.path, repo="ada/app", requirements="r.txt", enable_node_updates=True)
    assert config.dependency_files == ("r.txt", "package.json", "package-lock.json")
    assert WEB.dependency_files == ()
