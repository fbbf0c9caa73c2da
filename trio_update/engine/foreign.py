"""Kinds of apps may come from other packages: whatever their code does, it stays the trouble of one app.

Updaters promise what they raise and return.  Here that is held to, in one place for all of them: an exception that is
none of ours becomes an :class:`OperationFailed` with a traceback in the log, and so does an answer of a wrong type.  A
server that manages ten apps must not stop, nor refuse to start, because of the eleventh.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TypeVar

import msgspec

from trio_update.config import AppConfig, Config
from trio_update.errors import OperationFailed, Reason, Refusal, TrioUpdateError
from trio_update.logs import get_logger
from trio_update.model import AppName, AppStatus, Plan, Unknown
from trio_update.progress import Report
from trio_update.updaters.base import Decision, Prepared, Request, Tools, Updater, Upkept, WorkArea
from trio_update.updaters.kinds import Kind

_log = get_logger(__name__)
T = TypeVar("T")


def make_updaters(config: Config, kinds: Mapping[AppName, Kind], tools: Tools) -> dict[AppName, Updater]:
    """The updater of each app, held to its promise; where none could be made, one that says so."""
    return {app.name: _updater(app, kinds[app.name], tools) for app in config.apps}


def _updater(config: AppConfig, kind: Kind, tools: Tools) -> Updater:
    try:
        with held_to_promise(config.name):
            updater: Updater | None = kind.make(config, tools)
            if updater is None:
                raise TypeError(f"kind '{kind.type}' made no updater")
            return _Held(config, kind, updater)
    except TrioUpdateError as error:
        return _Unmade(config, kind, f"{config.name} cannot be managed: {error}")


@contextmanager
def held_to_promise(app: AppName) -> Iterator[None]:
    """Around the code of a kind of app.  Raises: OperationFailed for any exception that is none of ours."""
    try:
        yield
    except TrioUpdateError:
        raise
    except Exception as error:
        _log.exception("%s failed unexpectedly", app)
        raise OperationFailed(f"{app} failed unexpectedly: {error!r}") from error


class _Held:
    """An updater that keeps the promises of :class:`~trio_update.updaters.base.Updater`, or fails its own app."""

    def __init__(self, config: AppConfig, kind: Kind, updater: Updater) -> None:
        self.config = config
        self._kind = kind
        self._updater = updater

    def initial(self) -> AppStatus:
        try:
            with held_to_promise(self.config.name):
                return _judged(self._updater.initial(), self._kind, self.config.name)
        except TrioUpdateError:
            return _bare_status(self._kind, self.config)

    async def tidy(self) -> tuple[str, ...]:
        with held_to_promise(self.config.name):
            return _expected(await self._updater.tidy(), tuple)

    async def inspect(self, known: AppStatus) -> AppStatus:
        return await self._look(self._updater.inspect, known)

    async def check(self, known: AppStatus) -> AppStatus:
        return await self._look(self._updater.check, known)

    async def _look(self, look: Callable[[AppStatus], Awaitable[AppStatus]], known: AppStatus) -> AppStatus:
        with held_to_promise(self.config.name):
            return _judged(await look(known), self._kind, self.config.name)

    async def decide(self, request: Request, known: AppStatus, *, fetch: Report | None = None) -> Decision:
        with held_to_promise(self.config.name):
            return _expected(await self._updater.decide(request, known, fetch=fetch), Decision)

    async def prepare(self, decision: Decision, area: WorkArea, report: Report) -> Prepared:
        with held_to_promise(self.config.name):
            return _expected(await self._updater.prepare(decision, area, report), Prepared)

    async def upkeep(self, report: Report) -> tuple[str, ...]:
        if not isinstance(self._updater, Upkept):
            return ()
        with held_to_promise(self.config.name):
            return _expected(await self._updater.upkeep(report), tuple)


class _Unmade:
    """Stands for the updater of an app that its kind could make none for: shows why, and refuses everything."""

    def __init__(self, config: AppConfig, kind: Kind, why: str) -> None:
        self.config = config
        self._kind = kind
        self._why = why

    def initial(self) -> AppStatus:
        return _bare_status(self._kind, self.config)

    async def tidy(self) -> tuple[str, ...]:
        return ()

    async def inspect(self, known: AppStatus) -> AppStatus:
        raise OperationFailed(self._why)

    async def check(self, known: AppStatus) -> AppStatus:
        raise OperationFailed(self._why)

    async def decide(self, request: Request, known: AppStatus, *, fetch: Report | None = None) -> Decision:
        refusals = (Refusal(Reason.INVALID, self._why),)
        return Decision(request=request, known=known, plan=untold_plan(known.name, self._why), refusals=refusals)

    async def prepare(self, decision: Decision, area: WorkArea, report: Report) -> Prepared:
        raise OperationFailed(self._why)


def untold_plan(app: AppName, why: str) -> Plan:
    """The plan of an app for which nothing could be decided."""
    untold = Unknown(why)
    return Plan(name=app, up_to_date=False, from_version=untold, to_version=untold, refusals=(why,))


def _bare_status(kind: Kind, config: AppConfig) -> AppStatus:
    """A status that tells nothing yet."""
    try:
        return kind.status(name=config.name, channel=config.channel)
    except TypeError:  # this kind's status wants more
        bare = msgspec.defstruct("BareStatus", [], bases=(AppStatus,), tag=kind.type, frozen=True, kw_only=True)
        return _expected(bare(name=config.name, channel=config.channel), AppStatus)


def _judged(status: object, kind: Kind, app: AppName) -> AppStatus:
    """A status that can be shown, kept and sent; a field that JSON does not know would spoil everybody's status."""
    found = _expected(status, kind.status)
    if found.name != app:
        raise ValueError(f"its updater gave the status of {found.name}")
    with suppress(UnicodeEncodeError):  # the names of files may be any bytes, and are escaped where they leave
        msgspec.json.encode(found)
    return found


def _expected(found: object, wanted: type[T]) -> T:
    if not isinstance(found, wanted):
        raise TypeError(f"its updater gave a {type(found).__name__} instead of a {wanted.__name__}")
    return found
