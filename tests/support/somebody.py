"""Others than root, where this machine lets root play them."""

from __future__ import annotations

import os
import shutil
import subprocess

SOMEBODY = 4321
# Not root, in a namespace where root's files are one's own and those of all others are nobody's.
AS_A_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")


def _why_no_user() -> str:
    if os.geteuid() != 0:
        return "only root can give files to somebody else"
    if shutil.which("unshare") is None or subprocess.run([*AS_A_USER, "true"], check=False).returncode:
        return "there are no user namespaces here"
    return ""


WHY_NO_USER = _why_no_user()
