from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.errors import InternalError
from upscale_onnx.model import cleanup, export_graph, import_graph, load_model

RICH = """
<
  ir_version: 10,
  opset_import: ["" : 21, "com.example" : 3, "local" : 1],
  producer_name: "maker", producer_version: "1.2", domain: "example.org", model_version: 7,
  doc_string: "about the model",
  metadata_props: ["author" : "someone"]
>
main (float[n, 4, 8, 8] x, bool flag, float[4, 4, 1, 1] listed) => (float[n, 4, 8, 8] y, float z)
<float[4, 4, 1, 1] listed = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}, float[4] bias = {1,2,3,4}, float captured = {5},
 float[n, 4, 8, 8] c>
{
    c = Conv (x, listed, bias)
    d = com.example.Mystery <level = 3, names = ["a", "b"], none: ints = []> (c, , bias)
    e = local.twice (d)
    [named] y = If (flag) <
        then_branch = then () => (float[n, 4, 8, 8] t) { t = Add (e, captured) },
        else_branch = otherwise () => (float[n, 4, 8, 8] u) { u = Identity (c) }
    >
    z = Constant <value_float = 2.5> ()
}
<domain: "local", opset_import: ["" : 21]>
twice (a) => (b) { b = Add (a, a) }
"""


def rich() -> onnx.ModelProto:
    """A model that holds something of everything that a careless round trip would drop."""
    model = onnx.parser.parse_model(RICH)
    graph = model.graph
    graph.doc_string = "about the graph"
    graph.metadata_props.add(key="graph", value="props")
    conv = graph.node[0]
    conv.doc_string = "about the node"
    conv.metadata_props.add(key="node", value="props")
    graph.node[3].attribute[0].g.node[0].doc_string = "inside a branch"
    custom = graph.node[1]
    custom.attribute.append(helper.make_attribute("raw", b"\x00text"))
    custom.attribute.append(helper.make_attribute("types", helper.make_tensor_type_proto(1, [2])))
    custom.attribute.append(helper.make_attribute("table", numpy_helper.from_array(np.arange(3), "t")))
    graph.value_info[0].doc_string = "about a value"
    graph.input[0].doc_string = "about an input"
    note = graph.quantization_annotation.add(tensor_name="c")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    graph.initializer.append(helper.make_tensor("scale", TensorProto.FLOAT, [], [0.5]))
    graph.initializer[1].doc_string = "about a weight"
    model.training_info.add().SetInParent()
    return model


def conv_chain(weight: np.ndarray, ir_version: int = 8) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["y"])],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, weight.shape[1], 8, 8]),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, weight.shape),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, None, 8, 8])],
        [numpy_helper.from_array(weight, "w")],
        value_info=[helper.make_tensor_value_info("c", TensorProto.FLOAT, [1, weight.shape[0], 8, 8])],
    )
    return helper.make_model(graph, ir_version=ir_version, opset_imports=[helper.make_opsetid("", 11)])


def test_a_round_trip_without_edits_loses_nothing() -> None:
    model = rich()
    assert export_graph(import_graph(model), model) == model
    assert model == rich(), "neither way may change the original"


def test_bytes_stay_the_same_too() -> None:
    model = rich()
    back = export_graph(import_graph(model), model)
    assert back.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)


@pytest.mark.parametrize("read_values", [False, True])
def test_every_corpus_model_survives(corpus: Path, read_values: bool) -> None:
    for path in sorted((corpus / "trained").glob("*.onnx")):
        model = load_model(path)
        graph = import_graph(model)
        if read_values:
            for tensor in graph.tensors().values():
                if isinstance(tensor, gs.Constant):
                    assert tensor.values is not None
        back = export_graph(graph, model)
        used = {name for node in model.graph.node for name in node.input}
        if {tensor.name for tensor in model.graph.initializer} <= used:
            assert back == model, path.name
        assert back.graph.node == model.graph.node, path.name
        assert back.graph.output == model.graph.output, path.name


def test_importing_reads_no_weight() -> None:
    model = conv_chain(np.ones((4, 3, 1, 1), np.float32))
    graph = import_graph(model)
    assert not isinstance(graph.nodes[0].inputs[1]._values, np.ndarray)


@pytest.mark.parametrize(
    "dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4, np.float16, np.float64, np.bool_, object]
)
def test_initializers_of_every_type_survive(dtype: type, capsys: pytest.CaptureFixture[str]) -> None:
    array = np.array(["a", "b"], dtype=object) if dtype is object else np.array([0, 1, 0, 1]).astype(dtype)
    tensor = numpy_helper.from_array(array, "w")
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", tensor.data_type, None)],
        [tensor],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    graph = import_graph(model)
    assert export_graph(graph, model) == model
    assert capsys.readouterr().out == ""


def test_an_edited_weight_keeps_its_place_and_an_input_of_its_name_follows() -> None:
    model = conv_chain(np.ones((4, 3, 1, 1), np.float32))
    graph = import_graph(model)
    weight = graph.nodes[0].inputs[1]
    graph.nodes[0].inputs[1] = gs.Constant("w", weight.values[:2].copy())
    back = export_graph(graph, model, changed={"c"})
    assert [value.name for value in back.graph.input] == ["x", "w"]
    assert [dim.dim_value for dim in back.graph.input[1].type.tensor_type.shape.dim] == [2, 3, 1, 1]
    assert list(back.graph.initializer[0].dims) == [2, 3, 1, 1]
    assert not back.graph.value_info, "a stale shape was kept"
    onnx.checker.check_model(back, full_check=True)
    assert [dim.dim_value for dim in model.graph.input[1].type.tensor_type.shape.dim] == [4, 3, 1, 1]


@pytest.mark.parametrize(("changed", "left"), [((), ["c"]), ({"other"}, ["c"]), ({"c"}, []), (None, [])])
def test_what_is_said_of_changed_values_is_dropped(changed: set[str] | None, left: list[str]) -> None:
    model = rich()
    back = export_graph(import_graph(model), model, changed=changed)
    assert [value.name for value in back.graph.value_info] == left
    assert [note.tensor_name for note in back.graph.quantization_annotation] == left


def test_an_old_model_lists_new_weights_as_inputs() -> None:
    model = conv_chain(np.ones((4, 3, 1, 1), np.float32), ir_version=3)
    graph = import_graph(model)
    graph.nodes[0].inputs.append(gs.Constant("bias", np.ones(4, np.float32)))
    back = export_graph(graph, model)
    assert back.ir_version == 3
    assert [value.name for value in back.graph.input] == ["x", "w", "bias"]
    onnx.checker.check_model(back)


def test_removed_weights_go_with_their_input_and_real_inputs_stay() -> None:
    model = conv_chain(np.ones((4, 4, 1, 1), np.float32))
    graph = import_graph(model)
    graph.nodes[1].inputs[0] = graph.inputs[0]
    assert cleanup(graph) == 1
    back = export_graph(graph, model)
    assert [value.name for value in back.graph.input] == ["x"]
    assert not back.graph.initializer
    assert not back.graph.value_info
    assert [node.op_type for node in back.graph.node] == ["Relu"]


def test_only_the_edited_attribute_differs() -> None:
    model = rich()
    graph = import_graph(model)
    graph.nodes[1].attrs["level"] = 4
    del graph.nodes[1].attrs["names"]
    graph.nodes[1].attrs["extra"] = [1, 2]
    node = export_graph(graph, model).graph.node[1]
    values = {attribute.name: attribute for attribute in node.attribute}
    assert values["level"].i == 4
    assert "names" not in values
    assert list(values["extra"].ints) == [1, 2]
    assert values["types"] == next(a for a in model.graph.node[1].attribute if a.name == "types")
    assert values["table"] == next(a for a in model.graph.node[1].attribute if a.name == "table")


def test_the_edited_tensor_of_a_constant_node_is_written() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        g () => (float[2] y) { y = Constant <value = float[2] {1, 2}> () }
    """)
    graph = import_graph(model)
    held = graph.nodes[0].attrs["value"]
    graph.nodes[0].attrs["value"] = gs.Constant(held.name, held.values * 2)
    back = export_graph(graph, model)
    np.testing.assert_array_equal(numpy_helper.to_array(back.graph.node[0].attribute[0].t), [2, 4])
    np.testing.assert_array_equal(numpy_helper.to_array(model.graph.node[0].attribute[0].t), [1, 2])


def test_a_constant_node_that_was_read_keeps_its_bytes() -> None:
    value = TensorProto(dims=[1], data_type=TensorProto.FLOAT, raw_data=np.ones(1, np.float32).tobytes())
    node = helper.make_node("Constant", [], ["y"], value=value)
    graph = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])])
    model = helper.make_model(graph)
    imported = import_graph(model)
    assert imported.nodes[0].attrs["value"].values == 1
    assert export_graph(imported, model).SerializeToString() == model.SerializeToString()


def test_a_changed_interface_is_refused() -> None:
    model = rich()
    graph = import_graph(model)
    graph.outputs[0].name = "renamed"
    with pytest.raises(InternalError, match="outputs"):
        export_graph(graph, model)
    graph = import_graph(model)
    graph.inputs = graph.inputs[:1]
    with pytest.raises(InternalError, match="inputs"):
        export_graph(graph, model)


def test_two_constants_of_one_name_are_refused() -> None:
    model = conv_chain(np.ones((4, 3, 1, 1), np.float32))
    graph = import_graph(model)
    graph.nodes[0].inputs.append(gs.Constant("w", np.ones(4, np.float32)))
    with pytest.raises(InternalError, match="two different constants are called 'w'"):
        export_graph(graph, model)


def test_sparse_initializers_survive() -> None:
    values = helper.make_tensor("s", TensorProto.FLOAT, [2], [1.0, 2.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [2], [1, 3])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["s"], ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
        sparse_initializer=[helper.make_sparse_tensor(values, indices, [4])],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    assert export_graph(import_graph(model), model) == model
