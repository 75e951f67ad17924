"""Many mutants, in a process that may die: one line of JSON each on standard output."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from tests.fuzz.mutate import mutant
from tests.fuzz.seeds import seeds
from tests.fuzz.trial import Trials, by_command_line

_ALONE = 50  # one of so many command lines is a process of its own


def main() -> None:
    """Run mutants from `start` up to `count`."""
    parser = argparse.ArgumentParser()
    for name in ("start", "count", "seed"):
        parser.add_argument(name, type=int)
    parser.add_argument("--cli", action="store_true")
    parser.add_argument("--more", type=Path)
    args = parser.parse_args()
    # What the worker may take; what it takes longer for, a user would have stopped as well.
    os.environ.setdefault("UPSCALE_TIME_LIMIT_S", "20")
    os.environ.setdefault("UPSCALE_MEMORY_GB", "3")
    found = seeds(args.more)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        tempfile.tempdir = os.environ["TMPDIR"] = name
        with Trials(folder) as trials:
            for number in range(args.start, args.count):
                data = mutant(found, number, args.seed)
                outcome = (
                    by_command_line(folder, data, alone=not number % _ALONE) if args.cli else trials.run(number, data)
                )
                sys.stdout.write(json.dumps([number, outcome.kind, outcome.detail]) + "\n")
                sys.stdout.flush()
                if outcome.kind == "memory":  # what was held once is counted from then on
                    return


if __name__ == "__main__":
    main()
