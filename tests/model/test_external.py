"""External data: every tensor's is read by us, from the model's folder alone, or the model is refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, TrainingInfoProto, helper

from upscale_onnx.errors import ModelError
from upscale_onnx.model import load_model, save_model
from upscale_onnx.model.external import external_files, load_external, refuse_external
from upscale_onnx.model.tensors import model_tensors

VALUES = np.arange(8, dtype=np.float32)
DATA = b"before--" + VALUES.tobytes() + b"--behind"
OFFSET = 8


def reference(name: str = "w", **entries: object) -> TensorProto:
    """A tensor of eight numbers whose values are in data.bin, from the eighth byte on."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[8], data_location=TensorProto.EXTERNAL)
    given = {"location": "data.bin", "offset": OFFSET, "length": VALUES.nbytes, **entries}
    for key, value in given.items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return tensor


def model_of(graph: GraphProto | None = None, *initializers: TensorProto) -> ModelProto:
    graph = graph or helper.make_graph([], "g", [], [], initializers)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


def _initializer(tensor: TensorProto) -> ModelProto:
    return model_of(None, tensor)


def _sparse_values(tensor: TensorProto) -> ModelProto:
    model = model_of()
    model.graph.sparse_initializer.add(values=tensor, indices=TensorProto(data_type=TensorProto.INT64), dims=[64])
    return model


def _sparse_indices(tensor: TensorProto) -> ModelProto:
    model = model_of()
    model.graph.sparse_initializer.add(values=TensorProto(name="s", data_type=1), indices=tensor, dims=[64])
    return model


def _node(tensor: TensorProto) -> NodeProto:
    return NodeProto(op_type="Constant", output=["c"], attribute=[helper.make_attribute("value", tensor)])


def _attribute(tensor: TensorProto) -> ModelProto:
    return model_of(helper.make_graph([_node(tensor)], "g", [], []))


def _attribute_list(tensor: TensorProto) -> ModelProto:
    node = NodeProto(op_type="Custom", domain="own", attribute=[helper.make_attribute("values", [tensor])])
    return model_of(helper.make_graph([node], "g", [], []))


def _sparse_attribute(tensor: TensorProto) -> ModelProto:
    sparse = onnx.SparseTensorProto(values=tensor, dims=[64])
    node = NodeProto(op_type="Constant", attribute=[helper.make_attribute("sparse_value", sparse)])
    return model_of(helper.make_graph([node], "g", [], []))


def _mislabelled_attribute(tensor: TensorProto) -> ModelProto:
    model = _attribute(tensor)
    model.graph.node[0].attribute[0].type = onnx.AttributeProto.INT
    return model


def _subgraph(tensor: TensorProto) -> ModelProto:
    inner = helper.make_graph([_node(tensor)], "inner", [], [])
    outer = NodeProto(op_type="If", attribute=[helper.make_attribute("then_branch", inner)])
    return model_of(helper.make_graph([outer], "g", [], []))


def _function(tensor: TensorProto) -> ModelProto:
    model = model_of()
    model.functions.append(FunctionProto(name="f", domain="own", node=[_node(tensor)]))
    return model


def _function_default(tensor: TensorProto) -> ModelProto:
    model = model_of()
    default = helper.make_attribute("value", tensor)
    model.functions.append(FunctionProto(name="f", domain="own", attribute_proto=[default]))
    return model


def _training(tensor: TensorProto) -> ModelProto:
    model = model_of()
    model.training_info.append(TrainingInfoProto(algorithm=helper.make_graph([], "step", [], [], [tensor])))
    return model


PLACES = [
    _initializer,
    _sparse_values,
    _sparse_indices,
    _attribute,
    _attribute_list,
    _sparse_attribute,
    _mislabelled_attribute,
    _subgraph,
    _function,
    _function_default,
    _training,
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a model would be whose data is there."""
    (tmp_path / "data.bin").write_bytes(DATA)
    return tmp_path / "in.onnx"


@pytest.mark.parametrize("place", PLACES)
def test_external_data_is_found_wherever_the_tensor_is(place: Callable[[TensorProto], ModelProto], path: Path) -> None:
    model = place(reference())
    with pytest.raises(ModelError, match=r"data\.bin"):
        refuse_external(model, "it")
    with pytest.raises(ModelError, match=r"data\.bin"):
        save_model(model, path)
    assert not path.exists()
    load_external(model, path)
    refuse_external(model, "it")
    found = [tensor for tensor in model_tensors(model) if tensor.name == "w"]
    assert [tensor.raw_data for tensor in found] == [VALUES.tobytes()]
    assert not any(tensor.external_data for tensor in found)


def test_a_walk_leaves_the_model_as_it_was() -> None:
    model = model_of()
    model.graph.sparse_initializer.add(dims=[64])
    model.graph.node.append(NodeProto(op_type="Relu", attribute=[helper.make_attribute("a", 1)]))
    model.training_info.add()
    before = model.SerializeToString(deterministic=True)
    assert list(model_tensors(model)) == []
    assert model.SerializeToString(deterministic=True) == before


def _link_out(folder: Path) -> None:
    (folder / "data.bin").rename(folder.parent / "secret.bin")
    (folder / "data.bin").symlink_to(folder.parent / "secret.bin")


def _linked_folder(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    (folder / "data.bin").rename(folder.parent / "elsewhere" / "data.bin")
    (folder / "sub").symlink_to(folder.parent / "elsewhere")


def _hard_link(folder: Path) -> None:
    os.link(folder / "data.bin", folder.parent / "secret.bin")


def _pipe(folder: Path) -> None:
    (folder / "data.bin").unlink()
    os.mkfifo(folder / "data.bin")


def _folder(folder: Path) -> None:
    (folder / "data.bin").unlink()
    (folder / "data.bin").mkdir()


def _loop(folder: Path) -> None:
    (folder / "data.bin").unlink()
    (folder / "data.bin").symlink_to("data.bin")


def _nothing(folder: Path) -> None:
    del folder


BAD: list[tuple[str, Callable[[Path], None], dict[str, object], str]] = [
    ("absolute", _nothing, {"location": "/etc/passwd"}, "is not in the folder"),
    ("absolute, Windows", _nothing, {"location": "C:\\data.bin"}, "is not in the folder"),
    ("root, Windows", _nothing, {"location": "\\data.bin"}, "is not in the folder"),
    ("share", _nothing, {"location": "\\\\server\\data.bin"}, "is not in the folder"),
    ("parent", _nothing, {"location": "../folder/data.bin"}, "is not in the folder"),
    ("parent inside", _nothing, {"location": "sub/../data.bin"}, "is not in the folder"),
    ("parent, Windows", _nothing, {"location": "sub\\..\\data.bin"}, "is not in the folder"),
    ("no location", _nothing, {"location": None}, "is not in the folder"),
    ("zero byte", _nothing, {"location": "data.bin\0"}, "is not in the folder"),
    ("the runtime's own memory", _nothing, {"location": "*/_ORT_MEM_ADDR_/*"}, "is missing"),
    ("link out", _link_out, {}, "is a link out of the folder"),
    ("linked folder", _linked_folder, {"location": "sub/data.bin"}, "is a link out of the folder"),
    ("hard link", _hard_link, {}, "is a hard link"),
    ("pipe", _pipe, {}, "is not a regular file"),
    ("folder", _folder, {}, "cannot be read|is not a regular file"),
    ("loop", _loop, {}, "cannot be read"),
    ("behind the end", _nothing, {"offset": len(DATA)}, "ends at byte"),
    ("beyond the end", _nothing, {"offset": len(DATA) - 4}, "ends at byte"),
    ("negative offset", _nothing, {"offset": -8}, "no size"),
    ("huge offset", _nothing, {"offset": 10**30}, "no size"),
    ("offset in other digits", _nothing, {"offset": "٣"}, "no size"),
    ("too short a length", _nothing, {"length": 4}, "is 4 bytes instead of 32"),
    ("a length of nothing", _nothing, {"length": 0}, "is 0 bytes instead of 32"),
]


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX links and pipes")
@pytest.mark.parametrize(("spoil", "entries", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_nothing_but_whole_data_of_the_folder_is_read(
    tmp_path: Path, spoil: Callable[[Path], None], entries: dict[str, object], message: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "data.bin").write_bytes(DATA)
    spoil(folder)
    with pytest.raises(ModelError, match=message) as caught:
        load_external(_initializer(reference(**entries)), folder / "in.onnx")
    assert str(caught.value).startswith(str(folder / "in.onnx"))
    assert "\n" not in str(caught.value)


def test_a_link_within_the_folder_and_a_cache_of_links_are_followed(tmp_path: Path) -> None:
    store, shown = tmp_path / "store", tmp_path / "shown"
    for folder in (store, shown):
        folder.mkdir()
    (store / "a1").write_bytes(DATA)
    (store / "data.bin").symlink_to("a1")
    model = _initializer(reference())
    load_external(model, store / "in.onnx")
    assert model.graph.initializer[0].raw_data == VALUES.tobytes()
    (store / "b2").write_bytes(_initializer(reference()).SerializeToString())
    (shown / "in.onnx").symlink_to(store / "b2")
    (shown / "data.bin").symlink_to(store / "a1")
    model = _initializer(reference())
    load_external(model, shown / "in.onnx")
    assert model.graph.initializer[0].raw_data == VALUES.tobytes()


@pytest.mark.parametrize("offset", [None, 0])
def test_offset_and_length_may_be_left_out(tmp_path: Path, offset: int | None) -> None:
    (tmp_path / "data.bin").write_bytes(VALUES.tobytes() + b"more")
    model = _initializer(reference(offset=offset, length=None))
    load_external(model, tmp_path / "in.onnx")
    assert model.graph.initializer[0].raw_data == VALUES.tobytes()


def test_a_location_that_is_no_text_is_refused(path: Path) -> None:
    model = _initializer(reference(location="DATA.bin"))
    spoilt = ModelProto.FromString(model.SerializeToString().replace(b"DATA.bin", b"\xff\xfeTA.bin"))
    assert external_files(spoilt, path) == ()
    with pytest.raises(ModelError, match="is not in the folder"):
        load_external(spoilt, path)


def _holes(folder: Path) -> Iterator[TensorProto]:
    with (folder / "data.bin").open("wb") as file:
        file.truncate(2**40)
    tensor = reference(offset=0, length=2**40)
    tensor.dims[:] = [2**38]
    yield tensor


def _shared_bytes(folder: Path) -> Iterator[TensorProto]:
    (folder / "data.bin").write_bytes(bytes(2**20))
    for number in range(2**14):
        tensor = reference(f"w{number}", offset=0, length=2**20)
        tensor.dims[:] = [2**18]
        yield tensor


@pytest.mark.parametrize("bomb", [_holes, _shared_bytes])
def test_data_that_is_much_larger_in_memory_than_on_the_disk_is_not_read(
    tmp_path: Path, bomb: Callable[[Path], Iterator[TensorProto]]
) -> None:
    with pytest.raises(ModelError, match="bytes of memory"):
        load_external(model_of(None, *bomb(tmp_path)), tmp_path / "in.onnx")


def test_the_files_of_a_model_are_named(path: Path) -> None:
    model = model_of(None, reference(), reference("v", location="gone.bin"), reference("u"))
    assert external_files(model, path) == ((path.parent / "data.bin").resolve(), (path.parent / "gone.bin").resolve())


def test_sparse_data_is_not_looked_for_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """x (1, 8) times a sparse (8, 8) matrix, whose values lie beside the model; others of that name lie elsewhere."""
    for name, values in (("model", VALUES), ("elsewhere", VALUES[::-1])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data.bin").write_bytes(bytes(OFFSET) + values.tobytes())
    indices = helper.make_tensor("", TensorProto.INT64, [8], [9 * place for place in range(8)])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
    )
    graph.sparse_initializer.add(values=reference(), indices=indices, dims=[8, 8])
    path = tmp_path / "model" / "in.onnx"
    path.write_bytes(model_of(graph).SerializeToString())
    monkeypatch.chdir(tmp_path / "elsewhere")

    from upscale_onnx.runtime.sessions import make_session, run

    loaded = load_model(path)
    save_model(loaded, "out.onnx")
    assert load_model("out.onnx") == loaded
    for model in (loaded, path, Path("out.onnx")):
        (y,) = run(make_session(model), {"x": np.ones((1, 8), np.float32)})
        np.testing.assert_array_equal(y, VALUES[None])
