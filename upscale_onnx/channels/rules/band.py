"""Conv of one channel that slides over an axis of channels: each result is a sum over neighbours along that axis.

Efficient channel attention makes the gate of each channel so, of the means of a few. Channels of known content leave:
what is left is put back in its place in front of the convolution, which costs next to nothing beside the layers around.

Source: Wang et al., "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks", CVPR 2020, 3.2.
"""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_constant, is_wild
from upscale_onnx.channels.flow import Flow, Fresh, Misaligned, Read, Request, Resize
from upscale_onnx.channels.grid import is_full
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.types import BoolArray, IntArray

_AXIS = 2
_PADS_ARE_AN_INPUT = 11  # the first version of Pad of which this is true


def slides_over(op: Op, found: ChannelMap) -> bool:
    """Whether a Conv makes as many results along an axis of channels, `(batch, 1, channels)`, as there are channels,
    each from its neighbours."""
    if op.op_type != "Conv" or found.axes != (_AXIS,):
        return False  # before the weight is decoded: nearly all convolutions end here
    weight = op.constant(1)
    if weight is None or weight.shape[:2] != (1, 1):
        return False
    steps = [*op.attrs.get("strides", ()), *op.attrs.get("dilations", ())]
    fits = weight.ndim == found.rank == 3 and set(steps) <= {1} and op.attrs.get("auto_pad", "NOTSET") == "NOTSET"
    known = found.merged is None and op.onnx_opset >= _PADS_ARE_AN_INPUT and bool(np.isfinite(weight).all())
    return fits and known and sum(op.attrs.get("pads", ())) == weight.shape[2] - 1 and not op.is_dynamic(2)


def band_flow(op: Op, found: ChannelMap, fresh: Fresh) -> Flow:
    """The flow of such a convolution."""
    labels, state = found.labels.ravel(), found.state.ravel()
    near, targets = _near(op, labels.size), fresh(labels.size)
    content = np.where(near[:, is_wild(state)].any(1), WILD, VARYING)
    made = ChannelMap(targets.reshape(found.shape), content.reshape(found.shape))
    read = Read(0, labels, targets, near, None, is_constant(state))
    return Flow((made,), reads=(read,))


def band_resize(op: Op, request: Request) -> Resize:
    """How it changes: it slides over all channels still, of which those that have left are put back."""
    found, emission = request.first_input()
    made = request.choose.positions(request.result.labels.ravel())
    outputs = (made.reshape(1, 1, -1),)
    is_whole, makes_all = is_full(emission, found.shape), is_full(outputs[0], found.shape)
    if is_whole and makes_all:
        return Resize(outputs)
    whole = 0 if is_whole else _put_back(op, request, found, emission)
    node = NewNode("Conv", (whole, 1, 2) if op.has(2) else (whole, 1), attrs=op.attrs)
    if not makes_all:
        node = NewNode("Gather", (node, made), attrs={"axis": _AXIS})
    return Resize(outputs, replace=(node,))


def _put_back(op: Op, request: Request, found: ChannelMap, emission: IntArray) -> NewNode:
    """The input with the channels that have left: what is known of them, or zeros where no demanded result is a sum
    over them. Raises `Misaligned` where one is missing of which nothing is known."""
    held, state = emission.ravel(), found.state.ravel()
    missing = np.ones(state.size, np.bool_)
    missing[held] = False
    read = _near(op, state.size)[request.choose.live(request.result.labels.ravel())].any(0)
    if (missing & read & ~is_constant(state)).any():
        raise Misaligned(found.labels)
    # One zero behind those that are left stands for all others.
    places = np.full(state.size, held.size)
    places[held] = np.arange(held.size)
    padded = NewNode("Pad", (0, np.asarray([0, 0, 0, 0, 0, 1], np.int64)))
    whole = NewNode("Gather", (padded, places), attrs={"axis": _AXIS})
    known = np.where(missing & is_constant(state), state, 0.0)
    if known.any():
        whole = NewNode("Add", (whole, known.astype(op.dtype(0)).reshape(found.shape)))
    return whole


def _near(op: Op, count: int) -> BoolArray:
    """`(results, channels)`: which channels each result is a sum over."""
    weight = op.constant(1)
    assert weight is not None
    size, before = weight.shape[2], next(iter(op.attrs.get("pads", ())), 0)
    tap = np.arange(count) - np.arange(count)[:, None] + before
    near: BoolArray = (tap >= 0) & (tap < size) & (weight.ravel() != 0)[np.clip(tap, 0, size - 1)]
    return near
