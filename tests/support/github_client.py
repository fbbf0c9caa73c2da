"""A client of the stand-in for GitHub, and the descriptions of GitHub's answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import trio

from trio_update.demo.git import git_environment
from trio_update.demo.github.server import GitHub, SimAsset, SimRelease, serve_github
from trio_update.host.processes.runner import Runner

REPO = "ada/panel"
LATEST = f"/repos/{REPO}/releases/latest"
# No byte is like its neighbour, so that a part at the wrong place shows.
CONTENT = bytes(number * 7 % 251 for number in range(5000))


def example() -> GitHub:
    """Three releases, of which the newest is a draft and the one before a pre-release."""
    github = GitHub(token="right", clock=lambda: 1_800_000_000.25)
    github.add(REPO, SimRelease(tag="v1.0", assets=[SimAsset(name="old.zip", content=b"old", digest=None)]))
    asset = SimAsset(name="panel.zip", content=CONTENT)
    github.add(REPO, SimRelease(tag="v1.1", title="One more", notes="- better", assets=[asset]))
    github.add(REPO, SimRelease(tag="v2.0-rc1", prerelease=True))
    github.add(REPO, SimRelease(tag="v2.0", draft=True))
    return github


@asynccontextmanager
async def serving(github: GitHub) -> AsyncIterator[httpx.AsyncClient]:
    """Serve it, with a client that is given a path of the API or any URL."""
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_github, github)
        agent = {"user-agent": "tests/1"}
        async with httpx.AsyncClient(base_url=github.api_url, headers=agent, timeout=None, trust_env=False) as client:
            yield client
        nursery.cancel_scope.cancel()


def bearer(token: str, **headers: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} | {name.replace("_", "-"): text for name, text in headers.items()}


def check(kind: str, value: Any) -> None:
    """Hold a value against GitHub's published description of it."""
    schema = json.loads((Path(__file__).parent / "github_schema" / f"{kind}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(value)


def error_of(response: httpx.Response) -> str:
    """The message of an answer that is one of GitHub's errors."""
    value = response.json()
    check("basic-error", value)
    assert value["documentation_url"].startswith("https://docs.github.com/")
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    message: str = value["message"]
    return message


async def asset_link(client: httpx.AsyncClient, name: str = "panel.zip") -> str:
    """A signed link to an asset of the release that is the latest."""
    assets = (await client.get(LATEST, headers=bearer("right"))).json()["assets"]
    (url,) = [asset["browser_download_url"] for asset in assets if asset["name"] == name]
    response = await client.get(url)
    assert response.status_code == 302
    return response.headers["location"]


async def ls_remote(url: str, *options: str, cwd: Path, version: int = 2) -> dict[str, str]:
    """What real git is told: hashes by reference."""
    argv = ("git", "-c", f"protocol.version={version}", "ls-remote", *options, url)
    done = await Runner("tests").run(argv, cwd=cwd, env=git_environment(cwd))
    pairs = [line.split("\t") for line in done.stdout.decode().splitlines()]
    return {reference: sha for sha, reference in pairs}
