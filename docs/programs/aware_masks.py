"""Masks that know the target against masks of the same amount of every layer.

Latency: `python docs/programs/aware_masks.py latency FOLDER [--amount 0.3]` prunes every network in FOLDER both
ways, exports both, and races them against the input. Accuracy: `… accuracy MODEL.onnx DATA.npz` prunes one network
both ways by several amounts and counts right answers; DATA.npz holds `x`, the model's input for N examples, and `y`,
their classes. Nothing is trained or repaired after pruning.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from upscale_onnx.cli.arguments import fraction, positive
from upscale_onnx.export.export import make
from upscale_onnx.export.recipes import recipes
from upscale_onnx.model import infer_shapes, load_model
from upscale_onnx.options import Options
from upscale_onnx.pruning.prune import prune
from upscale_onnx.runtime import race
from upscale_onnx.runtime.providers import cpu_block
from upscale_onnx.runtime.sessions import make_session, run

_EXPORTS = ("keep", "planned")
_BATCH = 50


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    latency = commands.add_parser("latency", help="race both against the input")
    latency.add_argument("models", type=Path, metavar="FOLDER|FILE", nargs="+")
    latency.add_argument("--amount", type=fraction, default=0.3, metavar="A")
    latency.add_argument("--rounds", type=positive, default=15, metavar="N")
    accuracy = commands.add_parser("accuracy", help="count right answers of both")
    accuracy.add_argument("model", type=Path, metavar="MODEL.onnx")
    accuracy.add_argument("data", type=Path, metavar="DATA.npz")
    accuracy.add_argument("--amounts", type=fraction, nargs="+", default=[0.1, 0.2, 0.3], metavar="A")
    args = parser.parse_args(argv)
    if args.command == "latency":
        paths = [
            path for given in args.models for path in (sorted(given.glob("*.onnx")) if given.is_dir() else [given])
        ]
        _latencies(paths, args.amount, args.rounds)
    else:
        _accuracies(args.model, args.data, args.amounts)
    return 0


def _latencies(paths: Sequence[Path], amount: float, rounds: int) -> None:
    """One line per network: shares of the input's latency, the better of two exports, and channels pruned."""
    shares: dict[str, list[float]] = {"flat": [], "aware": []}
    print(f"{'network':32} {'input ms':>9} {'flat':>6} {'aware':>6} {'channels':>15}")
    for path in paths:
        model = load_model(path)
        runners, pruned = {"input": model}, {}
        for kind in shares:
            masked, pruned[kind] = _masked(model, amount, kind)
            for name in _EXPORTS:
                runners[f"{kind} {name}"] = make(recipes(cpu_block())[name], masked, infer_shapes(masked))
        timings = {timing.name: timing for timing in race(runners, rounds=rounds).timings}
        for kind, ratios in shares.items():
            ratios.append(min(timings[f"{kind} {name}"].ratio for name in _EXPORTS))
        line = f"{path.stem:32} {timings['input'].median_ms:9.2f} {shares['flat'][-1]:6.3f} {shares['aware'][-1]:6.3f}"
        print(f"{line} {pruned['flat']:7} {pruned['aware']:7}", flush=True)
    means = {kind: math.exp(sum(map(math.log, ratios)) / len(ratios)) for kind, ratios in shares.items() if ratios}
    print("geometric mean " + ", ".join(f"{kind} {mean:.3f}" for kind, mean in means.items()))


def _accuracies(path: Path, data: Path, amounts: Sequence[float]) -> None:
    """One line per amount: per cent of right answers."""
    model = load_model(path)
    with np.load(data) as arrays:
        x, y = arrays["x"], arrays["y"]
    print(f"{path.stem}: {_accuracy(model, x, y):.1f} % of {y.size} before pruning")
    for amount in amounts:
        pruned = {kind: _masked(model, amount, kind) for kind in ("flat", "aware")}
        scores = ", ".join(f"{kind} {_accuracy(masked, x, y):.1f} %" for kind, (masked, _) in pruned.items())
        print(
            f"  amount {amount:g}: {scores}; channels {', '.join(str(count) for _, count in pruned.values())}",
            flush=True,
        )


def _masked(model: onnx.ModelProto, amount: float, kind: str) -> tuple[onnx.ModelProto, int]:
    pruned = prune(model, Options.of(amount=amount, masks="flat" if kind == "flat" else "aware"))
    return pruned.model, pruned.count


def _accuracy(model: onnx.ModelProto, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
    session = make_session(model)
    name = model.graph.input[0].name
    parts = [run(session, {name: x[start : start + _BATCH]})[0] for start in range(0, y.size, _BATCH)]
    answers = np.concatenate([part.reshape(len(part), -1).argmax(1) for part in parts])
    return float((answers == y).mean() * 100)


if __name__ == "__main__":
    sys.exit(main())
