"""How many wrong models the proofs miss: one live channel of a compiled network is set to zero, again and again.

`python docs/programs/mutation_score.py NET.onnx … --out FILE.json [--images DATA.npz …]` prunes each network, exports
it, and compares mutants of the export with the pruned network: by the global check alone, and by the local proof alone.
A mutant that is missed is run on natural inputs, which say whether it differs at all, and by more than the tolerance.
What FILE.json holds is not measured again. The table goes to standard output as markdown.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from mutants import live_channels, mutant
from natural_inputs import natural_inputs

from upscale_onnx.cli.arguments import fraction, positive
from upscale_onnx.export.draft import Draft
from upscale_onnx.export.export import export
from upscale_onnx.export.recipes import Making, recipes
from upscale_onnx.files.publish import write_whole
from upscale_onnx.model import infer_shapes, load_model
from upscale_onnx.options import Options
from upscale_onnx.proof.by_claims import prove
from upscale_onnx.pruning.prune import prune
from upscale_onnx.runtime.compare import compare_outputs
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.runtime.verify import Reference
from upscale_onnx.worker import in_process, on_runtime_thread

Record = dict[str, Any]

_PICTURES = 6


def main(words: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet, and print the table; the exit code."""
    args = _arguments(words)
    known: dict[str, Record] = json.loads(args.out.read_text()) if args.out.exists() else {}
    with in_process():
        on_runtime_thread(_measure)(args, known)
    print(table(known))
    return 0


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", type=Path, nargs="+", metavar="NET.onnx")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    parser.add_argument("--images", type=Path, nargs="*", default=[], metavar="DATA.npz", help="labelled images")
    parser.add_argument("--mutants", type=positive, default=40, metavar="N", help="of each network (default: 40)")
    parser.add_argument("--amount", type=fraction, default=0.3, metavar="A", help="what is pruned first (default: 0.3)")
    parser.add_argument("--export", choices=("gather", "keep", "planned", "upscale"), default="gather")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    return parser.parse_args(words)


def _measure(args: argparse.Namespace, known: dict[str, Record]) -> None:
    missing = [path for path in args.networks if path.stem not in known]
    start = time.monotonic()
    for done, path in enumerate(missing):
        known[path.stem] = _network(path, args)
        write_whole(json.dumps(known, indent=1).encode(), args.out)
        spent = time.monotonic() - start
        left = spent / (done + 1) * (len(missing) - done - 1)
        print(f"{path.stem}: {spent:.0f} s spent, about {left:.0f} s left", file=sys.stderr, flush=True)


def _network(path: Path, args: argparse.Namespace) -> Record:
    """The verdicts on all mutants of one network."""
    masked = prune(load_model(path), Options.of(amount=args.amount)).model
    made = export(Making(recipes(1)[args.export]), Draft(masked, infer_shapes(masked)))
    start = time.process_time()
    reference = Reference(masked, seed=args.seed)
    sound = reference.compare(made.model)
    spent = time.process_time() - start
    proof = prove(masked, made.model, made.claims, reference.feeds[0], seed=args.seed)
    channels = live_channels(made.model)
    chosen = np.random.default_rng(args.seed).choice(len(channels), min(args.mutants, len(channels)), replace=False)
    natural = _Natural(made.model, reference.feeds[0], args.images)
    mutants = []
    for index in chosen:
        wrong = mutant(made.model, channels[index])
        found = reference.compare(wrong)
        local = prove(masked, wrong, made.claims, reference.feeds[0], seed=args.seed)
        row: Record = {
            "node": channels[index].node,
            "channel": channels[index].index,
            "global": not found.equal,
            "local": bool(local.refuted),
        }
        if not (row["global"] and row["local"]):
            row["error"] = natural.error(wrong)
            row["tolerance"] = found.tolerance
        mutants.append(row)
    activity = reference.activity()
    return {
        "equal": sound.equal,
        "proven": [proof.proven, proof.regions],
        "asleep": [activity.asleep, activity.channels],
        "seconds": spent,
        "mutants": mutants,
    }


class _Natural:
    """What a model makes of natural inputs, to compare mutants with."""

    def __init__(self, model: onnx.ModelProto, usual: Inputs, images: Sequence[Path]) -> None:
        self._names = [value.name for value in model.graph.output]
        self._inputs = list(natural_inputs(model, usual, images, _PICTURES))
        session = make_session(model)
        self._expected = [run(session, feed) for feed in self._inputs]

    def error(self, wrong: onnx.ModelProto) -> float:
        """The largest difference of any output on any input, relative to that output's scale."""
        session = make_session(wrong)
        worst = 0.0
        for feed, expected in zip(self._inputs, self._expected, strict=True):
            for name, a, b in zip(self._names, expected, run(session, feed), strict=True):
                worst = max(worst, compare_outputs(name, a, b).relative)
        return worst


def table(records: dict[str, Record]) -> str:
    """One row per network, as markdown; the last one sums them up."""
    lines = [
        "| network | mutants | global: missed | of these visible | of these faint | local: missed, changed | asleep |",
        "|---|---|---|---|---|---|---|",
    ]
    total = np.zeros(5, int)
    for name, record in records.items():
        counts = _counts(record["mutants"])
        total += counts
        asleep, channels = record["asleep"]
        share = f"{100 * asleep / channels:.0f} %" if channels else "-"
        lines.append(f"| {name} | {' | '.join(map(str, counts))} | {share} |")
    return "\n".join([*lines, f"| all | {' | '.join(map(str, total))} | |"])


def _counts(mutants: Sequence[Record]) -> list[int]:
    """Mutants; missed by the global check; of these visible, and faint; missed by the local proof but not the same."""
    missed = [row for row in mutants if not row["global"]]
    visible = [row for row in missed if row["error"] > row["tolerance"]]
    faint = [row for row in missed if 0 < row["error"] <= row["tolerance"]]
    local = [row for row in mutants if not row["local"] and row["error"] > 0]
    return [len(mutants), len(missed), len(visible), len(faint), len(local)]


if __name__ == "__main__":
    sys.exit(main())
