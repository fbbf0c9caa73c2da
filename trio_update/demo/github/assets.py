"""The asset host of the stand-in for GitHub: signed links, and files whole or in part."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import formatdate
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from trio_update.demo.github import json as github_json
from trio_update.demo.github.answer import Answer, Content, plain
from trio_update.demo.github.faults import Fault, FaultKind
from trio_update.demo.github.state import GitHub, SimAsset, SimRelease
from trio_update.demo.http1 import Headers, Request

# Not a secret: the signature is there so that a link that was changed is found out.
_KEY = b"trio-update-demo"
_PATH = re.compile(r"/github-production-release-asset/(?P<number>\d{1,18})/(?P<tag>[^/]+)/(?P<file>[^/]+)")
_RANGE = re.compile(r"bytes=(?P<first>\d{0,18})-(?P<last>\d{0,18})")


def signed_link(github: GitHub, name: str, release: SimRelease, asset: SimAsset) -> str:
    """Where an asset can be got for a while, by anyone."""
    tag, file = quote(release.tag, safe=""), quote(asset.name, safe="")
    path = f"/github-production-release-asset/{github_json.repo_id(name)}/{tag}/{file}"
    until = str(github.now() + github.link_lifetime)
    query = {
        "sp": "r",
        "sv": "2018-11-09",
        "sr": "b",
        "se": until,
        "rscd": f"attachment; filename={file}",
        "rsct": "application/octet-stream",
        "sig": _signature(path, until),
    }
    return f"{github.assets_url}{path}?{urlencode(query)}"


def _signature(path: str, until: str) -> str:
    return hmac.new(_KEY, f"{path} {until}".encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class _File:
    asset: SimAsset
    size: int
    etag: str
    modified: str


async def assets(github: GitHub, request: Request, fault: Fault | None) -> Answer:
    """Answer a request.  Of faults only those are looked at that concern parts and another upload."""
    if "authorization" in request.headers:
        # As the real storage does when a link is signed: two ways to say who one is are one too many.
        return _xml(400, "InvalidArgument", "Only one auth mechanism allowed")
    url = urlsplit(request.target)
    query = {name: values[-1] for name, values in parse_qs(url.query).items()}
    until = query.get("se", "")
    if not hmac.compare_digest(query.get("sig", "").encode(), _signature(url.path, until).encode()):
        return _xml(403, "AuthenticationFailed", "Signature did not match")
    if int(until) <= github.now():
        return _xml(403, "AuthenticationFailed", "Signature not valid in the specified time frame")
    found = _find(github, url.path)
    if found is None or request.method not in ("GET", "HEAD"):
        return _xml(404, "BlobNotFound", "The specified blob does not exist.")
    release, asset = found
    if fault is not None and fault.kind is FaultKind.CHANGED:
        asset.revision += 1
        asset.content = asset.content if fault.content is None else fault.content
    file = await _measure(release, asset)
    fixed = [
        ("etag", file.etag),
        ("last-modified", file.modified),
        ("content-type", "application/octet-stream"),
        ("content-disposition", f"attachment; filename={quote(asset.name, safe='')}"),
        ("x-ms-blob-type", "BlockBlob"),
    ]
    whole = fault is not None and fault.kind is FaultKind.NO_RANGE
    return _part(request, file, fixed, whole=whole)


def _find(github: GitHub, path: str) -> tuple[SimRelease, SimAsset] | None:
    asked = _PATH.fullmatch(path)
    if asked is None:
        return None
    for name, repo in github.repos.items():
        if github_json.repo_id(name) == int(asked["number"]):
            # A draft has no link, but who has got one before keeps it.
            for release in repo.releases:
                if release.tag == unquote(asked["tag"]) and (asset := release.asset(unquote(asked["file"]))):
                    return release, asset
    return None


async def _measure(release: SimRelease, asset: SimAsset) -> _File:
    measured = await asset.measure()
    stamp = f"{measured.sha256} {measured.changed} {asset.revision}"
    etag = f'"0x{hashlib.sha256(stamp.encode()).hexdigest()[:15].upper()}"'
    # Another upload is a second later at least: the date is a validator too.
    seconds = measured.changed or datetime.fromisoformat(release.published).timestamp()
    return _File(asset, measured.size, etag, formatdate(seconds + asset.revision, usegmt=True))


def _part(request: Request, file: _File, fixed: Headers, *, whole: bool) -> Answer:
    """All of it, or what was asked for (RFC 9110, 14): one range; several are answered with all of it."""
    ranges = [] if whole else [("accept-ranges", "bytes")]
    # A date is as good as the ETag when it is the same; a weak ETag never is (13.1.5).
    same = request.headers.get("if-range", file.etag) in (file.etag, file.modified)
    asked = None if whole or not same else _range(request.headers.get("range", ""), file.size)
    if asked is None:
        return Answer(status=200, headers=[*fixed, *ranges], content=Content(file.asset.content, 0, file.size))
    first, last = asked
    if first > last:
        answer = _xml(416, "InvalidRange", "The range specified is invalid for the current size of the resource.")
        return replace(answer, headers=[*answer.headers, ("content-range", f"bytes */{file.size}"), *ranges])
    part = ("content-range", f"bytes {first}-{last}/{file.size}")
    content = Content(file.asset.content, first, last - first + 1)
    return Answer(status=206, headers=[*fixed, *ranges, part], content=content)


def _range(text: str, size: int) -> tuple[int, int] | None:
    """The first and the last byte of a range: the first is greater where there are none.  None: it is no range."""
    asked = _RANGE.fullmatch(text)
    if asked is None or not (asked["first"] or asked["last"]):
        return None
    if not asked["first"]:
        return max(size - int(asked["last"]), 0), size - 1
    first, last = int(asked["first"]), int(asked["last"] or size)
    return None if asked["last"] and last < first else (first, min(last, size - 1))


def _xml(status: int, code: str, message: str) -> Answer:
    text = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return plain(status, text.encode(), "application/xml", ("x-ms-error-code", code))
