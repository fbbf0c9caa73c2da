"""What may become an argument of git, or a name on the wire."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trio_update.config import check_app_name, check_branch_name, check_remote_url
from trio_update.config.names import has_control, printable


@pytest.mark.parametrize("name", ["master", "main", "feature/x", "v1.0-beta", "a@b", "release-2.x", "größe", "a{b}"])
def test_branches_that_can_be(name: str) -> None:
    assert check_branch_name(name) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is empty"),
        ("--upload-pack=x", "begins with `-`, which git would take for an option"),
        ("HEAD", "is a name that git keeps for itself"),
        ("@", "is a name that git keeps for itself"),
        ("a\nb", "holds a control character"),
        ("a\x9bb", "holds a control character"),
        ("a b", "holds a space or one of `~ ^ : ? * [ \\`"),
        ("a~1", "holds a space or one of `~ ^ : ? * [ \\`"),
        ("a^{}", "holds a space or one of `~ ^ : ? * [ \\`"),
        ("refs:x", "holds a space or one of `~ ^ : ? * [ \\`"),
        ("a\\b", "holds a space or one of `~ ^ : ? * [ \\`"),
        ("a..b", "holds `..` or `@{`"),
        ("a@{1}", "holds `..` or `@{`"),
        ("/a", "begins or ends with `/`, or holds `//`"),
        ("a/", "begins or ends with `/`, or holds `//`"),
        ("a//b", "begins or ends with `/`, or holds `//`"),
        ("a/.b", "has a part that begins with `.`"),
        ("a.lock/b", "has a part that ends with `.lock`"),
        ("a.", "ends with `.`"),
    ],
)
def test_branches_that_cannot_be(name: str, why: str) -> None:
    assert check_branch_name(name) == why


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="a./@{}-~^:?*[\\ lock\x1f\x7fé", max_size=8))
@example("a/b.lock")
@example("a.lock.")
@example("@{")
def test_branches_are_judged_as_git_does(name: str) -> None:
    git = subprocess.run(["git", "check-ref-format", f"refs/heads/{name}"], check=False).returncode == 0
    stricter = name.startswith("-") or name in ("@", "HEAD")
    assert (check_branch_name(name) is None) == (git and not stricter)


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/Klipper3d/klipper.git",
        "HTTPS://github.com/a/b",
        "http://127.0.0.1:3000/a/b.git",
        "https://user:token@git.example.org/a/b",
        "ssh://git@example.org:2222/a/b.git",
        "ssh://[::1]:22/a",
        "git://example.org/a",
        "file:///srv/git/a.git",
        "/srv/git/with space/a.git",
        "git@github.com:Arksine/katapult.git",
        "example.org:a/b",
        "me@[::1]:a/b",
    ],
)
def test_remotes_that_can_be(url: str) -> None:
    assert check_remote_url(url) is None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "is empty"),
        ("ext::sh -c 'touch /tmp/owned'", "names a transport helper"),
        ("fd::17", "names a transport helper"),
        ("::x", "names a transport helper"),
        ("https::https://example.org", "names a transport helper"),
        ("--upload-pack=touch x", "begins with `-`"),
        ("-oProxyCommand=x:y", "begins with `-`"),
        ("https://example.org/a\nb", "holds a control character"),
        ("https://example.org/\x1b[2J", "holds a control character"),
        ("ssh://-oProxyCommand=x/a", "has a user or host that begins with `-`"),
        ("ssh://-oProxyCommand=x@host/a", "has a user or host that begins with `-`"),
        ("ssh://%2DoProxyCommand=x@host/a", "has a user or host that begins with `-`"),
        ("git@host:-oProxyCommand=x", "has a path that begins with `-`"),
        ("git@-host:a", "is not something git may fetch from"),
        ("ssh://%2Doption/a", "names no host"),
        ("https:///a/b", "names no host"),
        ("https://host:port/a", "is not something git may fetch from"),
        ("https://[1/a", "is not something git may fetch from"),
        ("https://host/a b", "holds white space"),
        ("ftp://host/a", "is not something git may fetch from"),
        ("javascript://host/a", "is not something git may fetch from"),
        ("file://host/a", "must be `file:///`"),
        ("../a", "is not something git may fetch from"),
        ("a/b:c", "is not something git may fetch from"),
        ("word", "is not something git may fetch from"),
    ],
)
def test_remotes_that_cannot_be(url: str, why: str) -> None:
    reason = check_remote_url(url)
    assert reason is not None
    assert reason.startswith(why)


def test_a_refused_remote_is_not_repeated() -> None:
    for url in ("https://user:hunter2@[/a", "foo://user:hunter2@host/a", "https://user:hunter2@/a", "ext::hunter2"):
        reason = check_remote_url(url)
        assert reason is not None
        assert "hunter2" not in reason


@given(st.text())
def test_no_remote_makes_the_check_fall_over(url: str) -> None:
    reason = check_remote_url(url)
    assert reason is not None or not url.startswith("-")


@pytest.mark.parametrize("name", ["klipper", "KlipperScreen", "moonraker-timelapse", "My App 2.0", "a_b", "a" * 64])
def test_app_names_that_can_be(name: str) -> None:
    assert check_app_name(name) is None


@pytest.mark.parametrize("name", ["", "a/b", "..", ".a", "-a", "a\x00", "a\n", "é", "a ", " a", "a" * 65])
def test_app_names_that_cannot_be(name: str) -> None:
    assert check_app_name(name) is not None


@given(st.text())
def test_what_is_shown_is_printable(text: str) -> None:
    shown = printable(text)
    assert not has_control(shown)
    assert shown.isprintable()
    assert len(shown) <= 60
