"""What upstream wrote reaches clients whole, whatever it is, and takes no more room than it may."""

from __future__ import annotations

import subprocess
import tracemalloc
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.upstream import Upstream, git
from trio_update.errors import OperationFailed
from trio_update.host.git.bounds import bounded_commits
from trio_update.host.git.log import CommitLog, read_commit
from trio_update.host.git.repository import Repository
from trio_update.host.processes.runner import Runner
from trio_update.model import Commit
from trio_update.text import bounded, shorten, wire_size
from trio_update.web.api.wire import to_wire

FIELDS = 7


def commit_raw(
    path: Path, message: bytes, *, author: bytes = b"Ada <a@b>", dates: tuple[bytes, bytes], extra: bytes = b""
) -> str:
    """A commit on top of HEAD as git would never write it, which moves the branch to it."""
    head, tree = git(path, "rev-parse", "HEAD"), git(path, "rev-parse", "HEAD^{tree}")
    raw = b"tree %s\nparent %s\nauthor %s %s\ncommitter %s %s\n%s\n%s" % (
        *(tree.encode(), head.encode(), author, dates[0], author, dates[1], extra, message),
    )
    argv = ["git", "hash-object", "-t", "commit", "-w", "--stdin", "--literally"]
    made = subprocess.run(argv, cwd=path, input=raw, check=True, capture_output=True).stdout.decode().strip()
    git(path, "update-ref", "HEAD", made)
    return made


USUAL = (b"1700000000 +0000", b"1700000001 +0000")


@pytest.fixture
def project(tmp_path: Path) -> Upstream:
    upstream = Upstream(tmp_path / "r")
    upstream.commit(tag="v1.0.0")
    return upstream


async def log_of(project: Upstream) -> tuple[Commit, ...]:
    log = await Repository(project.path, Runner("test")).log("v1.0.0", "HEAD")
    return log.commits()


async def test_messages_and_names_may_hold_every_separator(project: Upstream) -> None:
    odd = "a\x1eb\x1fc\u2028d\u2029e\x85f\x0bg\x0ch\ri\x1cj"
    commit_raw(
        project.path, f"subject {odd}\n\nbody {odd}\nmore\n".encode(), author=f"{odd} <a@b>".encode(), dates=USUAL
    )
    project.commit()
    newest, strange = await log_of(project)
    assert newest.subject == "change 2"
    assert strange.message == f"body {odd}\nmore"
    assert "\x1eb\x1fc\u2028d\u2029e\x85f" in strange.subject
    assert "\u2028d\u2029e\x85f" in strange.author


async def test_tags_may_hold_what_ends_a_line_elsewhere(project: Upstream) -> None:
    name = "v1.1\u2028\x85,\u2029x"
    project.commit(tag=name)
    repository = Repository(project.path, Runner("test"))
    head = project.head
    (commit,) = await log_of(project)
    assert commit.tag == name
    assert f"refs/tags/{name}" in [tag.name for tag in await repository.refs("refs/tags")]
    assert await repository.describe(head, head) == [f"{name}-0-g{head[:8]}"] * 2


async def test_a_tag_that_calls_itself_otherwise_is_described_in_one_line(project: Upstream) -> None:
    raw = f"object {project.commit()}\ntype commit\ntag v2\r\x0c\u2028x\ntagger Ada <a@b> 1700000000 +0000\n\nx\n"
    argv = ["git", "hash-object", "-t", "tag", "-w", "--stdin", "--literally"]
    made = subprocess.run(argv, cwd=project.path, input=raw.encode(), check=True, capture_output=True).stdout.decode()
    git(project.path, "update-ref", "refs/tags/v2", made.strip())
    assert len(await Repository(project.path, Runner("test")).describe(project.head, "v1.0.0")) == 2


@pytest.mark.parametrize(
    ("author", "committer", "date"),
    [
        (b"1700000000 +0000", b"", "1700000000"),
        (b"", b"", "0"),
        (b"12 +0000", b"-5 +0000", "12"),
        (b"12 +0000", b"99999999999999999999999999999999999999 +0000", "12"),
        (b"nonsense", b"18446744073709551615 +0000", "0"),
        (b"5 +0000", b"1700000001", "5"),
    ],
)
async def test_the_date_is_always_a_time(project: Upstream, author: bytes, committer: bytes, date: str) -> None:
    commit_raw(project.path, b"x\n", dates=(author, committer))
    (commit,) = await log_of(project)
    assert commit.date == date


async def test_words_in_other_encodings_are_read_as_what_they_say(project: Upstream) -> None:
    for key in ("i18n.logOutputEncoding", "i18n.commitEncoding"):
        git(project.path, "config", key, "ISO-8859-1")
    commit_raw(project.path, b"gr\xfc\xdfe\n", author=b"J\xf6rg <a@b>", dates=USUAL, extra=b"encoding ISO-8859-1\n")
    commit_raw(project.path, "größer\n".encode(), author="Jörg <a@b>".encode(), dates=USUAL)
    commit_raw(project.path, b"gr\xf6\xdfer\n", dates=USUAL, extra=b"encoding no-such-encoding\n")
    said = [(commit.author, commit.subject) for commit in await log_of(project)]
    assert said == [("Ada", "gr\ufffd\ufffder"), ("Jörg", "größer"), ("Jörg", "grüße")]


async def test_a_giant_message_is_cut_while_it_comes(project: Upstream) -> None:
    commit_raw(project.path, b"giant " + b"\x01" * 12_000_000 + b"\n\n" + b"\x02" * 12_000_000, dates=USUAL)
    tracemalloc.start()
    try:
        (commit,) = await log_of(project)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert commit.subject.startswith("giant \x01")
    assert commit.message.endswith("…")
    assert peak < 4_000_000
    assert len(msgspec.json.encode(commit)) < 64 * 1024


@pytest.mark.parametrize("character", ["\x01", "<", "\n", "é"])
async def test_all_commits_of_an_app_take_at_most_64_kib_on_the_wire(project: Upstream, character: str) -> None:
    for number in range(70):
        words = (character * 3000 + "." if character != "\n" else f"x{character * 3000}").encode()
        name = (character * 300 if character != "\n" else "x" * 300).encode()
        commit_raw(project.path, b"s%d " % number + words + b"\n\n" + words * 3, author=name + b" <a@b>", dates=USUAL)
        if number % 2:
            git(project.path, "tag", f"t{'x' * 200}{number}")
    log = await Repository(project.path, Runner("test")).log("v1.0.0", "HEAD")
    commits = log.commits()
    assert (log.count, len(commits)) == (70, 30 + 35)
    for escaped in (True, False):
        assert len(msgspec.json.encode([to_wire(commit, escaped=escaped) for commit in commits])) <= 64 * 1024
    assert all(commit.subject for commit in commits)


def test_commits_of_usual_size_are_not_cut() -> None:
    commits = [
        Commit(sha=f"{number:040}", author="Ada", date="1", subject="s" * 72, message="why\n" * 300)
        for number in range(30)
    ]
    assert bounded_commits(commits) == tuple(commits)


async def test_of_several_tags_on_a_commit_the_highest_version_is_shown(project: Upstream) -> None:
    project.commit(tag="zz-build")
    for name in ("v1.9", "v1.10", "nightly", "aa"):
        git(project.path, "tag", name)
    (commit,) = await log_of(project)
    assert commit.tag == "v1.10"


@given(st.integers(1, 50), st.integers(0, 140))
def test_a_log_reads_the_same_in_pieces_of_any_size(size: int, count: int) -> None:
    raw = b"".join(
        b"%040d\0Ada\0%d\0%d\0%s\0subject %d\0body\n\n\0"
        % (number, number, number, b"tag: refs/tags/v1" if number == 99 else b"", number)
        for number in range(count)
    )
    log = CommitLog()
    for start in range(0, len(raw), size):
        log.feed(raw[start : start + size])
    commits = log.commits()
    assert (log.count, log.tagged) == (count, count > 99)
    assert len(commits) == min(count, 30) + (count > 99)
    assert log.tip == (f"{0:040}" if count else None)


def test_what_is_no_log_is_told() -> None:
    log = CommitLog()
    with pytest.raises(OperationFailed, match="where the hash of a commit was expected"):
        log.feed(b"warning\0" * FIELDS)
    log = CommitLog()
    log.feed(b"%040d\0Ada" % 1)
    with pytest.raises(OperationFailed, match="ended in the middle"):
        log.commits()


def test_words_that_are_not_utf8_pass() -> None:
    commit = read_commit((b"ab", b"J\xf6rg", b"1", b"1", b"tag: refs/tags/v1", b"s\xff", b"\n"))
    assert (commit.author, commit.subject, commit.tag, commit.message) == ("J\ufffdrg", "s\ufffd", "v1", "")


@given(st.text(max_size=400), st.integers(0, 300))
def test_shortened_text_fits_and_begins_as_before(text: str, size: int) -> None:
    short = shorten(text, size)
    assert wire_size(short) <= size
    assert short == text or text.startswith(short.removesuffix("…"))
    assert short == text or wire_size(text) > size


@given(st.lists(st.text(max_size=200), max_size=30), st.integers(0, 1000))
def test_bounded_lines_keep_the_last(lines: list[str], size: int) -> None:
    kept = bounded(lines, each=100, size=size)
    assert sum(map(wire_size, kept)) <= size + 3
    assert all(kept[-1 - index] == shorten(lines[-1 - index], 100) for index in range(len(kept) - 1))
