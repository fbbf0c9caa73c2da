"""Sections that repeat → one.

In another file a later one refines the earlier ones, option by option, as people do who include a file that others
wrote and say below what they want otherwise.  Twice in one file is a mistake (often a section that was pasted again),
and the first counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trio_update.config.ini import Fault, Option, Section
from trio_update.config.names import printable
from trio_update.config.values import place


class Given(msgspec.Struct, frozen=True):
    """An option where it stands.  ``disputed``: the same section says something else below, as well."""

    section: Section
    option: Option
    disputed: bool = False

    @property
    def place(self) -> str:
        """Where it stands."""
        return place(self.section.file, self.option.line)


class Merged(msgspec.Struct, frozen=True):
    """The sections of one name: those that count, their options by name, and what is wrong with how they are written.

    ``bare`` are lines that begin with a word and are no options, by that word.
    """

    sections: tuple[Section, ...]
    options: dict[str, Given]
    faults: list[tuple[Section, Fault]]
    bare: dict[str, tuple[Section, int]]

    @property
    def last(self) -> Section:
        """The section that had the last word: what is missing is told there."""
        return self.sections[-1]


def merge(sections: Sequence[Section], what: str = "duplicate section", *, in_parts: bool = False) -> Merged:
    """``what`` says of a second section in one file what it is; ``in_parts``: a file may have several, as one."""
    merged = Merged((), {}, [], {})
    first: dict[str, Section] = {}
    counting = []
    for section in sections:
        if section.file in first and not in_parts:
            why = f"{what}: already at {first[section.file].place}; the first counts, remove one of them"
            merged.faults.append((section, Fault(section.line, why)))
            continue
        first.setdefault(section.file, section)
        counting.append(section)
        merged.faults.extend((section, fault) for fault in section.faults)
        merged.bare.update({word: (section, line) for line, word in section.bare})
        _refine(merged, section)
    return msgspec.structs.replace(merged, sections=tuple(counting))


def _refine(merged: Merged, section: Section) -> None:
    for option in section.options:
        before = merged.options.get(option.name)
        if before is None or before.section.file != section.file:
            merged.options[option.name] = Given(section, option)
            continue
        where = f"on line {before.option.line}" if before.section is section else f"at {before.place}"
        why = f"duplicate option '{printable(option.name)}': already {where}"
        merged.faults.append((section, Fault(option.line, why)))
        if option.value.split() != before.option.value.split():
            merged.options[option.name] = msgspec.structs.replace(before, disputed=True)
