"""Nothing is computed of constants, and no map is made, whose size a small file asks for without paying for it."""

from __future__ import annotations

import sys
import tracemalloc
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.channels.channel_map import ChannelMap
from upscale_onnx.channels.constants import find_constants
from upscale_onnx.channels.evaluate import evaluate
from upscale_onnx.channels.flow import Flow
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.room import Room, check_pattern_room, check_room
from upscale_onnx.errors import Reason
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.model.folding_budget import FoldingBudget, most_elements

MEGABYTE = 2**20
Attrs = dict[str, Any]
ints = np.array


def zeros(*shape: int) -> np.ndarray[Any, Any]:
    return np.zeros(shape, np.float32)


# Operator, attributes, inputs; the bound must hold for each that can be evaluated.
SMALL: list[tuple[str, Attrs, list[Any]]] = [
    ("Concat", {"axis": 0}, [zeros(3, 2), zeros(5, 2)]),
    ("Gather", {"axis": 1}, [zeros(3, 2), ints([0, 1, 0, 1, 1])]),
    ("GatherND", {}, [zeros(3, 2), ints([[0], [1], [2], [0]])]),
    ("Pad", {}, [zeros(3, 2), ints([1, 0, 0, 4])]),
    ("Pad", {"mode": "edge"}, [zeros(3, 2), ints([5, 2]), None, ints([1])]),
    ("OneHot", {}, [ints([1, 2, 0]), np.int64(7), ints([0, 1])]),
    ("EyeLike", {"dtype": TensorProto.DOUBLE}, [zeros(3, 4)]),
    ("Compress", {"axis": 1}, [zeros(3, 2), np.array([True, False])]),
    ("GatherElements", {"axis": 0}, [zeros(3, 2), np.zeros((9, 2), np.int64)]),
    ("ScatterElements", {"axis": 0}, [zeros(3, 2), np.zeros((1, 2), np.int64), zeros(1, 2)]),
    ("DepthToSpace", {"blocksize": 2}, [zeros(1, 8, 2, 2)]),
    ("SpaceToDepth", {"blocksize": 2}, [zeros(1, 2, 4, 4)]),
    ("LogSoftmax", {}, [zeros(3, 2)]),
    ("ReduceLogSum", {}, [zeros(3, 2) + 1, ints([1])]),
    ("Expand", {}, [zeros(3, 1), ints([2, 3, 4])]),
    ("Tile", {}, [zeros(3, 2), ints([2, 5])]),
    ("ConstantOfShape", {}, [ints([3, 7])]),
    ("Range", {}, [np.int64(3), np.int64(-20), np.int64(-2)]),
    ("Range", {}, [np.float32(0), np.float32(1), np.float32(0.1)]),
    ("Add", {}, [zeros(3, 1), zeros(1, 7)]),
    ("Where", {}, [np.zeros((3, 1, 1), bool), zeros(1, 4, 1), zeros(5)]),
    ("Clip", {}, [zeros(3, 4), np.float32(0), np.float32(1)]),
    ("MatMul", {}, [zeros(2, 3, 4), zeros(4, 9)]),
    ("Einsum", {"equation": "bij,jk->bik"}, [zeros(2, 3, 4), zeros(4, 9)]),
    ("Einsum", {"equation": "i,j"}, [zeros(7), zeros(9)]),
    ("Dropout", {}, [zeros(7, 2)]),
    ("CastLike", {}, [zeros(7, 2), ints([1])]),
    ("Shrink", {}, [zeros(7, 2)]),
    ("Erf", {}, [zeros(7, 2)]),
    ("LpNormalization", {"axis": 0}, [zeros(7, 2) + 1]),
    ("MatMul", {}, [zeros(5, 1, 3, 4), zeros(7, 4, 9)]),
    ("Gemm", {}, [zeros(3, 4), zeros(4, 9), zeros(9)]),
    ("Conv", {"pads": [1, 2, 3, 4], "strides": [2, 1]}, [zeros(2, 3, 8, 8), zeros(5, 3, 3, 3)]),
    ("Conv", {"dilations": [2, 3]}, [zeros(1, 3, 9, 9), zeros(5, 3, 3, 3)]),
    ("Conv", {"auto_pad": "SAME_UPPER"}, [zeros(1, 3, 9, 9), zeros(5, 3, 3, 3)]),
    ("BatchNormalization", {}, [zeros(1, 3, 4), *[np.ones(3, np.float32)] * 4]),
    ("Split", {"axis": 0, "num_outputs": 2}, [zeros(4, 2)]),
    ("ReduceSum", {}, [zeros(4, 2), ints([1])]),
    ("CumSum", {}, [zeros(4, 2), np.int64(1)]),
]


@pytest.mark.parametrize(("op_type", "attrs", "inputs"), SMALL, ids=[case[0] for case in SMALL])
def test_a_bound_holds_and_is_asked_for(op_type: str, attrs: Attrs, inputs: list[Any]) -> None:
    arrays = [np.asarray(value) for value in inputs]
    results = evaluate(op_type, 18, attrs, arrays, 2 if op_type == "Split" else 1)
    assert results is not None
    bound = most_elements(op_type, attrs, arrays[0], arrays, arrays)
    assert sum(result.size for result in results) <= bound < 100_000
    assert FoldingBudget(0).allows(op_type, attrs, arrays)


LARGE: list[tuple[str, Attrs, list[Any]]] = [
    ("Expand", {}, [zeros(1), ints([2**40])]),
    ("Tile", {}, [zeros(2**11), ints([2**12])]),
    ("ConstantOfShape", {}, [ints([2**20, 2**20])]),
    ("Range", {}, [np.int64(0), np.int64(2**40), np.int64(1)]),
    ("Range", {}, [np.float32(0), np.float32(1), np.float32(1e-12)]),
    ("Add", {}, [zeros(2**13, 1), zeros(1, 2**13)]),
    ("Clip", {}, [zeros(2**13, 1), zeros(1, 2**13)]),
    ("MatMul", {}, [zeros(2**13, 1), zeros(1, 2**13)]),
    ("MatMul", {}, [zeros(2**12, 1, 1, 1), zeros(2**12, 1, 1)]),
    ("Gemm", {}, [zeros(2**13, 1), zeros(1, 1), zeros(2**13, 2**13)[:1]]),
    ("Gather", {"axis": 0}, [zeros(1, 2**14), np.zeros(2**14, np.int64)]),
    ("GatherND", {}, [zeros(1, 2**14), np.zeros((2**14, 1), np.int64)]),
    ("Conv", {"pads": [2**30, 0]}, [zeros(1, 1, 1), zeros(1, 1, 1)]),
    ("Conv", {"dilations": [2**40]}, [zeros(1, 1, 4), zeros(1, 1, 2)]),
    ("Conv", {}, [zeros(1, 1, 2**13), zeros(1, 1, 2**12)]),
    ("BatchNormalization", {}, [zeros(1, 1, 2**13), *[zeros(2**13)] * 4]),
]


@pytest.mark.parametrize(("op_type", "attrs", "inputs"), LARGE, ids=[case[0] for case in LARGE])
def test_what_would_be_large_is_not_computed(op_type: str, attrs: Attrs, inputs: list[Any]) -> None:
    assert not FoldingBudget(0).allows(op_type, attrs, [np.asarray(value) for value in inputs])


def test_all_results_together_are_bounded_by_what_the_model_holds() -> None:
    value = np.zeros(4 * MEGABYTE, np.float32)
    small, large = FoldingBudget(0), FoldingBudget(100 * value.nbytes)
    for budget, most in ((small, 20), (large, 400)):
        count = 0
        while count < most and budget.allows("Cast", {"to": 1}, [value]):
            budget.take([value.copy()], [value])
            count += 1
        assert count == {20: 8, 400: 308}[most]
    view = FoldingBudget(0)
    for _ in range(1000):
        assert view.allows("Transpose", {}, [value])
        view.take([value.T], [value])


def constant_bomb() -> onnx.ModelProto:
    """A weight doubled until it has 64 MB, then cast a hundred times."""
    nodes = [helper.make_node("Concat", [f"k{i}", f"k{i}"], [f"k{i + 1}"], axis=0) for i in range(20)]
    nodes += [helper.make_node("Cast", ["k20"], [f"c{i}"], to=TensorProto.DOUBLE) for i in range(100)]
    nodes += [helper.make_node("Relu", ["x"], ["y"])]
    return model_of(nodes, numpy_helper.from_array(np.ones((4, 4), np.float32), "k0"))


def model_of(nodes: list[onnx.NodeProto], *weights: TensorProto, shape: tuple[int, ...] = (1, 4)) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [onnx.ValueInfoProto(name="y")],
        weights,
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def test_a_bomb_of_constants_takes_a_bounded_amount() -> None:
    model = constant_bomb()
    shapes = {name: shape.dims for name, shape in infer_shapes(model).items()}
    tracemalloc.start()
    found = find_constants(import_graph(model), shapes, 17)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "k18" in found
    assert "c99" not in found
    assert peak < 300 * MEGABYTE


def _pad() -> onnx.ModelProto:
    amounts = numpy_helper.from_array(np.array([0, 2**40, 0, 0]), "n")
    return model_of([_linear(), helper.make_node("Pad", ["a", "n"], ["y"])], amounts, _weight(4, 4))


def _tile() -> onnx.ModelProto:
    counts = numpy_helper.from_array(np.array([1, 2**40]), "n")
    return model_of([_linear(), helper.make_node("Tile", ["a", "n"], ["y"])], counts, _weight(4, 4))


def _product_of_two_axes() -> onnx.ModelProto:
    nodes = [
        _linear(),
        helper.make_node("Transpose", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Add", ["a", "c"], ["y"]),
    ]
    return model_of(nodes, _weight(1, 2**14), shape=(1, 1))


def _flatten() -> onnx.ModelProto:
    nodes = [_linear(), helper.make_node("Flatten", ["a"], ["y"], axis=0)]
    return model_of(nodes, _weight(4, 64), shape=(2**36, 4))


def _linear() -> onnx.NodeProto:
    return helper.make_node("MatMul", ["x", "w"], ["a"])


def _weight(*shape: int) -> TensorProto:
    return numpy_helper.from_array(np.ones(shape, np.float32), "w")


@pytest.mark.parametrize("make", [_pad, _tile, _flatten])
def test_maps_without_room_become_barriers(make: Any) -> None:
    found, peak = _analysed(make())
    assert Reason.TOO_LARGE in {refusal.reason for refusal in found.refusals}
    assert peak < 64 * MEGABYTE


def test_a_product_of_two_axes_takes_the_room_of_one() -> None:
    found, peak = _analysed(_product_of_two_axes())
    assert not found.refusals
    assert found.maps["y"].labels.size == 2**14
    assert peak < 64 * MEGABYTE


def _analysed(model: onnx.ModelProto) -> tuple[Analysis, int]:
    """The analysis of `model`, and the most bytes that it took."""
    shapes = infer_shapes(model)
    tracemalloc.start()
    found = analyse(import_graph(model), shapes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found, peak


def test_room_of_one_map_and_of_all() -> None:
    check_room(2**11, 2**11)
    check_pattern_room(2**13, 2**13)
    for refused in (lambda: check_room(2**11, 2**11 + 1), lambda: check_pattern_room(2**13, 2**13 + 1)):
        with pytest.raises(Refused) as caught:
            refused()
        assert caught.value.reason is Reason.TOO_LARGE
    room, flow = Room(0), Flow((ChannelMap(np.zeros(2**20, np.int64), np.zeros(2**20)), None))
    for _ in range(16):
        room.take(flow)
    with pytest.raises(Refused, match="all values together"):
        room.take(flow)
    Room(sys.maxsize).take(flow)
