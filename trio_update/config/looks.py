"""What is asked of the disk while a configuration is judged."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_MISSING = "does not exist"


def real_path(path: Path) -> Path:
    """The place that a path means, symbolic links followed."""
    return Path(os.path.realpath(path))


def home_folder() -> Path | None:
    """The user's home, None when it is not known."""
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home if home.is_absolute() else None


def is_missing(path: Path) -> bool:
    """Whether nothing is there."""
    return _stat(path) == _MISSING


def look_folder(path: Path) -> str | None:
    """Why `path` cannot be used as a folder, None when it can."""
    found = _stat(path)
    if isinstance(found, str):
        return found
    return None if stat.S_ISDIR(found.st_mode) else "is not a folder"


def look_app(path: Path) -> str | None:
    """Why `path` cannot be an app's folder, None when it can, or when nothing is there."""
    why = look_folder(path)
    return why if why != _MISSING else None


def look_danger(path: Path) -> str | None:
    """What is at ``path`` that must never be replaced, None when nothing is."""
    found = _stat(path)
    if isinstance(found, str):
        return None
    home = home_folder()
    # Compared as the system sees it: a link, or `..`, can lead there too.
    for forbidden, what in ((Path("/"), "the root of the file system"), (home, "the home folder itself")):
        other = _stat(forbidden) if forbidden else ""
        if not isinstance(other, str) and os.path.samestat(found, other):
            return f"is {what}"
    if home is not None and real_path(home).is_relative_to(real_path(path)):
        return "holds the home folder"
    return None


def look_file(path: Path) -> str | None:
    """Why `path` cannot be read as a file, None when it can."""
    found = _stat(path)
    if isinstance(found, str):
        return found
    return None if stat.S_ISREG(found.st_mode) else "is not a file"


def _stat(path: Path) -> os.stat_result | str:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return _MISSING
    except OSError as exc:
        return f"cannot be looked at: {exc.strerror}"
