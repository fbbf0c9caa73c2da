"""A clone that is not there yet: what its remote offers, how it is shown, and what a request to it leads to.

The remote lists branches and tags without a clone, but not how they hang together.  So the status goes by that list,
and which commit is installed is told by the clone that is made for it (:mod:`trio_update.updaters.git.install`).
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace as replaced

from trio_update.errors import CommandFailed, OperationFailed, Reason, Refusal
from trio_update.host.git.address import read_address
from trio_update.host.git.listing import Listing, list_remote
from trio_update.host.git.output import Tag
from trio_update.host.processes.runner import Runner
from trio_update.model import Channel, Commit, Unknown
from trio_update.text import LINE_SIZE, shorten, without_secrets
from trio_update.updaters.base import Recover, Request, Rollback, Target, Upgrade
from trio_update.updaters.git.decision import GitDecision, blank_plan, decided
from trio_update.updaters.git.facts import Install
from trio_update.updaters.git.kind import GitRepoConfig, GitStatus
from trio_update.updaters.git.look import Unreachable
from trio_update.updaters.git.refuse import dependency_files, refuse_held
from trio_update.updaters.git.target import choose_tag
from trio_update.updaters.place import Vacancy, nothing_to_install, warn_of_packages, will_install
from trio_update.updaters.space import Disk
from trio_update.versions import ABSENT_VERSION, NOT_INSTALLED

_UNASKED = "the remote has not been asked yet"


@dataclass(frozen=True)
class Offer:
    """What an installation leads to; ``why`` it cannot be told, when there is no ``commit``."""

    commit: str = ""
    version: str = ""
    why: str = ""


async def ask_offer(config: GitRepoConfig, runner: Runner) -> Offer:
    """Ask the remote that the configuration names.  Raises: Unreachable."""
    try:
        return choose_offer(config, await list_remote(runner, config.origin, config.primary_branch))
    except CommandFailed as failed:
        raise Unreachable(failed.output or str(failed)) from failed
    except OperationFailed as failed:
        raise Unreachable(str(failed)) from failed


def choose_offer(config: GitRepoConfig, listing: Listing) -> Offer:
    """What the app's channel takes of what there is."""
    if config.pinned_commit:
        full = next((tag.commit for tag in listing.tags if tag.commit.startswith(config.pinned_commit)), None)
        return _offer(full or config.pinned_commit, listing)
    if listing.tip is None:
        told = f"branch '{config.primary_branch}' is not on the remote"
        if listing.default is not None:
            told = f"{told}, whose default branch is '{listing.default}': set 'primary_branch: {listing.default}'"
        return Offer(why=told)
    tag = choose_tag(config.channel, listing.tags) if config.channel is not Channel.DEV else None
    return _offer(tag.commit if tag is not None else listing.tip, listing)


def _offer(commit: str, listing: Listing) -> Offer:
    at: tuple[Tag, ...] = tuple(tag for tag in listing.tags if tag.commit == commit)
    best = choose_tag(Channel.BETA, at)
    if best is not None:
        return Offer(commit, f"{best.name}-0")
    # How many commits lie behind which tag is not listed.  Readable as a version, and greater than that of nothing.
    return Offer(commit, f"0.0.0-g{commit[:8]}")


def known_offer(known: GitStatus) -> Offer:
    """What the last answer of the remote was, also that of a clone that was there then."""
    if isinstance(known.remote_hash, str) and isinstance(known.remote_version, str):
        return Offer(known.remote_hash, known.remote_version)
    return Offer(why=known.remote_hash.reason if isinstance(known.remote_hash, Unknown) else _UNASKED)


def judge_absent(
    config: GitRepoConfig, vacancy: Vacancy, known: GitStatus, offer: Offer, blank: GitStatus
) -> GitStatus:
    """The status, made of a ``blank`` one; see :data:`~trio_update.versions.ABSENT_VERSION` for why it is valid."""
    nothing = Unknown(NOT_INSTALLED)
    unknown = Unknown(offer.why or _UNASKED)
    why = _why_not(config, vacancy) or (() if offer.commit else (nothing_to_install(config.path, unknown.reason),))
    url = without_secrets(config.origin)
    address = read_address(url)
    return replaced(
        blank,
        installed=False,
        is_valid=not why,
        version=ABSENT_VERSION,
        full_version_string=NOT_INSTALLED,
        rollback_version=nothing,
        current_hash=nothing,
        remote_version=offer.version or unknown,
        remote_hash=offer.commit or unknown,
        remote_alias="origin",
        remote_url=url or Unknown("the configuration names no origin"),
        owner=address.owner or blank.owner,
        repo_name=address.repo or blank.repo_name,
        # Mainsail has a button for an update of a clone only where commits are listed.
        commits_behind=(_stand_in(config, offer),) if offer.commit else (),
        commits_behind_count=1 if offer.commit else 0,
        warnings=why,
        anomalies=() if why else (will_install(config.name, config.path),),
        last_error=shorten(why[0], LINE_SIZE) if why else "",
        refreshed_at=known.refreshed_at,
        unreachable_since=known.unreachable_since,
    )


def _stand_in(config: GitRepoConfig, offer: Offer) -> Commit:
    told = f"{config.name} is {NOT_INSTALLED}: an update clones it to {config.path}"
    return Commit(sha=offer.commit, author="", date="0", subject=told, message="")


def _why_not(config: GitRepoConfig, vacancy: Vacancy) -> tuple[str, ...]:
    if vacancy.mounted:
        told = f"the app is {NOT_INSTALLED}, and {vacancy.live} is a mount point, which cannot be exchanged"
        return (f"{told}: set 'path' to a folder in it",)
    if config.origin:
        return vacancy.obstacles
    told = f"the app is {NOT_INSTALLED} in {config.path}, and nothing says where it comes from: set 'origin'"
    return (*vacancy.obstacles, told)


def decide_install(
    config: GitRepoConfig, request: Request, known: GitStatus, vacancy: Vacancy, offer: Offer, disk: Disk
) -> GitDecision:
    """Any request to an app that is not there.  ``offer`` without a commit: what is to be done is not known."""
    refusals = refuse_install(config, request, vacancy)
    if not offer.commit and not refusals:
        refusals = (_invalid(config, nothing_to_install(config.path, offer.why)),)
    former = known.current_hash if isinstance(request, Recover) and isinstance(known.current_hash, str) else None
    unknown = Unknown("git tells it only while it clones")
    told = (will_install(config.name, config.path), *warn_of_packages(tuple(dict(dependency_files(config)).values())))
    plan = replaced(
        blank_plan(config, known),
        from_version=NOT_INSTALLED,
        from_hash="",
        to_version=offer.version or Unknown(offer.why),
        to_hash=offer.commit or Unknown(offer.why),
        download_bytes=unknown,
        disk_needed=unknown,
        disk_free=disk.free,
        warnings=() if refusals else told,
    )
    way = Install(vacancy, config.origin, offer.commit, former)
    old = Target(NOT_INSTALLED)
    return decided(GitDecision(request=request, known=known, plan=plan, refusals=refusals, old=old, way=way))


def refuse_install(config: GitRepoConfig, request: Request, vacancy: Vacancy) -> tuple[Refusal, ...]:
    """Why nothing is installed, whatever the remote says."""
    held = refuse_held(config) if isinstance(request, Upgrade) else ()
    return (*held, *_refuse(config, request, vacancy))


def _refuse(config: GitRepoConfig, request: Request, vacancy: Vacancy) -> tuple[Refusal, ...]:
    if isinstance(request, Rollback):
        why = f"{config.name} is {NOT_INSTALLED}, so that there is nothing to go back from: use an upgrade"
        return (Refusal(Reason.BAD_VERSION, why),)
    if isinstance(request, Recover) and not request.hard:
        why = f"{config.name} is {NOT_INSTALLED}, so that there is nothing to mend: use an upgrade or a hard recovery"
        return (Refusal(Reason.INVALID, why),)
    return tuple(_invalid(config, why) for why in _why_not(config, vacancy))


def _invalid(config: GitRepoConfig, why: str) -> Refusal:
    return Refusal(Reason.INVALID, f"{config.name} cannot be updated: {why}")
