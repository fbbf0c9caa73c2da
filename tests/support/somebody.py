"""Others than root, where this machine lets root play them.

Run as ``python -m tests.support.somebody COMMAND …`` it becomes that command, as one of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

SOMEBODY = 4321
# Not root, in a namespace where root's files are one's own and those of all others are nobody's.
AS_A_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")


def _why_no_user() -> str:
    if os.geteuid() != 0:
        return "only root can give files to somebody else, and play a user"
    if shutil.which("unshare") is None or subprocess.run([*AS_A_USER, "true"], check=False).returncode:
        return "there are no user namespaces here"
    return ""


WHY_NO_USER = _why_no_user()


def main(command: Sequence[str]) -> str:
    """Become ``command``; returns only when that cannot be, with the reason."""
    if not WHY_NO_USER:
        os.execvp(AS_A_USER[0], [*AS_A_USER, *command])
    return WHY_NO_USER


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
