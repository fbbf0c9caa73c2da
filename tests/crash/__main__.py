"""The whole campaign: kills at every point unless told otherwise; exit status 1 on any fault."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio

from tests.crash.aftermath import Report
from tests.crash.campaign import FAULTS, OPERATIONS, Campaign, open_campaign, strikes_of

PARTS = ("whole", "git", "server", "ENOSPC", "EIO", FAULTS)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("operations", nargs="*", metavar="OPERATION", help=f"{', '.join(OPERATIONS)}; none: all")
    parser.add_argument(
        "--part",
        action="append",
        choices=PARTS,
        help="whole: everything dies; git: git alone; server: not its git; ENOSPC, EIO: the call fails; "
        "faults: those of the forge",
    )
    parser.add_argument("--stride", type=int, default=1, help="take every STRIDE-th point only")
    parser.add_argument("--offset", type=int, default=0, help="begin with point OFFSET")
    parser.add_argument("--places", type=int, default=(os.cpu_count() or 1) + 1, help="how many strikes side by side")
    parser.add_argument("--verbose", action="store_true", help="one line a strike")
    options = parser.parse_args(argv)
    if unknown := set(options.operations) - set(OPERATIONS):
        parser.error(f"there is no operation {', '.join(sorted(unknown))}")
    if shutil.which("strace") is None:
        parser.error("strace is not installed, and without it nothing can be killed at a system call")
    return trio.run(partial(run, options))


async def run(options: argparse.Namespace) -> int:
    faulty = 0
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        names = options.operations or tuple(OPERATIONS)
        async with open_campaign(Path(folder), options.places, names) as campaign:
            for name in names:
                for part in options.part or PARTS:
                    faulty += await run_part(campaign, name, part, options)
    return 1 if faulty else 0


async def run_part(campaign: Campaign, name: str, part: str, options: argparse.Namespace) -> int:
    began = time.monotonic()
    strikes = (await strikes_of(campaign, OPERATIONS[name], part))[options.offset % options.stride :: options.stride]
    if not strikes:
        return 0
    tally = await campaign.run(strikes, partial(tell, verbose=options.verbose))
    print(f"{name}, {part}: {tally} in {time.monotonic() - began:.0f} s", flush=True)
    return len(tally.faulty)


def tell(report: Report, *, verbose: bool) -> None:
    if verbose or report.faults:
        print(f"  {report}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
