"""Following jobs: the one this command started, or all of them (`watch`)."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import trio

from trio_update.cli.display import DONE, FAILED, UNREACHABLE, Display, Failure
from trio_update.cli.report import Line, Page, Tone, summary
from trio_update.cli.requests import StartJob
from trio_update.cli.session import Failed, Session, understood
from trio_update.cli.views import RunningView, StatusView, message_of
from trio_update.client import ClientError, ConnectionLost, Notification, RpcError

MESSAGE = "notify_update_response"
REFRESHED = "notify_update_refreshed"
_FRAME = 0.1
_QUESTION = "Abort the job (a) or leave it running (l)? "

Channel = trio.MemoryReceiveChannel[Notification]


async def follow(session: Session, job: StartJob) -> int:
    """Ask for a job and show what it says until it has ended.

    Raises:
        RpcError: it was refused, failed or was aborted.
        Failed: the connection was lost, or the user left the job running.
    """
    trouble: ClientError | None = None
    result: Any = None
    with session.client.subscribe() as channel, session.output.live(prefixed=False) as display:
        async with trio.open_nursery() as nursery:
            follower = _Follower(session, job, display, nursery)
            session.interrupts.react = follower.interrupted
            nursery.start_soon(follower.read, channel)
            _animate(session, display, nursery)
            try:
                result = await session.client.call(job.method, job.params)
            except ClientError as error:
                trouble = error
            nursery.cancel_scope.cancel()
        follower.drain(channel)
    if isinstance(trouble, ConnectionLost):
        raise Failed(_unknown_outcome(trouble, job))
    if trouble is not None:
        raise trouble
    session.output.show({"result": result, **follower.document()}, follower.report)
    return DONE


class _Follower:
    """Shows one job's messages while its request waits for the answer."""

    def __init__(self, session: Session, job: StartJob, display: Display, nursery: trio.Nursery) -> None:
        self._session = session
        self._job = job
        self._display = display
        self._nursery = nursery
        self._messages: list[str] = []
        self._proc_id: int | None = None
        self._asked = False

    def document(self) -> dict[str, Any]:
        return {"application": self._job.application, "proc_id": self._proc_id, "messages": self._messages}

    def report(self) -> Page:
        """The messages have told it already, if there were any."""
        return () if self._messages else (Line(f"{self._job.what}: done", Tone.GOOD),)

    async def read(self, channel: Channel) -> None:
        async for news in channel:
            self._take(news)

    def drain(self, channel: Channel) -> None:
        """Show what came before the answer and was not read yet."""
        while True:
            try:
                self._take(channel.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                return

    def _take(self, news: Notification) -> None:
        message = message_of(news.params) if news.method == MESSAGE else None
        if message is None or message.application != self._job.application:
            return
        self._proc_id = message.proc_id
        # A failure's text comes twice, as a message and as the completing one: some clients show only the first.
        if not (message.complete and self._messages[-1:] == [message.message]):
            self._messages.append(message.message)
            self._display.message(message.application, message.message, complete=message.complete)

    def interrupted(self, signum: int) -> None:
        """The first Ctrl-C on a terminal asks; anything else leaves the job to the server, where it lives."""
        if self._asked or signum != signal.SIGINT or self._session.output.json or not _can_ask():
            raise Failed(self._left())
        self._asked = True
        self._nursery.start_soon(self._ask)

    def _left(self) -> Failure:
        message = f"{self._job.what}: the job goes on; `trio-update watch` follows it"
        return Failure(message, "left_running", FAILED)

    async def _ask(self) -> None:
        with self._display.hold():
            answer = await _answer(_QUESTION)
        if not answer.lower().startswith("a"):
            raise Failed(self._left())
        try:
            await self._abort()
        except RpcError as error:
            self._display.note(Line(f"not aborted: {error.message}", Tone.BAD))
        except ConnectionLost:
            # The job's own request has ended with the same error, and says what it means for the job.
            return

    async def _abort(self) -> None:
        """Abort this job and no other: without a number the server takes whichever job is running."""
        if self._proc_id is None:
            job = understood("machine.update.job", await self._session.client.call("machine.update.job"), RunningView)
            if not job.running or job.application != self._job.application:
                self._display.note(Line("not aborted: the server has not begun the job yet", Tone.BAD))
                return
            self._proc_id = job.proc_id
        await self._session.client.call("machine.update.abort", {"proc_id": self._proc_id})


async def watch(session: Session) -> int:
    """Show every job's messages and every refresh until Ctrl-C; a job that runs already, from its beginning.

    Raises:
        Failed: the connection was lost.
    """
    client, output = session.client, session.output
    session.interrupts.react = lambda signum: session.interrupts.stop(DONE)
    with client.subscribe() as channel, output.live(prefixed=True) as display:
        async with trio.open_nursery() as nursery:
            _animate(session, display, nursery)
            if output.animated:
                display.note(Line(f"watching {client.url}; Ctrl-C ends it", Tone.FAINT))
            told, proc_id = await _show_running(session, display)
            async for news in channel:
                # What came before the answer is in the log that the answer brought.
                if news.number > told or _job_of(news) != proc_id:
                    _show(session, display, news)
            nursery.cancel_scope.cancel()
    message = f"lost the connection to {client.url}: {client.lost}; when the server runs again, start `watch` again"
    raise Failed(Failure(message, "connection_lost", UNREACHABLE))


async def _show_running(session: Session, display: Display) -> tuple[int, int | None]:
    """Show the running job's log so far: the last notification it covers, and the job's number."""
    try:
        reply = await session.client.request("machine.update.job")
    except ClientError:
        # No job has run yet, or the server is one without this addition to the API: there is nothing to catch up on.
        # A connection that was lost here has ended the notifications too.
        return 0, None
    job = understood("machine.update.job", reply.result, RunningView)
    if not job.running:
        return 0, None
    session.output.event({"job": reply.result})
    for text in job.log:
        display.message(job.application, text, complete=False)
    return reply.after, job.proc_id


def _job_of(news: Notification) -> int | None:
    message = message_of(news.params) if news.method == MESSAGE else None
    return message.proc_id if message else None


def _show(session: Session, display: Display, news: Notification) -> None:
    session.output.event({"method": news.method, "params": news.params})
    if news.method == MESSAGE:
        message = message_of(news.params)
        if message is not None:
            display.message(message.application, message.message, complete=message.complete)
    elif news.method == REFRESHED and isinstance(news.params, list) and news.params:
        status = understood(REFRESHED, news.params[0], StatusView)
        display.note(Line(f"status: {summary(status)}", Tone.FAINT))


def _animate(session: Session, display: Display, nursery: trio.Nursery) -> None:
    async def tick() -> None:
        while True:
            await trio.sleep(_FRAME)
            display.tick()

    if session.output.animated:
        nursery.start_soon(tick)


def _unknown_outcome(lost: ConnectionLost, job: StartJob) -> Failure:
    name = job.params.get("name")
    look = f"trio-update history {name}" if name else "trio-update history"
    message = (
        f"{lost}: it is not known how the job ended ({job.what}). When the server runs again, `{look}` tells the "
        "outcome, and `trio-update watch` shows a job that is still running"
    )
    return Failure(message, "connection_lost", UNREACHABLE)


def _can_ask() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


async def _answer(question: str) -> str:
    """A line from the terminal.  Not `input`: a thread that waits for a line cannot be cancelled."""
    print(f"\n{question}", end="", file=sys.stderr, flush=True)
    try:
        await trio.lowlevel.wait_readable(sys.stdin)
    except trio.Cancelled:
        print(file=sys.stderr, flush=True)
        raise
    return os.read(sys.stdin.fileno(), 1024).decode(errors="replace").strip()
