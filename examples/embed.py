"""The update manager inside an application of one's own: no server, no socket, one more thing in its nursery.

    python examples/embed.py moonraker.conf data            what is installed, and what could be
    python examples/embed.py moonraker.conf data NAME …     and bring these up to date

The data path must be this application's own: one instance works on it at a time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

from trio_update import (
    AppName,
    ConfigInvalid,
    DataPathHeld,
    JobEnded,
    JobProgress,
    Manager,
    Outcome,
    Refused,
    StartFailed,
    Step,
    Unknown,
    load_config,
    open_manager,
)


async def application(config_file: Path, data_path: Path, names: Sequence[str]) -> int:
    """Returns how many upgrades did not work."""
    config = await trio.to_thread.run_sync(load_config, config_file)
    for problem in config.problems:
        print(f"warning: {problem}", file=sys.stderr)
    async with (
        trio.open_nursery() as nursery,
        # Before the manager is handed out, it has brought whatever a killed process left behind to a whole state.
        open_manager(config, data_path=data_path, may_update=may_update, who="embed.py") as manager,
    ):
        await nursery.start(narrate, manager)
        await manager.wait_ready()
        await manager.refresh()
        show(manager)
        failed = [name for name in names if not await upgraded(manager, name)]
    # The end of the manager let `narrate` come to its own, with nothing left unsaid.
    return len(failed)


async def may_update(app: AppName | None, step: Step) -> str | None:
    """Asked before each step that somebody could feel.  Whoever prints, say, looks at the printer here."""
    return None


async def narrate(manager: Manager, *, task_status: trio.TaskStatus[None]) -> None:
    # The manager never waits for a reader.  One that does not keep up gets EventsMissed, and can begin anew.
    async with manager.events() as events:
        task_status.started()
        async for event in events:
            match event:
                case JobProgress():
                    print(f"  {event.line.application}: {event.line.message}")
                case JobEnded(record=record):
                    print(f"  {record.name} {record.outcome} after {record.duration:.1f} s")


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
        # `start_upgrade` returns the job instead, to look at it, to wait for it later, or to abort it.
        record = await manager.upgrade(name)
    except Refused as refused:
        print(f"{name} was not touched ({refused.reason}): {refused}", file=sys.stderr)
        return False
    if record.outcome in {Outcome.SUCCEEDED, Outcome.UNCHANGED}:
        return True
    print(f"{name} is as it was: {record.message}", file=sys.stderr)
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description="Manage updates from within a Trio application.")
    parser.add_argument("config", type=Path)
    parser.add_argument("data_path", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help="upgrade this app")
    options = parser.parse_args()
    try:
        return 1 if trio.run(application, options.config, options.data_path, options.names) else 0
    except* (ConfigInvalid, StartFailed, DataPathHeld) as group:
        # In a group because of our own nursery: the manager lets out what it raises as it is.
        print("; ".join(str(error) for error in group.exceptions), file=sys.stderr)
    except* KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
