"""GitHub's objects as its API writes them, with everything that its published description requires."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

from trio_update.demo.github.state import GitHub, SimAsset, SimCommit, SimRelease, SimRepo, stable_id, stable_sha

# What json.dumps takes.
Json = dict[str, Any]

_SUBURLS = {
    "followers_url": "/followers",
    "following_url": "/following{/other_user}",
    "gists_url": "/gists{/gist_id}",
    "starred_url": "/starred{/owner}{/repo}",
    "subscriptions_url": "/subscriptions",
    "organizations_url": "/orgs",
    "repos_url": "/repos",
    "events_url": "/events{/privacy}",
    "received_events_url": "/received_events",
}


def repo_id(name: str) -> int:
    return stable_id("repository", name)


def _node(kind: str, number: int) -> str:
    return f"{kind}_{base64.urlsafe_b64encode(number.to_bytes(12, 'big')).decode()}"


def user(github: GitHub, login: str) -> Json:
    number = stable_id("user", login)
    url = f"{github.api_url}/users/{login}"
    return {
        "login": login,
        "id": number,
        "node_id": _node("U", number),
        "avatar_url": f"{github.web_url}/avatars/u/{number}?v=4",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{github.web_url}/{login}",
        **{name: url + suffix for name, suffix in _SUBURLS.items()},
        "type": "User",
        "user_view_type": "public",
        "site_admin": False,
    }


async def asset(github: GitHub, name: str, release: SimRelease, asset: SimAsset) -> Json:
    """An asset of a release of the repository ``name``."""
    measured = await asset.measure()
    number = stable_id("asset", name, release.tag, asset.name)
    return {
        "url": f"{github.api_url}/repos/{name}/releases/assets/{number}",
        "id": number,
        "node_id": _node("RA", number),
        "name": asset.name,
        "label": None,
        "uploader": user(github, name.partition("/")[0]),
        "content_type": asset.content_type,
        "state": "uploaded",
        "size": measured.size,
        "digest": f"sha256:{measured.sha256}" if asset.digest == "auto" else asset.digest,
        "download_count": 0,
        "created_at": release.published,
        "updated_at": release.published,
        "browser_download_url": download_url(github, name, release.tag, asset.name),
    }


def download_url(github: GitHub, name: str, tag: str, asset: str) -> str:
    return f"{github.web_url}/{name}/releases/download/{quote(tag, safe='')}/{quote(asset, safe='')}"


async def release(github: GitHub, name: str, repo: SimRepo, release: SimRelease) -> Json:
    """A release of the repository ``name``."""
    number = stable_id("release", name, release.tag)
    url = f"{github.api_url}/repos/{name}/releases/{number}"
    tag = quote(release.tag, safe="")
    return {
        "url": url,
        "assets_url": f"{url}/assets",
        "upload_url": f"{github.web_url}/uploads/repos/{name}/releases/{number}/assets{{?name,label}}",
        "html_url": f"{github.web_url}/{name}/releases/tag/{tag}",
        "id": number,
        "author": user(github, name.partition("/")[0]),
        "node_id": _node("RE", number),
        "tag_name": release.tag,
        "target_commitish": repo.branch,
        "name": release.title or None,
        "draft": release.draft,
        "immutable": False,
        "prerelease": release.prerelease,
        "created_at": release.published,
        "updated_at": release.published,
        "published_at": release.published,
        "assets": [await asset(github, name, release, each) for each in release.assets],
        "tarball_url": f"{github.api_url}/repos/{name}/tarball/{tag}",
        "zipball_url": f"{github.api_url}/repos/{name}/zipball/{tag}",
        "body": release.notes,
    }


def release_sha(name: str, release: SimRelease) -> str:
    """The commit that a release's tag names."""
    return stable_sha("commit", name, release.tag)


def history(name: str, repo: SimRepo) -> list[SimCommit]:
    """The commits of the branch, newest first; never empty."""
    if repo.commits:
        return repo.commits
    made = [
        SimCommit(sha=release_sha(name, release), message=f"Release {release.tag}", date=release.published)
        for release in repo.published()
    ]
    return [*made, SimCommit(sha=stable_sha("commit", name), message="Begin", date="2023-12-31T12:00:00Z")]


def commit(github: GitHub, name: str, made: SimCommit, parent: SimCommit | None) -> Json:
    """A commit of the repository ``name``."""
    login = name.partition("/")[0]
    repository = f"{github.api_url}/repos/{name}"
    web = f"{github.web_url}/{name}/commit"
    person = {"name": login, "email": f"{login}@example.org", "date": made.date}
    tree = stable_sha("tree", made.sha)
    unsigned = {"verified": False, "reason": "unsigned", "signature": None, "payload": None, "verified_at": None}
    before = [] if parent is None else [parent.sha]
    return {
        "sha": made.sha,
        "node_id": _node("C", stable_id("commit", made.sha)),
        "commit": {
            "author": person,
            "committer": person,
            "message": made.message,
            "tree": {"sha": tree, "url": f"{repository}/git/trees/{tree}"},
            "url": f"{repository}/git/commits/{made.sha}",
            "comment_count": 0,
            "verification": unsigned,
        },
        "url": f"{repository}/commits/{made.sha}",
        "html_url": f"{web}/{made.sha}",
        "comments_url": f"{repository}/commits/{made.sha}/comments",
        "author": user(github, login),
        "committer": user(github, login),
        "parents": [{"sha": sha, "url": f"{repository}/commits/{sha}", "html_url": f"{web}/{sha}"} for sha in before],
    }


def rate_limit(limit: int, used: int, reset: int) -> Json:
    """The answer about the limits: those of the search are never touched."""
    core = {"limit": limit, "used": used, "remaining": limit - used, "reset": reset}
    search = {"limit": 10, "used": 0, "remaining": 10, "reset": reset}
    return {"resources": {"core": core, "search": search}, "rate": core}
