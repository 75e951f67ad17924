"""What is added to the scores of heads, and numbers beside them: one for all heads, or one for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from upscale_onnx.channels.channel_map import Wild, is_wild
from upscale_onnx.channels.flow import Maps, Misaligned, Read, Request
from upscale_onnx.channels.grid import is_full, locate
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array, Dim, IntArray


@dataclass(frozen=True, eq=False)
class Bound:
    """How an input is bound to heads. reads, fixed: as in a flow. wild: whether results may be other than finite."""

    reads: tuple[Read, ...] = ()
    fixed: tuple[IntArray, ...] = ()
    wild: bool = False


def bound(op: Op, maps: Maps, index: int, axis: int, made: IntArray) -> Bound:
    """How input `index`, with heads on the negative `axis`, is bound to results `made` `(heads, features)`. Where its
    number of heads is not known, all heads stay."""
    constant, found = op.constant(index), maps[index] if index < len(maps) else None
    if constant is not None:
        return Bound(wild=_is_unbounded(constant))
    if not op.has(index):
        return Bound()
    size = _size(op, index, axis)
    reads = [] if size in (1, len(made)) else [Read(index, made[:, 0])]
    if found is None:
        return Bound(tuple(reads))
    wild = found.wild is not Wild.MASKED and bool(is_wild(found.state).any())
    labels = found.labels.ravel()
    if not found.has_channels:
        return Bound((*reads, Read(index, labels, made.ravel())), wild=wild)
    if size == 1:
        return Bound((*reads, Read(index, labels, made.ravel())), (labels,), wild)
    if found.axes != (found.rank + axis,) or labels.size != len(made):
        raise Refused(Reason.MIXED_LAYOUT, f"a mask with channels {found.shape}")
    reads += [Read(index, label, row) for label, row in zip(labels[:, None], made, strict=True)]
    return Bound(tuple(reads), (labels,), wild)


def narrowed(op: Op, request: Request, index: int, axis: int, heads: IntArray, count: int) -> Array | NewNode | None:
    """What input `index` becomes where `heads` of `count` are left: a constant, a node that picks them, or None where
    it holds what is wanted. Raises `Misaligned` where it holds other heads."""
    constant = op.constant(index)
    whole = is_full(heads, (count,))
    if constant is not None:
        wide = constant.ndim >= -axis and constant.shape[axis] == count
        return None if whole or not wide or count == 1 else constant.take(heads, axis)
    if not op.has(index) or request.maps[index] is None:
        return None
    found, emission = request.maps[index], request.emissions[index]
    assert found is not None
    if found.axes and emission is not None and _size(op, index, axis) != 1:
        # Other layers may need more of it.
        places = locate(heads, emission)
        if (places < 0).any():
            raise Misaligned(found.labels)
        same = is_full(places, (emission.size,))
        return None if same else NewNode("Gather", (index, places), attrs={"axis": found.rank + axis})
    if emission is None or not is_full(emission, found.shape):
        raise Misaligned(found.labels)
    if whole or _size(op, index, axis) != count or count == 1:
        return None
    return NewNode("Gather", (index, heads), attrs={"axis": found.rank + axis})


def _size(op: Op, index: int, axis: int) -> Dim:
    """The size of an axis; 1 where there is no such axis, None where it is not known."""
    dims = op.in_dims[index]
    if dims is None:
        return None
    return dims[axis] if len(dims) >= -axis else 1


def _is_unbounded(constant: Array) -> bool:
    """Whether scores may become something else than numbers: by an infinity, or where nothing is left of a row."""
    if constant.dtype.kind != "f":
        return False
    masked = np.isneginf(constant)
    row = masked.all(-1) if constant.ndim else masked
    return bool(not (np.isfinite(constant) | masked).all() or row.any())
