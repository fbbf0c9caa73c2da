"""What forges told us, kept over restarts.  To lose it costs requests and nothing else, so that it never fails."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeVar

from trio_update.errors import OperationFailed
from trio_update.host.store import Store
from trio_update.logs import get_logger

_log = get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Memory:
    """The store's notes and answers, without its errors: a full disk is logged."""

    store: Store

    async def recall(self, key: str, kind: type[T]) -> T | None:
        try:
            return await self.store.note(key, kind)
        except OperationFailed as error:
            _log.warning("%s", error)
            return None

    async def keep(self, key: str, value: object) -> None:
        try:
            await self.store.save_note(key, value)
        except OperationFailed as error:
            _log.warning("%s", error)

    async def answer(self, key: str) -> tuple[str, bytes] | None:
        """The ETag and the body that came with it."""
        try:
            return await self.store.answer(key)
        except OperationFailed as error:
            _log.warning("%s", error)
            return None

    async def keep_answer(self, key: str, etag: str, body: bytes) -> None:
        try:
            await self.store.save_answer(key, etag, body)
        except OperationFailed as error:
            _log.warning("%s", error)


def digest_of(*parts: str) -> str:
    """A key that tells nothing of what it is made of (a token may be a part)."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
