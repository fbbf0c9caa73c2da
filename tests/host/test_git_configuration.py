"""A user's git configuration changes what git shows to people, never what is read of a clone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.upstream import Upstream, git
from trio_update.host.git.contents import changed_in_hiding, hidden, status
from trio_update.host.git.repository import Repository
from trio_update.host.git.transfer import fetch
from trio_update.host.processes.runner import Runner

SETTINGS: Sequence[tuple[str, str]] = [
    *((f"color.{what}", "always") for what in ("ui", "diff", "status", "branch", "decorate", "remote", "advice")),
    *((f"column.{what}", "always") for what in ("ui", "branch", "status", "tag")),
    *(("i18n.logOutputEncoding", "UTF-16"), ("i18n.commitEncoding", "ISO-8859-1")),
    *((f"log.{what}", "true") for what in ("abbrevCommit", "follow", "showRoot", "showSignature", "mailmap")),
    *(("log.date", "relative"), ("log.decorate", "short"), ("log.excludeDecoration", "refs/tags/*")),
    *(("log.initialDecorationSet", "all"), ("log.diffMerges", "on"), ("format.pretty", "oneline")),
    *(("format.notes", "true"), ("notes.displayRef", "refs/notes/*"), ("core.abbrev", "5"), ("core.quotePath", "true")),
    *((f"status.{what}", "true") for what in ("branch", "short", "showStash", "submoduleSummary")),
    *(("status.aheadBehind", "false"), ("status.renames", "true"), ("status.showUntrackedFiles", "no")),
    *(("status.relativePaths", "true"), ("diff.noprefix", "true"), ("diff.mnemonicPrefix", "true")),
    *(("diff.external", "false"), ("diff.orderFile", "/nowhere"), ("diff.renames", "copies"), ("diff.context", "0")),
    *(("diff.ignoreSubmodules", "all"), ("diff.submodule", "log"), ("diff.relative", "true")),
    *(("core.pager", "false"), ("pager.log", "true"), ("tag.sort", "-refname"), ("tag.gpgSign", "true")),
    *(("alias.log", "!false"), ("alias.status", "!false"), ("submodule.recurse", "true"), ("fetch.pruneTags", "true")),
    *(("fetch.output", "compact"), ("core.warnAmbiguousRefs", "true"), ("versionsort.suffix", "-rc")),
]


async def everything(repository: Repository) -> list[Any]:
    log = await repository.log("v1.0.0", "HEAD")
    return [
        await status(repository),
        log.commits(),
        log.count,
        await repository.refs("refs/tags"),
        await repository.describe("HEAD", "v1.0.0"),
        await repository.differences("v1.0.0", "HEAD"),
        await repository.changed(),
        await repository.tracked(),
        await repository.tracked_by("HEAD"),
        await hidden(repository),
        await changed_in_hiding(repository),
        await repository.resolve("HEAD"),
    ]


@pytest.mark.parametrize("where", ["--global", "--local"])
async def test_nothing_that_is_read_depends_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    upstream = Upstream(tmp_path / "upstream")
    upstream.commit({"sub/a": "1", "größe": "1", "hidden": "1"}, tag="v1.0.0")
    path = upstream.clone(tmp_path / "app")
    upstream.commit({"sub/b": "2", "c": "1"}, tag="v1.1.0")
    git(path, "pull", "-q")
    git(path, "notes", "add", "-m", "a note")
    (path / "main.py").write_text("mine\n")
    (path / "größe").write_text("mine\n")
    (path / "new é").write_text("mine\n")
    git(path, "stash", "-q")
    git(path, "stash", "apply", "-q")
    git(path, "mv", "c", "moved")
    git(path, "update-index", "--assume-unchanged", "hidden")
    (path / "hidden").write_text("x")
    upstream.commits(2)
    git(path, "fetch", "-q")
    repository = Repository(path, Runner("test"))
    expected = await everything(repository)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    for key, value in SETTINGS:
        git(path, "config", where, key, value, environ={"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")})
    monkeypatch.setenv("GIT_DIFF_OPTS", "-u0")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    for found, wanted in zip(await everything(repository), expected, strict=True):
        assert found == wanted


async def test_a_fetch_leaves_the_users_own_tags(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "upstream")
    upstream.commit(tag="v1.0.0")
    path = upstream.clone(tmp_path / "app")
    git(path, "tag", "mine")
    git(path, "config", "fetch.pruneTags", "true")
    await fetch(Repository(path, Runner("test")), "origin")
    assert git(path, "tag") == "mine\nv1.0.0"


async def test_a_hidden_change_of_the_same_size_within_a_second_is_found_later(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "upstream")
    upstream.commit({"hidden": "1"})
    # All of it within one second of the clock: git compares no fractions.
    await trio.sleep(1 - time.time() % 1)
    (upstream.path / "hidden").write_text("2")
    git(upstream.path, "add", "hidden")
    git(upstream.path, "update-index", "--assume-unchanged", "hidden")
    (upstream.path / "hidden").write_text("3")
    await trio.sleep(1.1)
    assert await changed_in_hiding(Repository(upstream.path, Runner("test"))) == ("hidden",)
