"""Replace a channel shuffle (Reshape-Transpose-Reshape) by the Gather that does the same.

The weights around a Gather that only permutes can then take its order over; at worst it copies once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.step import Step
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.editing import Names, constant
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.types import Dim, Dims, IntArray

_LARGEST = 1 << 22
_SHORTEST, _LONGEST = 3, 5
# What dynamic sizes are taken to be, twice: different primes, so that no two axes are mistaken for each other.
_NUMBERS = ((2, 3, 5, 7, 11), (3, 5, 2, 11, 7))

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
    first, last, found = first_dims(chain), chain[-1].op.out_dims[0], chain[0].maps[0]
    if first is None or last is None or len(first) != len(last) or found is None or len(found.axes) != 1:
        return None
    axis = found.axes[0]
    if found.merged is not None or not isinstance(first[axis], int):
        return None
    orders = [_order(chain, axis, numbered(first, numbers)) for numbers in _NUMBERS]
    if orders[0] is None or not all(np.array_equal(orders[0], order) for order in orders if order is not None):
        return None
    return None if any(order is None for order in orders) else (axis, orders[0])


def _order(chain: Chain, axis: int, numbers: Mapping[Dim, int]) -> IntArray | None:
    """The order of the indices of `axis` behind the chain, if it only reorders these; else None."""
    value = rearranged(chain, numbers)
    sizes = sizes_of(first_dims(chain), numbers)
    if value is None or sizes is None:
        return None
    start = np.arange(value.size, dtype=np.int64).reshape(sizes)
    stride = int(np.prod(sizes[axis + 1 :]))
    order = np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1)[:, 0] // stride % sizes[axis]
    return order if np.array_equal(value, start.take(order, axis)) else None


def rearranged(chain: Chain, numbers: Mapping[Dim, int]) -> IntArray | None:
    """The chain's result for an input that holds 0, 1, 2, …; None where it cannot be computed. numbers: what dynamic
    sizes are taken to be."""
    sizes = sizes_of(first_dims(chain), numbers)
    if sizes is None or math.prod(sizes) > _LARGEST:
        return None
    value = np.arange(math.prod(sizes), dtype=np.int64).reshape(sizes)
    for step in chain:
        if step.op.op_type == "Transpose":
            value = value.transpose(step.op.attrs.get("perm") or None)
            continue
        target = sizes_of(step.op.out_dims[0], numbers, value.size)
        if target is None or math.prod(target) != value.size:
            return None
        value = value.reshape(target)
    return value


def first_dims(chain: Chain) -> Dims | None:
    """The dimensions of the chain's input, with a name for each that is not known; None where the rank is unknown."""
    dims = chain[0].op.in_dims[0]
    return None if dims is None else tuple(f"?{axis}" if dim is None else dim for axis, dim in enumerate(dims))


def numbered(dims: Dims, numbers: Sequence[int] = _NUMBERS[0]) -> dict[Dim, int]:
    """A number for each dynamic size; those that are called alike get the same."""
    names = list(dict.fromkeys(dim for dim in dims if isinstance(dim, str)))
    return dict(zip(names, numbers, strict=False))


def sizes_of(dims: Dims | None, numbers: Mapping[Dim, int], count: int = 0) -> list[int] | None:
    """The sizes, with `numbers` for dynamic ones. One size that has no number is what is left of `count` elements. None
    where there are more such sizes, or the rank is unknown."""
    if dims is None:
        return None
    sizes = [dim if isinstance(dim, int) else numbers.get(dim, 0) for dim in dims]
    open_axes = [axis for axis, dim in enumerate(dims) if not isinstance(dim, int) and dim not in numbers]
    if not open_axes:
        return sizes
    left = math.prod(size for axis, size in enumerate(sizes) if axis not in open_axes)
    if len(open_axes) > 1 or not left or count % left:
        return None
    sizes[open_axes[0]] = count // left
    return sizes


def _replace(chain: Chain, axis: int, order: IntArray, names: Names) -> None:
    node, source = chain[-1].node, chain[0].node.inputs[0]
    index = constant(names, f"{node.outputs[0].name}_order", order.astype(np.int64))
    node.op, node.attrs = "Gather", {"axis": axis}
    node.inputs = [source, index]
