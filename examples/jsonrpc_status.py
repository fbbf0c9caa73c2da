"""Talk to a running server with nothing but a WebSocket library.

    python examples/jsonrpc_status.py                      what is installed, and what could be
    python examples/jsonrpc_status.py --upgrade NAME       bring one app up to date, and tell what happens
    python examples/jsonrpc_status.py --upgrade ''         bring all of them up to date

Each WebSocket text frame is one JSON-RPC 2.0 object.  A request carries an ``id``, its answer carries the same one, and
a frame without an ``id`` is a notification.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from typing import Any

import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, open_websocket_url

# A status holds up to 100 commit messages for each app.
LARGEST_FRAME = 16 * 1024 * 1024
PATIENCE = 10.0


class Refusal(Exception):
    """The server answered with an error."""


class Server:
    """The other end of a socket.  One request at a time: what arrives before its answer is a notification."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)

    async def call(self, method: str, **params: Any) -> Any:
        number = next(self._ids)
        request = {"jsonrpc": "2.0", "method": method, "params": params, "id": number}
        await self._socket.send_message(json.dumps(request))
        while True:
            frame = json.loads(await self._socket.get_message())
            if frame.get("id") == number:
                break
            narrate(frame)
        if "error" in frame:
            raise Refusal(frame["error"]["message"])
        return frame["result"]


def narrate(frame: dict[str, Any]) -> None:
    """Every client hears what any job says; the last message of a job is the one with ``complete``."""
    if frame.get("method") == "notify_update_response":
        said = frame["params"][0]
        print(f"[{said['application']} #{said['proc_id']}] {said['message']}{' (end)' if said['complete'] else ''}")


def print_table(status: dict[str, Any]) -> None:
    rows = [("NAME", "TYPE", "INSTALLED", "AVAILABLE", "BEHIND", "STATE")]
    for app in status["version_info"].values():
        behind = str(app.get("commits_behind_count", "")) or "-"
        state = "ok" if app.get("is_valid", True) else "; ".join([*app["warnings"], *app["anomalies"]]) or "invalid"
        # An app that the server cannot tell a version of has `?` there.
        versions = app.get("version", "?"), app.get("remote_version", "?")
        rows.append((app["name"], app["configured_type"], *versions, behind, state))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


async def talk(url: str, upgrade: str | None) -> None:
    async with open_websocket_url(url, connect_timeout=PATIENCE, max_message_size=LARGEST_FRAME) as socket:
        server = Server(socket)
        await server.call(
            "server.connection.identify", client_name="jsonrpc_status", version="1.0", type="other", url="-"
        )
        if upgrade is not None:
            # Answers when the job has ended, after the last of its notifications.  If we went away, it would go on.
            await server.call("machine.update.upgrade", **({"name": upgrade} if upgrade else {}))
        print_table(await server.call("machine.update.status"))


def main() -> int:
    parser = argparse.ArgumentParser(description="Show what a trio-update server manages, or upgrade it.")
    parser.add_argument("--url", default="ws://127.0.0.1:7126/websocket", help="default: %(default)s")
    parser.add_argument("--upgrade", metavar="NAME", help="upgrade this app first ('': all of them)")
    options = parser.parse_args()
    try:
        trio.run(talk, options.url, options.upgrade)
    except Refusal as refusal:
        print(f"refused: {refusal}", file=sys.stderr)
    except ConnectionClosed as closed:
        print(f"the server closed the connection: {closed.reason}", file=sys.stderr)
    except (HandshakeError, OSError) as error:
        print(f"cannot reach {options.url}: {str(error) or type(error).__name__}", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
