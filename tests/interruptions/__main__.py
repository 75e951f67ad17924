"""The measurement: `python -m tests.interruptions --moments 100 --seed 0`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from tests.interruptions.disks import full, on_a_small_disk, read_only, vanishing
from tests.interruptions.moments import interrupt
from tests.interruptions.subject import compiling, saving


def main() -> int:
    """Print what was seen; the exit code, which says whether all was well."""
    parser = argparse.ArgumentParser(description="Interrupt compiles at random moments and look at what they leave.")
    parser.add_argument("--moments", type=int, default=100, help="of each signal, half of them while files are written")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    well = True
    subjects = {"compile": compiling(), "save": saving()}
    for number in (signal.SIGKILL, signal.SIGTERM):
        for name, subject in subjects.items():
            with tempfile.TemporaryDirectory() as folder:
                found = interrupt(subject, Path(folder), number, args.moments // 2, args.seed)
            well = well and not found.faults and not found.stray
            print(
                f"{number.name} {name}: exit codes {dict(found.codes)}, files {dict(found.found)}, left {found.left}, "
            )
            print(f"  stray after the next run {list(found.stray)}, faults {found.faults}", flush=True)
    for name, problem in _disks(args.seed):
        well = well and not problem
        print(f"{name}: {problem or 'exit 2, one line, old files'}", flush=True)
    return 0 if well else 1


def _disks(seed: int) -> list[tuple[str, str]]:
    found = []
    for number, size in enumerate((0, 500, 5000, 20000)):
        with tempfile.TemporaryDirectory() as folder:
            found.append((f"full after {size} bytes", full(compiling(32), Path(folder), size)))
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "work"
            place.mkdir()
            problem = vanishing(compiling(), place, seed + number, 6.0)
            found.append((f"vanishing folder {number}", problem))
    with tempfile.TemporaryDirectory() as folder:
        found.append(("read-only folder", read_only(compiling(), Path(folder))))
    if os.geteuid() == 0 and sys.platform == "linux":
        with tempfile.TemporaryDirectory() as folder:
            found.append(("small disk", on_a_small_disk(compiling(32), Path(folder), 88)))
    return found


if __name__ == "__main__":
    sys.exit(main())
