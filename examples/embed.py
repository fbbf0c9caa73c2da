"""The update manager inside an application of one's own: no server, no socket, one more thing in its nursery.

    python examples/embed.py moonraker.conf data            what is installed, and what could be
    python examples/embed.py moonraker.conf data NAME …     and bring these up to date

The data path must be this application's own: one instance works on it at a time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import trio

from trio_update import load_config
from trio_update.config import ConfigInvalid
from trio_update.engine.manager import Manager, open_manager
from trio_update.errors import Aborted, DataPathHeld, OperationFailed, Refused, StartFailed
from trio_update.events import Event, JobMessage
from trio_update.model import Unknown


async def application(config_file: Path, data_path: Path, names: Sequence[str]) -> int:
    """Returns how many upgrades did not work."""
    config = await trio.to_thread.run_sync(load_config, config_file)
    for problem in config.problems:
        print(f"warning: {problem}", file=sys.stderr)
    outbox, events = trio.open_memory_channel[Event](512)
    # Before the manager is handed out, it has settled whatever a killed process left behind.
    async with open_manager(config, data_path=data_path) as manager, trio.open_nursery() as nursery:
        nursery.start_soon(narrate, events)
        # The manager never waits for a listener.  One that does not keep up finds its channel closed.
        async with outbox:
            with manager.hub.attach(outbox):
                await manager.wait_ready()
                await manager.refresh(None)
                show(manager)
                failed = [name for name in names if not await upgraded(manager, name)]
        # Closing our end let `narrate` come to its end, with nothing left unsaid.
    return len(failed)


async def narrate(events: trio.MemoryReceiveChannel[Event]) -> None:
    async for event in events:
        if isinstance(event, JobMessage):
            print(f"  {event.application}: {event.message}")


def show(manager: Manager) -> None:
    for name, app in manager.status().version_info.items():
        state = "" if app.is_valid else f"  ({'; '.join((*app.warnings, *app.anomalies)) or 'invalid'})"
        print(f"{name}: {text(app.version)} → {text(app.remote_version)}{state}")


def text(version: str | Unknown) -> str:
    # What is not known says why.
    return f"? ({version.reason})" if isinstance(version, Unknown) else version


async def upgraded(manager: Manager, name: str) -> bool:
    """Whether it is up to date now; when not, it is as it was before.  Ctrl-C ends the job in the same way."""
    try:
        await manager.upgrade(name, who="embed.py")
    except Refused as refused:
        print(f"{name} was not touched ({refused.reason}): {refused}", file=sys.stderr)
    except (OperationFailed, Aborted) as error:
        print(f"{name} is as it was: {error}", file=sys.stderr)
    else:
        return True
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description="Manage updates from within a Trio application.")
    parser.add_argument("config", type=Path)
    parser.add_argument("data_path", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help="upgrade this app")
    options = parser.parse_args()
    reasons: list[str] = []
    # The manager has nurseries of its own, so that what goes wrong inside arrives in a group.
    try:
        return 1 if trio.run(application, options.config, options.data_path.absolute(), options.names) else 0
    except* (ConfigInvalid, StartFailed, DataPathHeld) as group:
        reasons += [str(leaf) for leaf in leaves(group)]
    except* KeyboardInterrupt:
        reasons.append("stopped")
    print("; ".join(reasons), file=sys.stderr)
    return 1


def leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


if __name__ == "__main__":
    sys.exit(main())
