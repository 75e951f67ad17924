"""Dead dimensions of embeddings leave the table and all that reads it."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from upscale_onnx.types import Array

ENTRIES, WIDTH, OUT = 20, 12, 5
DEAD = [1, 3, 4, 8, 9]


def drawn(*shape: int, dead: int | None = None) -> Array:
    values: Array = np.random.default_rng(shape).normal(size=shape).astype(np.float32)
    if dead is not None:
        values[(slice(None),) * dead + (DEAD,)] = 0
    return values


FORMS: dict[str, tuple[list[tuple[str, str, str, dict[str, object]]], dict[str, Array], int]] = {
    "read by weights": (
        [("MatMul", "e w", "y", {})], {"table": drawn(ENTRIES, WIDTH), "w": drawn(WIDTH, OUT, dead=0)}, OUT,
    ),
    "zeros in the table": (
        [("MatMul", "e w", "y", {})], {"table": drawn(ENTRIES, WIDTH, dead=1), "w": drawn(WIDTH, OUT)}, OUT,
    ),
    "a residual stream without norms": (
        [("MatMul", "e up", "a", {}), ("Relu", "a", "b", {}), ("MatMul", "b down", "c", {}), ("Add", "e c", "z", {}),
         ("MatMul", "z w", "y", {})],
        {"table": drawn(ENTRIES, WIDTH), "w": drawn(WIDTH, OUT, dead=0), "up": drawn(WIDTH, 6, dead=0),
         "down": drawn(6, WIDTH, dead=1)},
        OUT + 6 + 6,
    ),
    "turned for a convolution": (
        [("Transpose", "e", "t", {"perm": [0, 2, 1]}), ("Conv", "t w", "y", {})],
        {"table": drawn(ENTRIES, WIDTH), "w": drawn(OUT, WIDTH, 3, dead=1)}, 3 * OUT,
    ),
}  # fmt: skip


# How rows of the table are read, the shape of the input that says which, and the shape of the table.
READS: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]] = {
    "Gather": ("table ids", (1, 7), (ENTRIES, WIDTH)),
    "GatherND": ("table ids", (1, 7, 1), (ENTRIES, WIDTH)),
    "Slice": ("table ids stop along", (1,), (1, ENTRIES, WIDTH)),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("form", FORMS)
def test_dead_dimensions_leave(form: str, read: str) -> None:
    nodes, constants, readers = FORMS[form]
    inputs, given, shape = READS[read]
    constants = constants | {"table": constants["table"].reshape(shape)}
    bounds = {"stop": np.asarray([ENTRIES]), "along": np.asarray([1])} if read == "Slice" else {}
    graph = helper.make_graph(
        [helper.make_node(read, inputs.split(), ["e"])]
        + [helper.make_node(op, names.split(), [made], **attrs) for op, names, made, attrs in nodes],
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, given)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in (constants | bounds).items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    result = upscale_onnx.compile(model, export="gather", align=1, race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    gone = result.report.before.parameters - result.report.after.parameters
    assert gone == len(DEAD) * (ENTRIES + readers)


def test_single_elements_of_a_table_are_left_alone() -> None:
    """Indices of GatherND that name all axes of the table read elements, of which none is a channel."""
    graph = helper.make_graph(
        [helper.make_node("GatherND", ["table", "ids"], ["e"]), helper.make_node("MatMul", ["e", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [3, 7, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(drawn(ENTRIES, 7, dead=None), "table"), numpy_helper.from_array(drawn(7, OUT), "w")],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    report = upscale_onnx.compile(model, export="gather", align=1, race=False).report
    assert report.after.parameters == report.before.parameters
    assert "GatherND" in {refusal.op_type for refusal in report.refusals}
