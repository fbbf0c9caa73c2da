"""Configurations over several files, and files that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.config.conftest import Write, problems_of
from trio_update import load_config
from trio_update.config import ConfigInvalid, Problem


def _app(name: str) -> str:
    return f"[update_manager {name}]\ntype: git_repo\npath: ~/app\norigin: /srv/a\n"


@pytest.fixture(autouse=True)
def _installed(home: Path) -> None:
    (home / "app").mkdir()


def _names(path: Path) -> list[str]:
    config = load_config(path)
    assert config.problems == ()
    return [app.name for app in config.apps]


def test_includes_stand_for_their_sections(home: Path, write: Write) -> None:
    (home / "elsewhere.conf").write_text(_app("elsewhere"))
    write(_app("deep"), "sub/deep.conf")
    write(f"[include deep.conf]\n{_app('sub')}", "sub/it.conf")
    write(_app("g2"), "glob/2.conf")
    write(_app("g1"), "glob/1.conf")
    write(_app("g3"), "glob/3.cfg")
    write(_app("hidden"), "glob/.4.conf")
    (home / "config/glob/dir.conf").mkdir()
    write(_app("absolute"), "abs.conf")
    path = write(
        f"{_app('first')}[include sub/it.conf]\n[include glob/*.conf]\n[include none/*.conf] # not yet\n"
        f"[include ~/elsewhere.conf]\n[include {home}/config/ab[rst].conf]\n{_app('last')}"
    )
    assert _names(path) == ["first", "deep", "sub", "g1", "g2", "elsewhere", "absolute", "last"]


def test_folders_and_files_with_names_like_globs(write: Write) -> None:
    write(_app("a"), "b[1]/x.conf")
    write(_app("b"), "b[1]/y[2].conf")
    assert _names(write("[include x.con?]\n[include y[2].conf]", "b[1]/moonraker.conf")) == ["a", "b"]


def test_problems_carry_their_file(write: Write) -> None:
    other = write(f"\n{_app('a')}bogus: 1\n", "other.conf")
    path = write("[include other.conf]\n[update_manager b]\n")
    assert [str(problem) for problem in load_config(path).problems] == [
        f"{path}:2: [update_manager b] the option 'type' is missing",
        f"{other}:6: [update_manager a] unknown option 'bogus'",
    ]


def test_a_duplicate_in_another_file(write: Write) -> None:
    other = write(_app("a"), "other.conf")
    path = write(f"[include other.conf]\n{_app('a')}")
    config = load_config(path)
    (problem,) = config.problems
    assert str(problem).startswith(f"{path}:2: [update_manager a] duplicate name 'a': already at {other}:1;")
    assert [app.name for app in config.disabled] == ["a"]


def test_files_that_include_themselves(write: Write) -> None:
    write(f"[include sub/../moonraker.conf]\n{_app('b')}[include other.conf]", "other.conf")
    other = write("", "sub/x").parent.parent / "other.conf"
    path = write(f"[include other.conf]\n{_app('a')}")
    config = load_config(path)
    assert [app.name for app in config.apps] == ["b", "a"]
    assert config.problems == (
        Problem(
            str(other),
            1,
            f"cannot include {path.parent}/sub/../moonraker.conf again: it includes itself, directly or through others",
        ),
        Problem(str(other), 6, f"cannot include {other} again: it includes itself, directly or through others"),
    )


def test_a_file_that_is_included_twice(write: Write) -> None:
    other = write(_app("a"), "other.conf")
    (other.parent / "link.conf").symlink_to(other)
    path = write("[include other.conf]\n[include link.conf]")
    config = load_config(path)
    assert [app.name for app in config.apps] == ["a"]
    assert config.problems == (
        Problem(str(path), 2, f"cannot include {path.parent}/link.conf again: already included at {path}:1"),
    )


def test_options_below_an_include_are_lost_and_told(write: Write) -> None:
    write("", "other.conf")
    path = write("[update_manager]\n[include other.conf] x\nchannel: beta\nwords\n")
    assert [(problem.line, problem.message) for problem in problems_of(path)] == [
        (2, "there is text after the section header"),
        (3, "this option stands below an include and belongs to no section"),
        (4, "this line is not an option (`name: value`)"),
    ]


@pytest.mark.parametrize(
    ("include", "why"),
    [
        ("gone.conf", "cannot include {folder}/gone.conf: it does not exist"),
        ("gone/x.conf", "cannot include {folder}/gone/x.conf: it does not exist"),
        ("folder", "cannot include {folder}/folder: it is a folder"),
        ("pipe", "cannot include {folder}/pipe: it is not a regular file"),
        ("loop", "cannot include {folder}/loop: Too many levels of symbolic links"),
        ("lo*", "cannot include {folder}/loop: Too many levels of symbolic links"),
        ("large", "cannot include {folder}/large: it is larger than 1024 KiB"),
        ("~nobody-of-that-name/x", "cannot include ~nobody-of-that-name/x: that user's home is not known"),
        ("a\x00*", "the include names no file"),
        ("", "the include names no file"),
    ],
)
def test_an_include_that_cannot_be_read_stops_the_start(write: Write, include: str, why: str) -> None:
    path = write(f"\n[include {include}]\n[update_manager b]\n")
    folder = path.parent
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    (folder / "large").write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(ConfigInvalid) as caught:
        load_config(path)
    assert caught.value.problems == (
        Problem(str(path), 2, why.format(folder=folder)),
        Problem(str(path), 3, "[update_manager b] the option 'type' is missing"),
    )


def test_includes_that_go_too_deep(write: Write) -> None:
    for depth in range(40):
        write(f"[include {depth + 1}.conf]", f"{depth}.conf")
    path = write("[include 0.conf]")
    (problem,) = problems_of(path)
    assert problem == Problem(
        str(path.parent / "31.conf"),
        1,
        f"cannot include {path.parent}/32.conf: includes are nested deeper than 32",
    )


def test_text_that_is_not_utf8(write: Write) -> None:
    other = write("[a]\n# größe\n".encode("latin-1"), "other.conf")
    path = write("[include other.conf]\n")
    with pytest.raises(ConfigInvalid) as caught:
        load_config(path)
    assert caught.value.problems == (
        Problem(str(other), 2, "cannot read the configuration: byte 0xF6 is not UTF-8; save the file as UTF-8"),
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gone.conf", "it does not exist"),
        ("", "it is a folder"),
        ("moonraker.conf/x", "Not a directory"),
    ],
)
def test_a_main_file_that_cannot_be_read(write: Write, name: str, why: str) -> None:
    path = write("").parent / name
    with pytest.raises(ConfigInvalid) as caught:
        load_config(path)
    assert caught.value.problems == (Problem(str(path), 0, f"cannot read the configuration: {why}"),)


def test_a_main_file_in_the_working_folder(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write(_app("a"), "other.conf")
    monkeypatch.chdir(write("[include other.conf]\n[trio_update]\nport: 80\n").parent)
    assert _names(Path("moonraker.conf")) == ["a"]
