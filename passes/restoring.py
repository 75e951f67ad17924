"""Nodes that restore constant channels: a Pad adds zeros to a value, and a Gather repeats them where they belong."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_graphsurgeon as gs
from onnx import helper

from upscale_onnx.channels.channel_map import ChannelMap, is_constant
from upscale_onnx.model import Shape
from upscale_onnx.passes.editing import Names, constant

PADS_ARE_AN_INPUT = 11
"""The first opset of Pad of which this is true."""
_NODES = 768  # bytes of three nodes: names and pads


def bytes_added(found: ChannelMap) -> int:
    """The bytes that the nodes take in a file, about: indices, levels and pads, and names."""
    entries = np.dtype(np.int64).itemsize + (np.dtype(np.float32).itemsize if np.nansum(np.abs(found.state)) else 0)
    return entries * found.labels.size + _NODES


def restoring(
    source: gs.Variable, target: gs.Variable, found: ChannelMap, shape: Shape, names: Names, zeros: int
) -> tuple[list[gs.Node], dict[str, Shape | None]]:
    """The nodes that make `target`, in which constant channels of `source` come from elsewhere, and the shapes of the
    values between. Both have the map `found` and this shape. zeros: how many zeros the Pad adds."""
    axis, size, state = found.axes[0], found.labels.size, found.state.ravel()
    dead = is_constant(state)
    padded = gs.Variable(names.fresh(f"{target.name}_padded"), target.dtype)
    pads = np.zeros((2, found.rank), np.int64)
    pads[1, axis] = zeros
    order = np.arange(size)
    order[dead] = size + np.arange(dead.sum()) % zeros
    shapes: dict[str, Shape | None] = {padded.name: shape.with_size(axis, size + zeros)}
    added = [
        _node("Pad", [source, constant(names, f"{target.name}_pads", pads.ravel())], padded),
        _node("Gather", [padded, constant(names, f"{target.name}_order", order)], target, {"axis": axis}),
    ]
    if state[dead].any():
        restored = gs.Variable(names.fresh(f"{target.name}_restored"), target.dtype, target.shape)
        shapes[restored.name] = shape
        added[1].outputs[0] = restored
        level = np.where(dead, state, 0).reshape(found.shape)
        values = constant(names, f"{target.name}_level", level.astype(helper.tensor_dtype_to_np_dtype(shape.dtype)))
        added.append(_node("Add", [restored, values], target))
    return added, shapes


def _node(op: str, inputs: Iterable[gs.Tensor], output: gs.Tensor, attrs: dict[str, int] | None = None) -> gs.Node:
    return gs.Node(op, f"{output.name}_{op.lower()}", attrs or {}, list(inputs), [output])
