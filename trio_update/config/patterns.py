"""Entries of ``persistent_files`` that are no plain names: patterns, and what is meant as something else."""

from __future__ import annotations

from pathlib import PurePosixPath

_WILD = frozenset("*?[")
_QUOTES = frozenset("\"'`")


def is_pattern(entry: str) -> bool:
    """Whether an entry stands for all files that fit it (``*.json``, ``plugins/**``), unless one is called just so."""
    return bool(_WILD.intersection(entry))


def doubt_about(entry: str) -> str:
    """What an entry of ``persistent_files`` probably does not do; a sentence to go on after it, empty if all is well.

    Files may be called in such a way, so that it is no error.
    """
    if len(entry) > 1 and entry[0] in _QUOTES and entry[-1] == entry[0]:
        return "keeps a file with quotes in its name: leave them out, each line is one name as it is"
    if "," in entry:
        return "keeps one file with a comma in its name: write each name on a line of its own"
    parts = PurePosixPath(entry).parts
    if parts and all(part in {"*", "**"} for part in parts):
        return "keeps everything, so that an update would bring nothing new: name what is yours"
    return ""
