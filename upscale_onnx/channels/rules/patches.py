"""Col2Im: sums patches into an image; all numbers of a patch that go into one channel stand side by side."""

from __future__ import annotations

from math import prod

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, is_wild, known_map, vector_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Misaligned, Request, Resize, Rule
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.errors import Reason


class Patches(Rule):
    """The rule of Col2Im, from `(N, C·window, L)` to `(N, C, …)`: the numbers of a window stay or go together."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found, window = known_map(maps[0]), _window(op)
        sizes = op.constant(1)
        if sizes is None or found.rank != 3 or any(axis != 1 for axis in found.axes):
            raise Refused(Reason.UNSUPPORTED_FORM, "sizes computed at run time, or channels beside axis 1")
        rank = 2 + sizes.size
        if found.labels.size == 1:
            state = np.where(is_wild(found.state), WILD, VARYING)
            return Flow((vector_map(found.labels.ravel(), state.ravel(), rank, 1),))
        if found.labels.size % window:
            raise Refused(Reason.UNSUPPORTED_FORM, f"{found.labels.size} channels in windows of {window}")
        labels, state = found.labels.reshape(-1, window), found.state.reshape(-1, window)
        content = np.where(is_wild(state).any(1), WILD, np.where((state == 0).all(1), 0.0, VARYING))
        out = vector_map(labels[:, 0], content, rank, 1)
        return Flow((out,), ties=((labels, np.broadcast_to(labels[:, :1], labels.shape)),))

    def resize(self, op: Op, request: Request) -> Resize:
        found, emission = request.first_input()
        if found.labels.size == 1:
            return Resize((np.zeros(request.result.shape, np.int64),))
        window = _window(op)
        index = emission.ravel()
        first = index[::window]
        whole = first[:, None] + np.arange(window)
        if index.size % window or (first % window).any() or not np.array_equal(whole.ravel(), index):
            raise Misaligned(found.labels)
        return Resize(((first // window).reshape([-1 if size > 1 else 1 for size in request.result.shape]),))


def _window(op: Op) -> int:
    block = op.constant(2)
    if block is None:
        raise Refused(Reason.DYNAMIC_PARAMETER, "the window is computed at run time")
    return prod(block.ravel().tolist())


register(Patches(), "Col2Im", since=18)
