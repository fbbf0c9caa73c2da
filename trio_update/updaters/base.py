"""What every kind of app has in common: what can be asked of it, and what it gives the transaction.

An updater looks, decides and prepares.  It never commits: the effects it hands over are applied, undone and discarded
by :mod:`trio_update.engine.transaction` alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import trio

from trio_update.config import AppConfig
from trio_update.errors import Refusal, Refused
from trio_update.host.files.tools import Files
from trio_update.host.forge.base import Forges
from trio_update.host.http.client import Web
from trio_update.host.processes.runner import Runner
from trio_update.model import AppStatus, JobId, Plan, Release
from trio_update.progress import Report
from trio_update.updaters.plans import outdated

__all__ = [
    "Decision",
    "Effect",
    "Prepared",
    "Recover",
    "Request",
    "Rollback",
    "Target",
    "Tools",
    "Updater",
    "Upgrade",
    "Upkept",
    "WorkArea",
    "in_loop",
]


def in_loop(report: Report) -> Report:
    """``report`` for a thread that :func:`~trio_update.host.threads.in_thread` runs: calls it in the event loop."""

    def from_thread(message: str) -> None:
        trio.from_thread.run_sync(report, message)

    return from_thread


@dataclass(frozen=True)
class Tools:
    """What an updater and its effects work with.

    Attributes:
        processes: Runs commands, each in a process group that an abort ends as a whole.
        http: Asks and downloads, with limits on time and size.
        forges: GitHub and its like, within their rate limits.
        files: Durable operations on files.
        clock: Tells unix seconds.
        debug: As ``serve --debug`` says.
    """

    processes: Runner
    http: Web
    forges: Forges
    files: Files = field(default_factory=Files)
    clock: Callable[[], float] = time.time
    debug: bool = False


class Effect(Protocol):
    """One visible change, as data that can be written to the journal and read back by another process.

    All methods are idempotent, may be killed at any instant, and may be called again by the next start: on a change
    that was never begun, half done, or done.  They raise :class:`~trio_update.errors.OperationFailed`.
    """

    @property
    def reversible(self) -> bool:
        """False: :meth:`settle` finishes the change instead of undoing it, and an abort must not cut it."""

    async def apply(self, tools: Tools, report: Report) -> None:
        """Make the change and make it durable."""

    async def settle(self, tools: Tools, report: Report) -> None:
        """Bring an interrupted change to a whole state: as before, or, when not reversible, as after."""

    async def discard(self, tools: Tools, report: Report) -> None:
        """The change is final: remove what was kept only to undo it."""


@dataclass(frozen=True)
class Upgrade:
    """To the version that the app's channel offers.

    ``plan_id``: only if that is still what would be done.  ``shown``: the plan that had this id, while it is known.
    """

    plan_id: str = ""
    shown: Plan | None = None


@dataclass(frozen=True)
class Rollback:
    """To ``version``, or, when ``None``, to the one before the last update.

    ``earlier``: what the app had before, newest last.
    """

    version: str | None
    earlier: tuple[Release, ...] = ()


@dataclass(frozen=True)
class Recover:
    """To a whole state: in place, or (``hard``) by a fresh copy.

    ``update_deps``: its dependencies too; clients ask for that, and no kind of app does it yet.
    """

    hard: bool
    update_deps: bool = False


Request = Upgrade | Rollback | Recover


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a request leads to, decided before anything changes: what ``plan`` shows and what ``prepare`` carries out.

    ``refusals`` not empty: it must not be carried out, for these reasons; ``plan`` has their messages.  Kinds of apps
    derive their own from it, with what their ``prepare`` needs to know.
    """

    request: Request
    known: AppStatus
    plan: Plan
    refusals: tuple[Refusal, ...] = ()

    def raise_refused(self) -> None:
        """End a job that must not carry this out.

        Raises: Refused with all reasons, in the order in which the plan shows them.
        """
        refusals = self.refusals
        if not refusals and isinstance(self.request, Upgrade):
            refusals = outdated(self.request.plan_id, self.request.shown, self.plan)
        if refusals:
            *first, last = (refusal.message for refusal in refusals)
            raise Refused(refusals[0].reason, ". ".join([*(message.rstrip(".") for message in first), last]))


@dataclass(frozen=True)
class Target:
    """One end of an update.  ``hash`` of the commit, or ``digest`` (``sha256:HEX``) of the asset that was verified."""

    version: str
    hash: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Prepared:
    """An update that only waits to be switched on; nothing visible has changed yet.

    ``unchanged`` is the sentence that says why nothing needs to be done; ``effects`` is empty then.  ``notes``: what
    the history should say besides.
    """

    old: Target
    new: Target
    effects: tuple[Effect, ...] = ()
    unchanged: str = ""
    notes: tuple[str, ...] = ()


class WorkArea(Protocol):
    """Where an updater prepares: the engine removes its stages if the update does not reach its switch.

    ``saved_folder`` is what :meth:`saved` will make, and need not exist yet.
    """

    @property
    def job(self) -> JobId:
        """The job that it prepares for."""

    @property
    def saved_folder(self) -> Path: ...

    async def stage(self, beside: Path) -> Path:
        """A path beside ``beside`` on the same file system, not existing yet, known to the journal before it exists."""

    async def saved(self) -> Path:
        """A folder under DATA_PATH for the user's local changes; never removed."""


class Updater(Protocol):
    """Manages one app.  :meth:`inspect` and :meth:`check` never raise: what went wrong is in the status."""

    @property
    def config(self) -> AppConfig:
        """The app's section."""

    def initial(self) -> AppStatus:
        """The status before the first look."""

    async def tidy(self) -> tuple[str, ...]:
        """Remove what killed commands left (locks).  Returns what it removed, for the log.

        Raises: OperationFailed when a living process holds some of it.
        """

    async def inspect(self, known: AppStatus) -> AppStatus:
        """Look at the disk only."""

    async def check(self, known: AppStatus) -> AppStatus:
        """Ask the remote, then look at the disk."""

    async def decide(self, request: Request, known: AppStatus, *, fetch: Report | None = None) -> Decision:
        """What ``request`` leads to.  ``fetch``: ask the remote first, and report progress there; else by ``known``.

        Looks at the disk either way.  What speaks against the request is in the decision's refusals.

        Raises: OperationFailed when nothing can be decided, as when the remote does not answer.
        """

    async def prepare(self, decision: Decision, area: WorkArea, report: Report) -> Prepared:
        """Bring, stage and verify what was decided, a decision without refusals.  Decides nothing again.  Abortable.

        Raises: OperationFailed; Refused for what only showed when it had been brought, such as the packages that a
        downloaded archive needs.
        """


@runtime_checkable
class Upkept(Protocol):
    """What an updater may be besides: its app needs something done from time to time, whether or not it is updated."""

    async def upkeep(self, report: Report) -> tuple[str, ...]:
        """Do what is needed, within bounds of its own; called once a day at most, and never while a job works.

        May be cancelled at any instant, for a job that comes, and leaves a whole app then.  Returns what was done, a
        sentence each for the log; nothing, if nothing was needed.

        Raises: OperationFailed.
        """
