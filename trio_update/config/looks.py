"""What is asked of the disk while a configuration is judged."""

from __future__ import annotations

import os
import stat
from pathlib import Path


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


def look_folder(path: Path) -> str | None:
    """Why `path` cannot be an app's folder, None when it can."""
    found = _stat(path)
    if isinstance(found, str):
        return found
    if not stat.S_ISDIR(found.st_mode):
        return "is not a folder"
    return look_danger(path)


def look_danger(path: Path) -> str | None:
    """Why replacing what is at ``path`` would be a disaster, None when it would not, or when nothing is there."""
    found = _stat(path)
    if isinstance(found, str):
        return None
    home = home_folder()
    # Compared as the system sees it: a link, or `..`, can lead there too.
    for forbidden, what in ((Path("/"), "the root of the file system"), (home, "the home folder itself")):
        other = _stat(forbidden) if forbidden else ""
        if not isinstance(other, str) and os.path.samestat(found, other):
            return f"is {what}: an update would replace all of it"
    if home is not None and real_path(home).is_relative_to(real_path(path)):
        return "holds the home folder: an update would replace all of it"
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
        return "does not exist"
    except OSError as exc:
        return f"cannot be looked at: {exc.strerror}"
