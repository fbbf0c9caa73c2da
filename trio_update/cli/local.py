"""The commands that need no running server: `check`, `serve`, `demo`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from trio_update.cli.display import DONE, FAILED, Output, clean, say_error
from trio_update.cli.output import choose_output
from trio_update.cli.report import Cell, Grid, Line, Page, Tone
from trio_update.config import AppConfig, Config, ConfigInvalid, DisabledApp, Problem
from trio_update.errors import DataPathHeld, StartFailed
from trio_update.logs import get_logger
from trio_update.text import without_secrets
from trio_update.updaters.kinds import Kind, KindInvalid, installed_kinds, load_config

_log = get_logger(__name__)


def check(path: Path, *, json: bool) -> int:
    """Say everything that is wrong with a configuration, or else what it manages."""
    output = choose_output(json=json)
    try:
        config, _ = _load(path)
    except ConfigInvalid as invalid:
        return _show_check(output, invalid.problems, None)
    return _show_check(output, config.problems, config)


def _load(path: Path) -> tuple[Config, tuple[Kind, ...]]:
    """The configuration, and the kinds of apps that installed packages bring.  Raises: ConfigInvalid."""
    installed = installed_kinds()
    broken = tuple(Problem(f"entry point {name}", 0, why) for name, why in installed.problems)
    try:
        config = load_config(path.expanduser(), installed.kinds)
    except ConfigInvalid as invalid:
        raise ConfigInvalid((*broken, *invalid.problems)) from invalid
    return replace(config, problems=(*broken, *config.problems)), installed.kinds


def _show_check(output: Output, problems: Sequence[Problem], config: Config | None) -> int:
    document = {
        "valid": not problems,
        "starts": config is not None,
        "problems": [_problem_document(one) for one in problems],
        "notes": [_problem_document(one) for one in config.notes] if config else [],
        "apps": [_app_document(app) for app in config.apps] if config else [],
        "disabled": [_disabled_document(app) for app in config.disabled] if config else [],
    }
    notes = tuple(Line(str(note), Tone.FAINT) for note in config.notes) if config else ()
    output.show(document, lambda: (*(_managed(config) if config and not problems else _problems(problems)), *notes))
    return FAILED if problems else DONE


def _problem_document(problem: Problem) -> dict[str, object]:
    return {"file": problem.file, "line": problem.line, "message": problem.message}


def _app_document(app: AppConfig) -> dict[str, str]:
    return {"name": app.name, "type": _type_of(app), "path": str(app.path), "channel": app.channel}


def _disabled_document(app: DisabledApp) -> dict[str, object]:
    return {"name": app.name, "type": app.type, "reasons": list(app.reasons)}


def _problems(problems: Sequence[Problem]) -> Page:
    return tuple(Line(str(problem), Tone.BAD) for problem in problems)


def _managed(config: Config) -> Page:
    listen = Line(f"{config.source}: no problem; the server would listen on {_address(config)}", Tone.GOOD)
    disabled = [Line(f"{app.name}: disabled: {'; '.join(app.reasons)}", Tone.BAD) for app in config.disabled]
    if not config.apps:
        return (listen, Line("no app is managed: there is no usable [update_manager NAME] section"), *disabled)
    rows = tuple((Cell(app.name), Cell(_type_of(app)), Cell(app.channel), Cell(str(app.path))) for app in config.apps)
    return (listen, Grid(("name", "type", "channel", "path"), rows), *disabled)


def _type_of(app: AppConfig) -> str:
    return str(app.__struct_config__.tag)


def _address(config: Config) -> str:
    host = f"[{config.server.host}]" if ":" in config.server.host else config.server.host
    return f"http://{host}:{config.server.port}"


class _CleanFormatter(logging.Formatter):
    """What git and pip said ends up in the log, and logs are read on terminals."""

    def format(self, record: logging.LogRecord) -> str:
        return clean(without_secrets(super().format(record)), lines=True)


def _log_to_stderr(*, debug: bool) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_CleanFormatter("%(asctime)s %(levelname)s %(message)s"))
    # Libraries stay at INFO even with --debug: a line for each WebSocket frame would bury what is looked for.
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # httpx tells whole addresses, and those of downloads are signed: who has one may use it.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("trio_update").setLevel(logging.DEBUG if debug else logging.INFO)


def serve(path: Path, *, data_path: Path, host: str | None, port: int | None, debug: bool) -> int:
    """Run the server; what is wrong with the configuration is said first, and stops it only when it must."""
    try:
        config, kinds = _load(path)
    except ConfigInvalid as invalid:
        say_error(str(invalid))
        return FAILED
    for problem in config.problems:
        say_error(str(problem))
    server = config.server
    server = server if host is None else replace(server, host=host)
    server = server if port is None else replace(server, port=port)
    _log_to_stderr(debug=debug)
    for note in config.notes:
        _log.info("%s", note)
    from trio_update.service import run  # the whole server, which `check` can do without

    try:
        return run(replace(config, server=server), kinds=kinds, data_path=data_path, debug=debug)
    except (ConfigInvalid, KindInvalid, DataPathHeld, StartFailed) as error:
        say_error(str(error))
        return FAILED


def demo(*, port: int | None) -> int:
    """Run the playground; ``port`` None: the usual one if it is free."""
    _log_to_stderr(debug=False)
    from trio_update.demo import run  # the whole server, which `check` can do without

    try:
        return run(port=port)
    except (DataPathHeld, StartFailed) as error:
        say_error(str(error))
        return FAILED
