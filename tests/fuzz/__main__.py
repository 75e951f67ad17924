"""A seeded mutation fuzzer; it saves as it goes, and goes on where it stopped.

python -m tests.fuzz --count 100000 --folder FOLDER          # through the Python API, in one process
python -m tests.fuzz --count 1000 --folder FOLDER --cli      # through the command line, one in 50 as a process
python -m tests.fuzz --folder FOLDER --show 1234             # the mutant of that number, as a file
"""

from __future__ import annotations

import argparse
import json
import selectors
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.fuzz.mutate import mutant
from tests.fuzz.seeds import seeds
from tests.fuzz.trial import GOOD

_SILENCE_SECONDS = 300.0
_SAVE_SECONDS = 2.0
_KEPT_UNEQUAL = 100


@dataclass
class State:
    """How far a campaign is. finds: number, kind and detail of what must not be; unequal: refusals to look at."""

    seed: int
    done: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    finds: list[tuple[int, str, str]] = field(default_factory=list)
    unequal: list[tuple[int, str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, number: int, kind: str, detail: str) -> None:
        """Note how a mutant ended."""
        self.done = number + 1
        self.kinds = dict(Counter(self.kinds) + Counter([kind]))
        if kind not in GOOD:
            self.finds.append((number, kind, detail))
        elif kind == "unequal" and len(self.unequal) < _KEPT_UNEQUAL:
            self.unequal.append((number, kind, detail))


def main() -> int:
    """Run a campaign; 1 where there are finds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="mutants in all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the mutants")
    parser.add_argument("--folder", type=Path, required=True, help="where to keep the state and the finds")
    parser.add_argument("--cli", action="store_true", help="through the command line")
    parser.add_argument("--more", type=Path, metavar="DIR", help="a folder with more models to make mutants of")
    parser.add_argument("--show", type=int, metavar="N", help="only write mutant N into the folder")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.show is not None:
        (args.folder / f"{args.show}.onnx").write_bytes(mutant(seeds(args.more), args.show, args.seed))
        return 0
    path = args.folder / ("cli.json" if args.cli else "api.json")
    state = State(**json.loads(path.read_text())) if path.exists() else State(args.seed)
    if state.seed != args.seed:
        parser.error(f"{path} belongs to seed {state.seed}")
    begun, before, saved = time.monotonic(), state.seconds, 0.0
    while state.done < args.count:
        for number, kind, detail in _campaign(state.done, args):
            state.add(number, kind, detail)
            if kind not in GOOD:
                (args.folder / f"{number}.onnx").write_bytes(mutant(seeds(args.more), number, args.seed))
            state.seconds = before + time.monotonic() - begun
            if time.monotonic() - saved > _SAVE_SECONDS:
                saved = time.monotonic()
                _save(state, path)
                _tell(state, args.count)
        _save(state, path)
    _tell(state, args.count)
    print()
    return 1 if state.finds else 0


def _campaign(start: int, args: argparse.Namespace) -> Iterator[tuple[int, str, str]]:
    """Number, kind and detail of mutants until the process ends, which is a find unless it means to."""
    words = [str(start), str(args.count), str(args.seed), *(["--cli"] if args.cli else [])]
    words += ["--more", str(args.more)] if args.more is not None else []
    command = [sys.executable, "-m", "tests.fuzz.campaign", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    number, why = start, ""
    with process.stdout, selectors.DefaultSelector() as waits:
        waits.register(process.stdout, selectors.EVENT_READ)
        while not why:
            if not waits.select(_SILENCE_SECONDS):
                why = "hang"
                process.kill()
                break
            line = process.stdout.readline()
            if not line:
                break
            number, kind, detail = json.loads(line)
            yield number, kind, detail
            number += 1
    status = process.wait()
    if why or status:
        yield number, why or "abort", f"the process ended with {status}"


def _save(state: State, path: Path) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(state), indent=1))
    fresh.replace(path)


def _tell(state: State, count: int) -> None:
    rate = state.done / max(state.seconds, 1e-9)
    left = (count - state.done) / max(rate, 1e-9)
    kinds = " ".join(f"{kind} {times}" for kind, times in sorted(state.kinds.items()))
    print(f"\r{state.done}/{count}  {rate:.1f}/s  {left / 60:.0f} min left  {kinds}  ", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
