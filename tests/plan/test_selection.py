"""Demands: what each consumer reads of what its value emits."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.graphs import bias, indices, parse, weight
from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.plan.places import passes_selection
from upscale_onnx.plan.selection import demands, fill_block, partial_demands

FORK = parse(
    """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z, float[1,2] u) {
        a = Conv(x, w1)
        r = Relu(a)
        y = Conv(r, w2)
        z = Conv(r, w3)
        p = GlobalAveragePool(r)
        f = Flatten<axis=1>(p)
        u = Gemm<transB=1>(f, w4, b4)
    }""",
    w1=weight(5, 3, 1, 1),
    w2=weight(2, 5, 1, 1, columns=[1, 4]),
    w3=weight(2, 5, 1, 1, columns=[4]),
    w4=weight(2, 5, columns=[0, 4]),
    b4=bias(1, 2),
)


def analysed(model: onnx.ModelProto) -> Analysis:
    return analyse(import_graph(model), infer_shapes(model))


def test_demands_by_consumer() -> None:
    analysis = analysed(FORK)
    found = {analysis.steps[item.step].op.name: item for item in demands(analysis)}
    assert set(found) == {"a", "y", "z", "u"}
    assert {name: item.positions.tolist() for name, item in found.items()} == {
        "a": [0, 1, 2],
        "y": [0, 2, 3],
        "z": [0, 1, 2, 3],
        "u": [1, 2, 3],
    }
    assert found["y"].present.tolist() == found["u"].present.tolist() == [0, 1, 2, 3]
    assert [found[name].axis for name in ("y", "u")] == [1, 1]


def test_partial_demands_are_those_of_which_something_is_left_over() -> None:
    analysis = analysed(FORK)
    assert [analysis.steps[item.step].op.name for item in partial_demands(analysis)] == ["y", "u"]


def test_groups_are_handed_everything() -> None:
    model = parse(
        """(float[1,3,4,4] x) => (float[1,4,4,4] y, float[1,2,4,4] z) {
            a = Conv(x, w1)
            y = Conv<group=2>(a, w2)
            z = Conv(a, w3)
        }""",
        w1=weight(4, 3, 1, 1),
        w2=weight(4, 2, 1, 1, columns=[0]),
        w3=weight(2, 4, 1, 1),
    )
    analysis = analysed(model)
    assert "y" not in [analysis.steps[item.step].op.name for item in demands(analysis)]


@pytest.mark.parametrize(
    ("positions", "align", "expected"),
    [
        ([1, 4], 1, [1, 4]),
        ([1, 4], 2, [1, 4]),
        ([1, 4, 6], 2, [0, 1, 4, 6]),
        ([1, 4, 6], 4, [0, 1, 4, 6]),
        ([1], 4, [0, 1, 3, 4]),
        ([1], 16, [0, 1, 3, 4, 6]),
    ],
)
def test_blocks_are_filled_by_what_is_there(positions: list[int], align: int, expected: list[int]) -> None:
    present = np.asarray([0, 1, 3, 4, 6])
    assert fill_block(np.asarray(positions), present, align).tolist() == expected


def test_a_selection_passes_what_keeps_channels_apart() -> None:
    model = parse(
        """(float[1,4,4,4] x) => (float[1,4,4,4] a, float[1,4,4,4] b, float[1,4,4,4] c, float[1,4,4,4] d) {
            v = Conv(x, w1)
            a = Relu(v)
            b = Mul(v, scale)
            c = Add(v, a)
            d = Softmax<axis=1>(v)
            e = Gather<axis=1>(v, p)
        }""",
        w1=weight(4, 4, 1, 1),
        scale=weight(1, 4, 1, 1),
        p=indices(1, 0),
    )
    analysis = analysed(model)
    found = {step.op.name: passes_selection(step, 1) for step in analysis.steps}
    assert found == {"v": False, "a": True, "b": True, "c": False, "d": False, "e": False}
    assert not passes_selection(next(step for step in analysis.steps if step.op.name == "a"), 2)
