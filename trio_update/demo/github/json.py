"""GitHub's objects as its API writes them, with everything that its published description requires."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

from trio_update.demo.github.state import GitHub, SimAsset, SimRelease, SimRepo, stable_id, stable_sha

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


def tip_sha(name: str, repo: SimRepo) -> str:
    """The newest commit of the branch: that of the newest release, or an empty beginning."""
    published = repo.published()
    return release_sha(name, published[0]) if published else stable_sha("commit", name)


def rate_limit(limit: int, used: int, reset: int) -> Json:
    """The answer about the limits: those of the search are never touched."""
    core = {"limit": limit, "used": used, "remaining": limit - used, "reset": reset}
    search = {"limit": 10, "used": 0, "remaining": 10, "reset": reset}
    return {"resources": {"core": core, "search": search}, "rate": core}
