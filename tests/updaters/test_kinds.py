"""One record for a kind of app: what it must say, and that others may bring theirs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trio_update import AppStatus, Config, ConfigInvalid, KindInvalid, open_manager, parse_config
from trio_update.config import AppConfig, scalar
from trio_update.config.convert import as_flag, as_path
from trio_update.updaters.base import Tools, Updater
from trio_update.updaters.kinds import Kind, all_kinds, built_in_kinds, effects_of, judge_config


class BoardConfig(AppConfig, frozen=True, kw_only=True, tag="board"):
    image: Path
    loud: bool = False


class BoardStatus(AppStatus, frozen=True, kw_only=True, tag="board"):
    pass


class Flash(msgspec.Struct, frozen=True, tag="flash"):
    reversible: bool = True

    async def apply(self, tools: Tools, report: object) -> None: ...
    async def settle(self, tools: Tools, report: object) -> None: ...
    async def discard(self, tools: Tools, report: object) -> None: ...


def no_updater(config: Any, tools: Tools) -> Updater:
    raise AssertionError("no app of this kind is managed here")


BOARD = Kind(
    config=BoardConfig,
    status=BoardStatus,
    options={"image": scalar(as_path), "loud": scalar(as_flag)},
    effects=lambda: (Flash,),
    make=no_updater,
)


def test_a_further_kind_is_read_like_any_other(tmp_path: Path) -> None:
    text = f"[update_manager x]\ntype: board\npath: {tmp_path}\nimage: /i\nloud: yes\nhold: wait\n"
    config = parse_config(text, [BOARD])
    assert config.problems == ()
    (app,) = config.apps
    assert app == BoardConfig(name=app.name, path=tmp_path, image=Path("/i"), loud=True, hold="wait")
    assert app.managed_services == ("x",)
    assert judge_config(config, [BOARD]) == config
    with pytest.raises(ConfigInvalid, match="BoardConfig belongs to no known kind of app"):
        judge_config(config)
    (problem, *_) = parse_config(text).problems
    assert "'type' must be one of git_repo, web, zip, executable, python, not `board`" in str(problem)
    missing = parse_config(f"[update_manager x]\ntype: board\npath: {tmp_path}\nrepo: a/b\n", [BOARD])
    assert missing.disabled[0].reasons == ("the option 'image' is missing",)
    assert missing.disabled[0].type == "board"


def test_a_kind_that_replaces_its_folder_is_kept_apart_from_others(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    text = (
        f"[update_manager x]\ntype: board\npath: {tmp_path}\nimage: /i\n"
        f"[update_manager y]\ntype: web\npath: {tmp_path}/inner\nrepo: a/b\n"
    )
    (problem,) = parse_config(text, [BOARD]).problems
    assert problem.message.endswith("an update would replace that too. Move one of them")
    for kind in (replace(BOARD, keeps_strangers=True), replace(BOARD, replaces_folder=False)):
        assert parse_config(text, [kind]).problems == ()


def test_what_python_apps_say_is_known_and_not_supported_yet() -> None:
    config = parse_config("[update_manager x]\ntype: python\nvirtualenv: /v\nproject_name: p\n")
    assert [(app.type, app.reasons) for app in config.disabled] == [
        ("python", ("apps of type python are not supported by this version yet",))
    ]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"status": AppStatus}, "AppStatus must have the tag 'board', as BoardConfig has"),
        ({"config": AppConfig}, "AppConfig must have the type of its kind of app as its tag"),
        ({"required": ("pin",)}, "kind 'board' requires options that it does not have: pin"),
    ],
)
def test_a_kind_that_contradicts_itself_is_refused(changes: dict[str, Any], why: str) -> None:
    values: dict[str, Any] = {
        "config": BoardConfig,
        "status": BoardStatus,
        "options": BOARD.options,
        "effects": BOARD.effects,
        "make": no_updater,
    }
    with pytest.raises(KindInvalid, match=why):
        Kind(**(values | changes))


async def test_kinds_that_contradict_one_another_are_refused(tmp_path: Path) -> None:
    class Other(Flash, frozen=True, tag="move_head"):
        pass

    class Untagged(msgspec.Struct):
        pass

    assert Flash in effects_of(all_kinds([BOARD]))
    with pytest.raises(KindInvalid, match="two kinds of apps of the type board"):
        all_kinds([BOARD, BOARD])
    with pytest.raises(KindInvalid, match="two effects have the tag 'move_head', MoveHead and"):
        async with open_manager(Config(), data_path=tmp_path, kinds=[replace_effects(Other)]):
            raise AssertionError("a journal entry could be read as either")
    with pytest.raises(KindInvalid, match=r"Untagged of kind 'board' must be a msgspec\.Struct with a tag"):
        effects_of([*built_in_kinds(), replace_effects(Untagged)])


def replace_effects(*effects: Any) -> Kind:
    return Kind(config=BoardConfig, status=BoardStatus, options=BOARD.options, effects=lambda: effects, make=no_updater)
