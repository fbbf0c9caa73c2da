"""Which names an archive may carry: one meaning for every reader, one file for every name, all below one folder."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from trio_update.errors import OperationFailed
from trio_update.text import printable

MAX_ENTRIES = 100_000
MAX_PATH = 4096
MAX_COMPONENT = 255
# Not a rule of any file system.  Whatever later walks the tree holds a descriptor or a stack frame for each level, and
# the usual limits for those are near 1000.
MAX_DEPTH = 200

_DRIVE = re.compile(rb"[A-Za-z]:")


class BadArchive(OperationFailed):
    """An archive that is damaged, ambiguous or dangerous.

    ``entry`` is the name of the entry to blame, as it may be shown (see :func:`shown`); empty when the fault is of the
    archive as a whole.
    """

    def __init__(self, archive: Path, entry: str, why: str) -> None:
        self.entry = entry
        what = f"the entry `{entry}` {why}" if entry else why
        super().__init__(f"the archive {shown(bytes(archive))} is refused: {what}")


def shown(name: bytes) -> str:
    """``name`` for a message: what is not UTF-8 or would not print is escaped, a long one is shortened."""
    return printable(name[:2048].decode(errors="backslashreplace"), 300)


def fault_of(name: bytes) -> str | None:
    """Why no archive may carry ``name`` (a folder's ends with a slash), to go on after the name; ``None`` if it may."""
    if len(name) > MAX_PATH:
        return f"has a path of more than {MAX_PATH} bytes"
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return "has a name that is not UTF-8"
    if not text.isprintable() and any(unicodedata.category(c) == "Cc" for c in text):
        return "has a control character in its name"
    return _fault_of_path(name)


def _fault_of_path(name: bytes) -> str | None:
    components = name.removesuffix(b"/").split(b"/")
    faults = (
        (name.startswith(b"/"), "has an absolute name"),
        (_DRIVE.match(name), "begins with a drive letter"),
        # Some readers take it for a slash, others for a character of the name.
        (b"\\" in name, "has a backslash in its name"),
        (b".." in components or b"." in components, "has `.` or `..` as a part of its path"),
        (b"" in components, "has an empty name, or an empty part in its path"),
        (len(components) > MAX_DEPTH, f"lies more than {MAX_DEPTH} folders deep"),
        (max(map(len, components)) > MAX_COMPONENT, f"has a part of more than {MAX_COMPONENT} bytes in its path"),
    )
    return next((why for found, why in faults if found), None)


class _Node:
    __slots__ = ("is_dir", "named", "number", "spelling")

    def __init__(self, number: int, spelling: str, *, is_dir: bool, named: bool) -> None:
        self.number = number
        self.spelling = spelling
        self.is_dir = is_dir
        self.named = named  # an entry of its own, not only needed by others


class NameTree:
    """Takes names one by one and tells the first that cannot exist beside the earlier ones.

    Two spellings that differ in case or in Unicode normalisation alone count as the same name, for folders too: on a
    file system that folds them one file would replace the other.  The keys are those of canonical caseless matching
    (The Unicode Standard, section 3.13, D145).
    """

    def __init__(self) -> None:
        # By the number of the parent and the folded component.  Keys of whole paths would let a few megabytes of
        # deeply nested names grow into gigabytes.
        self._nodes: dict[tuple[int, str], _Node] = {}
        self._implied = 0
        self._last_parent: tuple[str, int] = ("", 0)

    def add(self, name: str, *, is_dir: bool) -> str | None:
        """Why ``name`` (no slash at its end) cannot be added, to go on after the name; ``None``: it was added."""
        above, _, leaf = name.rpartition("/")
        parent = self._parent(above)
        if isinstance(parent, str):
            return parent
        key = (parent, _folded(leaf))
        node = self._nodes.get(key)
        if node is None:
            self._nodes[key] = _Node(len(self._nodes) + 1, leaf, is_dir=is_dir, named=True)
            return None
        if node.spelling != leaf:
            return _collision(node.spelling)
        if node.named and node.is_dir == is_dir:
            return "is there twice"
        if not (node.is_dir and is_dir):
            return "is a file, and another entry needs a folder of that name"
        node.named = True
        return None

    def _parent(self, path: str) -> int | str:
        """The number of the folder ``path``, added where it is not there yet; or why it cannot be."""
        if not path:
            return 0
        if path == self._last_parent[0]:
            return self._last_parent[1]
        number = 0
        for component in path.split("/"):
            key = (number, _folded(component))
            node = self._nodes.get(key)
            if node is None:
                self._implied += 1
                if self._implied > MAX_ENTRIES:
                    return f"needs a folder more than the {MAX_ENTRIES:,} that an archive may imply"
                node = self._nodes[key] = _Node(len(self._nodes) + 1, component, is_dir=True, named=False)
            elif node.spelling != component:
                return _collision(node.spelling)
            elif not node.is_dir:
                return f"needs a folder where `{shown(component.encode())}` is a file"
            number = node.number
        self._last_parent = (path, number)
        return number


def _collision(other: str) -> str:
    return f"differs from `{shown(other.encode())}` in case or Unicode normalisation alone"


def _folded(component: str) -> str:
    if component.isascii():
        return component.lower()
    folded = unicodedata.normalize("NFD", component).casefold()
    return unicodedata.normalize("NFD", folded)
