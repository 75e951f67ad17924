from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.model import check_output, load_model, save_model


def linear() -> onnx.ModelProto:
    weights = np.random.default_rng(0).normal(size=(3, 64, 64)).astype(np.float32)
    tensors = [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights[:2])]
    tensors.append(helper.make_tensor("w2", TensorProto.FLOAT, [64, 64], weights[2].ravel().tolist()))
    graph = helper.make_graph(
        [helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"]) for i in range(3)],
        "g",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("x3", TensorProto.FLOAT, ["n", 64])],
        tensors,
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    helper.set_model_props(model, {"b": "2", "a": "1"})
    return model


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        save_model(linear(), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert load_model(tmp_path / "a.onnx") == linear()
    assert {path.name for path in tmp_path.iterdir()} == {"a.onnx", "b.onnx"}


def test_a_large_model_gets_external_data_named_after_its_content(tmp_path: Path) -> None:
    model = linear()
    save_model(model, tmp_path / "out.onnx", external_over=1000)
    save_model(model, tmp_path / "out.onnx", external_over=1000)
    data = [path for path in tmp_path.iterdir() if path.name != "out.onnx"]
    assert len(data) == 1
    assert data[0].name.startswith("out.onnx.")
    assert (tmp_path / "out.onnx").stat().st_size < 2000
    loaded = load_model(tmp_path / "out.onnx")
    for a, b in zip(loaded.graph.initializer, model.graph.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(a), numpy_helper.to_array(b))
    assert model == linear(), "the model that was saved must not change"


@pytest.mark.parametrize("external_over", [0, 2**31])
@pytest.mark.parametrize(("where", "broken"), [(os, "fsync"), (Path, "replace")])
def test_a_failure_on_the_way_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, external_over: int, where: object, broken: str
) -> None:
    target = tmp_path / "out.onnx"
    target.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(where, broken, fail)
    with pytest.raises(ModelError, match="No space left on device"):
        save_model(linear(), target, external_over=external_over)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.onnx"]


def test_permissions_are_those_of_any_new_file_and_kept_on_replacement(tmp_path: Path) -> None:
    ordinary, target = tmp_path / "ordinary", tmp_path / "out.onnx"
    ordinary.touch()
    save_model(linear(), target)
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)
    target.chmod(0o600)
    save_model(linear(), target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.onnx").write_bytes(b"old")
    (tmp_path / "link.onnx").symlink_to(tmp_path / "real.onnx")
    save_model(linear(), tmp_path / "link.onnx")
    assert (tmp_path / "link.onnx").is_symlink()
    assert load_model(tmp_path / "real.onnx") == linear()


def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):  # an administrator may write anywhere: say what a read-only disk says

        def refuse(*_: object, **__: object) -> None:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    return folder / "out.onnx"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (lambda path, _: path / "no" / "out.onnx", "does not exist"),
        (lambda path, _: path, "is a directory"),
        (lambda path, _: Path(os.devnull), "is not a regular file"),
        (read_only, "cannot be written to"),
    ],
)
def test_an_impossible_output_gives_one_line_before_and_at_saving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: object, message: str
) -> None:
    target = place(tmp_path, monkeypatch)  # type: ignore[operator]
    with pytest.raises(ArgumentError, match=message) as early:
        check_output(target)
    with pytest.raises(ModelError, match=message) as late:
        save_model(linear(), target)
    assert str(early.value) == str(late.value)
    assert str(early.value).startswith(str(target))
