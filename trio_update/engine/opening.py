"""How a manager is opened, put together, and closed again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trio

from trio_update.config import Config
from trio_update.engine.board import Board
from trio_update.engine.foreign import make_updaters
from trio_update.engine.gate import Gate, MayUpdate
from trio_update.engine.hub import Hub
from trio_update.engine.jobs import Job
from trio_update.engine.journal import Journal, holder_id
from trio_update.engine.lane import JobRunner
from trio_update.engine.lifetime import HostErrors, Lifetime
from trio_update.engine.manager import Manager, Parts
from trio_update.engine.records import Records
from trio_update.engine.recovery import resume_all
from trio_update.engine.refresh import Refresher
from trio_update.engine.routine import Routine
from trio_update.engine.startup import (
    config_digest,
    kinds_of,
    locked,
    make_folders,
    refuse_inside_app,
    restore,
    tidy_saved,
)
from trio_update.engine.transaction import Means
from trio_update.engine.upkeep import Upkeep
from trio_update.engine.view import StatusView
from trio_update.engine.worker import Worker
from trio_update.errors import OperationFailed, StartFailed
from trio_update.host.forge.forges import open_forges
from trio_update.host.http.client import open_web
from trio_update.host.processes.runner import Runner, subreaper
from trio_update.host.processes.strays import end_orphans
from trio_update.host.services import NoServices, Services
from trio_update.host.store import Store, open_store
from trio_update.host.threads import in_thread
from trio_update.logs import get_logger
from trio_update.model import AppName, AppStatus, JobId
from trio_update.updaters.base import Tools, Updater
from trio_update.updaters.kinds import Kind, all_kinds, effects_of, judge_config

__all__ = ["Job", "Manager", "open_manager"]

_log = get_logger(__name__)


@dataclass(frozen=True)
class _Options:
    """What a manager was opened with."""

    config: Config
    kinds: Sequence[Kind]
    data_path: Path
    debug: bool
    services: Services
    gate: Gate
    who: str
    subreaper: bool
    clock: Callable[[], float]
    now: Callable[[], datetime]


@asynccontextmanager
async def open_manager(
    config: Config,
    *,
    data_path: Path,
    kinds: Sequence[Kind] = (),
    debug: bool = False,
    services: Services | None = None,
    may_update: MayUpdate | None = None,
    who: str = "the application that embeds trio-update",
    subreaper: bool = True,
    clock: Callable[[], float] = time.time,
    now: Callable[[], datetime] = datetime.now,
) -> AsyncIterator[Manager]:
    """Manage the apps of ``config`` while the context lasts.

    Brings every app that a former server left in the middle of an update to a whole state before it yields; when the
    context is left, ends running jobs, and their apps are put back.  What the body raises comes out as it was raised.

    Args:
        data_path: holds the journal, the database and saved local changes; one manager at a time can use it.  A
            relative one is resolved now, and stays where it is when the working directory changes.
        kinds: of apps, besides the built-in ones.
        debug: as ``serve --debug``: tolerates what is usual in development, such as a detached HEAD.
        services: restarts what belongs to an app; without it, a job's messages ask its user to.
        may_update: asked before each step that somebody could feel, see :class:`~trio_update.model.Step`.  ``None``
            is a yes; a sentence refuses the step, and puts the app back if it had begun to change.  An exception, or no
            answer within seconds, is a refusal too.
        who: on whose behalf jobs run, for the history; a call may say another.
        subreaper: while the context lasts, this process becomes the parent of what commands leave behind (prctl(2),
            PR_SET_CHILD_SUBREAPER), so that nothing escapes; afterwards it is again what it was.  False leaves the
            process alone: what outlives a command is found at the next start only.
        clock: tells unix seconds, for when something happened and what is due.
        now: tells local time, for the hours in which remotes are asked.

    Raises:
        ConfigInvalid: with everything that is wrong with a configuration that was made in code.
        KindInvalid: two kinds of apps have the same type, or two effects the same tag.
        DataPathHeld: another manager works on ``data_path``.
        StartFailed: ``data_path`` cannot be used, lies in the folder of an app, or what a former server left there
            cannot be read; a process of a former server does not end; or the system refuses ``subreaper``.
    """
    config = await in_thread(judge_config, config, kinds)
    chosen = _Options(
        config=config,
        kinds=all_kinds(kinds),
        data_path=await in_thread(data_path.absolute),
        debug=debug,
        services=services or NoServices(),
        gate=Gate(may_update),
        who=who,
        subreaper=subreaper,
        clock=clock,
        now=now,
    )
    host = HostErrors()
    with host.restored():
        async with AsyncExitStack() as opened:
            try:
                manager = await opened.enter_async_context(_on_data_path(chosen))
            except OperationFailed as error:
                raise StartFailed(f"the update manager cannot start: {error}") from error
            with host.noted():
                yield manager


@asynccontextmanager
async def _on_data_path(options: _Options) -> AsyncIterator[Manager]:
    """A manager that has its data path to itself."""
    data_path = options.data_path
    await in_thread(refuse_inside_app, data_path, options.config, kinds_of(options.config, options.kinds))
    await in_thread(make_folders, data_path)
    with locked(data_path), subreaper() if options.subreaper else nullcontext():
        owner = holder_id(data_path)
        if ended := await end_orphans(owner):
            _log.warning("ended %d processes that a former server had left", ended)
        await in_thread(tidy_saved, data_path)
        async with _with_tools(options, Runner(owner)) as manager:
            yield manager


@asynccontextmanager
async def _with_tools(options: _Options, runner: Runner) -> AsyncIterator[Manager]:
    """A manager whose apps are whole."""
    config, data_path = options.config, options.data_path
    server = config.server
    async with (
        open_store(data_path / "database" / "trio_update.db") as (store, notice),
        open_web() as web,
        open_forges(
            store,
            web,
            runner,
            github_api_url=server.github_api_url,
            github_url=server.github_url,
            token_file=server.github_token_file,
            clock=options.clock,
        ) as forges,
    ):
        tools = Tools(runner, web, forges, clock=options.clock, debug=options.debug)
        kind_of = kinds_of(config, options.kinds)
        updaters = make_updaters(config, kind_of, tools)
        problems = (*(str(problem) for problem in config.problems), *([notice] if notice else []))
        board = Board({app.name: app for app in config.apps}, problems)
        journal = Journal(data_path / "trio_update" / "journal", effects_of(options.kinds))
        saved = data_path / "trio_update" / "saved"
        means = Means(journal, Records(board, store), tools, options.services, options.gate, saved)
        changed = await restore(config, kind_of, store, board, updaters)
        last_id = await resume_all(journal, updaters, tools, store, board)
        async with _at_work(options, _Made(means, updaters, board, store, last_id), changed) as manager:
            yield manager


@dataclass(frozen=True)
class _Made:
    """What there is before anything runs."""

    means: Means
    updaters: dict[AppName, Updater]
    board: Board
    store: Store
    last_id: JobId


@asynccontextmanager
async def _at_work(options: _Options, made: _Made, changed: list[AppName]) -> AsyncIterator[Manager]:
    """A manager whose tasks run; ends them, and waits until they and all callers have left."""
    lifetime, looked = Lifetime(), trio.Event()
    view = StatusView(made.board, made.means.tools.forges, Hub(), trio.CapacityLimiter(1))
    try:
        async with trio.open_nursery() as nursery:
            upkeep = Upkeep(made.updaters, made.store, options.gate, options.clock)
            refresher = _refresher(options, made, nursery, upkeep)
            routine = Routine(options.config, refresher, upkeep, options.gate, view, looked)
            worker = Worker(made.means, made.updaters, made.board, refresher, upkeep)
            parts = Parts(
                config=options.config,
                updaters=made.updaters,
                board=made.board,
                view=view,
                jobs=JobRunner(nursery, worker, view, made.last_id),
                refresher=refresher,
                store=made.store,
                gate=options.gate,
                lifetime=lifetime,
                looked=looked,
                who=options.who,
            )
            nursery.start_soon(routine.first_look, changed)
            nursery.start_soon(routine.look_after)
            if options.config.update_manager.enable_auto_refresh:
                nursery.start_soon(routine.follow_schedule, options.now)
            try:
                yield Manager(parts)
            finally:
                lifetime.end()
                nursery.cancel_scope.cancel()
    finally:
        await lifetime.left()
        view.hub.end()


def _refresher(options: _Options, made: _Made, nursery: trio.Nursery, upkeep: Upkeep) -> Refresher:
    async def save(app: AppName, status: AppStatus) -> None:
        digest = config_digest(made.updaters[app].config)
        try:
            await made.store.save_snapshot(app, digest, status)
        except OperationFailed as error:
            _log.error("the status of %s was not saved: %s", app, error)

    limit = options.config.server.max_concurrent_refreshes
    return Refresher(made.updaters, made.board, save, nursery, limit, options.clock, upkeep.paused)
