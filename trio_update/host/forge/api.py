"""Requests to a forge's API: one at a time, within its limits, out of memory where that is still true."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import trio

from trio_update.errors import OperationFailed
from trio_update.host.forge.base import NoSuchRelease, Purpose
from trio_update.host.forge.budget import Budget, Saved
from trio_update.host.forge.memory import Memory, digest_of
from trio_update.host.forge.token import TokenFile
from trio_update.host.http.client import BadAnswer, Response, Unreachable, Web, shown

LARGEST = 8 * 1024 * 1024
"""Bytes of an answer."""

_LARGEST_ERROR = 64 * 1024
_ATTEMPTS = {Purpose.REFRESH: 1, Purpose.JOB: 3}
_ADVICE = "a token in `github_token_file` allows 5,000 requests an hour instead of 60"
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
T = TypeVar("T")


class _Said(msgspec.Struct):
    message: str = ""


@dataclass
class Api:
    """The API at ``base``.

    ``turn`` is shared by all that ask the same host.  ``forbids``: a 403 means that something is forbidden; on GitHub
    it is how its limits are told.  A token goes to the host of ``base`` alone.
    """

    base: str
    web: Web
    memory: Memory
    turn: trio.Lock
    clock: Callable[[], float]
    headers: Mapping[str, str]
    token: TokenFile | None = None
    forbids: bool = False
    budget: Budget | None = None
    _budget_key: str = ""
    _host: str = field(init=False)

    def __post_init__(self) -> None:
        self._host = urlsplit(self.base).netloc.rpartition("@")[2]

    async def load(self) -> None:
        """Bring back the budget of another process; a token that cannot be read is told when it is needed."""
        try:
            token = await self._token()
        except OperationFailed:
            return
        async with self.turn:
            await self._budget(token)

    async def ask(self, path: str, kind: type[T], *, purpose: Purpose, missing: str) -> T:
        """What is at ``path`` below the base, of the right shape.

        Raises:
            RateLimited: the request was not sent, or turned down for its number.
            NoSuchRelease: there is no such thing, which ``missing`` says.
            Unreachable: no answer came; for a job, in three attempts.
            OperationFailed: the answer is of no use, or the token is not.
        """
        url = self.base + path
        attempt = 1
        while True:
            try:
                return await self._once(url, kind, purpose, missing)
            except Unreachable:
                if attempt >= _ATTEMPTS[purpose]:
                    raise
            # Many hosts that lost one server must not come back at the same moment.
            await trio.sleep(2.0**attempt * random.SystemRandom().uniform(0.5, 1.0))
            attempt += 1

    async def _once(self, url: str, kind: type[T], purpose: Purpose, missing: str) -> T:
        async with self.turn:
            token = await self._token()
            budget = await self._budget(token)
            budget.check(purpose)
            key = digest_of(url, token, self.headers.get("Accept", ""))
            known = await self._known(key, kind)
            headers = dict(self.headers)
            if token:
                headers["Authorization"] = f"Bearer {token}"
            if known is not None:
                headers["If-None-Match"] = known[0]
            async with self.web.stream("GET", url, headers=headers) as response:
                ours = _origin(response.url) == _origin(url)
                if ours:
                    await self._learn(budget, response)
                if response.status == 304 and known is not None:
                    return known[1]
                if response.status != 200:
                    raise await self._failure(response, missing, authorized=bool(token) and ours)
                body = await response.read(LARGEST)
            try:
                value = msgspec.json.decode(body, type=kind)
            except _UNDECODABLE as error:
                raise BadAnswer(f"{shown(url)} answered {_kind_of(body)}: {shown(str(error))}") from None
            if etag := response.headers.get("etag", ""):
                await self.memory.keep_answer(key, etag, body)
            return value

    async def _known(self, key: str, kind: type[T]) -> tuple[str, T] | None:
        """The ETag and the value of the last answer, if this version of ours can still read it."""
        found = await self.memory.answer(key)
        try:
            return None if found is None else (found[0], msgspec.json.decode(found[1], type=kind))
        except _UNDECODABLE:
            return None

    async def _learn(self, budget: Budget, response: Response) -> None:
        """Take in what the host says about its limits; not of another one that a moved repository may lead to.

        Raises: RateLimited when the request was turned down for them.
        """
        refused = self._refuses(response)
        budget.learn(response.status, response.headers, refused=refused)
        await self.memory.keep(f"budget:{self._budget_key}", budget.save())
        if refused:
            raise budget.refusal(await _message(response))

    def _refuses(self, response: Response) -> bool:
        if response.status == 403 and self.forbids:
            return "retry-after" in response.headers
        return response.status in {403, 429}

    async def _failure(self, response: Response, missing: str, *, authorized: bool) -> OperationFailed:
        where, status = shown(response.url), response.status
        if status in {404, 409, 410, 422}:
            return NoSuchRelease(missing)
        if status == 401 and authorized and self.token is not None:
            return OperationFailed(
                f"{self._host} does not accept the token of `github_token_file` {self.token.path}: it may have expired "
                "or been revoked; put a new one there"
            )
        said = await _message(response)
        text = f"{where} answered {status} {response.reason}" + (f": {said}" if said else "")
        if status >= 500:
            return Unreachable(f"{text}; the trouble is the server's, try again later")
        if status in {401, 403, 407, 451}:
            return OperationFailed(f"{text}; only public repositories can be read")
        return BadAnswer(text)

    async def _token(self) -> str:
        return "" if self.token is None else await self.token.read()

    async def _budget(self, token: str) -> Budget:
        """That of the token, which may have changed; with ``turn`` held."""
        key = digest_of(self._host, token)
        if self.budget is None or key != self._budget_key:
            budget = Budget(self._host, self.clock, "" if token or self.forbids else _ADVICE)
            saved = await self.memory.recall(f"budget:{key}", Saved)
            if saved is not None:
                budget.restore(saved)
            self.budget, self._budget_key = budget, key
        return self.budget


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def quoted(text: str) -> str:
    """One segment of a path, slashes included."""
    return quote(text, safe="")


async def _message(response: Response) -> str:
    """What a forge says about an error, for people; empty when it is no JSON of theirs."""
    try:
        said = msgspec.json.decode(await response.read(_LARGEST_ERROR), type=_Said).message
    except (OperationFailed, *_UNDECODABLE):
        return ""
    return shown(said)


def _kind_of(body: bytes) -> str:
    start = body[:512].lstrip().lower()
    if start.startswith(b"<"):
        return "a web page instead of JSON (a login page of the network, or a proxy?)"
    return "something else than the JSON that was expected"
