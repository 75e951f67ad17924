from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.graphs import parse
from upscale_onnx.errors import ModelError
from upscale_onnx.model import load_model

WEIGHT = np.arange(2048, dtype=np.float32).reshape(64, 32)


def linear(weight: TensorProto | None = None, **kwargs: object) -> onnx.ModelProto:
    weight = numpy_helper.from_array(WEIGHT, "w") if weight is None else weight
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 32])],
        [weight],
    )
    options = {"ir_version": 8, "opset_imports": [helper.make_opsetid("", 17)], **kwargs}
    return helper.make_model(graph, **options)


def written(data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(data)

    return write


def edited(edit: Callable[[onnx.ModelProto], object]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        model = linear()
        edit(model)
        path.write_bytes(model.SerializeToString())

    return write


def external(path: Path) -> None:
    onnx.save(linear(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)


def without_data(path: Path) -> None:
    external(path)
    (path.parent / "weights.bin").unlink()


def with_short_data(path: Path) -> None:
    external(path)
    (path.parent / "weights.bin").write_bytes(b"1234")


def outside_folder(path: Path) -> None:
    """External data one folder up, which exists but must not be followed."""
    external(path)
    (path.parent / "weights.bin").rename(path.parent.parent / "weights.bin")
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../weights.bin"
    path.write_bytes(model.SerializeToString())


def cut(path: Path) -> None:
    data = linear().SerializeToString()
    path.write_bytes(data[: len(data) // 2])


BAD_FILES = [
    (lambda path: None, "no such file"),
    (lambda path: path.mkdir(), "is a directory"),
    (written(b""), "is empty"),
    (cut, "is truncated or damaged"),
    (written(b"\x89PNG not a model at all"), "is not an ONNX file"),
    (written(b"PK\x03\x04" + bytes(range(256))), "is not an ONNX file"),
    (written(helper.make_tensor_value_info("x", 1, [1]).SerializeToString()), "is not an ONNX"),
    (edited(lambda m: m.ClearField("ir_version")), "no IR version"),
    (edited(lambda m: m.ClearField("graph")), "has no graph"),
    (edited(lambda m: m.ClearField("opset_import")), "imports no operator set"),
    (edited(lambda m: setattr(m, "ir_version", onnx.IR_VERSION + 1)), "install a newer onnx"),
    (
        edited(lambda m: setattr(m.opset_import[0], "version", onnx.defs.onnx_opset_version() + 1)),
        "install a newer onnx",
    ),
    (without_data, "external data is missing: weights.bin"),
    (with_short_data, "ends at byte 8192 of 4"),
    (outside_folder, "is not in the folder of the model"),
    (edited(lambda m: m.graph.node.append(m.graph.node[0])), "not a valid ONNX model"),
    (edited(lambda m: m.graph.initializer.append(m.graph.initializer[0])), "not a valid ONNX model"),
    (edited(lambda m: setattr(m.graph.node[0], "op_type", "NoSuchOperator")), "not a valid ONNX model"),
    (edited(lambda m: m.graph.node[0].input.__setitem__(0, "nowhere")), "not a valid ONNX model"),
    (edited(lambda m: setattr(m.graph.initializer[0], "raw_data", b"1234")), "holds 4 bytes instead of 8192"),
    (edited(lambda m: m.graph.initializer[0].ClearField("raw_data")), "holds 0 entries instead of 2048"),
    (edited(lambda m: m.graph.initializer[0].dims.__setitem__(0, -1)), "negative dimension"),
    (edited(lambda m: setattr(m.graph.initializer[0], "data_type", 99)), "unknown data type 99"),
]


@pytest.mark.parametrize(("write", "message"), BAD_FILES, ids=[message for _, message in BAD_FILES])
def test_a_bad_file_gives_one_line_naming_it(tmp_path: Path, write: Callable[[Path], None], message: str) -> None:
    path = tmp_path / "folder" / "in.onnx"
    path.parent.mkdir()
    write(path)
    with pytest.raises(ModelError) as caught:
        load_model(path)
    line = str(caught.value)
    assert message in line
    assert line.startswith(str(path))
    assert "\n" not in line


def test_external_data_is_loaded_in_full(tmp_path: Path) -> None:
    external(tmp_path / "in.onnx")
    model = load_model(str(tmp_path / "in.onnx"))
    (tensor,) = model.graph.initializer
    assert tensor.data_location == TensorProto.DEFAULT
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), WEIGHT)


def test_external_data_reached_by_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    external(folder / "in.onnx")
    (folder / "weights.bin").rename(tmp_path / "weights.bin")
    (folder / "weights.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(ModelError, match="is a link out of the folder"):
        load_model(folder / "in.onnx")


def test_a_proto_is_checked_and_returned_itself() -> None:
    model = linear()
    assert load_model(model) is model
    model.graph.node[0].input[1] = "nowhere"
    with pytest.raises(ModelError, match="the given model: not a valid ONNX model"):
        load_model(model)


def test_an_output_of_unknown_rank_is_accepted() -> None:
    model = linear()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert load_model(model) is model
    assert not model.graph.output[0].type.tensor_type.HasField("shape")


def test_a_proto_without_its_external_data_is_refused(tmp_path: Path) -> None:
    external(tmp_path / "in.onnx")
    with pytest.raises(ModelError, match=r"weights\.bin"):
        load_model(onnx.load(tmp_path / "in.onnx", load_external_data=False))


@pytest.mark.parametrize("name", ["BFLOAT16", "FLOAT16", "DOUBLE", "INT4", "UINT8", "FLOAT8E4M3FN", "COMPLEX64"])
@pytest.mark.parametrize("raw", [True, False])
def test_tensors_of_every_width_pass_the_size_check(name: str, raw: bool) -> None:
    data_type = TensorProto.DataType.Value(name)
    array = np.ones(5).astype(helper.tensor_dtype_to_np_dtype(data_type))
    tensor = numpy_helper.from_array(array, "extra")
    if not raw:
        tensor = helper.make_tensor("extra", data_type, [5], array.tolist())
    model = linear()
    model.graph.initializer.append(tensor)
    assert load_model(model) is model


def test_every_model_of_the_corpus_loads(corpus: Path) -> None:
    paths = sorted((corpus / "trained").glob("*.onnx"))
    assert paths
    for path in paths:
        assert load_model(path).graph.node


def test_nodes_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    ordered = parse(
        """(float[1,4] x, bool c) => (float[1,4] y) {
            a = Relu(x)
            b = Neg(a)
            y = If(c) <
                then_branch = t () => (float[1,4] p) { p = Abs(b) },
                else_branch = e () => (float[1,4] q) { q = Exp(a) }
            >
        }"""
    )
    model = onnx.ModelProto.FromString(ordered.SerializeToString())
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(model.graph.node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    before = model.SerializeToString()
    assert load_model(model) == ordered
    assert model.SerializeToString() == before
    assert load_model(ordered) is ordered
    onnx.save(model, tmp_path / "m.onnx")
    assert load_model(tmp_path / "m.onnx") == ordered


def test_a_circle_of_nodes_is_refused_in_one_line() -> None:
    model = parse("(float[1,4] x) => (float[1,4] y) { a = Relu(x) y = Neg(a) }")
    model.graph.node[0].input[0] = "y"
    with pytest.raises(ModelError, match="topologically sorted") as caught:
        load_model(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("operator", "opset"), [("SimplifiedLayerNormalization", 17), ("LayerNormalization", 11)])
def test_operators_that_only_onnxruntime_knows_are_read(operator: str, opset: int) -> None:
    node = helper.make_node(operator, ["x", "s"], ["y"], axis=-1)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8]) for name in "xy")
    graph = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(np.ones(8, np.float32), "s")])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])
    before = model.SerializeToString()
    assert load_model(model) is model
    assert model.SerializeToString() == before
    node.op_type = "NoSuchNormalization"
    unknown = helper.make_model(helper.make_graph([node], "g", [x], [y], graph.initializer))
    with pytest.raises(ModelError, match="NoSuchNormalization"):
        load_model(unknown)


def test_operators_of_onnxruntime_need_no_import() -> None:
    node = helper.make_node("QuickGelu", ["x"], ["y"], domain="com.microsoft")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8]) for name in "xy")
    model = helper.make_model(helper.make_graph([node], "g", [x], [y]), ir_version=8)
    before = model.SerializeToString()
    loaded = load_model(model)
    assert [entry.domain for entry in loaded.opset_import] == ["", "com.microsoft"]
    assert model.SerializeToString() == before
    node.domain = "org.unknown"
    unknown = helper.make_model(helper.make_graph([node], "g", [x], [y]), ir_version=8)
    with pytest.raises(ModelError, match=r"org\.unknown"):
        load_model(unknown)
