"""`python -m trio_update` is `trio-update`."""

from __future__ import annotations

import sys

from trio_update.cli import main

if __name__ == "__main__":
    sys.exit(main())
