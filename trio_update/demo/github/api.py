"""The API host of the stand-in for GitHub: releases, limits, and what a request costs."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from trio_update.demo.github import json as github_json
from trio_update.demo.github.answer import Answer, Content, plain
from trio_update.demo.github.faults import Fault, FaultKind
from trio_update.demo.github.state import Bucket, GitHub, SimRepo
from trio_update.demo.http1 import Headers, Request

_JSON = "application/json; charset=utf-8"
_DOCS = "https://docs.github.com/rest"
_NAMED = re.compile(r"/repos/(?P<name>[^/]+/[^/]+)(?P<rest>/.*)")
_NUMBERED = re.compile(r"/repositories/(?P<number>\d{1,18})(?P<rest>/.*)")
_VERSIONS = ("2022-11-28",)
_LARGEST_PAGE = 100


class _Refusal(Exception):
    """The request gets this status, and GitHub's kind of error."""

    def __init__(self, status: int, message: str, docs: str = "", *, location: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.docs = docs
        self.location = location


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request for something of a repository."""

    github: GitHub
    name: str
    repo: SimRepo
    rest: str
    query: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Found:
    value: Any
    headers: Headers


async def api(github: GitHub, request: Request, fault: Fault | None) -> Answer:
    """Answer a request, and count it unless it is free.  Of faults only those are looked at that stand for a limit."""
    now = github.now()
    if not request.headers.get("user-agent"):
        # Said by what stands in front of the API: no JSON, and nothing about limits.
        text = b"Request forbidden by administrative rules. Please make sure your request has a User-Agent header.\n"
        return plain(403, text, "text/html; charset=utf-8", ("cache-control", "no-cache"))
    given = _token(request)
    bucket: Bucket = "token" if given is not None and given == github.token else "anonymous"
    free = urlsplit(request.target).path == "/rate_limit"
    empty = github.used[bucket] >= github.limit(bucket) and not free
    counted = False
    if fault is not None and fault.kind is FaultKind.SECONDARY_LIMIT:
        answer = _too_fast(fault)
    elif empty or (fault is not None and fault.kind is FaultKind.PRIMARY_LIMIT):
        answer, empty = _used_up(bucket), True
    else:
        answer = await _answer(github, request, bucket, compress=fault is None)
        # Only who has shown a valid token gets a 304 for nothing.
        counted = not free and not (answer.status == 304 and bucket == "token")
        github.used[bucket] += counted
    headers = [*answer.headers, *_about(github, bucket, now, empty=empty)]
    return replace(answer, headers=headers, counted=counted)


def _token(request: Request) -> str | None:
    """What comes after ``Bearer`` or ``token``; anything else that is in the header is as bad as a wrong token."""
    if (header := request.headers.get("authorization")) is None:
        return None
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() in ("bearer", "token") else ""


def _about(github: GitHub, bucket: Bucket, now: int, *, empty: bool) -> Headers:
    limit = github.limit(bucket)
    used = limit if empty else min(github.used[bucket], limit)
    serial = hashlib.sha256(f"{now} {len(github.requests)}".encode()).hexdigest().upper()
    return [
        ("x-ratelimit-limit", str(limit)),
        ("x-ratelimit-remaining", str(limit - used)),
        ("x-ratelimit-used", str(used)),
        ("x-ratelimit-reset", str(github.reset)),
        ("x-ratelimit-resource", "core"),
        ("x-github-media-type", "github.v3; format=json"),
        ("x-github-api-version-selected", _VERSIONS[0]),
        ("x-github-request-id", f"{serial[:4]}:{serial[4:10]}:{serial[10:16]}:{serial[16:22]}:{serial[22:30]}"),
    ]


def _used_up(bucket: Bucket) -> Answer:
    if bucket == "token":
        message = "API rate limit exceeded for user ID 1."
    else:
        message = (
            "API rate limit exceeded for 127.0.0.1. (But here's the good news: Authenticated requests get a higher rate"
            " limit. Check out the documentation for more details.)"
        )
    docs = "https://docs.github.com/rest/overview/resources-in-the-rest-api#rate-limiting"
    # The real one has no status in this body.
    return _json(403, {"message": message, "documentation_url": docs})


def _too_fast(fault: Fault) -> Answer:
    message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    docs = "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"
    after = [] if fault.retry_after is None else [("retry-after", str(fault.retry_after))]
    answer = _json(fault.code, {"documentation_url": docs, "message": message})
    return replace(answer, headers=[*answer.headers, *after])


def _json(status: int, value: Any) -> Answer:
    return plain(status, json.dumps(value, separators=(",", ":")).encode(), _JSON)


def error_body(status: int, message: str, docs: str = _DOCS) -> bytes:
    """GitHub's error object."""
    return json.dumps({"message": message, "documentation_url": docs, "status": str(status)}).encode()


def _error(refusal: _Refusal) -> Answer:
    docs = refusal.docs or _DOCS
    if refusal.location:
        answer = _json(refusal.status, {"message": str(refusal), "url": refusal.location, "documentation_url": docs})
        return replace(answer, headers=[*answer.headers, ("location", refusal.location)])
    return plain(refusal.status, error_body(refusal.status, str(refusal), docs), _JSON)


async def _answer(github: GitHub, request: Request, bucket: Bucket, *, compress: bool) -> Answer:
    try:
        found = await _find(github, request, bucket)
    except _Refusal as refusal:
        return _error(refusal)
    body = json.dumps(found.value, separators=(",", ":")).encode()
    # The token counts by what it is, not by whether it is valid: two tokens never share an ETag.
    same = "\0".join((request.target, request.headers.get("authorization", ""), request.headers.get("accept", "")))
    etag = f'W/"{hashlib.sha256(same.encode() + body).hexdigest()}"'
    scope = "private" if bucket == "token" else "public"
    headers = [
        ("content-type", _JSON),
        ("etag", etag),
        ("cache-control", f"{scope}, max-age=60, s-maxage=60"),
        ("vary", "Accept, Authorization, Cookie, Accept-Encoding"),
        *found.headers,
    ]
    if _matches(request.headers.get("if-none-match", ""), etag):
        return Answer(status=304, headers=headers[1:])
    # The positions of faults are those of the plain text.
    if compress and "gzip" in request.headers.get("accept-encoding", ""):
        headers.append(("content-encoding", "gzip"))
        body = gzip.compress(body, mtime=0)
    return Answer(status=200, headers=headers, content=Content.of(body))


def _matches(asked: str, etag: str) -> bool:
    """Weak comparison (RFC 9110, 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in asked.split(",")]
    return "*" in tags or etag.removeprefix("W/") in tags


async def _find(github: GitHub, request: Request, bucket: Bucket) -> _Found:
    if bucket == "anonymous" and _token(request) is not None:
        raise _Refusal(401, "Bad credentials")
    version = request.headers.get("x-github-api-version", _VERSIONS[0])
    if version not in _VERSIONS:
        raise _Refusal(400, f'"{version}" is not a supported version.', f"{_DOCS}/about-the-rest-api/api-versions")
    url = urlsplit(request.target)
    query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    if request.method not in ("GET", "HEAD"):
        raise _Refusal(404, "Not Found")
    if url.path == "/rate_limit":
        limit = github.limit(bucket)
        return _Found(github_json.rate_limit(limit, min(github.used[bucket], limit), github.reset), [])
    asked = _of_repository(github, url.path, url.query, query)
    routes: dict[str, Callable[[_Asked], Awaitable[_Found]]] = {
        "/releases/latest": _latest,
        "/releases": _releases,
    }
    if asked.rest.startswith("/releases/tags/"):
        return await _by_tag(asked)
    if asked.rest not in routes:
        raise _Refusal(404, "Not Found")
    return await routes[asked.rest](asked)


def _of_repository(github: GitHub, path: str, raw_query: str, query: dict[str, str]) -> _Asked:
    if named := _NAMED.fullmatch(path):
        name, rest = unquote(named["name"]), named["rest"]
        if (new := github.new_name(name)) is not None:
            number = github_json.repo_id(new)
            location = f"{github.api_url}/repositories/{number}{rest}" + (f"?{raw_query}" if raw_query else "")
            docs = f"{_DOCS}/guides/best-practices-for-using-the-rest-api#follow-redirects"
            raise _Refusal(301, "Moved Permanently", docs, location=location)
        if (found := github.find(name)) is not None:
            return _Asked(github, *found, rest, query)
    elif numbered := _NUMBERED.fullmatch(path):
        for name, repo in github.repos.items():
            if github_json.repo_id(name) == int(numbered["number"]):
                return _Asked(github, name, repo, numbered["rest"], query)
    raise _Refusal(404, "Not Found")


async def _latest(asked: _Asked) -> _Found:
    release = asked.repo.latest()
    if release is None:
        raise _Refusal(404, "Not Found", f"{_DOCS}/releases/releases#get-the-latest-release")
    return _Found(await github_json.release(asked.github, asked.name, asked.repo, release), [])


async def _by_tag(asked: _Asked) -> _Found:
    release = asked.repo.by_tag(unquote(asked.rest.removeprefix("/releases/tags/")))
    if release is None:
        raise _Refusal(404, "Not Found", f"{_DOCS}/releases/releases#get-a-release-by-tag-name")
    return _Found(await github_json.release(asked.github, asked.name, asked.repo, release), [])


async def _releases(asked: _Asked) -> _Found:
    some, headers = _page(asked, asked.repo.published())
    return _Found([await github_json.release(asked.github, asked.name, asked.repo, each) for each in some], headers)


T = TypeVar("T")


def _page(asked: _Asked, everything: list[T]) -> tuple[list[T], Headers]:
    """The page that was asked for, and where the others are."""
    size = min(max(_number(asked.query, "per_page", 30), 1), _LARGEST_PAGE)
    page = max(_number(asked.query, "page", 1), 1)
    last = max(-(-len(everything) // size), 1)
    pages: dict[str, int] = {}
    if page > 1:
        pages["prev"] = min(page - 1, last)
    if page < last:
        pages |= {"next": page + 1, "last": last}
    if page > 1:
        pages["first"] = 1
    base = f"{asked.github.api_url}/repositories/{github_json.repo_id(asked.name)}{asked.rest}"
    links = [f'<{base}?{urlencode(asked.query | {"page": str(n)})}>; rel="{rel}"' for rel, n in pages.items()]
    return everything[(page - 1) * size : page * size], [("link", ", ".join(links))] if links else []


def _number(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else default
