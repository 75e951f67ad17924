"""GatherBlockQuantized in front of a layer: columns of zeros leave one by one, the table in whole blocks."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from tests.channels.compiled import compiled
from tests.channels.engine import Engine
from upscale_onnx.model.packing import packed, unpacked
from upscale_onnx.types import Array

ROWS, COLUMNS, BLOCK = 9, 56, 16  # the last block has half of its columns
BLOCKS = -(-COLUMNS // BLOCK)
GONE, APART = list(range(BLOCK, 2 * BLOCK)), [3, 40]
# Of each kind: the type of the table, the bits of an integer, and whether there are zero points.
KINDS = {
    "bytes of two": ("uint8", 4, False),
    "bytes of two, points": ("uint8", 4, True),
    "bytes of four": ("uint8", 2, False),
    "bytes": ("uint8", 8, False),
    "bytes, points": ("uint8", 8, True),
    "int4": ("int4", 4, False),
    "uint4, points": ("uint4", 4, True),
}


class Table:
    """Integers, and the constants that hold them."""

    def __init__(self, kind: str, dead: list[int], rows: int = ROWS) -> None:
        rng = np.random.default_rng(0)
        self.dtype, self.bits, points = KINDS[kind]
        low, high = (-8, 8) if self.dtype == "int4" else (0, 1 << self.bits)
        self.steps = rng.integers(low, high, (rows, COLUMNS))
        self.scales = rng.uniform(0.5, 1, (rows, BLOCKS)).astype(np.float32)
        default = 1 << self.bits - 1 if self.dtype == "uint8" else 0
        self.points = rng.integers(1, high, (rows, BLOCKS)) if points else None
        point = np.full((rows, BLOCKS), default) if self.points is None else self.points
        self.steps[:, dead] = np.repeat(point, BLOCK, axis=1)[:, dead]

    def held(self) -> dict[str, Array]:
        """The constants by name."""
        made = {"t": self._stored(self.steps), "s": self.scales}
        return made if self.points is None else {**made, "p": self._stored(self.points)}

    def _stored(self, integers: Array) -> Array:
        if self.dtype == "uint8":
            return packed(integers, self.bits)
        return integers.astype(getattr(ml_dtypes, self.dtype))


def model_of(kind: str, dead: list[int], rows: int = ROWS) -> onnx.ModelProto:
    """The embedding and a layer that reads all of it."""
    table = Table(kind, dead, rows)
    held = {**table.held(), "w": np.random.default_rng(1).normal(size=(COLUMNS, 5)).astype(np.float32)}
    inputs = ["t", "x", "s", *(["p"] if "p" in held else [])]
    attrs = {"bits": table.bits, "block_size": BLOCK, "gather_axis": 0, "quantize_axis": 1}
    nodes = [
        helper.make_node("GatherBlockQuantized", inputs, ["e"], domain="com.microsoft", **attrs),
        helper.make_node("MatMul", ["e", "w"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.INT64, ["N", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3, 5])
    weights = [numpy_helper.from_array(array, name) for name, array in held.items()]
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], weights), opset_imports=opsets, ir_version=10)


def narrowed(model: onnx.ModelProto) -> tuple[dict[str, Array], list[str]]:
    """The constants of the compiled model, which is shown equal, under the names of those that they are cuts of, and
    its operators. One of the indices is beyond the table."""
    small = compiled(model, 1).model
    feed = {"x": np.asarray([[0, 4, 8], [7, 2, 10**6], [3, 3, -1]], np.int64)}
    np.testing.assert_allclose(Engine(small).run(feed)[0], Engine(model).run(feed)[0], rtol=1e-5, atol=1e-5)
    held = {tensor.name.split("_")[0]: numpy_helper.to_array(tensor) for tensor in small.graph.initializer}
    return held, [node.op_type for node in small.graph.node]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dead", [GONE, [*GONE, *APART], APART], ids=["block", "block and columns", "columns"])
def test_columns_of_zeros_leave(kind: str, dead: list[int]) -> None:
    held, operators = narrowed(model_of(kind, dead))
    whole, left = Table(kind, dead), np.setdiff1d(np.arange(COLUMNS), GONE if set(GONE) <= set(dead) else [])
    assert held["w"].shape == (COLUMNS - len(dead), 5)
    steps = held["t"] if whole.dtype != "uint8" else unpacked(held["t"], whole.bits, left.size)
    np.testing.assert_array_equal(steps.astype(int), whole.steps[:, left])
    np.testing.assert_array_equal(held["s"], whole.scales[:, np.unique(left // BLOCK)])
    selects = ["Gather"] if set(dead) & set(APART) else []
    assert operators == ["GatherBlockQuantized", *selects, "MatMul"]


def test_it_is_shown_equal() -> None:
    report = upscale_onnx.compile(model_of("bytes of two, points", [*GONE, *APART]), align=1, race=False).report
    assert report.refusals == ()
    assert report.verification is not None
    assert report.verification.equal


def test_columns_come_in_any_order() -> None:
    model = model_of("bytes of two, points", [*GONE, *APART])
    feed = {"x": np.arange(9).reshape(3, 3)}
    for seed in range(3):
        small = compiled(model, order=np.random.default_rng(seed)).model
        np.testing.assert_allclose(Engine(small).run(feed)[0], Engine(model).run(feed)[0], rtol=1e-5, atol=1e-5)


def test_a_large_table_of_int4_is_cut() -> None:
    held, _ = narrowed(model_of("int4", GONE, rows=2000))
    assert held["t"].shape == (2000, COLUMNS - BLOCK)


def test_a_scale_that_is_no_number_keeps_its_block() -> None:
    model = model_of("bytes", GONE)
    scales = next(tensor for tensor in model.graph.initializer if tensor.name == "s")
    values = numpy_helper.to_array(scales).copy()
    values[5, 1] = np.inf
    scales.CopyFrom(numpy_helper.from_array(values, "s"))
    assert compiled(model, 1).model.graph.initializer[0].dims[1] == COLUMNS
