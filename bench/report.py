"""What was measured, what it may be, and the table that shows both."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["at most", "at least"]
# Of a table that goes to a file or a pipe: wide enough for whole lines.
_WIDTH = 180


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure has to keep to."""

    kind: Kind
    bound: float

    def holds(self, value: float) -> bool:
        return value <= self.bound if self.kind == "at most" else value >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.kind == 'at most' else '≥'} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    ``value`` None: it could not be measured, ``note`` says why; a limit that was not measured does not hold.
    ``spread`` is the interquartile range of the rounds that ``value`` is the median of.
    """

    group: str
    name: str
    value: float | None
    unit: str = ""
    limit: Limit | None = None
    spread: tuple[float, float] | None = None
    note: str = ""

    @property
    def broken(self) -> bool:
        return self.limit is not None and (self.value is None or not self.limit.holds(self.value))


def median_figure(
    group: str, name: str, rounds: Sequence[float], unit: str = "", limit: Limit | None = None, note: str = ""
) -> Figure:
    """The median of several rounds, with the quartiles beside it: they tell how noisy the machine was."""
    low, _, high = statistics.quantiles(rounds, n=4, method="inclusive") if len(rounds) > 1 else (rounds[0],) * 3
    return Figure(group, name, statistics.median(rounds), unit, limit, (low, high), note)


def show(figures: Sequence[Figure]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="bench", title_justify="left", show_edge=False)
    for heading in ("group", "figure"):
        table.add_column(heading)
    for heading in ("value", "quartiles", "limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("holds")
    table.add_column("note", ratio=1)
    former = figures[0].group if figures else ""
    for figure in figures:
        if figure.group != former:
            table.add_section()
        former = figure.group
        table.add_row(
            figure.group,
            figure.name,
            "not measured" if figure.value is None else f"{_number(figure.value)} {figure.unit}".rstrip(),
            "" if figure.spread is None else "–".join(_number(value) for value in figure.spread),
            "" if figure.limit is None else str(figure.limit),
            _verdict(figure),
            figure.note,
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    console.print(table)


def _verdict(figure: Figure) -> str:
    if figure.limit is None:
        return ""
    return "[bold red]NO[/]" if figure.broken else "[green]yes[/]"


def _number(value: float) -> str:
    """Three digits that count, and no exponent."""
    magnitude = abs(value)
    if magnitude >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if magnitude >= 10 else f"{value:.2f}"
