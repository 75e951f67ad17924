"""Operators that work along other axes than that of the channels."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from tests.channels.case import Case, Plain, Tracked
from upscale_onnx.types import Array

_X = Tracked((2, 6, 5, 5))
_PLACES = np.linspace(-1.4, 1.4, 48, dtype=np.float32).reshape(2, 3, 4, 2)
_ROIS = np.asarray([[0, 0, 3, 3], [1, 1, 4, 4], [0, 2, 2, 4]], np.float32)


def _i(*values: int) -> Array:
    return np.asarray(values, np.int64)


def _sampled() -> list[Case]:
    boxes = np.concatenate([np.asarray([[0], [1], [0]], np.float32), _ROIS], 1)
    return [
        Case("GridSample", (_X, _PLACES), note="constant places", exact=False),
        Case("GridSample", (_X, Plain(_PLACES.shape)), {"mode": "nearest"}, opset=16, note="given places"),
        Case("GridSample", (_X, _PLACES), {"padding_mode": "border"}, note="border", exact=False),
        Case("GridSample", (Tracked((2, 6, 5, 5), (2,)), _PLACES), note="over channels", refused=True),
        Case("RoiAlign", (_X, _ROIS, _i(0, 1, 0)), {"output_height": 2, "output_width": 2}, exact=False),
        Case("RoiAlign", (_X, _ROIS, _i(0, 1, 0)), {"mode": "max"}, opset=10, note="max", exact=False),
        Case("MaxRoiPool", (_X, boxes), {"pooled_shape": [2, 2]}),
    ]


def _ordered() -> list[Case]:
    axis, tokens = np.asarray(3, np.int64), Tracked((2, 5, 6), (2,))
    return [
        Case("CumSum", (_X, axis)),
        Case("CumSum", (_X, _i(-2)), {"reverse": 1, "exclusive": 1}, opset=11, note="reverse"),
        Case("CumSum", (_X, _i(1)), note="of channels", refused=True),
        Case("TopK", (_X, _i(2)), {"axis": 2}, outputs=2, note="both", whole=True),
        Case("TopK", (_X, _i(2)), {"largest": 0, "sorted": 0}, opset=11, outputs=2, note="least", whole=True),
        Case("TopK", (_X,), {"k": 2}, opset=9, outputs=2, note="opset 9", whole=True),
        Case("TopK", (_X, _i(2)), {"axis": 1}, outputs=2, note="of channels", refused=True),
        Case("ReverseSequence", (tokens, _i(2, 5)), {"batch_axis": 0, "time_axis": 1}, opset=10),
        Case("ReverseSequence", (tokens, Plain((2,), 7)), {"batch_axis": 0, "time_axis": 1}, note="given lengths"),
        Case("ReverseSequence", (_X, _i(1, 2, 3, 4, 5, 1)), note="of channels", refused=True),
        Case("Compress", (_X, np.asarray([True, False, True])), {"axis": 2}),
        Case("Compress", (_X, np.asarray([False, True, True, False, True])), {"axis": -3}, note="channels"),
        Case("Compress", (_X, Plain((6,), TensorProto.BOOL)), {"axis": 1}, note="computed", refused=True),
        Case("Compress", (_X, np.asarray([True, False, True])), note="flat", refused=True),
        Case("Trilu", (_X,), {"upper": 0}),
        Case("Trilu", (tokens,), note="of channels", refused=True),
        Case("CenterCropPad", (_X, _i(3, 7)), {"axes": [2, -1]}),
        Case("CenterCropPad", (_X, _i(2, 6, 3, 3)), note="all axes", refused=True),
        Case("MeanVarianceNormalization", (_X,), {"axes": [0, 2, 3]}, exact=False),
        Case("MeanVarianceNormalization", (_X,), {"axes": [-1]}, opset=9, note="rows", exact=False),
        Case("MeanVarianceNormalization", (_X,), {"axes": [1]}, note="over channels", refused=True),
    ]


def _indexed() -> list[Case]:
    rng = np.random.default_rng(3)
    index = rng.integers(0, 5, (2, 6, 2, 5))
    tokens, slices = Tracked((4, 5, 6), (2,)), np.asarray([[0, 1], [3, 4]], np.int64)
    update, canvas = Tracked((2, 6), (1,)), np.zeros((2, 6, 5, 5), np.float32)
    cache = Tracked((2, 3, 5, 4), (1, 3))
    unlike = rng.permutation(24).reshape(2, 6, 1, 2).astype(np.float32)
    return [
        Case("GatherElements", (_X, index), {"axis": 2}),
        Case("GatherElements", (_X, index[:, :4].copy()), {"axis": 2}, note="some channels", refused=True),
        Case("GatherElements", (_X, index % 3), {"axis": 1}, note="of channels", refused=True),
        Case("ScatterElements", (_X, index[..., :1, :], Tracked((2, 6, 1, 5))), {"axis": 2}, opset=11),
        Case("ScatterElements", (_X, index[..., :1, :2], unlike), {"axis": 2, "reduction": "add"}, note="constant"),
        Case("ScatterElements", (canvas, index[..., :1, :], Tracked((2, 6, 1, 5))), {"axis": 2}, note="canvas"),
        Case("TensorScatter", (cache, Tracked((2, 3, 2, 4), (1, 3)), _i(1, 3)), opset=24, whole=True),
        Case("TensorScatter", (tokens, Tracked((4, 2, 6), (2,))), opset=24, note="from the start"),
        Case("TensorScatter", (tokens, Tracked((4, 2, 6), (2,)), _i(4, 0, 3, 1)), {"axis": 1, "mode": "circular"},
             opset=24, note="circular"),
        Case("TensorScatter", (Plain((2, 3, 5, 4)), Tracked((2, 3, 2, 4), (1, 3))), opset=24, note="unknown cache",
             whole=True),
        Case("TensorScatter", (tokens, Tracked((4, 5, 2), (2,))), {"axis": 2}, opset=24, note="of channels",
             refused=True),
        Case("GatherND", (tokens, slices), opset=11),
        Case("GatherND", (tokens, np.asarray([[0], [1], [2], [3]], np.int64)), {"batch_dims": 1}, note="batch"),
        Case("GatherND", (tokens, np.asarray([[0, 1, 2]], np.int64)), note="of channels", refused=True),
        Case("ScatterND", (tokens, slices, update), opset=11),
        Case("ScatterND", (np.zeros((4, 5, 6), np.float32), slices, update), note="canvas"),
        Case("ScatterND", (tokens, slices, np.arange(12, dtype=np.float32).reshape(2, 6)), {"reduction": "add"},
             note="constant"),
        Case("ScatterND", (Tracked((4, 5, 6), (1,)), slices, update), note="of channels", refused=True),
    ]  # fmt: skip


CASES = (*_sampled(), *_ordered(), *_indexed())
