"""How much of what masks leave in transformers that onnxruntime's optimiser has fused a compile removes.

    python docs/programs/coverage_optimised.py [NAME...] [--exporter torchscript dynamo] [--share 0.5]
                                               [--units neurons heads "query features" "value features" stream]

The networks, masks and figures are those of coverage.py, with eager attention. Between export and compile, the
optimiser of onnxruntime.transformers fuses attention, normalisations and activations. Printed beside the figures: which
fused operators a network holds. Rows with "multi-head" ask for MultiHeadAttention in place of Attention.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import onnx
from coverage import NETWORKS, masked
from coverage_share import removed_share
from coverage_units import STREAM, UNITS
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model

# The kinds of networks that the optimiser knows; it treats the others as the first one.
_KINDS = ("bert", "gpt2", "clip", "vit", "t5")
_HEADS, _WIDTH = 4, 64
_FUSED = ("Attention", "MultiHeadAttention", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization")


def main(argv: Sequence[str] | None = None) -> int:
    """Export, mask, optimise, compile and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(NETWORKS)}")
    parser.add_argument("--exporter", nargs="+", choices=("torchscript", "dynamo"), default=["torchscript", "dynamo"])
    parser.add_argument("--share", type=float, default=0.5, metavar="S", help="of the units that go (default: 0.5)")
    parser.add_argument("--units", nargs="+", choices=(*UNITS, STREAM), default=UNITS, help="default: all but stream")
    args = parser.parse_args(argv)
    logging.disable(logging.WARNING)
    units = args.units
    print("| network | export | fused | " + " | ".join(units) + " |\n|---|---|---|" + "---:|" * len(units), flush=True)
    for name in args.names or NETWORKS:
        for exporter in args.exporter:
            for multi_head in (False, True) if name == "bert" and exporter == "torchscript" else (False,):
                _row(name, exporter, multi_head, units, args.share)
    return 0


def _row(name: str, exporter: str, multi_head: bool, units: Sequence[str], share: float) -> None:
    cells, fused = [], ""
    for unit in units:
        try:
            model, zeroed = masked(name, exporter, "eager", unit, share)
            model = optimised(model, name, multi_head) if zeroed else model
        except Exception as error:  # exporters and the optimiser may fail in many ways
            cells.append(f"not made: {type(error).__name__}")
            continue
        counts = Counter(node.op_type for node in model.graph.node)
        fused = ", ".join(f"{counts[op]} {op}" for op in _FUSED if counts[op]) or fused
        cells.append(removed_share(model, zeroed))
    print(f"| {name} | {exporter}{', multi-head' if multi_head else ''} | {fused} | {' | '.join(cells)} |", flush=True)


def optimised(model: onnx.ModelProto, name: str, multi_head: bool) -> onnx.ModelProto:
    """The model as onnxruntime's optimiser of transformers fuses it."""
    kind = name if name in _KINDS else _KINDS[0]
    options = FusionOptions(kind)
    options.use_multi_head_attention = multi_head
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        onnx.save(model, path)
        found = optimize_model(
            str(path), kind, num_heads=_HEADS, hidden_size=_WIDTH, optimization_options=options, opt_level=0
        )
        found.save_model_to_file(str(path))
        return onnx.load(path)


if __name__ == "__main__":
    sys.exit(main())
