"""The options of a section → values, and everything that is wrong with them, each with what it costs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import msgspec

from trio_update.config.ini import Fault, Section
from trio_update.config.merge import Given, Merged
from trio_update.config.names import printable
from trio_update.config.render import BadValue
from trio_update.config.rules import Cost, Grave, Partly, Rule, Stray, Table

_NOT_YET = "is accepted and not used by this version yet"
_NAME = re.compile(r"\s*([^\s:=]+)")


class Told(msgspec.Struct, frozen=True):
    """What is wrong, where, and what it costs."""

    section: Section
    fault: Fault
    cost: Cost = Cost.OPTION


class Reading(msgspec.Struct):
    """A section's options: values by name, what is wrong, and what is right and worth knowing.

    ``given`` says where each option stands that the table knows, whether its value can be used or not.
    """

    values: dict[str, Any] = {}
    given: dict[str, Given] = {}
    told: list[Told] = []
    notes: list[tuple[Section, Fault]] = []


def read_options(
    merged: Merged,
    table: Table,
    *,
    foreign: bool = False,
    required: Collection[str] = (),
    folder: Path | None = None,
) -> Reading:
    """Convert a section's options by `table`; in a `foreign` one everything that is not in the table is passed over.

    ``required``: options whose values cost the app when they cannot be used.  ``folder`` is the app's.
    """
    reading = Reading()
    for name, given in merged.options.items():
        if name in table:
            _read_option(reading, table, given, required, folder)
        elif not foreign:
            reading.told.append(Told(given.section, Fault(given.option.line, _unknown(name, table))))
    bare = {name: at for name, at in merged.bare.items() if name in table and name not in merged.options}
    for name, (section, line) in bare.items():
        why = f"'{name}' is not followed by `:` and its value"
        _fail(reading, name, table[name], Told(section, Fault(line, why), _cost(name, table[name], required)))
    known = {(section.file, line) for section, line in bare.values()}
    for section, fault in merged.faults:
        # How others write the rest of their sections is theirs.
        ours = not foreign or any(fault.why.startswith(f"duplicate option '{name}'") for name in table)
        if ours and (section.file, fault.line) not in known:
            reading.told.append(Told(section, fault))
    return reading


def _cost(name: str, rule: Rule, required: Collection[str]) -> Cost:
    return Cost.DISABLE if name in required else rule.cost


def _fail(reading: Reading, name: str, rule: Rule, told: Told) -> None:
    reading.told.append(told)
    if rule.instead is not None:
        reading.values[name] = rule.instead


def _read_option(reading: Reading, table: Table, given: Given, required: Collection[str], folder: Path | None) -> None:
    name, option, rule = given.option.name, given.option, table[given.option.name]
    reading.given[name] = given
    cost = _cost(name, rule, required)
    try:
        value = rule(option.value, folder)
    except Partly as exc:
        reading.values[name] = exc.value
        reading.told += [_told(given, fault, _part_cost(fault, given, table, cost)) for fault in exc.faults]
    except BadValue as exc:
        _fail(reading, name, rule, _told(given, exc, cost))
    else:
        reading.values[name] = value
    if name in reading.values and not rule.used:
        reading.notes.append((given.section, Fault(option.line, f"'{name}' {_NOT_YET}")))
    if given.disputed and cost is Cost.HOLD:
        why = f"'{name}' is given twice, each time with another value: it is not known which one was meant"
        reading.told.append(Told(given.section, Fault(option.line, why), cost))


def _told(given: Given, fault: BadValue, cost: Cost) -> Told:
    return Told(given.section, Fault(given.option.line + fault.offset, f"'{given.option.name}' {fault}"), cost)


def _part_cost(fault: BadValue, given: Given, table: Table, cost: Cost) -> Cost:
    if isinstance(fault, Grave):
        return cost
    if isinstance(fault, Stray):
        # Indented by accident, it is lost: that costs what losing it does.
        word = _NAME.match(given.option.value.split("\n")[fault.offset])
        lost = table.get(word[1].lower()) if word else None
        return Cost.HOLD if lost is not None and lost.cost is Cost.HOLD else Cost.OPTION
    return Cost.OPTION


def missing_options(reading: Reading, merged: Merged, required: Collection[str]) -> Iterator[Told]:
    """The options that are not given and must be."""
    for name in required:
        if name not in merged.options and name not in merged.bare and name not in reading.values:
            yield Told(merged.last, Fault(merged.last.line, f"the option '{name}' is missing"), Cost.DISABLE)


def missed_options(merged: Merged, table: Table, defaults: Collection[str] = ()) -> Iterator[Told]:
    """The options that are not given and should be; in code, leaving one out is no oversight."""
    for name, rule in table.items():
        if rule.missing and name not in merged.options and name not in merged.bare and name not in defaults:
            yield Told(merged.last, Fault(merged.last.line, f"the option '{name}' is missing: {rule.missing}"))


def notices(reading: Reading, table: Table, folder: Path) -> Iterator[tuple[Section, Fault]]:
    """What the values of given options will not do, as the disk is now."""
    for name, given in reading.given.items():
        look = table[name].notice
        if look is not None and name in reading.values and (why := look(reading.values[name], folder)) is not None:
            yield given.section, Fault(given.option.line, f"'{name}' {why}")


def _unknown(name: str, table: Table) -> str:
    near = difflib.get_close_matches(name[:64], table, n=1)
    hint = f": did you mean '{near[0]}'?" if near else ""
    return f"unknown option '{printable(name)}'{hint}"
