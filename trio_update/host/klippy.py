"""Whether the printer prints: updates are refused while it does."""

from __future__ import annotations

from typing import Protocol


class PrintState(Protocol):
    """Knows the printer's state; never raises and answers at once."""

    @property
    def printing(self) -> bool:
        """True while a print runs or is paused."""


class NeverPrinting:
    """A host without a printer, or one that nobody asks."""

    printing = False
