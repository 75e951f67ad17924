"""ONNX's own tests of operators, each between a layer that makes dead channels and one that does not read all.

    python docs/programs/operator_tests.py [WORD...] [--export keep gather upscale planned] [--reasons] [--alone]

Every test of a node with an input of float32 and two or more axes is taken, if onnxruntime runs it (or only tests
with one of the words in their names). A 1x1 convolution or a matrix product with rows of zeros makes that input; one
with columns of zeros reads each result of float32. Other inputs are constants. With channels on axis 1 or on the last
one, and one or all inputs made so, the network is compiled without its own checks, and both models are run on the
test's inputs, and on these shuffled. Printed are the wrong and refused ones, then counts: of networks that lost
channels, that have none to lose (none is zero or unread), that have a node which no rule looks through and which
keeps channels, and that keep all for another reason. With --reasons, why nothing left is counted by operator. The
exit code is 1 if any result was wrong. With --alone, all tests of arrays are compiled as they are, without layers.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence

os.environ.setdefault("UPSCALE_IN_PROCESS", "1")

import numpy as np
import onnx
import onnxruntime as ort
from operator_networks import Array, Feeds, Network, alone, networks

import upscale_onnx
from upscale_onnx.errors import UpscaleError

EXPORTS = ("keep", "gather", "upscale", "planned")
TOLERANCE = 1e-5  # of the largest magnitude of a result


def run(model: onnx.ModelProto, feeds: Feeds) -> list[Array]:
    """The results by onnxruntime, without its optimisations."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, dict(feeds))]


def judged(network: Network, export: str, tolerance: float = TOLERANCE, steps: int = 0, verify: bool = False) -> str:
    """What became of a network: "smaller", "whole", "barrier: …", "same: …", "not run: …", or what went wrong.

    tolerance: of the largest magnitude of a result. steps: so many steps of its type are allowed in any case. verify:
    whether the compile checks its result, too.
    """
    try:
        onnx.checker.check_model(network.model)  # a body may have a value of the same name
        expected = [run(network.model, feeds) for feeds in network.feeds]
    except Exception as error:  # no kernel, or a form that the layers do not fit
        return f"not run: {_reason_of(error)}"
    try:
        result = upscale_onnx.compile(network.model, export=export, align=1, race=False, verify=verify)
    except UpscaleError as error:
        return f"refused: {error}"
    except Exception as error:
        return f"wrong: {error!r}"
    try:
        made = [run(result.model, feeds) for feeds in network.feeds]
    except Exception as error:
        return f"wrong: {str(error).splitlines()[0]}"
    pairs = [pair for one, other in zip(expected, made, strict=True) for pair in zip(one, other, strict=True)]
    differences = filter(None, (_difference(one, other, tolerance, steps) for one, other in pairs))
    if (difference := next(differences, None)) is not None:
        return f"wrong: {difference}"
    if _channels(result.model) < _channels(network.model):
        return "smaller"
    if not network.idle:
        return "whole"
    costly = [one for one in result.report.refusals if one.channels]
    reasons = sorted({f"{one.op_type}: {one.detail or one.reason.value}" for one in costly})
    return f"barrier: {reasons[0]}" if reasons else f"same: {_operators(network.model)}"


def _channels(model: onnx.ModelProto) -> int:
    """The channels that the layers in front hand to the operator, and those that the layers behind it read."""
    sizes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    layers = [node for node in model.graph.node if node.name.endswith("_layer") and node.input[1] in sizes]
    reads = [node.input[1].endswith("_read_weight") for node in layers]
    return sum(sizes[node.input[1]][(node.op_type == "Conv") == read] for node, read in zip(layers, reads, strict=True))


def _operators(model: onnx.ModelProto) -> str:
    return ", ".join(sorted({node.op_type for node in model.graph.node if not node.name.endswith("_layer")}))


_REASONS = {
    "ValidateOpsetForDomain": "onnxruntime does not load this opset",
    "Unsupported model IR version": "onnxruntime does not load this version of the format",
    "Could not find an implementation": "onnxruntime has no kernel",
    "Unrecognized attribute": "onnxruntime does not know an attribute",
    "Batchwise recurrent": "onnxruntime has no kernel of this form",
    "Incompatible dimensions": "the layers do not fit the rank",
    "but not in graph input": "a weight of a layer would have to be an input",
    "inconsistent total_sequence_length": "onnxruntime has no kernel of this form",
}


def _reason_of(error: Exception) -> str:
    known = [reason for words, reason in _REASONS.items() if words in str(error)]
    return known[0] if known else str(error).splitlines()[0]


def _difference(one: Array, other: Array, tolerance: float, steps: int = 0) -> str | None:
    """How the second array differs from the first; None if it does not."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return f"{other.dtype}{other.shape} instead of {one.dtype}{one.shape}"
    if one.dtype.kind != "f":
        return None if (one == other).all() else f"{(one != other).sum()} elements of {one.size}"
    finite = np.isfinite(one)
    scale = np.abs(one[finite]).max(initial=0) or 1
    tolerance = max(tolerance, steps * float(np.finfo(one.dtype).eps))
    if np.allclose(one, other, rtol=0, atol=tolerance * scale, equal_nan=True):
        return None
    both = finite & np.isfinite(other)
    most = np.abs(one[both] - other[both]).max(initial=0) / scale
    return f"by {most:.1e} of the scale" if most > tolerance else "infinities, or what is no number, elsewhere"


def main(argv: Sequence[str] | None = None) -> int:
    """Judge all networks and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD", help="default: all tests")
    parser.add_argument("--export", nargs="+", choices=EXPORTS, default=EXPORTS[:2], help="default: keep gather")
    parser.add_argument("--reasons", action="store_true", help="count why nothing left")
    parser.add_argument("--alone", action="store_true", help="without layers")
    args = parser.parse_args(argv)
    counts: dict[str, Counter[str]] = {export: Counter() for export in args.export}
    reasons: dict[str, Counter[str]] = {export: Counter() for export in args.export}
    for network in alone(args.words) if args.alone else networks(args.words):
        for export in args.export:
            found = judged(network, export)
            reasons[export][found] += 1
            kind = found.partition(":")[0]
            counts[export][kind] += 1
            if kind in ("wrong", "refused"):
                print(f"{network.name}, {export}: {found}", flush=True)
    kinds = ("smaller", "whole", "barrier", "same", "wrong", "refused", "not run")
    print("| export | " + " | ".join(kinds) + " |\n|---|" + "---:|" * len(kinds))
    for export, count in counts.items():
        print(f"| {export} | " + " | ".join(str(count[kind]) for kind in kinds) + " |")
    if args.reasons:
        rows = ((number, export, found) for export, count in reasons.items() for found, number in count.most_common())
        print(*(f"{number} {export}: {found}" for number, export, found in rows if ":" in found), sep="\n")
    return int(any(count["wrong"] for count in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
