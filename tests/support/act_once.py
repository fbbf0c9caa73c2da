"""Do something with the web app below a folder, in a process of its own, and print what is said.

Run as ``python -m tests.support.act_once ACTION FOLDER API_URL WEB_URL``, with one of
:data:`tests.support.releases.ACTIONS`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from tests.support.releases import ACTIONS, ReleaseSite, said
from trio_update.demo.github.server import GitHub
from trio_update.errors import OperationFailed, Refused


async def main(action: str, folder: Path, api: str, web: str) -> None:
    github = GitHub()
    github.api_url, github.web_url = api, web
    async with ReleaseSite(folder, github, "web").manager() as (manager, listener):
        try:
            await ACTIONS[action](manager)
        except (OperationFailed, Refused) as error:
            print(error)
        print(said(listener))


if __name__ == "__main__":
    trio.run(main, sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4])
