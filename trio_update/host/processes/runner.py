"""Run a command and leave nothing of it behind.

Each command gets a session of its own, is followed through one epoll descriptor by the task that called, and is
ended as a group: SIGTERM, a grace, SIGKILL, everything reaped.  A command that leaves its session with ``setsid``
escapes that; :func:`end_orphans` finds it by its environment at the next start.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import select
import signal
import subprocess
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import trio

from trio_update.errors import CommandFailed, CommandNotFound, CommandSilent, OperationFailed
from trio_update.host.files.durable import trouble
from trio_update.host.processes.pipe import Output
from trio_update.host.processes.strays import OWNER_VARIABLE, end_orphans, processes_in

__all__ = ["Completed", "Environment", "Runner", "become_subreaper", "end_orphans", "processes_in", "subreaper"]

# How long a process that outlives its leader may hold the output open, and then go on after SIGTERM.
_STRAY_PATIENCE = 0.5
# SIGKILL acts at once, except on a process in an uninterruptible wait (a dead disk, a dead NFS server).
_KILL_PATIENCE = 5.0
_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37

Environment = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended, and what it wrote (``stdout`` is empty when it went to a sink)."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True)
class Runner:
    """Starts commands on behalf of ``owner``.

    ``owner`` goes into every command's environment, so that whoever comes after a killed server can find and
    end what it left running.  ``environment`` is laid over this process's own; a value of None takes a variable out.
    """

    owner: str
    environment: Environment = field(default_factory=dict)

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Environment | None = None,
        stdin: bytes = b"",
        on_line: Callable[[str], None] | None = None,
        on_stdout_line: Callable[[str], None] | None = None,
        stdout_sink: Callable[[bytes], None] | None = None,
        silence: float | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - not a cancellation: it has an error of its own
        check: bool | Container[int] = True,
        max_output: int = 64 * 1024 * 1024,
        grace: float = 2.0,
    ) -> Completed:
        """Run ``argv`` to its end and return what it said.

        ``on_line`` gets every non-empty line of stderr as it comes (split at ``\\r`` and ``\\n``, UTF-8, bad bytes
        replaced), ``on_stdout_line`` the same of stdout; ``stdout_sink`` gets stdout raw, instead of its being kept.
        ``env`` is laid over the runner's environment.  ``check`` names the accepted exit statuses (True: 0 alone,
        False: any).  ``silence`` and ``timeout`` are seconds without a byte, and in all; ``max_output`` bounds the
        bytes kept.  When this returns or raises, cancellation included, no process of the command's group is left:
        ``grace`` seconds lie between SIGTERM and SIGKILL.

        Raises:
            CommandFailed: the exit status is not an accepted one.
            CommandSilent: ``silence`` or ``timeout`` was exceeded.
            CommandNotFound: the program is missing or cannot be executed.
            FileTrouble: ``cwd`` cannot be entered.
            OperationFailed: more than ``max_output`` bytes came, or the system has no resources for a process.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        command = _start(tuple(argv), cwd, self._environment(env), stdin)
        try:
            command.stdout.listen(stdout_sink, on_stdout_line)
            command.stderr.listen(None, on_line)
            await command.follow(silence, timeout, max_output)
            grace = min(grace, _STRAY_PATIENCE)
        finally:
            try:
                await command.end(grace)
            finally:
                command.close()
        return command.result(check)

    def _environment(self, env: Environment | None) -> dict[str, str]:
        laid_over: dict[str, str | None] = {**os.environ, **self.environment, **(env or {}), OWNER_VARIABLE: self.owner}
        return {name: value for name, value in laid_over.items() if value is not None}


def become_subreaper() -> None:
    """Make this process the parent of every orphan among its descendants, for as long as it lives.

    Without it, what a command leaves behind when its leader exits goes to init and can be neither waited for nor
    told from a stranger.  To be called before the first command.

    Raises:
        OperationFailed: the kernel refused (it is older than Linux 3.4, or a sandbox forbids ``prctl``).
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


# How many of a run's contexts need it, and what the process was before the first of them.
_subreapers: trio.lowlevel.RunVar[tuple[int, int]] = trio.lowlevel.RunVar("trio_update_subreapers", (0, 0))


@contextlib.contextmanager
def subreaper() -> Iterator[None]:
    """As :func:`become_subreaper`, while the context lasts; afterwards the process is again what it was.

    Contexts may overlap in any order: the last one to end restores.  Raises: OperationFailed.
    """
    count, former = _subreapers.get()
    if count == 0:
        found = ctypes.c_int()
        _prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(found))
        former = found.value
        become_subreaper()
    _subreapers.set((count + 1, former))
    try:
        yield
    finally:
        count, former = _subreapers.get()
        _subreapers.set((count - 1, former))
        if count == 1:
            _prctl(_PR_SET_CHILD_SUBREAPER, former)


def _prctl(option: int, argument: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        why = os.strerror(ctypes.get_errno())
        raise OperationFailed(f"cannot adopt orphaned processes (prctl PR_SET_CHILD_SUBREAPER): {why}")


def _start(argv: tuple[str, ...], cwd: Path | None, environment: dict[str, str], stdin: bytes) -> _Command:
    # Popen is called in the event loop on purpose: it holds the GIL from fork to exec, so that a thread would
    # cost a hand-over and buy nothing.
    try:
        # An anonymous file instead of a pipe: it needs no task to feed it, and cannot block or break.
        with _anonymous_file(stdin) if stdin else contextlib.nullcontext(subprocess.DEVNULL) as source:
            process = subprocess.Popen(
                argv,
                bufsize=0,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env=environment,
                start_new_session=True,
            )
        with contextlib.ExitStack() as undo:
            undo.callback(_abandon, process)
            epoll = undo.enter_context(select.epoll())
            pidfd = os.pidfd_open(process.pid)
            undo.callback(os.close, pidfd)
            command = _Command(argv, process, epoll, pidfd)
            undo.pop_all()
        return command
    except (OSError, ValueError) as error:
        raise _not_started(argv, cwd, error) from error


def _anonymous_file(content: bytes) -> IO[bytes]:
    file = os.fdopen(os.memfd_create("stdin"), "w+b", buffering=0)
    try:
        view = memoryview(content)
        while view:
            view = view[file.write(view) :]
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _abandon(process: subprocess.Popen[bytes]) -> None:
    """End a child that has just been started and cannot be followed; it has had no time for children."""
    process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _not_started(argv: tuple[str, ...], cwd: Path | None, error: OSError | ValueError) -> OperationFailed:
    program = argv[0] if argv else ""
    if not isinstance(error, OSError):
        return OperationFailed(f"cannot run `{program}`: {error}")
    why = error.strerror or str(error)
    # subprocess puts into `filename` what could not be used: the directory or the program.
    if cwd is not None and error.filename == cwd:
        return trouble("work in", cwd, error)
    if error.filename is not None:
        return CommandNotFound(program, why)
    return OperationFailed(f"cannot start a process for `{program}`: {why}")


class _Command:
    """A command that runs.  One epoll descriptor stands for its two pipes and its exit, so that one task follows all
    three: a nursery with a task for each costs more than the rest of the run."""

    def __init__(
        self, argv: tuple[str, ...], process: subprocess.Popen[bytes], epoll: select.epoll, pidfd: int
    ) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._argv = argv
        self._process = process
        self._epoll = epoll
        self._pidfd = pidfd
        self.stdout = Output(process.stdout)
        self.stderr = Output(process.stderr)
        self._open = {output.fileno(): output for output in (self.stdout, self.stderr)}
        self._exited = False
        for descriptor in self._open:
            os.set_blocking(descriptor, False)
            epoll.register(descriptor, select.EPOLLIN)
        epoll.register(pidfd, select.EPOLLIN)

    async def follow(self, silence: float | None, timeout: float | None, max_output: int) -> None:  # noqa: ASYNC109
        """Read until the leader has exited and both pipes are at their end, or only strays hold them."""
        latest = trio.current_time() + (math.inf if timeout is None else timeout)
        patience = math.inf if silence is None else silence
        with trio.CancelScope(deadline=min(latest, trio.current_time() + patience)) as scope:
            while self._open or not self._exited:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                exited_before = self._exited
                heard = self._read_ready()
                if len(self.stdout.kept) + len(self.stderr.kept) > max_output:
                    raise OperationFailed(f"`{self._argv[0]}` wrote more than {max_output} bytes and was stopped")
                if self._exited and not exited_before:
                    scope.deadline = trio.current_time() + _STRAY_PATIENCE
                elif heard and not self._exited:
                    scope.deadline = min(latest, trio.current_time() + patience)
        if scope.cancelled_caught and not self._exited:
            if timeout is not None and trio.current_time() >= latest:
                raise CommandSilent(self._argv, timeout, total=True)
            raise CommandSilent(self._argv, patience)

    def _read_ready(self) -> bool:
        """Take what the command wrote, or note that it exited; True when there was a byte."""
        heard = False
        for descriptor, _ in self._epoll.poll(0):
            if descriptor == self._pidfd:
                self._exited = True
            elif self._open[descriptor].read():
                heard = True
                continue
            else:
                del self._open[descriptor]
            self._epoll.unregister(descriptor)
        return heard

    async def end(self, grace: float) -> None:
        """Leave no process of the group, and no zombie; costs two system calls when there is none."""
        if self._gone():
            return
        self.stdout.mute()
        self.stderr.mute()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + grace + _KILL_PATIENCE):
            self._signal(signal.SIGTERM)
            if not await self._gone_within(grace):
                self._signal(signal.SIGKILL)
                await self._gone_within(_KILL_PATIENCE)

    def _gone(self) -> bool:
        """Reap what has ended; True when no child of ours is left in the group.

        The leader first, through Popen: ``waitpid`` on the group would take its exit status away.  When its children
        lose it they become ours, as we are the subreaper, before its exit can be seen.
        """
        if self._process.poll() is None:
            return False
        try:
            while os.waitpid(-self._process.pid, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        return False

    def _signal(self, number: signal.Signals) -> None:
        # Only called when `_gone()` was False: a leader or a member that only we can reap keeps the group's
        # number from being given to someone else.  A group that is another user's (sudo) cannot be signalled.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def _gone_within(self, seconds: float) -> bool:
        # Members below the leader have no descriptor of ours to wait on, hence the polling.
        deadline = trio.current_time() + seconds
        pause = 0.001
        while not self._gone():
            if trio.current_time() >= deadline:
                return False
            await trio.sleep(pause)
            pause = min(2 * pause, 0.02)
            self._read_ready()
        return True

    def close(self) -> None:
        self._epoll.close()
        os.close(self._pidfd)
        self.stdout.close()
        self.stderr.close()

    def result(self, check: bool | Container[int]) -> Completed:
        returncode = self._process.returncode
        accepted = (not check or returncode == 0) if isinstance(check, bool) else returncode in check
        if not accepted:
            raise CommandFailed(self._argv, returncode, self.stderr.tail() or self.stdout.tail())
        return Completed(self._argv, returncode, bytes(self.stdout.kept), bytes(self.stderr.kept))
