"""Cutting the axes before and after a reshape into groups with equal products.

Row-major order makes a cut valid wherever the products of the axes on one side of it are equal: then those on the
other side are equal too, whatever the dynamic sizes among them are.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile

from upscale_onnx.types import Dim


@dataclass(frozen=True)
class AxisGroup:
    """Axes `[a, b)` of the input that become axes `[c, d)` of the output."""

    inputs: range
    outputs: range


def axis_groups(dims_in: Sequence[Dim], dims_out: Sequence[Dim]) -> list[AxisGroup]:
    """The groups of both shapes, in order. Equal axes at the ends form groups of one axis each."""
    most = min(len(dims_in), len(dims_out))
    head = _equal_axes(dims_in[:most], dims_out[:most])
    tail = _equal_axes(dims_in[::-1][: most - head], dims_out[::-1][: most - head])
    stop_in, stop_out = len(dims_in) - tail, len(dims_out) - tail
    groups = [AxisGroup(range(a, a + 1), range(a, a + 1)) for a in range(head)]
    groups += _middle(dims_in, dims_out, range(head, stop_in), range(head, stop_out))
    ends = zip(range(stop_in, len(dims_in)), range(stop_out, len(dims_out)), strict=True)
    return groups + [AxisGroup(range(a, a + 1), range(b, b + 1)) for a, b in ends]


def _equal_axes(left: Sequence[Dim], right: Sequence[Dim]) -> int:
    pairs = zip(left, right, strict=True)
    return sum(1 for _ in takewhile(lambda pair: pair[0] is not None and pair[0] == pair[1], pairs))


def _middle(dims_in: Sequence[Dim], dims_out: Sequence[Dim], ins: range, outs: range) -> list[AxisGroup]:
    """The groups of the axes that have no equal ones. Around dynamic axes, the known sizes at either end form groups
    where their products are equal."""
    left, right = [dims_in[a] for a in ins], [dims_out[a] for a in outs]
    if _known(left) == len(left) and _known(right) == len(right):
        return _of_known(dims_in, dims_out, ins, outs)
    a, b = _matching(left, right)
    c, d = _matching(left[a:][::-1], right[b:][::-1])
    last_in, last_out = len(ins) - c, len(outs) - d
    dynamic = AxisGroup(ins[a:last_in], outs[b:last_out])
    return [
        *_of_known(dims_in, dims_out, ins[:a], outs[:b]),
        *([dynamic] if dynamic.inputs or dynamic.outputs else []),
        *_of_known(dims_in, dims_out, ins[last_in:], outs[last_out:]),
    ]


def _known(dims: Sequence[Dim]) -> int:
    """How many of the first sizes are known and not zero."""
    return sum(1 for _ in takewhile(lambda dim: isinstance(dim, int) and dim > 0, dims))


def _matching(left: Sequence[Dim], right: Sequence[Dim]) -> tuple[int, int]:
    """The most leading axes of both shapes that have known sizes and equal products."""
    ends = {product: count for count, product in enumerate(_products(left), 1)}
    found = [(ends[product], count) for count, product in enumerate(_products(right), 1) if product in ends]
    return found[-1] if found else (0, 0)


def _products(dims: Sequence[Dim]) -> list[int]:
    """The products of the first one, two, … sizes, up to the first that is not known."""
    return list(accumulate((int(dim or 0) for dim in dims[: _known(dims)]), operator.mul))


def _of_known(dims_in: Sequence[Dim], dims_out: Sequence[Dim], ins: range, outs: range) -> list[AxisGroup]:
    """The smallest groups of axes that all have known sizes."""
    groups, i, j = [], ins.start, outs.start
    while i < ins.stop or j < outs.stop:
        a, b = i, j
        left = right = 1
        while True:
            if left <= right and i < ins.stop and not (left == right and (i > a or j > b)):
                left, i = left * int(dims_in[i] or 1), i + 1
            elif j < outs.stop and (right < left or i == ins.stop):
                right, j = right * int(dims_out[j] or 1), j + 1
            else:
                break
            if left == right and i > a and j > b:
                break
        groups.append(AxisGroup(range(a, i), range(b, j)))
    return groups
