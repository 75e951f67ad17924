"""How much of what masks leave in exported transformers a compile removes.

    python docs/programs/coverage.py [NAME...] [--exporter torchscript dynamo] [--attention eager sdpa] [--share 0.5]
                                     [--opset 17]
                                     [--units neurons heads "query features" "value features" stream]

Needs transformers (random weights; nothing is downloaded). Each network has two layers. A share of one kind of unit is
zeroed in all weights that hold it: neurons of feed-forward layers, heads, features of queries and keys (in pairs under
rotary embeddings), features of values, channels of the stream that all layers read and add to. Printed for each export:
the parameters removed, with what a compile adds, as a share of the zeroed entries; and whether the result was shown
equal.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from coverage_networks import NETWORKS, Wrapped, inputs_of
from coverage_share import removed_share
from coverage_units import STREAM, UNITS, zero


def main(argv: Sequence[str] | None = None) -> int:
    """Export, mask, compile and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(NETWORKS)}")
    parser.add_argument("--exporter", nargs="+", choices=("torchscript", "dynamo"), default=["torchscript", "dynamo"])
    parser.add_argument("--attention", nargs="+", choices=("eager", "sdpa"), default=["eager", "sdpa"])
    parser.add_argument("--share", type=float, default=0.5, metavar="S", help="of the units that go (default: 0.5)")
    parser.add_argument("--opset", type=int, default=17, metavar="N", help="of TorchScript's exports (default: 17)")
    parser.add_argument("--units", nargs="+", choices=(*UNITS, STREAM), default=UNITS, help="default: all but stream")
    args = parser.parse_args(argv)
    logging.disable(logging.WARNING)
    print("| network | export | " + " | ".join(args.units) + " |\n|---|---|" + "---:|" * len(args.units), flush=True)
    for name in args.names or NETWORKS:
        for exporter in args.exporter:
            for attention in args.attention:
                cells = [_cell(name, exporter, attention, unit, args.share, args.opset) for unit in args.units]
                print(f"| {name} | {exporter}, {attention} | " + " | ".join(cells) + " |", flush=True)
    return 0


def _cell(name: str, exporter: str, attention: str, unit: str, share: float, opset: int) -> str:
    try:
        model, zeroed = masked(name, exporter, attention, unit, share, opset)
    except Exception as error:  # an exporter may fail in many ways
        return f"not exported: {type(error).__name__}"
    return removed_share(model, zeroed)


def masked(
    name: str, exporter: str, attention: str, unit: str, share: float, opset: int = 17
) -> tuple[onnx.ModelProto, int]:
    """A masked network as a model, and how many entries of its weights were zeroed."""
    made = NETWORKS[name]
    torch.manual_seed(0)
    network = made.build(attention)
    zeroed = zero(network, unit, share, made.heads)
    inputs = inputs_of(made)
    given, axes = tuple(value for value, _ in inputs.values()), {name: axes for name, (_, axes) in inputs.items()}
    dynamic = torch.export.Dim.DYNAMIC
    how: dict[str, Any] = {"dynamic_axes": axes, "opset_version": opset}
    if exporter == "dynamo":
        how = {"dynamic_shapes": tuple(dict.fromkeys(sizes, dynamic) for sizes in axes.values())}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        path = Path(folder) / "network.onnx"
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            torch.onnx.export(
                Wrapped(network, made), given, str(path), input_names=list(axes), output_names=["y"],
                dynamo=exporter == "dynamo", **how,
            )  # fmt: skip
        return onnx.load(str(path)), zeroed


if __name__ == "__main__":
    sys.exit(main())
