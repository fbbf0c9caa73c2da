"""State and history in SQLite: what the status showed last, where apps can go back to, what jobs did, what forges said.

What must survive a power cut in the middle of an update is not here but in the journal
(:mod:`trio_update.engine.journal`), so that losing this file costs memories and never an app.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import trio

from trio_update.errors import OperationFailed, StartFailed
from trio_update.host.threads import in_thread
from trio_update.logs import get_logger
from trio_update.model import AppName, JobId, JobRecord, Release
from trio_update.text import without_surrogates

_log = get_logger(__name__)
T = TypeVar("T")
KEPT_JOBS = 500
KEPT_ANSWERS = 256
KEPT_ANSWER_BYTES = 32 * 1024 * 1024
KEPT_NOTES = 1024

# Each script takes the schema one version further; `PRAGMA user_version` counts them.
_MIGRATIONS = (
    """
    CREATE TABLE snapshot (app TEXT PRIMARY KEY, config TEXT NOT NULL, data BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE earlier (app TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE job (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
    CREATE TABLE job_app (app TEXT NOT NULL, job INTEGER NOT NULL REFERENCES job(id) ON DELETE CASCADE,
                          PRIMARY KEY (app, job)) WITHOUT ROWID;
    """,
    # `used` is counted up and is no time: the clock of a host without a battery jumps.
    """
    CREATE TABLE answer (key TEXT PRIMARY KEY, etag TEXT NOT NULL, body BLOB NOT NULL, used INTEGER NOT NULL);
    CREATE INDEX answer_used ON answer (used);
    CREATE TABLE note (key TEXT PRIMARY KEY, data BLOB NOT NULL, used INTEGER NOT NULL);
    CREATE INDEX note_used ON note (used);
    """,
)


class Damaged(Exception):
    """The file is no usable database of ours."""


class Store:
    """One connection, used by one thread at a time; every method takes a few milliseconds.

    Methods raise :class:`OperationFailed` when the disk is full or the file cannot be used.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._turn = trio.CapacityLimiter(1)

    async def snapshots(self, types: Mapping[AppName, type[T]]) -> dict[AppName, tuple[str, T]]:
        """The last status of these apps, each as its type says, with the digest of the configuration it was made under.

        One that was made by another kind of app of the same name does not count.
        """
        rows = await self._run(lambda db: db.execute("SELECT app, config, data FROM snapshot").fetchall())
        return {
            app: (config, status)
            for app, config, data in rows
            if app in types and (status := _decode(data, types[app])) is not None
        }

    async def save_snapshot(self, app: AppName, config: str, status: msgspec.Struct) -> None:
        data = _encode(status)
        await self._run(lambda db: db.execute("INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?)", (app, config, data)))

    async def earlier(self) -> dict[AppName, tuple[Release, ...]]:
        """The versions that each app had before, newest last."""
        rows = await self._run(lambda db: db.execute("SELECT app, data FROM earlier").fetchall())
        return {app: found for app, data in rows if (found := _decode(data, tuple[Release, ...])) is not None}

    async def save_job(self, record: JobRecord, earlier: Mapping[AppName, tuple[Release, ...]]) -> None:
        """Write a job (again), and where its apps can go back to: both or neither."""
        data = _encode(record)
        apps = [(outcome.name, record.proc_id) for outcome in record.apps]
        releases = [(app, _encode(found)) for app, found in earlier.items()]

        def write(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO job VALUES (?, ?)", (record.proc_id, data))
            db.executemany("INSERT OR REPLACE INTO job_app VALUES (?, ?)", apps)
            db.executemany("INSERT OR REPLACE INTO earlier VALUES (?, ?)", releases)
            db.execute("DELETE FROM job WHERE id <= (SELECT max(id) FROM job) - ?", (KEPT_JOBS,))

        await self._run(write)

    async def job(self, job: JobId) -> JobRecord | None:
        rows = await self._run(lambda db: db.execute("SELECT data FROM job WHERE id = ?", (job,)).fetchall())
        return _decode(rows[0][0], JobRecord) if rows else None

    async def history(self, app: AppName | None, limit: int) -> tuple[JobRecord, ...]:
        """Ended jobs, newest first."""
        query = "SELECT data FROM job ORDER BY id DESC LIMIT ?"
        values: tuple[object, ...] = (limit,)
        if app is not None:
            query = "SELECT data FROM job WHERE id IN (SELECT job FROM job_app WHERE app = ?) ORDER BY id DESC LIMIT ?"
            values = (app, limit)
        rows = await self._run(lambda db: db.execute(query, values).fetchall())
        return tuple(record for (data,) in rows if (record := _decode(data, JobRecord)) is not None)

    async def last_job(self) -> JobId:
        rows = await self._run(lambda db: db.execute("SELECT coalesce(max(id), 0) FROM job").fetchall())
        return JobId(rows[0][0])

    async def answer(self, key: str) -> tuple[str, bytes] | None:
        """ETag and body of an answer that was kept; it counts as used now."""

        def read(db: sqlite3.Connection) -> tuple[str, bytes] | None:
            found: tuple[str, bytes] | None = db.execute(
                "SELECT etag, body FROM answer WHERE key = ?", (key,)
            ).fetchone()
            if found is None:
                return None
            # A write costs a flash card more than a read: none when it was the last one used.
            db.execute(
                "UPDATE answer SET used = (SELECT max(used) + 1 FROM answer)"
                " WHERE key = ? AND used < (SELECT max(used) FROM answer)",
                (key,),
            )
            return found

        return await self._run(read)

    async def save_answer(self, key: str, etag: str, body: bytes) -> None:
        """Keep an answer; of all that are kept, those go that were not used for longest, by number and by size."""

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT OR REPLACE INTO answer VALUES (?, ?, ?, (SELECT coalesce(max(used), 0) + 1 FROM answer))",
                (key, etag, body),
            )
            db.execute(
                "DELETE FROM answer WHERE key IN (SELECT key FROM (SELECT key, row_number() OVER newest AS number,"
                " sum(length(body)) OVER newest AS bytes FROM answer WINDOW newest AS (ORDER BY used DESC))"
                " WHERE number > ? OR bytes > ?)",
                (KEPT_ANSWERS, KEPT_ANSWER_BYTES),
            )

        await self._run(write)

    async def note(self, key: str, kind: type[T]) -> T | None:
        """What was noted under ``key``; ``None`` for nothing, and for something that is no ``kind``."""
        rows = await self._run(lambda db: db.execute("SELECT data FROM note WHERE key = ?", (key,)).fetchall())
        return _decode(rows[0][0], kind) if rows else None

    async def save_note(self, key: str, value: object) -> None:
        """Note what JSON can hold; beyond :data:`KEPT_NOTES` the one goes that was written longest ago."""
        data = _encode(value)

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT OR REPLACE INTO note VALUES (?, ?, (SELECT coalesce(max(used), 0) + 1 FROM note))", (key, data)
            )
            db.execute(
                "DELETE FROM note WHERE used <= (SELECT used FROM note ORDER BY used DESC LIMIT 1 OFFSET ?)",
                (KEPT_NOTES,),
            )

        await self._run(write)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def turn() -> T:
            with self._connection:
                return work(self._connection)

        try:
            return await trio.to_thread.run_sync(turn, limiter=self._turn)
        except sqlite3.Error as error:
            raise OperationFailed(f"cannot use the database {self._path}: {error}") from error


def _encode(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(without_surrogates(msgspec.to_builtins(value)))


def _decode(data: bytes, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Written by another version of ours: a memory less, and no reason to stop.
        _log.warning("skipped an unreadable record of the database: %s", error)
        return None


@asynccontextmanager
async def open_store(path: Path) -> AsyncIterator[tuple[Store, str | None]]:
    """Open the database, making or migrating it.  A damaged one is set aside, and a sentence says so.

    Raises: StartFailed when no database can be made there at all.
    """
    try:
        connection, notice = await in_thread(_open_or_rebuild, path)
    except (sqlite3.Error, OSError, Damaged) as error:
        raise StartFailed(f"cannot make a database at {path}: {error}") from error
    try:
        yield Store(connection, path), notice
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
            await in_thread(connection.close)


def _open_or_rebuild(path: Path) -> tuple[sqlite3.Connection, str | None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _open(path), None
    except (sqlite3.DatabaseError, Damaged) as error:
        aside = _set_aside(path)
        notice = f"The database was damaged ({error}); it was set aside as {aside} and a new one begun"
        _log.error("%s", notice)
        return _open(path), notice


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, timeout=10)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            connection.close()
            raise Damaged(verdict)
        _migrate(connection)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(_MIGRATIONS):
        connection.close()
        raise Damaged(f"it was written by a newer version of trio-update (schema {version})")
    for number, script in enumerate(_MIGRATIONS[version:], start=version + 1):
        connection.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")


def _set_aside(path: Path) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in ("", "-wal", "-shm"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(aside.with_name(aside.name + suffix))
    return aside
