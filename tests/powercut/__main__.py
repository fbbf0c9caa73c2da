"""Cut the power behind every call that writes to the disk; exit status 1 on any fault.

Needs root, loop devices and strace.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import trio

from tests.crash.servers import open_zygote
from tests.powercut.apps import OPERATIONS
from tests.powercut.campaign import Campaign, Tally, open_app
from tests.powercut.disk import enclosed, why_not
from tests.powercut.verdict import Verdict

_INSIDE = "POWERCUT_INSIDE"


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.powercut", description=__doc__)
    parser.add_argument("operations", nargs="*", metavar="OPERATION", help=f"{', '.join(OPERATIONS)}; none: all")
    parser.add_argument("--cuts", type=int, help="judge at most so many cuts of each operation, evenly spread")
    parser.add_argument("--without-syncfs", action="store_true", help="let syncfs do nothing: it has to be noticed")
    parser.add_argument("--places", type=int, default=os.cpu_count() or 1, help="how many operations side by side")
    parser.add_argument("--verbose", action="store_true", help="one line a cut")
    options = parser.parse_args(argv)
    if unknown := set(options.operations) - set(OPERATIONS):
        parser.error(f"there is no operation {', '.join(sorted(unknown))}")
    if options.cuts is not None and options.cuts < 1:
        parser.error("--cuts must be 1 or more")
    if _INSIDE not in os.environ:
        if (reason := why_not()) is not None:
            parser.error(f"no power can be cut here: {reason}")
        command = enclosed([sys.executable, "-m", "tests.powercut", *argv])
        os.execvpe(command[0], command, os.environ | {_INSIDE: "1"})
    return trio.run(run, options)


async def run(options: argparse.Namespace) -> int:
    tallies: list[Tally] = []
    places = trio.CapacityLimiter(options.places)
    with tempfile.TemporaryDirectory(prefix="powercut-") as folder:
        async with open_zygote() as zygote, trio.open_nursery() as nursery:

            async def one(name: str) -> None:
                async with places, open_app(Path(folder, name), OPERATIONS[name]) as app:
                    began = time.monotonic()
                    campaign = Campaign(app, zygote, lambda verdict: tell(name, verdict, verbose=options.verbose))
                    tally = await campaign.run(options.cuts, without_syncfs=options.without_syncfs)
                    tallies.append(tally)
                    print(f"{tally}, in {time.monotonic() - began:.0f} s", flush=True)

            for name in options.operations or OPERATIONS:
                nursery.start_soon(one, name)
    return 1 if any(tally.faulty for tally in tallies) else 0


def tell(name: str, verdict: Verdict, *, verbose: bool) -> None:
    if verbose or verdict.faults:
        print(f"  {name} {verdict}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
