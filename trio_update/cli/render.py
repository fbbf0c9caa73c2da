"""How the command line looks on a terminal: tables, and a bar for what git and downloads report in per cent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console, RenderableType
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from trio_update.cli.display import Display, Failure, clean, say_error
from trio_update.cli.report import Grid, Line, Page, Tone
from trio_update.progress import read_progress

_STYLES = {Tone.PLAIN: "", Tone.GOOD: "green", Tone.NEWS: "cyan", Tone.BAD: "red", Tone.FAINT: "dim"}
_WIDEST = 40
_BAR = 40


class TerminalOutput:
    """Tables as wide as the terminal, colours unless NO_COLOR is set."""

    animated = True
    json = False

    def __init__(self) -> None:
        # Markup, emoji codes and highlighting would all read meaning into text that came from elsewhere.
        self._console = Console(markup=False, emoji=False, highlight=False)

    def show(self, document: object, report: Callable[[], Page]) -> None:
        for block in report():
            self._console.print(_line(block) if isinstance(block, Line) else _table(block))

    def event(self, document: object) -> None:
        pass

    @contextmanager
    def live(self, *, prefixed: bool) -> Iterator[Display]:
        display = _LiveDisplay(self._console, prefixed)
        try:
            yield display
        finally:
            display.close()

    def fail(self, failure: Failure) -> None:
        say_error(failure.message)


class _Bar(ProgressColumn):
    """A bar when a percentage is known, else nothing: Rich's pulsing one costs a kilobyte for each redraw."""

    def render(self, task: Task) -> RenderableType:
        if "%" not in task.fields["percent"]:
            return Text()
        return ProgressBar(total=100, completed=task.completed, width=_BAR)


class _LiveDisplay:
    """Messages scroll by above one bar, which shows the last percentage, or that something is going on."""

    def __init__(self, console: Console, prefixed: bool) -> None:
        self._console = console
        self._prefixed = prefixed
        self._held: list[Text] | None = None
        self._running = False
        # Without its refresh thread: the bar moves by `tick`, from the event loop that prints the messages too.
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            _Bar(),
            TextColumn("{task.fields[percent]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("", percent="")

    def message(self, application: str, text: str, *, complete: bool) -> None:
        progress = None if complete else read_progress(clean(text))
        # The last one stays on the screen, as git leaves it.
        if progress is not None and not progress.last:
            what = f"{application}: {progress.what}" if self._prefixed else progress.what
            self._show_bar(what, progress.percent, progress.amount)
            return
        self._print(Text(clean(f"{application}: {text}" if self._prefixed else text, lines=True)))
        if complete:
            self._running = False
            self._progress.stop()
        else:
            self._show_bar(application, None)

    def note(self, line: Line) -> None:
        self._print(_line(line))

    def tick(self) -> None:
        if self._progress.live.is_started:
            self._progress.refresh()

    @contextmanager
    def hold(self) -> Iterator[None]:
        self._progress.stop()
        self._held = []
        try:
            yield
        finally:
            waiting, self._held = self._held, None
            for text in waiting:
                self._print(text)
            self._move()

    def close(self) -> None:
        self._progress.stop()

    def _show_bar(self, what: str, percent: int | None, amount: str = "") -> None:
        known = amount if percent is None else f"{percent}% {amount}".rstrip()
        self._progress.update(self._task, description=clean(what)[:_WIDEST], completed=percent or 0, percent=known)
        self._running = True
        self._move()

    def _move(self) -> None:
        if self._running and self._held is None and not self._progress.live.is_started:
            self._progress.start()

    def _print(self, text: Text) -> None:
        if self._held is None:
            self._console.print(text)
        else:
            self._held.append(text)


def _line(line: Line) -> Text:
    return Text(clean(line.text), style=_STYLES[line.tone])


def _table(grid: Grid) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in grid.headers:
        table.add_column(header, overflow="fold")
    for row in grid.rows:
        table.add_row(*(Text(clean(cell.text), style=_STYLES[cell.tone]) for cell in row))
    return table
