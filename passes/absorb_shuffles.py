"""Replace a channel shuffle (Reshape-Transpose-Reshape) by the Gather that does the same.

The weights around a Gather that only permutes can then take its order over; at worst it copies once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.step import Step
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import Names, constant
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.types import Dims, IntArray

_LARGEST = 1 << 22
_SHORTEST, _LONGEST = 3, 5

Chain = list[Step]


@dataclass(frozen=True)
class AbsorbShuffles(Pass):
    """Replaces shuffles along one channel axis by a Gather."""

    purpose: ClassVar = "a Reshape-Transpose-Reshape that permutes channels becomes a Gather"

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph."""
        names: Names | None = None
        replaced = 0
        for chain in chains(rewrite.analysis):
            found = _permutation(chain)
            if found is None:
                continue
            names = names or Names(rewrite.graph)
            _replace(chain, found[0], found[1], names)
            replaced += 1
        return Changes(replaced)


def chains(analysis: Analysis) -> Iterator[Chain]:
    """Every run of three or more Reshape and Transpose nodes that ends in a Reshape."""
    producers = {name: step for step in analysis.steps for name in step.outputs}
    readers = Counter(name for step in analysis.steps for name in step.inputs)
    for step in analysis.steps:
        if step.op.op_type == "Reshape" and not step.barrier:
            chain = _chain(step, producers, readers, analysis.outputs)
            if len(chain) >= _SHORTEST:
                yield chain


def _chain(last: Step, producers: dict[str, Step], readers: Counter[str], outputs: frozenset[str]) -> Chain:
    """The run of Reshape and Transpose nodes that ends in `last`, first to last."""
    chain = [last]
    while len(chain) < _LONGEST:
        name = chain[0].inputs[0]
        step = producers.get(name)
        if step is None or step.barrier or readers[name] != 1 or name in outputs:
            break
        if step.op.op_type not in ("Reshape", "Transpose"):
            break
        chain.insert(0, step)
    return chain


def _permutation(chain: Chain) -> tuple[int, IntArray] | None:
    """The axis and its new order, if the chain only reorders one axis of its input; else None."""
    first, last = chain[0].op.in_dims[0], chain[-1].op.out_dims[0]
    if first is None or not _alike(first, last) or chain[0].maps[0] is None or len(chain[0].maps[0].axes) != 1:
        return None
    axis = chain[0].maps[0].axes[0]
    sizes = sizes_of(first)
    value = None if sizes is None else rearranged(chain, sizes)
    if sizes is None or value is None:
        return None
    start = np.arange(value.size, dtype=np.int64).reshape(sizes)
    stride = int(np.prod(sizes[axis + 1 :]))
    order = np.moveaxis(value, axis, 0).reshape(sizes[axis], -1)[:, 0] // stride % sizes[axis]
    return (axis, order) if np.array_equal(value, start.take(order, axis)) else None


def _alike(first: Dims, last: Dims | None) -> bool:
    """Whether two values with the same number of elements have the same shape; one size may be dynamic in both."""
    if last is None or len(first) != len(last):
        return False
    return all(a == b or not (isinstance(a, int) or isinstance(b, int)) for a, b in zip(first, last, strict=True))


def rearranged(chain: Chain, sizes: list[int]) -> IntArray | None:
    """The chain's result for an input of `sizes` that holds 0, 1, 2, …; None where it cannot be computed."""
    count = math.prod(sizes)
    if count > _LARGEST:
        return None
    value = np.arange(count, dtype=np.int64).reshape(sizes)
    for step in chain:
        if step.op.op_type == "Transpose":
            value = value.transpose(step.op.attrs.get("perm") or None)
            continue
        target = sizes_of(step.op.out_dims[0])
        if target is None or math.prod(target) != value.size:
            return None
        value = value.reshape(target)
    return value


def sizes_of(dims: Dims | None) -> list[int] | None:
    """The sizes, with 2 in place of a dynamic one; None where more than one is dynamic, or the rank is unknown."""
    if dims is None or sum(not isinstance(dim, int) for dim in dims) > 1:
        return None
    return [dim if isinstance(dim, int) else 2 for dim in dims]


def _replace(chain: Chain, axis: int, order: IntArray, names: Names) -> None:
    node, source = chain[-1].node, chain[0].node.inputs[0]
    index = constant(names, f"{node.outputs[0].name}_order", order.astype(np.int64))
    node.op, node.attrs = "Gather", {"axis": axis}
    node.inputs = [source, index]
