"""Requests to a forge's API: one at a time, within its limits, out of memory where that is still true."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import trio

from trio_update.errors import OperationFailed
from trio_update.host.forge.access import Access, Denied, place_of
from trio_update.host.forge.base import NoSuchRelease, Purpose, RateLimited
from trio_update.host.forge.budget import Budget, Saved
from trio_update.host.forge.memory import Memory, digest_of
from trio_update.host.forge.token import TokenFile
from trio_update.host.http.client import BadAnswer, Response, Unreachable, Web, shown
from trio_update.host.http.patience import back_off
from trio_update.logs import get_logger

_log = get_logger(__name__)

LARGEST = 8 * 1024 * 1024
"""Bytes of an answer."""

_LARGEST_ERROR = 64 * 1024
_ATTEMPTS = {Purpose.REFRESH: 1, Purpose.JOB: 3}
_ADVICE = "a token in `github_token_file` allows 5,000 requests an hour instead of 60"
# "You have exceeded a secondary rate limit", "You have triggered an abuse detection mechanism".
_LIMIT = re.compile(r"rate.?limit|secondary limit|\babuse\b|too many requests", re.IGNORECASE)
_PAGE = "a web page instead of JSON (a login page of the network, or a proxy?)"
_CLOSED = "only public repositories can be read"
_MEANING = {
    401: _CLOSED,
    403: f"{_CLOSED}, and this one shuts us out: it may be blocked, or open to some addresses or sign-ons alone. Other "
    "apps are not concerned",
    407: "the proxy wants to know who asks: check the proxy settings of the environment",
    451: "it was taken down for legal reasons: other apps are not concerned",
}
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
T = TypeVar("T")


class _Error(msgspec.Struct):
    message: str = ""


@dataclass(frozen=True)
class Said:
    """What came with an error: the forge's own words, or a web page of somebody's."""

    message: str = ""
    page: bool = False


@dataclass
class Api:
    """The API at ``base``.

    ``turn`` is shared by all that ask the same host.  ``advises``: a token would help against its limits.  A token
    goes to the host of ``base`` alone.
    """

    base: str
    web: Web
    memory: Memory
    turn: trio.Lock
    clock: Callable[[], float]
    headers: Mapping[str, str]
    token: TokenFile | None = None
    advises: bool = True
    budget: Budget | None = None
    access: Access = field(init=False)
    _budgets: dict[str, Budget] = field(default_factory=dict)
    _host: str = field(init=False)

    def __post_init__(self) -> None:
        self.access = Access(self.clock)
        self._host = urlsplit(self.base).netloc.rpartition("@")[2]

    async def load(self) -> None:
        """Bring back the budget of another process; a token that cannot be read is reported when it is needed."""
        try:
            token = await self._token()
        except OperationFailed:
            return
        async with self.turn:
            self.budget = await self._budget(token)

    async def trouble(self) -> str:
        """Why the token that is configured now is not used; empty when it is, or cannot even be read."""
        try:
            return self.access.trouble_with(await self._token())
        except OperationFailed:
            return ""

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
            await trio.sleep(back_off(attempt))
            attempt += 1

    async def _once(self, url: str, kind: type[T], purpose: Purpose, missing: str) -> T:
        async with self.turn:
            token, place = await self._token(), place_of(url.removeprefix(self.base))
            shown_tokens = self.access.shown(token, place)
            self.budget = await self._budget(shown_tokens[0])
            denied: Denied | None = None
            for shown_token in shown_tokens:
                try:
                    value = await self._asked(url, kind, purpose, missing, shown_token)
                except Denied as answer:
                    denied = answer
                    if not self.access.worth_another(token, place, denied):
                        break
                except OperationFailed as failure:
                    if denied is None or denied.status == 401:
                        raise self._with_trouble(failure) from None
                    if isinstance(failure, NoSuchRelease):
                        # Nobody else sees more than the token does.
                        self.access.settle(token, place, seen=True)
                    break
                else:
                    if shown_token or (denied is not None and denied.status != 401):
                        self.access.settle(token, place, seen=bool(shown_token))
                    self._tell_of(denied)
                    return value
            assert denied is not None, "each way out but this one has returned or raised"
            raise denied.failure

    async def _asked(self, url: str, kind: type[T], purpose: Purpose, missing: str, token: str) -> T:
        """Ask once, with ``token`` or as nobody.

        Raises: Denied when that may be the token's fault, and as :meth:`ask`.
        """
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
            said = Said() if response.status in {200, 304} else await _said(response)
            # What is said to who shows a bad token is about nobody's requests.
            if ours and not (response.status == 401 and token):
                await self._learn(budget, token, response, said.message)
            if response.status == 304 and known is not None:
                return known[1]
            if response.status != 200:
                failure = self._failure(response, said, missing, authorized=bool(token) and ours)
                if token and ours and response.status in {401, 403, 404}:
                    raise Denied(response.status, failure)
                raise failure
            body = await response.read(LARGEST)
        try:
            value = msgspec.json.decode(body, type=kind)
        except _UNDECODABLE as error:
            raise BadAnswer(f"{shown(url)} answered {_kind_of(body)}: {shown(str(error))}") from None
        if etag := response.headers.get("etag", ""):
            await self.memory.keep_answer(key, etag, body)
        return value

    def _with_trouble(self, failure: OperationFailed) -> OperationFailed:
        """The failure of who asked as nobody because the token is not accepted."""
        if not self.access.trouble:
            return failure
        if isinstance(failure, RateLimited):
            return RateLimited(failure.host, failure.until, f"{failure}; {self.access.trouble}")
        return failure

    def _tell_of(self, denied: Denied | None) -> None:
        if denied is not None:
            _log.warning("%s. Asked without the token instead", str(denied.failure).rstrip("."))

    async def _known(self, key: str, kind: type[T]) -> tuple[str, T] | None:
        """The ETag and the value of the last answer, if this version of ours can still read it."""
        found = await self.memory.answer(key)
        try:
            return None if found is None else (found[0], msgspec.json.decode(found[1], type=kind))
        except _UNDECODABLE:
            return None

    async def _learn(self, budget: Budget, token: str, response: Response, said: str) -> None:
        """Take in what the host says about its limits; not of another one that a moved repository may lead to.

        Raises: RateLimited when the request was turned down for them.
        """
        refused = _is_limit(response, said)
        budget.learn(response.status, response.headers, refused=refused)
        await self.memory.keep(f"budget:{self._key_of(token)}", budget.save())
        if refused:
            raise budget.refusal(said)

    def _failure(self, response: Response, said: Said, missing: str, *, authorized: bool) -> OperationFailed:
        status = response.status
        if status in {404, 409, 410, 422} and not said.page:
            return NoSuchRelease(missing)
        if status == 401 and authorized and self.token is not None:
            return OperationFailed(
                f"{self._host} does not accept the token of `github_token_file` {self.token.path}: it may have expired "
                "or been revoked; put a new one there"
            )
        text = f"{shown(response.url)} answered {status} {response.reason}"
        text += f": {said.message}" if said.message else ""
        if status >= 500:
            return Unreachable(f"{text}; the trouble is the server's, try again later")
        if said.page:
            return BadAnswer(f"{text} with {_PAGE}")
        return OperationFailed(f"{text}; {_MEANING[status]}") if status in _MEANING else BadAnswer(text)

    async def _token(self) -> str:
        return "" if self.token is None else await self.token.read()

    async def _budget(self, token: str) -> Budget:
        """That of the token, or of nobody; with ``turn`` held."""
        key = self._key_of(token)
        if key not in self._budgets:
            budget = Budget(self._host, self.clock, _ADVICE if self.advises and not token else "")
            saved = await self.memory.recall(f"budget:{key}", Saved)
            if saved is not None:
                budget.restore(saved)
            self._budgets[key] = budget
        return self._budgets[key]

    def _key_of(self, token: str) -> str:
        return digest_of(self._host, token)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def quoted(text: str) -> str:
    """One segment of a path, slashes included."""
    return quote(text, safe="")


def _is_limit(response: Response, said: str) -> bool:
    """Whether a request was turned down for its number.

    GitHub tells its limits by a 403 too, which otherwise is one repository's own: it must not stop all the others.
    """
    if response.status == 403:
        headers = response.headers
        named = _LIMIT.search(said) is not None
        return named or "retry-after" in headers or headers.get("x-ratelimit-remaining", "").strip() == "0"
    return response.status == 429


async def _said(response: Response) -> Said:
    """What a forge says about an error, for people; nothing when it is no JSON of theirs."""
    try:
        body = await response.read(_LARGEST_ERROR)
    except OperationFailed:
        return Said()
    try:
        return Said(shown(msgspec.json.decode(body, type=_Error).message))
    except _UNDECODABLE:
        return Said(page=body[:512].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"))


def _kind_of(body: bytes) -> str:
    start = body[:512].lstrip().lower()
    if start.startswith(b"<"):
        return _PAGE
    return "something else than the JSON that was expected"
