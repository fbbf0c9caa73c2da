"""The stand-in for GitHub in a process of its own, so that what it costs is nobody's else.

Run as ``python -m bench.release_forge ANONYMOUS_LIMIT``.  Says the URLs of its API and its web host; then takes
``{"publish": [REPO, TAG, FILE, PRERELEASE]}`` and answers with the asset's URL and sha256, or ``{"count": null}`` and
answers with the requests since the last count: for each host how many, and how many of them cost quota.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import trio

from trio_update.demo.github.faults import Host
from trio_update.demo.github.server import GitHub, SimAsset, SimRelease, serve_github


async def _answer(github: GitHub, known: dict[str, SimAsset], question: dict[str, Any]) -> object:
    if "publish" not in question:
        hosts: tuple[Host, ...] = ("api", "web", "assets")
        counts = {host: [len(github.asked(host)), sum(one.counted for one in github.asked(host))] for host in hosts}
        github.requests.clear()
        return counts
    repo, tag, file, prerelease = question["publish"]
    # One for all releases that have this file: it is hashed once, and here, not while somebody waits for an answer.
    asset = known.setdefault(file, SimAsset(name=Path(file).name, content=Path(file)))
    github.add(repo, SimRelease(tag=tag, assets=[asset], prerelease=prerelease))
    measured = await asset.measure()
    return [f"{github.web_url}/{repo}/releases/download/{tag}/{asset.name}", measured.sha256]


async def main(limit: int) -> None:
    github, known = GitHub(limit_anonymous=limit), dict[str, SimAsset]()
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_github, github)
        print(json.dumps([github.api_url, github.web_url]), flush=True)
        stdin = trio.lowlevel.FdStream(sys.stdin.fileno())
        # A question a line, and none before the former one is answered: what comes is always one whole line.
        while line := await stdin.receive_some(4096):
            print(json.dumps(await _answer(github, known, json.loads(line))), flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
