"""``python -m bench``: measure, print the table, and exit with 1 if a limit is broken."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

from bench import footprint, refresh, releases, web
from bench.report import Figure, show

_PARTS: dict[str, Callable[..., Iterator[Figure]]] = {
    "refresh": refresh.measure,
    "web": web.measure,
    "footprint": footprint.measure,
    "asset": releases.asset,
    "served": releases.served,
    "quota": releases.quota,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Speed and footprint, with their limits.")
    parser.add_argument("--only", metavar="NAME", action="append", choices=list(_PARTS), help=", ".join(_PARTS))
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: noisier figures")
    options = parser.parse_args()
    figures: list[Figure] = []
    for name in options.only or _PARTS:
        for figure in _PARTS[name](quick=options.quick):
            # It takes minutes; whoever waits sees that it goes on.
            print(f"{figure.group}: {figure.name}", file=sys.stderr)
            figures.append(figure)
    show(figures)
    broken = [figure.name for figure in figures if figure.broken]
    if broken:
        print(f"broken limits: {len(broken)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
