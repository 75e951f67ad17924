"""Functions of ONNX that are written out, against the operators that they define, with the same masks.

    python docs/programs/expansions.py [WORD...]

Many of ONNX's own tests of operators come twice: with the operator, and with the nodes that define it. Both are put
between the same layers (see operator_tests.py) and compiled by export "gather", in which each layer has what it needs.
Printed is, for each operator, how many elements the weights of these layers have, and how many are left of them around
the operator and around its nodes. Tests that onnxruntime does not run in both forms are left out.
"""

from __future__ import annotations

import math
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence

import onnx
from operator_networks import EXPANDED, Network, networks
from operator_tests import run

import upscale_onnx
from upscale_onnx.errors import UpscaleError


def pairs(words: Sequence[str] = ()) -> Iterator[tuple[Network, Network]]:
    """The networks of tests of an operator, and of the nodes that define it."""
    found: dict[str, dict[bool, Network]] = defaultdict(dict)
    for network in networks(words):
        found[re.sub(EXPANDED, "", network.name)][bool(re.search(EXPANDED, network.name))] = network
    yield from ((both[False], both[True]) for both in found.values() if len(both) > 1)


def elements(model: onnx.ModelProto) -> int:
    """The number of elements of the weights of the layers around an operator."""
    tensors = model.graph.initializer
    return sum(math.prod(tensor.dims) for tensor in tensors if tensor.name.endswith("_weight"))


def left(network: Network) -> int | None:
    """How many elements are left of these weights; None where onnxruntime does not run the network."""
    try:
        for feeds in network.feeds:
            run(network.model, feeds)
        result = upscale_onnx.compile(network.model, export="gather", align=1, race=False, verify=False)
    except UpscaleError:
        return elements(network.model)
    except Exception:  # no kernel, or a form that the layers do not fit
        return None
    return elements(result.model)


def main(words: Sequence[str]) -> None:
    """Compile all networks and print the table."""
    rows: defaultdict[str, list[int]] = defaultdict(lambda: [0] * 4)
    for plain, written_out in pairs(words):
        ours, theirs = left(plain), left(written_out)
        if ours is None or theirs is None:
            continue
        kinds = [node.op_type for node in plain.model.graph.node if not node.name.endswith("_layer")]
        for row in (rows[kinds[0]], rows["all"]):
            for place, count in enumerate((1, elements(plain.model), ours, theirs)):
                row[place] += count
    print("| operator | networks | elements | left around the operator | left around its nodes |")
    print("|---|---:|---:|---:|---:|")
    for name, (count, before, ours, theirs) in sorted(rows.items(), key=lambda row: row[1][2] - row[1][3]):
        print(f"| {name} | {count} | {before} | {ours / before:.2f} | {theirs / before:.2f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
