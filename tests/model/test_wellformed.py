"""Models that contradict themselves or lie: refused in one line, or compiled by what is true of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper

from upscale_onnx import compile
from upscale_onnx.errors import ModelError
from upscale_onnx.model import infer_shapes
from upscale_onnx.model.protos import overridable
from upscale_onnx.model.wellformed import check_wellformed
from upscale_onnx.runtime.sessions import make_session, run

RNG = np.random.default_rng(0)


def two_convs(*, ir_version: int = 10) -> ModelProto:
    """x → Conv w → Relu → Conv w2 → y; the first four of eight channels between them are dead."""
    w = RNG.normal(size=(8, 3, 1, 1)).astype(np.float32)
    w[:4] = 0
    w2 = RNG.normal(size=(4, 8, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], name="first", kernel_shape=[1, 1]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Conv", ["r", "w2"], ["y"], name="second"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
        [numpy_helper.from_array(w, "w"), numpy_helper.from_array(w2, "w2")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=ir_version)


def _name_is_bytes(model: ModelProto) -> ModelProto:
    return ModelProto.FromString(model.SerializeToString().replace(b"first", b"fi\xb4st"))


def _attribute_of_no_function(model: ModelProto) -> ModelProto:
    model.graph.node[0].attribute[0].ref_attr_name = "outer"
    return model


def _segment(model: ModelProto) -> ModelProto:
    model.graph.initializer[0].segment.begin = 0
    return model


def _many_dimensions(model: ModelProto) -> ModelProto:
    model.graph.initializer[0].dims.extend([1] * 80)
    return model


def _many_axes(model: ModelProto) -> ModelProto:
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1] * 80))
    return model


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_name_is_bytes, "not UTF-8"),
        (_attribute_of_no_function, "of a function"),
        (_segment, "segments"),
        (_many_dimensions, "84 dimensions"),
        (_many_axes, "80 dimensions"),
    ],
)
def test_a_malformed_model_is_refused_in_one_line(spoil: Callable[[ModelProto], ModelProto], complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint) as refused:
        check_wellformed(spoil(two_convs()), "it")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("dims", [[1, 9, 8, 8], [4, -(2**31), 8, 12], [1, 8], [0, 0, 0, 0]])
@pytest.mark.parametrize("value", ["h", "r"])
def test_what_a_model_says_wrongly_of_its_values_does_not_count(value: str, dims: list[int]) -> None:
    model = two_convs()
    model.graph.value_info.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, dims))
    assert infer_shapes(model)[value].dims == (1, 8, 8, 8)
    for export in ("keep", "gather", "planned"):
        compiled = compile(model, export=export, align=1, race=False)
        assert compiled.report.after.parameters == compiled.report.before.parameters // 2


def test_an_input_that_leaves_the_graph_again_has_its_own_shape() -> None:
    model = two_convs()
    model.graph.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 5, 6]))
    shapes = infer_shapes(model)
    assert shapes["x"].dims == (1, 3, 8, 8)
    assert shapes["h"].dims == (1, 8, 8, 8), "what is computed of it goes by its own shape too"


def test_what_only_the_model_says_counts() -> None:
    nodes = [helper.make_node("Odd", ["x"], ["c"], domain="own"), helper.make_node("Relu", ["c"], ["y"])]
    dims = ["n", 8, 4, 4]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, dims)],
        value_info=[helper.make_tensor_value_info("c", TensorProto.FLOAT, dims)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)])
    shapes = infer_shapes(model)
    assert shapes["c"].dims == shapes["y"].dims == ("n", 8, 4, 4)


def looped() -> ModelProto:
    """As `two_convs`; a loop has a value of its own that is called like one which is made behind it."""
    model = two_convs()
    inner = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["more"]), helper.make_node("Relu", ["h"], ["r"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("more", TensorProto.BOOL, []), onnx.ValueInfoProto(name="r")],
    )
    inner.output[1].CopyFrom(helper.make_tensor_value_info("r", TensorProto.FLOAT, [1, 8, 8, 8]))
    loop = helper.make_node("Loop", ["trips", ""], ["all"], body=inner)
    last = helper.make_node("ReduceMax", ["all"], ["r"], axes=[0], keepdims=0)
    nodes = [model.graph.node[0], loop, last, model.graph.node[2]]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    model.graph.initializer.append(numpy_helper.from_array(np.int64(2), "trips"))
    return model


@pytest.mark.parametrize("export", ["keep", "gather", "planned", "upscale"])
def test_a_name_inside_a_subgraph_may_hide_one_outside(export: str) -> None:
    model = looped()
    x = {"x": RNG.normal(size=(1, 3, 8, 8)).astype(np.float32)}
    expected = run(make_session(model), x)[0]
    compiled = compile(model, export=export, align=1, race=False).model
    np.testing.assert_allclose(run(make_session(compiled), x)[0], expected, rtol=1e-5, atol=1e-5)
    body = next(node for node in compiled.graph.node if node.op_type == "Loop").attribute[0]
    assert body.type == AttributeProto.GRAPH
    assert len(body.g.node) == 2
    assert not {name for node in body.g.node for name in node.output} & {
        name for n in model.graph.node for name in n.output
    }


def test_the_default_of_an_input_is_not_taken_for_a_weight() -> None:
    model = two_convs()
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [8, 3, 1, 1]))
    assert overridable(model) == {"w"}
    compiled = compile(model, export="gather", align=1, race=False).model
    assert [value.name for value in compiled.graph.input] == ["x", "w"]
    fed = {"x": RNG.normal(size=(1, 3, 8, 8)).astype(np.float32), "w": RNG.normal(size=(8, 3, 1, 1)).astype(np.float32)}
    expected, found = (run(make_session(m), fed)[0] for m in (model, compiled))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_weights_that_are_all_listed_as_inputs_are_weights() -> None:
    old, new = two_convs(ir_version=3), two_convs()
    for model in (old, new):
        for tensor in model.graph.initializer:
            model.graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims))
        assert not overridable(model)
        assert compile(model, export="gather", align=1, race=False).report.after.parameters == 28


def test_bytes_in_an_attribute_of_another_domain_stay_as_they_are() -> None:
    model = two_convs()
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.append(helper.make_node("Odd", ["y"], ["z"], domain="own", blob=b"\xff\xfe", size=3))
    model.graph.output[0].name = "z"
    compiled = compile(model, export="gather", align=1, race=False, verify=False)
    assert compiled.report.after.parameters == 28
    kept = {
        attribute.name: helper.get_attribute_value(attribute) for attribute in compiled.model.graph.node[-1].attribute
    }
    assert kept == {"blob": b"\xff\xfe", "size": 3}
