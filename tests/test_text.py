"""Text that people read, above all: no secret of an address survives in it."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_update.text import moment, named, printable, without_secrets

# No generated piece can stand in the text around it by chance.
SECRET = "s3cr3t"
prose = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30).map(lambda text: text.replace("://", ""))
marks = st.sampled_from(["", "@", "/", ":", "?", "#", "'", "%40", "\u00a0", "é", "&", "=", ",", "..", "://"])
secrets = st.builds("{}{}{}{}".format, marks, st.just(SECRET), marks, st.just(SECRET))
schemes = st.sampled_from(["https", "http", "ssh", "git", "ftp", "HTTPS", "git+ssh"])
hosts = st.sampled_from(["example.org", "10.0.0.1:8080", "[::1]:22", "localhost"])
paths = st.sampled_from(["", "/", "/owner/repo.git", "/a/b/"])
users = st.one_of(
    secrets,
    secrets.map(":{}".format),
    secrets.map("ada:{}".format),
    secrets.map("git:{}".format),
    st.builds("ada:my {} word".format, st.just(SECRET)),
)
queries = st.one_of(secrets.map("?token={}".format), secrets.map("#access_token={}".format))
secret_urls = st.builds(
    lambda scheme, user, host, path, query: f"{scheme}://{user}@{host}{path}{query}",
    schemes, users, hosts, paths, st.one_of(st.just(""), queries),
) | st.builds("{}://{}{}{}".format, schemes, hosts, paths, queries)  # fmt: skip
harmless_urls = st.one_of(
    st.builds("{}://{}{}".format, schemes, hosts, paths),
    st.builds("ssh://git@{}{}".format, hosts, paths),
    st.sampled_from(["file:///srv/klipper@1.git", "file:///a?b#c", "git@github.com:owner/repo.git", "/srv/a@b"]),
)


@given(st.lists(st.tuples(prose, secret_urls, st.sampled_from([" ", "', ", "\n", ") "])), min_size=1, max_size=3))
def test_no_secret_of_any_address_survives(pieces: list[tuple[str, str, str]]) -> None:
    text = "".join(f"{before} {url}{after}" for before, url, after in pieces)
    assert SECRET not in without_secrets(text)


# A password with a space in it is recognised only behind the `://` that a space or a quotation mark stands in front of.
tight_urls = secret_urls.filter(lambda url: " " not in url)


@given(tight_urls, tight_urls)
def test_nor_where_two_addresses_stand_side_by_side(one: str, other: str) -> None:
    assert SECRET not in without_secrets(f"{one},{other}")
    assert SECRET not in without_secrets(f"file:///srv/a,{other}")


@given(prose)
def test_text_without_an_address_is_unchanged(text: str) -> None:
    assert without_secrets(text) == text


@given(st.lists(st.tuples(prose, harmless_urls, st.sampled_from(["", ": said no", ", then ada@example.org", "'"]))))
def test_text_with_addresses_that_hold_no_secret_is_unchanged(pieces: list[tuple[str, str, str]]) -> None:
    text = "\n".join(f"{re.sub('[@]', '', before)} {url}{after} " for before, url, after in pieces)
    assert without_secrets(text) == text


@given(st.one_of(prose, secret_urls, st.builds("{} {}".format, secret_urls, prose)))
def test_what_has_been_cleaned_stays_as_it_is(text: str) -> None:
    once = without_secrets(text)
    assert without_secrets(once) == once


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://me:secret@example.org/a.git", "https://example.org/a.git"),
        ("https://token@example.org/a.git", "https://example.org/a.git"),
        ("https://:pw@example.org", "https://example.org"),
        ("https://me:p@ss@example.org/a", "https://example.org/a"),
        ("https://me:pa/ss@example.org/a", "https://…@example.org/a"),
        ("https://me:pa ss@example.org/a", "https://example.org/a"),
        ("https://me:my pa/ss@example.org/a", "https://…@example.org/a"),
        ("https://me:secret/a", "https://me:…/a"),
        ("as http://HOST:PORT or https://HOST:PORT", "as http://HOST:PORT or https://HOST:PORT"),
        ("https://host:80/a is not for a@b.org", "https://host:80/a is not for a@b.org"),
        ("'https://me:p@ss/w@x/a': access to host ss.", "'https://…@x/a': access to host …"),
        ("'https://to/ken@x/a': no host: to ...", "'https://…@x/a': no host: … ..."),
        ("give it as http://HOST:PORT or https://HOST:PORT", "give it as http://HOST:PORT or https://HOST:PORT"),
        ("HTTPS://token@example.org/a", "HTTPS://example.org/a"),
        ("FILE:///srv/a@1,https://token@x/a", "FILE:///srv/a@1,https://x/a"),
        ("ssh://git@example.org/a.git", "ssh://git@example.org/a.git"),
        ("https://git:pw@example.org/a.git", "https://git@example.org/a.git"),
        ("git@example.org:a/b.git", "git@example.org:a/b.git"),
        ("https://example.org/a?token=x&b#c", "https://example.org/a"),
        ("unable to access 'https://x/a?t=1': no", "unable to access 'https://x/a': no"),
        ("https://a:b@x/1 and https://c@y/2", "https://x/1 and https://y/2"),
        ("https://host:80: refused, ask a@b.org", "https://host:80: refused, ask a@b.org"),
        ("https://host: refused, ask a@b.org", "https://host: refused, ask a@b.org"),
    ],
)
def test_how_an_address_is_told(text: str, told: str) -> None:
    assert without_secrets(text) == told


def test_a_line_full_of_halves_of_passwords_costs_no_more_than_its_length_either() -> None:
    text = " ".join(f"https://u:p@s{number}/w@x" for number in range(50_000))
    began = time.process_time()
    assert "s7" not in without_secrets(f"{text} no host s7")
    assert time.process_time() - began < 2.0


def test_a_line_full_of_addresses_costs_no_more_than_its_length() -> None:
    for text in (
        "a://b:c " * 50_000,
        "://" * 100_000,
        "x" * 300_000,
        "https://" + "'" * 300_000 + "?x",
        "file://a," * 50_000,
    ):
        began = time.process_time()
        without_secrets(text)
        assert time.process_time() - began < 2.0


@given(st.text(), st.integers(1, 80))
def test_what_is_printable_fits_on_one_line(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit


def test_a_message_quotes_no_secret_and_nothing_that_a_terminal_obeys() -> None:
    assert printable("\x1b[31mhttps://ada:pw@host/\u202e") == r"\x1b[31mhttps://host/\u202e"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], ""),
        (["a"], "a"),
        ([b"caf\xe9", "b"], r"caf\xe9, b"),
        (list("abcde"), "a, b, c, d, e"),
        (list("abcdef"), "a, b, c, d, e and 1 more"),
    ],
)
def test_how_names_are_told(names: list[str | bytes], told: str) -> None:
    assert named(names) == told


def test_how_a_moment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        assert moment(1_700_000_000.9) == "2023-11-14 22:13"
        assert moment(1e30) == moment(float("nan")) == "?"
    finally:
        monkeypatch.undo()
        time.tzset()
