"""The layouts of weights, against onnxruntime: which channel of a result reads which channel of a value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.channels.engine import Engine
from upscale_onnx.model.contractions import weight_layout
from upscale_onnx.model.sizes import elements_of, size_of, sizes_of
from upscale_onnx.types import Array

# Operator, attributes, shapes of weight and value, operand of the weight; channels that are read and created.
FORMS: tuple[tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...], int, tuple[int, int]], ...] = (
    ("Conv", {}, (6, 4, 3, 3), (1, 4, 5, 5), 1, (4, 6)),
    ("Conv", {"group": 2}, (6, 4, 3), (1, 8, 5), 1, (8, 6)),
    ("Conv", {"group": 4}, (8, 1, 1, 1, 1), (1, 4, 2, 2, 2), 1, (4, 8)),
    ("ConvTranspose", {}, (4, 6, 2, 2), (1, 4, 3, 3), 1, (4, 6)),
    ("ConvTranspose", {"group": 2}, (4, 3, 2, 2), (1, 4, 3, 3), 1, (4, 6)),
    ("Gemm", {}, (4, 6), (3, 4), 1, (4, 6)),
    ("Gemm", {"transB": 1}, (6, 4), (3, 4), 1, (4, 6)),
    ("Gemm", {"transA": 1}, (4, 6), (4, 3), 1, (4, 6)),
    ("Gemm", {"transA": 1, "transB": 1}, (6, 4), (4, 3), 1, (4, 6)),
    ("Gemm", {}, (6, 4), (4, 3), 0, (4, 6)),
    ("Gemm", {"transA": 1}, (4, 6), (4, 3), 0, (4, 6)),
    ("Gemm", {"transB": 1}, (6, 4), (3, 4), 0, (4, 6)),
    ("MatMul", {}, (4, 6), (2, 3, 4), 1, (4, 6)),
    ("MatMul", {}, (6, 4), (2, 4, 3), 0, (4, 6)),
)


def result(op: str, attrs: dict[str, Any], weight: Array, value: Array, operand: int) -> Array:
    names = ["x", "w"] if operand == 1 else ["w", "x"]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attrs)],
        "one",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * given.ndim)
            for name, given in zip(names, (value, weight) if operand == 1 else (weight, value), strict=True)
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return Engine(model).run({"x": value, "w": weight})[0]


@pytest.mark.parametrize(("op", "attrs", "shape", "read", "operand", "counts"), FORMS)
def test_a_weight_joins_the_channels_that_its_layout_says(
    op: str, attrs: dict[str, Any], shape: tuple[int, ...], read: tuple[int, ...], operand: int, counts: tuple[int, int]
) -> None:
    layout = weight_layout(op, attrs, len(shape), operand)
    assert layout is not None
    assert layout.counts(shape) == counts
    per_in, per_out = layout.per_group(shape)
    assert (per_in * layout.group, per_out * layout.group) == counts
    weight = np.arange(1.0, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
    canonical = layout.canonical(weight)
    assert canonical.shape == (counts[1], per_in, *shape[2:])
    np.testing.assert_array_equal(layout.stored(canonical), weight)
    for created in range(counts[1]):
        for place in range(per_in):
            single = np.zeros_like(canonical)
            single[created, place] = 1.0
            hit = np.zeros(read, np.float32)
            hit.swapaxes(0, layout.read_axis)[created // per_out * per_in + place] = 1.0
            made = result(op, attrs, layout.stored(single), hit, operand)
            others = tuple(axis for axis in range(made.ndim) if axis != layout.made_axis % made.ndim)
            assert np.flatnonzero(made.any(axis=others)).tolist() == [created]
            assert not result(op, attrs, layout.stored(single), 1 - hit, operand).any()


@pytest.mark.parametrize(
    ("op", "rank", "operand"), [("Conv", 2, 1), ("Conv", 4, 0), ("Gemm", 3, 1), ("MatMul", 1, 1), ("Add", 2, 1)]
)
def test_what_is_no_weight_has_no_layout(op: str, rank: int, operand: int) -> None:
    assert weight_layout(op, {}, rank, operand) is None


def test_sizes_that_are_open() -> None:
    assert [size_of(dim, 7) for dim in (3, "n", None, 0)] == [3, 7, 7, 7]
    assert sizes_of(("n", 3, None), batch=4) == (4, 3, 1)
    assert (elements_of(("n", 3, None), 4), elements_of(())) == (12, 1)
