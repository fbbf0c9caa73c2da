"""The web host of the stand-in for GitHub: the newest release, downloads, and what ``git ls-remote`` asks for."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

from trio_update.demo.github import json as github_json
from trio_update.demo.github.answer import Answer, page, plain, redirect
from trio_update.demo.github.assets import signed_link
from trio_update.demo.github.state import GitHub, SimRepo
from trio_update.demo.http1 import Request

_TARGET = re.compile(r"/(?P<name>[^/]+/[^/]+?)(?P<git>\.git)?(?P<rest>/.*)?")
_CAPABILITIES = (
    "multi_ack thin-pack side-band side-band-64k ofs-delta shallow no-progress include-tag multi_ack_detailed"
)


def web(github: GitHub, request: Request) -> Answer:
    """Answer a request."""
    url = urlsplit(request.target)
    asked = _TARGET.fullmatch(url.path)
    if asked is None or request.method not in ("GET", "HEAD"):
        return page(404, "Not Found")
    name, rest = unquote(asked["name"]), asked["rest"] or ""
    if (new := github.new_name(name)) is not None:
        query = f"?{url.query}" if url.query else ""
        return redirect(301, f"{github.web_url}/{new}{asked['git'] or ''}{rest}{query}")
    found = github.find(name)
    if rest == "/info/refs":
        return _refs(found, url.query)
    if found is None:
        return page(404, "Not Found")
    return _of_repository(github, *found, rest)


def _of_repository(github: GitHub, name: str, repo: SimRepo, rest: str) -> Answer:
    if rest in ("", "/", "/releases"):
        return page(200, name)
    if rest == "/releases/latest":
        if (latest := repo.latest()) is not None:
            return redirect(302, f"{github.web_url}/{name}/releases/tag/{quote(latest.tag, safe='')}")
        if github.latest_is_list:
            return redirect(302, f"{github.web_url}/{name}/releases")
    elif rest.startswith("/releases/tag/"):
        if repo.by_tag(tag := unquote(rest.removeprefix("/releases/tag/"))) is not None:
            return page(200, f"Release {tag}")
    elif rest.startswith("/releases/download/"):
        return _download(github, name, repo, rest.removeprefix("/releases/download/"))
    return page(404, "Not Found")


def _download(github: GitHub, name: str, repo: SimRepo, rest: str) -> Answer:
    # A tag may hold slashes, written as such or not; an asset's name holds none.
    tag, _, file = rest.rpartition("/")
    release = repo.by_tag(unquote(tag))
    asset = None if release is None else release.asset(unquote(file))
    if release is None or asset is None:
        return plain(404, b"Not Found", "text/plain; charset=utf-8")
    return redirect(302, signed_link(github, name, release, asset))


def _refs(found: tuple[str, SimRepo] | None, query: str) -> Answer:
    """The references, as version 0 of git's protocol tells them (gitprotocol-http(5)); version 2 would need a second
    request, and every git takes this for an answer."""
    if query == "":
        return plain(403, b"Please upgrade your git client.\n", "text/plain; charset=utf-8")
    if query != "service=git-upload-pack" or found is None:
        # Who is nobody is not told whether there is such a repository.
        asks = ("www-authenticate", 'Basic realm="GitHub"')
        return plain(401, b"Repository not found.\n", "text/plain; charset=utf-8", asks)
    name, repo = found
    tip = github_json.tip_sha(name, repo)
    tags = {f"refs/tags/{release.tag}": github_json.release_sha(name, release) for release in repo.published()}
    references = {f"refs/heads/{repo.branch}": tip} | dict(sorted(tags.items()))
    capabilities = f"{_CAPABILITIES} symref=HEAD:refs/heads/{repo.branch} object-format=sha1 agent=git/trio-update-demo"
    lines = [f"{tip} HEAD\0{capabilities}", *(f"{sha} {reference}" for reference, sha in references.items())]
    body = _line("# service=git-upload-pack") + b"0000" + b"".join(map(_line, lines)) + b"0000"
    return plain(200, body, "application/x-git-upload-pack-advertisement", ("cache-control", "no-cache"))


def _line(text: str) -> bytes:
    data = f"{text}\n".encode()
    return f"{len(data) + 4:04x}".encode() + data
