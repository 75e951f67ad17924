"""Random networks of NNSmith with dead channels, each compiled, and compared with what it was.

    python docs/programs/nnsmith_networks.py --out FOUND.jsonl [--first SEED] [--count N] [--show SEED]

Needs an environment with NNSmith (`pip install nnsmith z3-solver==4.12.6.0 torch onnxscript`) beside this package.
Random channels of each network's weights are zeroed. Where inputs and results of float32 have channels, layers with
dead channels stand in front of and behind them; other inputs are constants. The network is compiled by one of four
exports with blocks of one channel, every third one with verification, and both are run without onnxruntime's
optimisations (operator_tests.py). What differs is compiled again with verification, and judged again.

Every network is saved to --out as it is judged, and not judged again, so that a run can be stopped and started again.
Printed are those that are wrong, refused or crashed, and the counts. The exit code is 1 if any was wrong or crashed,
also with verification. --show writes the network of one seed to SEED.onnx, and judges it alone.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from nnsmith.abstract.dtype import DTYPE_GEN_ALL
from nnsmith.graph_gen import model_gen
from nnsmith.materialize import Model
from onnx import numpy_helper
from operator_networks import Network, between_layers, inputs_with_channels
from operator_tests import EXPORTS, judged
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

TOLERANCE = 1e-4  # of the largest magnitude of a result: sums are of another order
STEPS = 2  # of the type of a result: float16 holds three digits
_MOST_NODES = (4, 8, 12, 16)
_SHARE = 0.4  # of the channels of a weight that are zeroed
_RANKS = (None, [2, 3, 4], [4])
_TYPES = [kind for kind in DTYPE_GEN_ALL if "complex" not in str(kind)]  # which the exporter does not know


def generated(seed: int) -> tuple[onnx.ModelProto, dict[str, Any], list[Any]]:
    """A network of NNSmith, its inputs by name, and its results by PyTorch."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (NNSmith draws from it)
    torch.manual_seed(seed)
    exporter = Model.init("onnx", backend_target="cpu")
    exporter.add_seed_setter()
    found = model_gen(
        opset=exporter.operators(),
        method="symbolic-cinit",
        seed=seed,
        max_elem_per_tensor=4096,
        max_nodes=_MOST_NODES[seed % len(_MOST_NODES)],
        timeout_ms=10000,
        rank_choices=_RANKS[seed % len(_RANKS)],
        dtype_choices=["f32"] if seed % 2 else _TYPES,
    )
    model = exporter.from_gir(found.make_concrete())
    model.refine_weights()
    oracle = model.make_oracle()
    return model.native_model, dict(oracle.input), [np.asarray(value) for value in oracle.output.values()]


def network(seed: int) -> Network:
    """The network of NNSmith of this seed, with zeroed channels, between layers where it has inputs with channels."""
    model, arrays, results = generated(seed)
    rng = np.random.default_rng(seed)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor).copy()
        if array.dtype == np.float32 and array.ndim > 1:
            axis = int(rng.integers(2))
            array[(slice(None),) * axis + (rng.random(array.shape[axis]) < _SHARE,)] = 0
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    axis = (1, -1)[int(rng.integers(2))]
    chosen = inputs_with_channels(arrays, axis)
    return between_layers(f"seed {seed}", model, arrays, results, chosen, axis, rng)


def found_of(seed: int) -> str:
    """What became of the network of this seed; "not made: …" where NNSmith or PyTorch's exporter makes none."""
    try:
        made = network(seed)
    except Exception as error:
        return f"not made: {type(error).__name__}"
    export = EXPORTS[seed // 2 % len(EXPORTS)]
    found = judged(made, export, TOLERANCE, STEPS, verify=seed % 3 == 0)
    if not found.startswith("wrong") or seed % 3 == 0:
        return found
    verified = judged(made, export, TOLERANCE, STEPS, verify=True)
    return found if verified.startswith("wrong") else f"differs unverified: {found}; with verification: {verified}"


def main(argv: Sequence[str] | None = None) -> int:
    """Judge networks, save and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first seed (default: 0)")
    parser.add_argument("--count", type=int, default=1000, metavar="N", help="how many seeds (default: 1000)")
    parser.add_argument("--out", type=Path, default=Path("nnsmith.jsonl"), help="results (default: nnsmith.jsonl)")
    parser.add_argument("--show", type=int, metavar="SEED", help="write this network to SEED.onnx, and judge it alone")
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    # NNSmith leaves the exporter to PyTorch's default, which no longer takes its networks.
    torch.onnx.export = functools.partial(torch.onnx.export, dynamo=False)  # type: ignore[assignment]
    if args.show is not None:
        onnx.save(network(args.show).model, f"{args.show}.onnx")
        print(found_of(args.show))
        return 0
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    judged_before = {entry["seed"]: entry["found"] for entry in map(json.loads, lines)}
    wanted = range(args.first, args.first + args.count)
    counts = Counter(kind_of(judged_before[seed]) for seed in wanted if seed in judged_before)
    columns = (TextColumn("networks"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress, args.out.open("a") as file:
        for seed in progress.track([seed for seed in wanted if seed not in judged_before]):
            found = found_of(seed)
            counts[kind_of(found)] += 1
            print(json.dumps({"seed": seed, "found": found}), file=file, flush=True)
            if kind_of(found) in ("wrong", "refused", "differs unverified"):
                print(f"seed {seed}: {found}", flush=True)
    print(dict(counts))
    return int(counts["wrong"] > 0)


def kind_of(found: str) -> str:
    """The first words of what became of a network."""
    return found.partition(":")[0]


if __name__ == "__main__":
    sys.exit(main())
