"""Accuracy on images whose classes are known, from every kind of data."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from upscale_onnx.cli.main import main
from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.measures.accuracy import Layout, Preprocessing, evaluate
from upscale_onnx.runtime import load_inputs
from upscale_onnx.runtime.samples import load_calibration, load_labels

CLASSES = 7


def _model(batch: int | str = "N", layout: str = "nchw", colours: int = 3) -> onnx.ModelProto:
    """Scores grow with the nearness of a picture's mean red, or grey, to the class's shade, class * 30 of 255."""
    axes = [2, 3] if layout == "nchw" else [1, 2]
    shape = [batch, colours, 8, 8] if layout == "nchw" else [batch, 8, 8, colours]
    shades = (np.arange(CLASSES) * 30 / 255).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "red"], ["red_mean"]),
        helper.make_node("Sub", ["red_mean", "shades"], ["off"]),
        helper.make_node("Abs", ["off"], ["distance"]),
        helper.make_node("Neg", ["distance"], ["y"]),
    ]
    tensors: dict[str, NDArray[Any]] = {
        "axes": np.array(axes, np.int64),
        "red": np.eye(colours, 1, dtype=np.float32),
        "shades": shades[None],
    }
    graph = helper.make_graph(
        nodes,
        "shades",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, CLASSES])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _images(count: int = 60) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures of their class's shade; every sixth is labelled as the next class but two."""
    shown = np.arange(count) % CLASSES
    images = np.full((count, 8, 8, 3), 77, np.uint8)
    images[..., 0] = (shown * 30)[:, None, None]
    labels = shown.copy()
    labels[::6] = (labels[::6] + 3) % CLASSES
    return images, labels.astype(np.int64)


def _top5(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    distance = np.abs(images[:, :1, 0, 0].astype(float) - np.arange(CLASSES) * 30)
    nearer = (distance < distance[np.arange(len(labels)), labels][:, None]).sum(axis=1)
    return float((nearer < 5).mean())


def _encoded(images: NDArray[np.uint8], **options: Any) -> dict[str, NDArray[Any]]:
    files = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, **{"format": "PNG", **options})
        files.append(buffer.getvalue())
    blob = np.frombuffer(b"".join(files), np.uint8)
    return {"blob": blob, "offsets": np.cumsum([0, *map(len, files)]).astype(np.int64)}


def _save(path: Path, arrays: dict[str, NDArray[Any]], **more: NDArray[Any]) -> None:
    named: dict[str, Any] = {**arrays, **more}
    np.savez(path, **named)


@pytest.mark.parametrize("batch", ["N", 1, 7])
@pytest.mark.parametrize("kind", ["nhwc", "nchw", "encoded"])
def test_every_kind_of_npz(tmp_path: Path, kind: str, batch: int | str) -> None:
    images, labels = _images()
    kinds: dict[str, dict[str, NDArray[Any]]] = {
        "nhwc": {"x": images},
        "nchw": {"x": images.transpose(0, 3, 1, 2)},
        "encoded": _encoded(images),
    }
    _save(tmp_path / "d.npz", kinds[kind], y=labels)
    found = evaluate(_model(batch), tmp_path / "d.npz")
    assert (found.top1, found.images) == (50 / 60, 60)
    assert found.top5 == _top5(images, labels)
    assert found.top1 < found.top5


def test_a_folder_has_a_folder_per_class_in_order(tmp_path: Path) -> None:
    images, _ = _images(21)
    for number, image in enumerate(images):
        folder = tmp_path / f"class_{number % CLASSES}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(image).resize((20, 12)).save(folder / f"{number}.png")
    (tmp_path / "class_0" / "notes.txt").write_text("not an image")
    found = evaluate(_model(), tmp_path, Preprocessing(size=(8, 8)))
    assert (found.top1, found.images) == (1.0, 21)
    (tmp_path / "class_2").rename(tmp_path / "zzz")  # now the last class, and those behind it move up
    assert evaluate(_model(), tmp_path, Preprocessing(size=(8, 8))).top1 == 2 / 7


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_grey_images_in_a_folder(tmp_path: Path, layout: Layout) -> None:
    for shade in range(CLASSES):
        (tmp_path / f"class_{shade}").mkdir()
        Image.new("L", (8, 8), shade * 30).save(tmp_path / f"class_{shade}" / "grey.png")
        Image.new("RGB", (8, 8), (shade * 30,) * 3).save(tmp_path / f"class_{shade}" / "coloured.png")
    found = evaluate(_model(layout=layout, colours=1), tmp_path, Preprocessing(layout=layout))
    assert (found.top1, found.images) == (1.0, 2 * CLASSES)
    assert evaluate(_model(layout=layout), tmp_path, Preprocessing(layout=layout)).top1 == 1.0
    with pytest.raises(ArgumentError, match="mean and std are of 3 colours, the images have 1"):
        evaluate(_model(layout=layout, colours=1), tmp_path, Preprocessing((0.1, 0.2, 0.3), layout=layout))


@pytest.mark.parametrize("samples", ["pixels", "x", "images"])
@pytest.mark.parametrize("labels", ["y", "labels"])
def test_one_file_serves_every_command(tmp_path: Path, samples: str, labels: str) -> None:
    model = _model()
    model.graph.input[0].name = model.graph.node[0].input[0] = "pixels"
    images, classes = _images()
    x = (images / 255).astype(np.float32).transpose(0, 3, 1, 2)
    path = tmp_path / "d.npz"
    _save(path, {samples: x, labels: classes})
    assert evaluate(model, path).top1 == 50 / 60
    np.testing.assert_array_equal(load_inputs(path, model)["pixels"], x)
    batches = load_calibration(str(path), model)
    np.testing.assert_array_equal(np.concatenate([batch["pixels"] for batch in batches]), x)
    np.testing.assert_array_equal(load_labels(str(path), model, 60), classes)


def test_grey_arrays_may_lack_the_axis_of_colours(tmp_path: Path) -> None:
    images, labels = _images()
    np.savez(tmp_path / "d.npz", y=labels, x=images[..., 0])
    assert evaluate(_model(colours=1), tmp_path / "d.npz").top1 == 50 / 60


def test_preprocessing_reaches_the_model(tmp_path: Path) -> None:
    images, labels = _images()
    np.savez(tmp_path / "d.npz", y=labels, x=images)
    np.savez(tmp_path / "f.npz", y=labels, x=((images / 255 - 0.5) / 0.25).astype(np.float32))
    undone = Preprocessing(mean=(-2.0,), std=(4.0,))  # pixels that are no integers are not divided by 255
    assert evaluate(_model(), tmp_path / "f.npz", undone).top1 == 50 / 60
    assert evaluate(_model(), tmp_path / "f.npz").top1 < 0.5
    assert evaluate(_model(layout="nhwc"), tmp_path / "d.npz", Preprocessing(layout="nhwc")).top1 == 50 / 60
    assert evaluate(_model(), tmp_path / "d.npz", Preprocessing(scale=False, std=(255.0,))).top1 == 50 / 60
    values = Preprocessing((0.1, 0.2, 0.3), (0.5, 1, 2)).apply(np.full((1, 2, 2, 3), 51, np.uint8))
    np.testing.assert_allclose(values[0, :, 0, 0], [0.2, 0.0, -0.05], atol=1e-6)


def test_a_picture_is_cut_from_the_middle() -> None:
    picture = np.zeros((8, 24, 3), np.uint8)
    picture[:, 8:16] = 200
    from upscale_onnx.measures.labelled_images import _decode

    cut = _decode(bytes(_encoded(picture[None])["blob"]), "here", (8, 8), "RGB")
    assert (cut == 200).all()


def test_a_limit_draws_images_by_the_seed(tmp_path: Path) -> None:
    images, labels = _images()
    _save(tmp_path / "d.npz", _encoded(images), y=labels)
    found = [evaluate(_model(), tmp_path / "d.npz", limit=12, seed=seed) for seed in range(6)]
    assert {accuracy.images for accuracy in found} == {12}
    assert len({accuracy.top1 for accuracy in found}) > 1
    assert found[0] == evaluate(_model(), tmp_path / "d.npz", limit=12, seed=0)


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"x": np.zeros((2, 8, 8, 3))}, "no labels"),
        ({"y": np.zeros(2, np.int64)}, "has no images, 'x' or 'images', and no 'blob'"),
        ({"x": np.zeros((3, 8, 8, 3)), "y": np.zeros(2, np.int64)}, "2 of 2 or 3 axes"),
        ({"x": np.zeros((2, 8, 8, 3)), "y": np.array([0, 7])}, "labels reach from 0 to 7, the model has 7 classes"),
        ({"x": np.zeros((0, 8, 8, 3)), "y": np.zeros(0, np.int64)}, "no images"),
        ({"blob": np.zeros(4, np.uint8), "offsets": np.array([0, 9]), "y": np.array([0])}, "outside of 'blob'"),
        ({"blob": np.zeros(4, np.uint8), "offsets": np.array([4, 0]), "y": np.array([0])}, "cut into pieces"),
        ({"blob": np.zeros(4, np.uint8), "offsets": np.array([0]), "y": np.array([0])}, "2 integers in 'offsets'"),
        (
            {"blob": np.zeros(4, np.uint8), "offsets": np.array([0, 4]), "y": np.array([0])},
            "image 0: cannot be decoded",
        ),
    ],
)
def test_data_that_cannot_be_used(tmp_path: Path, arrays: dict[str, NDArray[Any]], complaint: str) -> None:
    _save(tmp_path / "d.npz", arrays)
    with pytest.raises(ArgumentError, match=complaint) as caught:
        evaluate(_model(), tmp_path / "d.npz")
    assert "\n" not in str(caught.value)


def test_other_things_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = _images(4)
    np.savez(tmp_path / "d.npz", y=labels, x=images[:, :4])
    with pytest.raises(ModelError, match="cannot run the model"):
        evaluate(_model(), tmp_path / "d.npz")
    with pytest.raises(ArgumentError, match="only encoded images are resized"):
        evaluate(_model(), tmp_path / "d.npz", Preprocessing(size=(8, 8)))
    with pytest.raises(ArgumentError, match="no such file"):
        evaluate(_model(), tmp_path / "none.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArgumentError, match="no folders, one per class"):
        evaluate(_model(), tmp_path / "empty")
    with pytest.raises(ArgumentError, match="std of 0"):
        Preprocessing(std=(0.0,))
    _save(tmp_path / "e.npz", _encoded(images), y=labels)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ArgumentError, match="need Pillow"):
        evaluate(_model(), tmp_path / "e.npz")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = _images()
    _save(tmp_path / "d.npz", _encoded(images), y=labels)
    onnx.save(_model(), tmp_path / "m.onnx")
    words = ["evaluate", str(tmp_path / "m.onnx"), str(tmp_path / "d.npz"), "--json", str(tmp_path / "r.json")]
    assert main(words) == 0
    content = json.loads((tmp_path / "r.json").read_text())
    assert (content["kind"], content["images"], content["top1"]) == ("accuracy", 60, 50 / 60)
    printed = capsys.readouterr().out
    assert "accuracy.top1" in printed
    assert main([*words[:3], "--normalise", "imagenet", "--limit", "6", "-q"]) == 0
    assert main([*words[:3], "--mean", "1,2"]) == 2
    assert "one number or three" in capsys.readouterr().err
    assert main([*words[:3], "--size", "8x8x8"]) == 2
    assert "224x224" in capsys.readouterr().err
