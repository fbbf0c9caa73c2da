"""Upgrade the web app below a folder, in a process of its own, and print what is said.

Run as ``python -m tests.upgrade_once FOLDER API_URL WEB_URL``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from tests.releases import ReleaseSite, said
from trio_update.demo.github import GitHub
from trio_update.errors import OperationFailed, Refused


async def main(folder: Path, api: str, web: str) -> None:
    github = GitHub()
    github.api_url, github.web_url = api, web
    async with ReleaseSite(folder, github, "web").manager() as (manager, listener):
        try:
            await manager.upgrade("app", who="test")
        except (OperationFailed, Refused) as error:
            print(error)
        print(said(listener))


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2], sys.argv[3])
