"""Text → sections: the format, line by line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_update.config.ini import Document, Fault, Option, Section, parse


def _options(text: str) -> dict[str, str]:
    (section,) = parse("[s]\n" + text, "f").sections
    assert section.faults == ()
    return {option.name: option.value for option in section.options}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("key: value", "value"),
        ("key = value", "value"),
        ("key:value", "value"),
        ("KEY : Value ", "Value"),
        ("key: a=b:c", "a=b:c"),
        ("key = a: b", "a: b"),
        ("key:", ""),
        ("key: value # comment", "value"),
        ("key: value\t; comment", "value"),
        ("key: val#ue;x", "val#ue;x"),
        ("key: # nothing", ""),
        ("key: {% set x = $HOME %}", "{% set x = $HOME %}"),
        ("key: %(other)s ${a:b}", "%(other)s ${a:b}"),
    ],
)
def test_one_line(text: str, value: str) -> None:
    assert _options(text) == {"key": value}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:\n  x\n  y\nb: z", {"a": "\nx\ny", "b": "z"}),
        ("a: x\n\ty\n\n\tz\n\nb: 1", {"a": "x\ny\n\nz\n", "b": "1"}),
        ("a:\n  x\n# comment\n  # another\n  y ; inline\nb: 1", {"a": "\nx\n\n\ny", "b": "1"}),
        ("a:\n  k: v\n  [not a section]\n  just text", {"a": "\nk: v\n[not a section]\njust text"}),
        ("  a: x\n  b: y\n    more", {"a": "x", "b": "y\nmore"}),
        ("    a: x\n\tb: y", {"a": "x", "b": "y"}),
        ("a: x\r\n  y\r\nb: z\r\n", {"a": "x\ny", "b": "z\n"}),
    ],
)
def test_values_over_several_lines(text: str, expected: dict[str, str]) -> None:
    assert _options(text) == expected


def test_lines_are_those_of_an_editor() -> None:
    document = parse("\ufeff; first\n\n[a] # c\nx: \x0c1\x85\x0b\n\n  [b]\r\n; y\r\ny: 2", "f")
    assert document == Document((Section("a", "f", 3, (Option("x", "1\n\n[b]\n", 4), Option("y", "2", 8))),))


def test_an_indented_header_without_an_option_above_is_a_header() -> None:
    assert [section.name for section in parse("  [a]\n    [b]\n  x: 1\n    [c]\n[ d  e ]", "f").sections] == [
        "a",
        "b",
        "d  e",
    ]


def test_names_and_globs_in_headers() -> None:
    names = [section.name for section in parse("[include a[0-9].conf]\n[power x]\n[]\n[include b] ; c", "f").sections]
    assert names == ["include a[0-9].conf", "power x", "", "include b"]


def test_lines_that_are_no_options() -> None:
    (section,) = parse("[s]\nx: 1\nno option\n  indented: below\n: no name\n  more\ny: 2", "f").sections
    assert [option.name for option in section.options] == ["x", "y"]
    assert section.faults == (
        Fault(3, "this line is not an option (`name: value`)"),
        Fault(5, "this line is not an option (`name: value`)"),
    )


def test_broken_headers_are_told_in_both_sections() -> None:
    first, second, third = parse("[a]\nx: 1\n[b\ny: 2\n[c] d\nz: 3", "f").sections
    unclosed = Fault(3, "the section header has no closing `]`")
    assert (first.name, first.faults) == ("a", (unclosed,))
    assert (second.name, second.options, second.faults) == ("b", (Option("y", "2", 4),), (unclosed,))
    assert (third.name, third.faults) == ("c", (Fault(5, "there is text after the section header"),))


def test_lines_above_the_first_section_are_told_once() -> None:
    document = parse("\nx: 1\ny: 2\n[a]", "f")
    assert document.faults == (Fault(2, "this line stands above the first `[section]` and belongs to none"),)
    assert len(document.sections) == 1


@given(st.text(alphabet=st.sampled_from("ab[]:=#; \t\n\r\ufeff\x00\x0c{}%$é")))
def test_any_text_is_taken_apart_and_lines_are_kept(text: str) -> None:
    count = text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
    for section in parse(text, "f").sections:
        assert 1 <= section.line <= count
        for option in section.options:
            assert section.line < option.line
            assert option.line + option.value.count("\n") <= count
