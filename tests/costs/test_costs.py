"""The presets: arithmetic of whole blocks and of groups, and bytes that selections move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.graphs import bias, parse, weight
from upscale_onnx.channels.analysis import analyse
from upscale_onnx.channels.op import Op
from upscale_onnx.costs.costs import PresetCosts, itemsize
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.plan.planner import plan_selections
from upscale_onnx.types import Array

COSTS = PresetCosts(align=8, launch_ms=0.0)
CONVOLUTIONS: dict[str, tuple[str, Array, float]] = {
    # Multiply-accumulates per pixel of a 5 by 5 map.
    "dense": ("Conv", weight(32, 16, 1, 1), 32 * 16),
    "four groups": ("Conv<group=4>", weight(32, 4, 1, 1), 32 * 4),
    "depthwise": ("Conv<group=16>", weight(32, 1, 1, 1), 32 * 1),
    "four groups, transposed": ("ConvTranspose<group=4>", weight(16, 8, 1, 1), 32 * 4),
}


def convolution(kind: str) -> Op:
    node, values, _ = CONVOLUTIONS[kind]
    text = f"(float[1,16,5,5] x) => (float[1,32,5,5] y) {{ y = {node}(x, w) }}"
    model = parse(text, w=values)
    return analyse(import_graph(model), infer_shapes(model)).steps[0].op


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_groups_read_their_own_channels_only(kind: str) -> None:
    macs = CONVOLUTIONS[kind][2] * 25
    assert COSTS.contraction_ms(convolution(kind), 16, 32) == pytest.approx(macs / COSTS.macs_per_ms)


def test_a_dynamic_first_axis_counts_as_the_batch() -> None:
    text = "(float[N,16,5,5] x) => (float[N,32,5,5] y) { y = Conv(x, w) }"
    model = parse(text, w=weight(32, 16, 1, 1))
    op = analyse(import_graph(model), infer_shapes(model)).steps[0].op
    eight = replace(COSTS, batch=8)
    dims = ("N", 32, 8, 8)
    for once, often in (
        (COSTS.contraction_ms(op, 16, 32), eight.contraction_ms(op, 16, 32)),
        (COSTS.selection_ms(dims, 1, 16, False), eight.selection_ms(dims, 1, 16, False)),
        (COSTS.join_ms(dims, 1, 16), eight.join_ms(dims, 1, 16)),
    ):
        assert often == pytest.approx(8 * once)
    assert eight.selection_ms((1, 32, 8, 8), 1, 16, False) == COSTS.selection_ms((1, 32, 8, 8), 1, 16, False)


def test_fewer_groups_cost_less() -> None:
    op = convolution("four groups")
    assert COSTS.contraction_ms(op, 8, 16) == pytest.approx(COSTS.contraction_ms(op, 16, 32) / 2)


def test_selections_cost_by_the_byte() -> None:
    full, half = (COSTS.selection_ms((1, 32, 8, 8), 1, 16, False, size) for size in (4, 2))
    assert half == pytest.approx(full / 2)
    assert COSTS.selection_ms((1, 32, 8, 8), 1, 16, False) == full


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT8])
def test_an_element_has_the_bytes_that_numpy_says(dtype: int) -> None:
    assert itemsize(dtype) == helper.tensor_dtype_to_np_dtype(dtype).itemsize


def test_types_that_are_not_known_count_as_float32() -> None:
    assert itemsize(TensorProto.UNDEFINED) == itemsize(12345) == 4


def test_plans_know_that_half_precision_moves_half_the_bytes() -> None:
    saved = {}
    for kind in ("float", "float16"):
        dtype = np.float32 if kind == "float" else np.float16
        model = parse(
            f"""({kind}[1,3,64,64] x) => ({kind}[1,8,64,64] y, {kind}[1,8,64,64] z) {{
                a = Conv(x, w1, b1)
                y = Conv(a, w2)
                z = Conv(a, w3)
            }}""",
            w1=weight(64, 3, 1, 1).astype(dtype),
            b1=bias(*range(64)).astype(dtype),
            w2=weight(8, 64, 1, 1, columns=range(32)).astype(dtype),
            w3=weight(8, 64, 1, 1, columns=range(32, 64)).astype(dtype),
        )
        shapes = infer_shapes(model)
        (plan,) = plan_selections(analyse(import_graph(model), shapes), shapes, PresetCosts(8, layouts=0.001))
        saved[kind] = plan.saved_ms
    assert saved["float16"] > saved["float"] > 0


class _Decoding(Sequence[Array | None]):
    """The inputs of a node, with a count of how often a weight was asked for."""

    def __init__(self, *held: Array | None) -> None:
        self.held, self.asked = held, 0

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, index: Any) -> Any:
        self.asked += 1
        return self.held[index]


def test_no_weight_is_decoded_for_a_time() -> None:
    constants = _Decoding(None, weight(32, 16, 1, 1))
    op = replace(convolution("dense"), constants=constants)
    times = {COSTS.contraction_ms(op, 16, outputs) for outputs in (8, 16, 24, 32)}
    assert len(times) == 4
    assert not constants.asked
