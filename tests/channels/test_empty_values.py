"""Values without elements, and sizes that shape inference gets wrong: left alone with a reason, never a crash."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from tests.graphs import check, indices, parse, weight
from upscale_onnx.errors import Reason
from upscale_onnx.export.export import make
from upscale_onnx.export.recipes import recipes
from upscale_onnx.model import infer_shapes

EMPTY = {
    "a part of a Split": parse(
        """(float[n,2,4] x) => (float[n,2,3] y) {
            h = MatMul(x, w)
            a, b = Split<axis=-1>(h, sizes)
            r = Relu(a)
            c = Concat<axis=-1>(r, b)
            y = MatMul(c, v)
        }""",
        w=weight(4, 8, columns=[0, 1]),
        v=weight(8, 3, rows=[5]),
        sizes=indices(8, 0),
    ),
    "an output": parse(
        """(float[n,4] x) => (float[n,0] y, float[n,6] z) {
            h = MatMul(x, w)
            y = Slice(h, end, end, one)
            z = Relu(h)
        }""",
        w=weight(4, 6, columns=[0]),
        end=indices(1000),
        one=indices(1),
    ),
    "a Gather of nothing": parse(
        """(float[n,4] x) => (float[n,3] y) {
            h = MatMul(x, w)
            e = Gather<axis=1>(h, none)
            c = Concat<axis=1>(h, e)
            y = MatMul(c, v)
        }""",
        w=weight(4, 6, columns=[0]),
        v=weight(6, 3, rows=[1]),
        none=np.zeros(0, np.int64),
    ),
}


@pytest.mark.parametrize("name", sorted(recipes(1)))
@pytest.mark.parametrize("case", EMPTY)
def test_empty_values_are_no_obstacle(case: str, name: str) -> None:
    after = make(recipes(1)[name], EMPTY[case], infer_shapes(EMPTY[case]))
    check(EMPTY[case], after)
    assert [value.name for value in after.graph.output] == [value.name for value in EMPTY[case].graph.output]


def stft() -> onnx.ModelProto:
    """Of a real signal, onnx infers as many frequencies as samples; half of them and one are there."""
    weights = {"w": weight(16, 64, columns=[3]), "step": np.int64(4), "length": np.int64(16),
               "v": weight(9, 3, rows=[0, 8])}  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "before"),
        helper.make_node("Unsqueeze", ["h", "last"], ["u"]),
        helper.make_node("STFT", ["u", "step", "", "length"], ["s"], "stft"),
        helper.make_node("Transpose", ["s"], ["t"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["t", "v"], ["y"], "after"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in {**weights, "last": indices(2)}.items()],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


@pytest.mark.parametrize("export", ["keep", "planned", "upscale", "gather"])
def test_a_size_inferred_wrongly_is_a_reason_to_leave_a_node_alone(export: str) -> None:
    result = upscale_onnx.compile(stft(), export=export, align=1, race=False)
    refused = {refusal.node: refusal for refusal in result.report.refusals}
    assert refused["after"].reason is Reason.UNSUPPORTED_FORM
    assert "inferred" in refused["after"].detail
    stored = {tensor.name: tuple(tensor.dims) for tensor in result.model.graph.initializer}
    assert stored["v"] == (9, 3)
