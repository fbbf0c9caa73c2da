"""The command line.  What a command needs is imported when it runs: `trio-update --help` answers at once."""

from __future__ import annotations

import dataclasses
import functools
import json as json_module
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from trio_update import __version__
from trio_update.cli.requests import DEFAULT_PORT, DEFAULT_URL, Command, Query, StartJob, Target, Watch

_F = TypeVar("_F", bound=Callable[..., Any])
_DONE, _INTERRUPTED = 0, 130

_EPILOG = """\b
Exit codes: 0 done, 1 the operation failed, 2 usage, 3 the server cannot be
reached, 4 refused (busy, printing, invalid), 5 aborted, 130 interrupted."""


def _client_options(*, variables: bool) -> Callable[[_F], _F]:
    """``--url``, ``--api-key`` and ``--json``.

    ``variables``: read the environment too.  Only the group does: on a command, a variable would be taken for an
    option that was given there, and win over one that was given in front of the command.
    """
    url = click.option(
        "--url",
        metavar="URL",
        envvar="TRIO_UPDATE_URL" if variables else None,
        help=f"The server (TRIO_UPDATE_URL; {DEFAULT_URL}).",
    )
    key = click.option(
        "--api-key",
        metavar="KEY",
        envvar="TRIO_UPDATE_API_KEY" if variables else None,
        help="The server's API key (TRIO_UPDATE_API_KEY, which other users cannot see in the list of processes).",
    )
    json = click.option("--json", is_flag=True, default=None, help="Print one JSON document and nothing else.")
    return lambda function: url(key(json(function)))


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
@click.version_option(__version__, "-V", "--version", message="trio-update %(version)s")
@_client_options(variables=True)
@click.pass_context
def cli(ctx: click.Context, url: str | None, api_key: str | None, json: bool | None) -> None:
    """Update the software of this machine, and undo it, as transactions.

    `serve` runs the server; most of the other commands talk to one that is running.
    """
    ctx.obj = Target(url=url or DEFAULT_URL, api_key=api_key, json=bool(json))


def asks(function: Callable[..., Command]) -> Callable[..., int]:
    """Make a command out of a function that says what to ask the server."""

    @_client_options(variables=False)
    @functools.wraps(function)
    def command(url: str | None, api_key: str | None, json: bool | None, **arguments: Any) -> int:
        given = {"url": url, "api_key": api_key, "json": json}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        target = dataclasses.replace(click.get_current_context().find_object(Target) or Target(), **changes)
        from trio_update.cli.client import run  # Trio and WebSockets, 150 ms

        return run(target, function(**arguments))

    return command


def _given(**arguments: Any) -> dict[str, Any]:
    """The arguments that were given: leaving one out means something else to the server than ``null``."""
    return {name: value for name, value in arguments.items() if value is not None}


@cli.command()
@click.argument("name", required=False)
@asks
def status(name: str | None) -> Command:
    """Show what is managed, and whether there are updates."""
    return Query("machine.update.status", "status", only=name)


@cli.command()
@click.argument("name", required=False)
@asks
def refresh(name: str | None) -> Command:
    """Look for updates now, of one app or of all."""
    return Query("machine.update.refresh", "status", _given(name=name), only=name)


@cli.command()
@click.argument("name", required=False)
@asks
def plan(name: str | None) -> Command:
    """Show what an upgrade would do; nothing is changed."""
    return Query("machine.update.plan", "plan", _given(name=name))


@cli.command()
@click.argument("name", required=False)
@click.option(
    "--plan", "plan_id", help="Only if this plan of NAME, by its id as `plan` shows it, is what would be done."
)
@asks
def upgrade(name: str | None, plan_id: str | None) -> Command:
    """Upgrade one app, or everything, and follow it.

    Ctrl-C asks whether to abort the job or to leave it running.
    """
    if plan_id is not None and name is None:
        raise click.UsageError("a plan is of one app: give its NAME as well")
    what = f"upgrade of {name}" if name else "full update"
    return StartJob("machine.update.upgrade", _given(name=name, plan_id=plan_id), name or "full", what)


@cli.command()
@click.argument("name")
@click.argument("version", required=False)
@asks
def rollback(name: str, version: str | None) -> Command:
    """Go back to the version before the last update, or to VERSION."""
    return StartJob(
        "machine.update.rollback", _given(name=name, version=version), f"rollback_{name}", f"rollback of {name}"
    )


@cli.command()
@click.argument("name")
@click.option("--hard", is_flag=True, help="Download the app anew instead of resetting it; your own files are kept.")
@asks
def recover(name: str, hard: bool) -> Command:
    """Repair an app that is dirty, diverged or corrupt."""
    params = {"name": name, "hard": hard}
    return StartJob("machine.update.recover", params, f"recover_{name}", f"recovery of {name}")


@cli.command()
@asks
def abort() -> Command:
    """End the running job; its app is put back as it was."""
    return Query("machine.update.abort", "abort")


@cli.command()
@click.argument("name", required=False)
@click.option("--limit", type=click.IntRange(1, 1000), metavar="N", help="Show at most N jobs.")
@asks
def history(name: str | None, limit: int | None) -> Command:
    """Show the jobs that have ended, newest first."""
    return Query("machine.update.history", "history", _given(name=name, limit=limit))


@cli.command()
@asks
def watch() -> Command:
    """Follow every job and refresh until Ctrl-C.  With --json: one document a line."""
    return Watch()


_config_option = click.option(
    "-c", "--config", type=click.Path(path_type=Path), required=True, help="The configuration: a moonraker.conf."
)
_port = click.IntRange(0, 65535)


@cli.command()
@_config_option
@click.option("--json", is_flag=True, help="Print one JSON document and nothing else.")
@click.pass_obj
def check(target: Target, config: Path, json: bool) -> int:
    """Validate a configuration: every problem at once, exit code 1 if there is any."""
    from trio_update.cli import local  # reads configurations, which clients do not

    return local.check(config, json=json or target.json)


@cli.command()
@_config_option
@click.option(
    "-d",
    "--data-path",
    type=click.Path(path_type=Path),
    default=Path("~/printer_data"),
    show_default=True,
    help="Where the server keeps its data.",
)
@click.option("--host", help="Listen on this address, whatever the configuration says.")
@click.option("--port", type=_port, help="Listen on this port, whatever the configuration says; 0: any free one.")
@click.option("--debug", is_flag=True, help="Log more, and let apps be updated whose HEAD is detached.")
def serve(config: Path, data_path: Path, host: str | None, port: int | None, debug: bool) -> int:
    """Run the server until SIGTERM or Ctrl-C."""
    from trio_update.cli import local  # the whole server

    return local.serve(config, data_path=data_path.expanduser().absolute(), host=host, port=port, debug=debug)


@cli.command()
@click.option("--port", type=_port, help=f"Listen on this port ({DEFAULT_PORT} if it is free, else any).")
def demo(port: int | None) -> int:
    """Run a playground: apps to upgrade, break and recover, in a temporary directory."""
    from trio_update.cli import local  # the whole server

    return local.demo(port=port)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is one of those that `--help` lists."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        result = cli.main(arguments, prog_name="trio-update", standalone_mode=False)
    except click.ClickException as error:
        if "--json" in arguments:
            message = error.format_message()
            print(json_module.dumps({"error": {"code": None, "message": message, "reason": "usage"}}))
        else:
            error.show()
        return error.exit_code
    except click.Abort:
        print("trio-update: interrupted", file=sys.stderr)
        return _INTERRUPTED
    return result if isinstance(result, int) else _DONE
