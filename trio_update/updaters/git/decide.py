"""Deciding for a clone: looks as far as a request needs it, and leaves the decisions to pure functions."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from trio_update.errors import OperationFailed, Reason, Refusal
from trio_update.host.files import durable
from trio_update.host.git.folder import survey
from trio_update.host.git.output import Settings
from trio_update.host.git.repository import Repository
from trio_update.host.threads import in_thread
from trio_update.progress import Report
from trio_update.updaters.base import Recover, Request, Rollback, Target, Tools, Upgrade
from trio_update.updaters.git.absent import ask_offer, decide_install, known_offer, refuse_install
from trio_update.updaters.git.change import look_at_change, look_at_disk, look_at_restore, no_change
from trio_update.updaters.git.decision import (
    GitDecision,
    Restore,
    decide_nothing,
    decide_replacement,
    decide_restore,
    decide_rollback,
    decide_upgrade,
    earlier_version,
    recorded_commit,
)
from trio_update.updaters.git.facts import Change, Facts, OldClone, Replacement, Seen, Tracking, Wanted
from trio_update.updaters.git.inside import with_inside
from trio_update.updaters.git.judge import judge, not_found
from trio_update.updaters.git.kind import GitRepoConfig, GitStatus
from trio_update.updaters.git.locked import lasting_folders
from trio_update.updaters.git.look import Corrupt, Unreachable, ask_remote, look
from trio_update.updaters.git.memory import Memory, short_version
from trio_update.updaters.git.moved import follow_move
from trio_update.updaters.git.refuse import cannot_update
from trio_update.updaters.place import Vacancy, look_at_place, nothing_to_install
from trio_update.versions import read_tag

# A shallow clone is made again a little deeper than the old one was, so that the former commit is in it.
_SPARE_DEPTH = 20


@dataclass(frozen=True)
class Decider:
    """Decides for one clone, going by what was ``known`` where it cannot be read.

    ``fetch``: the remote may be asked, and gets told about it there.
    """

    config: GitRepoConfig
    repository: Repository
    memory: Memory
    known: GitStatus
    tools: Tools
    fetch: Report | None

    async def upgrade(self, request: Upgrade) -> GitDecision:
        """Raises: Unreachable."""
        if (vacancy := await in_thread(look_at_place, self.config.path)) is not None:
            return await self._install(request, vacancy)
        # A held app is refused whatever the remote says.
        fetch = self.fetch if not self.config.hold else None
        try:
            if fetch is not None:
                await follow_move(self.config, self.repository, self.tools.http)
            facts = await look(self.config, self.repository, self.memory, fetch=fetch)
            status = self._judged(facts)
            change = await self._change_to(facts, facts.target)
        except Unreachable:
            raise
        except OperationFailed as failed:
            return self._unreadable(request, failed)
        return decide_upgrade(self.config, request, self.known, facts, status, change)

    async def rollback(self, request: Rollback) -> GitDecision:
        """Needs no remote."""
        if (vacancy := await in_thread(look_at_place, self.config.path)) is not None:
            return await self._install(request, vacancy)
        try:
            facts = await look(self.config, self.repository, self.memory)
            name = earlier_version(request)
            wanted = await self._wanted(name, request, facts) if facts.head is not None and name else None
            change = await self._change_to(facts, wanted.commit if wanted is not None and wanted.behind else None)
        except OperationFailed as failed:
            return self._unreadable(request, failed)
        return decide_rollback(self.config, request, self.known, facts, self._judged(facts), wanted, change)

    async def _change_to(self, facts: Facts, target: str | None) -> Change:
        if facts.head is None or target in {None, facts.head}:
            return await in_thread(no_change, self.config.path)
        assert target is not None, "it was compared with None"
        change = await look_at_change(
            self.repository, facts.seen, facts.head, target, install_script=self.config.install_script
        )
        retry = self.fetch is not None
        return await with_inside(self.repository, facts, self.memory, target, change, retry=retry)

    async def _wanted(self, name: str, request: Rollback, facts: Facts) -> Wanted:
        head = facts.head
        assert head is not None, "the caller has looked"
        commit = recorded_commit(request.earlier, name) or await self._resolve_release(facts, name)
        if commit is None or await self.repository.resolve(commit) is None:
            return Wanted(name)
        behind = commit != head and await self.repository.is_ancestor(commit, head)
        version = await short_version(self.repository, commit, facts.seen.tracking) if behind else name
        return Wanted(name, commit, version, behind)

    async def _resolve_release(self, facts: Facts, wanted: str) -> str | None:
        """A tag (``v1.2``, ``1.2``, ``v1.2-0``), or a commit by at least 8 digits of its hash."""
        name = wanted.removesuffix("-0")
        names = [name, f"v{name}"] if read_tag(name) else [name]
        seen = facts.seen
        refs = await self.memory.refs(self.repository, seen.folder, seen.settings, seen.tracking)
        commits = {tag.name: tag.commit for tag in refs.tags}
        for candidate in names:
            if found := commits.get(candidate):
                return found
        for candidate in names:
            # A tag of the user's, or one that was withdrawn.
            if not candidate.startswith("-") and (found := await self.repository.resolve(f"refs/tags/{candidate}")):
                return found
        if 8 <= len(wanted) <= 64 and set(wanted.lower()) <= set("0123456789abcdef"):
            return await self.repository.resolve(wanted.lower())
        return None

    async def restore(self, request: Recover, mend: Callable[[Corrupt], Awaitable[bool]]) -> GitDecision:
        """A soft recovery.  ``mend`` repairs what git cannot read, and is asked only when ``fetch`` is given.

        Raises: OperationFailed when the primary branch is not known and cannot be asked for, or when it takes a repair
        to tell.
        """
        if (vacancy := await in_thread(look_at_place, self.config.path)) is not None:
            return await self._install(request, vacancy)
        try:
            facts = await look(self.config, self.repository, self.memory)
        except Corrupt as failed:
            if self.fetch is None:
                raise
            if not await mend(failed):
                why = f"{self.config.name} is corrupt, a soft recovery cannot mend it: use a hard one"
                return decide_nothing(self.config, request, self.known, (Refusal(Reason.INVALID, why),))
            facts = await look(self.config, self.repository, self.memory)
        tracking, head = facts.seen.tracking, facts.head
        remote = tracking.remote if tracking else "origin"
        tip = await self._primary_tip(remote, facts.seen)
        goal = head if head is not None and await self.repository.is_ancestor(head, tip) else tip
        way = Restore(
            facts=facts,
            old=Target(facts.version.short if facts.version else "", head or ""),
            new=Target(await short_version(self.repository, goal, tracking), goal),
            remote=remote,
            tip=tip,
            change=await look_at_restore(self.repository, facts.seen, goal),
        )
        return decide_restore(self.config, request, self.known, way)

    async def _primary_tip(self, remote: str, seen: Seen) -> str:
        """The primary branch on the remote, whatever branch the clone is on, and whatever it was made with."""
        primary = Tracking(remote, self.config.primary_branch, seen.settings.remotes().get(remote))
        trouble: OperationFailed | None = None
        gone = self.memory.gone(primary)
        if self.fetch is not None:
            try:
                gone = await ask_remote(self.repository, seen.folder, seen.settings, primary, self.fetch)
                self.memory.answered(primary, gone)
            except OperationFailed as failed:
                trouble = failed
        refs = await self.memory.refs(self.repository, seen.folder, seen.settings, primary)
        if gone is not None or refs.tip is None:
            raise trouble or OperationFailed(
                not_found(self.config, primary, gone.default if gone is not None else None)
            )
        if trouble is not None and self.fetch is not None:
            self.fetch(f"The remote cannot be asked, going by what is known of it: {trouble}")
        return refs.tip

    async def replace(self, request: Recover) -> GitDecision:
        """A hard recovery: of a clone that may be damaged in any way, so that nothing read of it is needed."""
        if (vacancy := await in_thread(look_at_place, self.config.path)) is not None:
            return await self._install(request, vacancy)
        folder = await in_thread(survey, self.config.path)
        settings, head = Settings(), self.known.current_hash if isinstance(self.known.current_hash, str) else None
        if folder is not None:
            try:
                settings = await self.repository.settings(folder)
                head = await self.repository.resolve("HEAD") or head
            except OperationFailed:
                pass  # that it is broken is why it is replaced
        live, mounted = await in_thread(_real_place, self.config.path)
        way = Replacement(
            old=OldClone(folder, settings, head),
            live=live,
            url=settings.remotes().get("origin") or self.config.origin,
            disk=await in_thread(look_at_disk, self.config.path),
            mounted=mounted,
            depth=_depth(self.known) if folder is not None and folder.shallow else None,
            locked=await in_thread(lasting_folders, live),
        )
        return decide_replacement(self.config, request, self.known, way)

    async def _install(self, request: Request, vacancy: Vacancy) -> GitDecision:
        """Raises: Unreachable."""
        offer, disk = known_offer(self.known), await in_thread(look_at_disk, vacancy.anchor)
        if self.fetch is not None and not refuse_install(self.config, request, vacancy):
            try:
                offer = await ask_offer(self.config, self.tools.processes)
            except Unreachable as failed:
                raise Unreachable(nothing_to_install(self.config.path, str(failed))) from failed
        return decide_install(self.config, request, self.known, vacancy, offer, disk)

    def _judged(self, facts: Facts) -> GitStatus:
        return judge(self.config, facts, self.known, debug=self.tools.debug)

    def _unreadable(self, request: Upgrade | Rollback, failed: OperationFailed) -> GitDecision:
        if isinstance(failed, Corrupt):
            refusal = cannot_update(self.config, "git cannot read the clone")
        else:
            # What a recovery cannot mend either: permissions, a full disk, a program that is not there.
            refusal = Refusal(Reason.INVALID, f"{self.config.name} cannot be updated: {failed}")
        return decide_nothing(self.config, request, self.known, (refusal,))


def _real_place(path: Path) -> tuple[Path, tuple[bytes, ...]]:
    """Where the clone really is, and what is mounted there or inside.

    An exchange of a symbolic link would leave the clone itself where it was.
    """
    real = os.path.realpath(os.fsencode(path))
    mounted = tuple(sorted(one for one in durable.mount_points() if one == real or one.startswith(real + b"/")))
    return Path(os.fsdecode(real)), mounted


def _depth(known: GitStatus) -> int:
    """How deep a shallow clone has to be to hold the commit that the old one was on."""
    version = known.version if isinstance(known.version, str) else ""
    count = version.rpartition("-")[2]
    return known.commits_behind_count + _SPARE_DEPTH + (min(int(count), 1000) if count.isdigit() else 0)
