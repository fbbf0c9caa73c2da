"""The text of a ``moonraker.conf`` → its sections and options, each with its line.  Pure: text in, values out.

``configparser`` is not used because it stops at the first fault, keeps no line numbers, and raises on what other
programs' sections may hold; its rules of indentation are kept, because users' files were written against them:

- a line deeper than the option above it continues that option (white space is counted in characters);
- blank lines and comment lines neither end a value nor belong to it;
- an indented option or header that has no option above it stands for itself.
"""

from __future__ import annotations

import re

import msgspec

from trio_update.config.values import place

_COMMENT = re.compile(r"(?:^|(?<=\s))[#;].*", re.DOTALL)
_OPTION = re.compile(r"([^:=]*)[:=](.*)", re.DOTALL)


class Fault(msgspec.Struct, frozen=True):
    """A line and what is wrong with it."""

    line: int
    why: str


class Option(msgspec.Struct, frozen=True):
    """One option.  ``name`` is in lower case.

    ``value`` holds one line of text per line of the file, so that its n-th line stands at ``line + n``: lines without
    content are empty, also the first when the value begins below its name.
    """

    name: str
    value: str
    line: int


class Section(msgspec.Struct, frozen=True):
    """One section as it stands; ``faults`` are its lines that are no options.

    ``name`` is what stands between the brackets, without the white space around it.
    """

    name: str
    file: str
    line: int
    options: tuple[Option, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def place(self) -> str:
        """Where it begins."""
        return place(self.file, self.line)


class Document(msgspec.Struct, frozen=True):
    """A file's sections, in order; ``faults`` tells of lines above the first one."""

    sections: tuple[Section, ...] = ()
    faults: tuple[Fault, ...] = ()


def parse(text: str, file: str) -> Document:
    """Take ``text`` apart.  Never raises; ``file`` is only noted in the sections."""
    parser = _Parser(file)
    # Not str.splitlines(): it also splits at form feeds and the like, where no editor counts a line.
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, start=1):
        parser.feed(number, line)
    return parser.finish()


class _Parser:
    def __init__(self, file: str) -> None:
        self._file = file
        self._sections: list[Section] = []
        self._stray: list[Fault] = []
        self._header: tuple[str, int] | None = None
        self._options: list[tuple[str, int, list[str]]] = []
        self._faults: list[Fault] = []
        # Lines of the option that can still be continued, and its indentation.  A faulty line takes this place too:
        # what is indented below it is part of the same mistake, and told once.
        self._open: list[str] | None = None
        self._indent = 0

    def feed(self, number: int, line: str) -> None:
        content = _COMMENT.sub("", line, count=1).strip()
        if not content:
            if self._open is not None:
                self._open.append("")
            return
        indent = len(line) - len(line.lstrip())
        if self._open is not None and indent > self._indent:
            self._open.append(content)
            return
        self._indent = indent
        if content.startswith("["):
            self._begin_section(number, content)
        else:
            self._begin_option(number, content)

    def finish(self) -> Document:
        self._end_section()
        return Document(tuple(self._sections), tuple(self._stray))

    def _begin_section(self, number: int, content: str) -> None:
        # A glob may hold brackets, a name may not.
        close = content.rfind("]") if content.startswith("[include") else content.find("]")
        rest = content[close + 1 :].strip() if close > 0 else ""
        fault = None
        if close < 0:
            # Whether this was meant to begin a section or belongs to the one above cannot be known: both get the fault.
            fault = Fault(number, "the section header has no closing `]`")
            if self._header is not None:
                self._faults.append(fault)
        elif rest and rest[0] not in "#;":
            fault = Fault(number, "there is text after the section header")
        self._end_section()
        self._header = ((content[1:close] if close > 0 else content[1:]).strip(), number)
        self._faults = [fault] if fault else []

    def _end_section(self) -> None:
        if self._header is None:
            # One fault is enough to say that a header is missing.
            self._stray = self._faults[:1]
        else:
            options = tuple(Option(name, "\n".join(lines), at) for name, at, lines in self._options)
            name, line = self._header
            self._sections.append(Section(name, self._file, line, options, tuple(self._faults)))
        self._options, self._faults, self._open = [], [], None

    def _begin_option(self, number: int, content: str) -> None:
        self._open = []
        parts = _OPTION.fullmatch(content)
        if self._header is None:
            self._faults.append(Fault(number, "this line stands above the first `[section]` and belongs to none"))
        elif parts is None or not parts[1].strip():
            # The text is not repeated: it may be a misplaced secret.
            self._faults.append(Fault(number, "this line is not an option (`name: value`)"))
        else:
            self._open.append(parts[2].strip())
            self._options.append((parts[1].strip().lower(), number, self._open))
