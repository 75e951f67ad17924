"""LRN: each channel is divided by a sum over the squares of its neighbours."""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild, known_map
from upscale_onnx.channels.flow import Even, Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Rule
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.errors import Reason
from upscale_onnx.types import BoolArray, IntArray


class LocalResponse(Rule):
    """The rule of LRN, `y = x / (bias + alpha / size · Σ x²) ** beta` with the sum over neighbours along axis 1.

    Zeros add nothing to the sum. Where channels come together that were no neighbours, the sum becomes a 1x1
    convolution of the squares, unless its weight takes more than the layers around lose.
    """

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = known_map(maps[0])
        if any(axis != 1 for axis in found.axes) or found.rank != _IMAGE:
            raise Refused(Reason.MIXED_LAYOUT, "no images, or channels on an axis beside that of the neighbours")
        if op.dtype(0) not in (np.float32, np.float16):
            raise Refused(Reason.UNSUPPORTED_FORM, f"type {op.dtype(0)}")
        size, alpha, bias = (float(op.attrs.get(name, other)) for name, other in _DEFAULTS)
        if size < 1 or alpha < 0 or bias <= 0:
            raise Refused(Reason.UNSUPPORTED_FORM, f"size {size:g}, alpha {alpha:g}, bias {bias:g}")
        labels, state = found.labels.ravel(), found.state.ravel()
        if labels.size == 1:
            out = np.where(is_wild(state), WILD, np.where(state == 0, 0.0, VARYING))
            return Flow((found.with_state(out.reshape(found.shape)),))
        index = np.arange(labels.size)
        near = _near(op, index, index)
        wild = near[:, is_wild(state)].any(1)
        out = np.where(wild, WILD, np.where(state == 0, 0.0, VARYING))
        # Results are classes of their own: a channel that is read for its neighbours' sake needs no neighbours.
        targets = fresh(labels.size)
        both = Even((labels[:, None], targets[:, None]))
        read = Read(0, labels, targets, near, None, state == 0)
        made = ChannelMap(targets.reshape(found.shape), out.reshape(found.shape))
        return Flow((made,), reads=(read,), evens=(both,), fixed=(labels, targets))

    def resize(self, op: Op, request: Request) -> Resize:
        found, emission = request.first_input()
        if found.labels.size == 1:
            return Resize((emission,))
        index, state = emission.ravel(), found.state.ravel()
        counted = np.outer(request.choose.live(request.result.labels.ravel())[index], state[index] != 0)
        places = np.arange(index.size)
        before, now = _near(op, index, index), _near(op, places, places)
        if not ((before != now) & counted).any():
            return Resize((emission,))
        if index.size**2 > _LAYERS * index.size * (found.labels.size - index.size):
            raise Misaligned(found.labels, request.result.labels)
        return Resize((emission,), replace=(_computed(op, before),))


# Layers in front and behind have about so many entries for each pair of channels: those of LRN have large windows.
_LAYERS = 8
_IMAGE = 4  # the only rank that onnxruntime computes
_DEFAULTS = (("size", 0), ("alpha", 1e-4), ("bias", 1.0))


def _near(op: Op, rows: IntArray, columns: IntArray) -> BoolArray:
    """Whether the channel `columns` is summed for the channel `rows`, for each pair."""
    size = int(op.attrs.get("size", 1))
    apart = columns[None, :] - rows[:, None]
    near: BoolArray = (apart >= -((size - 1) // 2)) & (apart <= size // 2)
    return near


def _computed(op: Op, near: BoolArray) -> NewNode:
    """The same by elementwise operators and a convolution that adds up the squares where `near` is true."""
    size, alpha, bias = (float(op.attrs.get(name, other)) for name, other in _DEFAULTS)
    dtype = op.dtype(0)
    weight = (near * (alpha / size)).astype(dtype).reshape(*near.shape, 1, 1)
    total = NewNode("Conv", (NewNode("Mul", (0, 0)), weight, np.full(len(near), bias, dtype)))
    power = np.asarray(-float(op.attrs.get("beta", 0.75)), dtype)
    return NewNode("Mul", (0, NewNode("Pow", (total, power))))


register(LocalResponse(), "LRN")
