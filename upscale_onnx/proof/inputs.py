"""Values for graph inputs: dense floats, and integers over the range that the graph shows to be legal."""

from __future__ import annotations

from typing import Any

import numpy as np

from upscale_onnx.proof.draws import Draw
from upscale_onnx.proof.regions import Network

# Operators behind which an index is still the same index.
_CARRIERS = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


def graph_input(network: Network, name: str, known: Any, shape: tuple[int, ...], draw: Draw) -> Any:
    """A value for the graph input `name` of the type that `known`, a value for it, has; floats of `shape`."""
    if not isinstance(known, np.ndarray):
        return known
    if known.dtype.kind == "f":
        return draw.value(name, shape, known.dtype, None)
    rng = np.random.default_rng([draw.seed, draw.number, len(name)])
    if known.dtype.kind == "b":
        return rng.integers(0, 2, known.shape).astype(bool)
    if known.dtype.kind in "iu" and known.dtype.itemsize == 1:
        limits = np.iinfo(known.dtype)
        return rng.integers(limits.min, limits.max, known.shape, known.dtype, endpoint=True)
    bound = _rows(network, name)
    return rng.integers(0, bound, known.shape).astype(known.dtype) if bound else known


def _rows(network: Network, name: str) -> int:
    """How many rows the weights have that `name` is an index into, the fewest where there are several; 0 where it is
    no such index."""
    found: list[int] = []
    pending, seen = [name], {name}
    for current in pending:
        for node, reads in zip(network.nodes, network.reads, strict=True):
            if current not in reads:
                continue
            if node.op_type == "Gather" and node.input[1] == current and node.input[0] in network.weights:
                axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
                found.append(network.weights[node.input[0]].dims[axis])
            elif node.op_type in _CARRIERS and node.output[0] not in seen:
                seen.add(node.output[0])
                pending.append(node.output[0])
            else:
                return 0  # who else reads it may know another range
    return min(found, default=0)
