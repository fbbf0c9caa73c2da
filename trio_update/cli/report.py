"""What the commands have to say, before it is decided how it looks: tables and lines of plain text."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trio_update.cli.views import (
    UNKNOWN,
    AppView,
    CommitView,
    PlanView,
    RecordView,
    Size,
    State,
    StatusView,
    state_of,
)
from trio_update.text import moment

_COMMITS_SHOWN = 10
_NOTES_SHOWN = 30


class Tone(enum.StrEnum):
    """What a text means to the reader; colours are given where there are any."""

    PLAIN = "plain"
    GOOD = "good"
    NEWS = "news"
    BAD = "bad"
    FAINT = "faint"


@dataclass(frozen=True)
class Cell:
    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True)
class Grid:
    """A table; every row is as long as ``headers``."""

    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Line:
    text: str
    tone: Tone = Tone.PLAIN


Page = tuple[Grid | Line, ...]

_TONES = {
    State.CURRENT: Tone.GOOD,
    State.UPDATE: Tone.NEWS,
    State.ABSENT: Tone.NEWS,
    State.HELD: Tone.FAINT,
    State.UNKNOWN: Tone.FAINT,
}
_OUTCOMES = {"succeeded": Tone.GOOD, "unchanged": Tone.FAINT, "failed": Tone.BAD, "aborted": Tone.NEWS}


def status_report(status: StatusView) -> Page:
    """A row for each app, and below what is wrong with them; of a single app there is room to tell more."""
    rows = tuple(_app_row(name, app) for name, app in status.version_info.items())
    grid = Grid(("name", "type", "channel", "version", "behind", "state"), rows)
    notes = [note for name, app in status.version_info.items() for note in _app_notes(name, app)]
    notes += [note for name, app in status.version_info.items() if len(rows) == 1 for note in _app_details(name, app)]
    notes += [Line(f"configuration: {warning}", Tone.BAD) for warning in status.config_warnings]
    busy = [Line("a job is running: `trio-update watch` follows it", Tone.NEWS)] if status.busy else []
    nothing = [] if rows else [Line("no app is managed: the configuration has no [update_manager NAME] section")]
    return (*([grid] if rows else []), *nothing, *notes, *busy)


def summary(status: StatusView) -> str:
    """A status in one line."""
    states = {name: state_of(app) for name, app in status.version_info.items()}
    updates = [name for name, state in states.items() if state is State.UPDATE]
    absent = [name for name, state in states.items() if state is State.ABSENT]
    broken = [name for name, state in states.items() if state not in _TONES]
    parts = [f"updates for {', '.join(updates)}" if updates else "no updates"]
    parts += [f"{State.ABSENT}: {', '.join(absent)}"] if absent else []
    parts += [f"not valid: {', '.join(broken)}"] if broken else []
    return "; ".join(parts) + ("; busy" if status.busy else "")


def _app_row(name: str, app: AppView) -> tuple[Cell, ...]:
    state = state_of(app)
    packages = app.package_count is not None
    version = "" if packages else app.version or UNKNOWN
    if state is State.UPDATE and version and app.remote_version:
        version = f"{version} → {app.remote_version}"
    if state is State.ABSENT:
        # The server's stand-in for a version is for clients that compare it.
        version = f"→ {app.remote_version}" if app.remote_version not in {None, UNKNOWN} else ""
    unit = " packages" if packages else ""
    return (
        Cell(name),
        Cell(app.configured_type, Tone.FAINT),
        Cell(app.channel or "", Tone.FAINT),
        Cell(version),
        Cell(f"{app.behind}{unit}" if app.behind else ""),
        Cell(state, _TONES.get(state, Tone.BAD)),
    )


def _app_notes(name: str, app: AppView) -> Iterator[Line]:
    yield from (Line(f"{name}: {warning}", Tone.BAD) for warning in app.warnings)
    # Some servers list what is wrong under both headings.
    anomalies = [anomaly for anomaly in app.anomalies if anomaly not in app.warnings]
    yield from (Line(f"{name}: {anomaly}", Tone.FAINT) for anomaly in anomalies)
    yield from (Line(f"{name}: git: {said}", Tone.FAINT) for said in app.git_messages)
    if app.hold:
        yield Line(f"{name}: held: {app.hold}", Tone.FAINT)
    # An anomaly may tell the same, with the time.
    if app.last_error and not any(app.last_error in told for told in (*app.warnings, *app.anomalies)):
        yield Line(f"{name}: {app.last_error}", Tone.BAD)
    if app.unreachable_since is not None:
        since = moment(app.unreachable_since)
        if not any(since in anomaly for anomaly in app.anomalies):
            yield Line(f"{name}: the remote has not answered since {since}", Tone.BAD)


def _app_details(name: str, app: AppView) -> Iterator[Line]:
    if state_of(app) is State.UPDATE and app.remote_title not in {"", app.remote_version}:
        yield Line(f"{name}: {app.remote_version} is called {app.remote_title}", Tone.FAINT)
    if app.rollback_version not in {None, UNKNOWN, "", app.version}:
        yield Line(f"{name}: a rollback goes to {app.rollback_version}", Tone.FAINT)
    if app.kept_versions:
        kept = ", ".join(app.kept_versions)
        yield Line(f"{name}: kept on the disk, to go to without a network: {kept}", Tone.FAINT)


def plan_report(plans: Sequence[PlanView]) -> Page:
    """What an upgrade would do, app by app."""
    lines = [line for plan in plans for line in _plan_lines(plan)]
    return tuple(lines) or (Line("there is nothing to plan: no app is managed"),)


def _plan_lines(plan: PlanView) -> Iterator[Line]:
    if plan.refusals:
        yield Line(f"{plan.name}: an upgrade would be refused", Tone.BAD)
        yield from (Line(f"  {refusal}", Tone.BAD) for refusal in plan.refusals)
    elif plan.up_to_date:
        yield Line(f"{plan.name}: up to date ({plan.from_version})", Tone.GOOD)
    else:
        yield Line(f"{plan.name}: {plan.from_version} → {plan.to_version}", Tone.NEWS)
    yield from (Line(f"  warning: {warning}", Tone.BAD) for warning in plan.warnings)
    if plan.up_to_date:
        return
    yield from _facts(plan)
    count = max(plan.commits_count, len(plan.commits))
    if count:
        yield Line(f"  {count} {'commit' if count == 1 else 'commits'}:")
    yield from (Line(_commit(commit), Tone.FAINT) for commit in plan.commits[:_COMMITS_SHOWN])
    if count > _COMMITS_SHOWN and plan.commits:
        yield Line(f"    and {count - min(_COMMITS_SHOWN, len(plan.commits))} more", Tone.FAINT)
    yield from _notes((plan.release_notes or "").strip().splitlines())


def _notes(lines: Sequence[str]) -> Iterator[Line]:
    if lines:
        yield Line("  release notes:")
    yield from (Line(f"    {line}".rstrip(), Tone.FAINT) for line in lines[:_NOTES_SHOWN])
    if len(lines) > _NOTES_SHOWN:
        yield Line(f"    and {len(lines) - _NOTES_SHOWN} lines more", Tone.FAINT)


def _facts(plan: PlanView) -> Iterator[Line]:
    named = (
        ("plan", plan.plan_id if not plan.refusals else ""),
        ("asset", plan.asset_name or ""),
        ("downloads", _size(plan.download_bytes)),
        ("installs", ", ".join(plan.packages_install)),
        ("upgrades", ", ".join(plan.packages_upgrade)),
        ("removes", ", ".join(plan.packages_remove)),
        ("restarts", ", ".join(plan.services)),
        ("needs on disk", ("at most " if isinstance(plan.disk_needed, int) else "") + _size(plan.disk_needed)),
        ("free on disk", _size(plan.disk_free)),
    )
    for name, value in named:
        if value:
            yield Line(f"  {name}: {value}", Tone.BAD if name == "removes" else Tone.PLAIN)


def _commit(commit: CommitView) -> str:
    return f"    {commit.sha[:8]} {commit.subject}" + (f" ({commit.tag})" if commit.tag else "")


def history_report(records: Sequence[RecordView]) -> Page:
    """Ended jobs, as the server orders them: newest first."""
    if not records:
        return (Line("no job has ended yet"),)
    headers = ("started", "job", "change", "outcome", "seconds", "asked by")
    failures = [Line(f"job {record.proc_id}: {record.message}", Tone.BAD) for record in records if _went_wrong(record)]
    return (Grid(headers, tuple(_record_row(record) for record in records)), *failures)


def _went_wrong(record: RecordView) -> bool:
    return bool(record.message) and record.outcome not in {"succeeded", "unchanged"}


def _record_row(record: RecordView) -> tuple[Cell, ...]:
    changes = [app for app in record.apps if app.from_version != app.to_version]
    prefixed = len(record.apps) > 1
    change = ", ".join(
        (f"{app.name} " if prefixed else "") + f"{app.from_version or UNKNOWN} → {app.to_version or UNKNOWN}"
        for app in changes
    )
    return (
        Cell(moment(record.started), Tone.FAINT),
        Cell(f"{record.kind} {record.name}" if record.name else record.kind),
        Cell(change),
        Cell(record.outcome, _OUTCOMES.get(record.outcome, Tone.BAD)),
        Cell(f"{record.duration:.1f}"),
        Cell(record.requested_by, Tone.FAINT),
    )


def _size(value: Size) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return "unknown" if value == UNKNOWN else value
    size = float(value)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
