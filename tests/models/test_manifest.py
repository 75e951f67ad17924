"""The shipped files are what the manifest says they are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from upscale_onnx.cli.main import main

MODELS = Path(__file__).resolve().parents[2] / "models"
FILES: list[dict[str, Any]] = json.loads((MODELS / "manifest.json").read_text(encoding="utf-8"))["files"]
NETWORKS = [entry for entry in FILES if entry["file"].endswith(".onnx")]
MEGABYTE = 1_000_000

each_network = pytest.mark.parametrize("entry", NETWORKS, ids=lambda entry: entry["file"])


def held_out() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    with np.load(MODELS / "digits_test.npz") as arrays:
        return arrays["image"], arrays["labels"]


def test_every_shipped_file_is_listed() -> None:
    shipped = {path.name for path in MODELS.iterdir() if path.suffix in {".onnx", ".npz"}}
    assert shipped == {entry["file"] for entry in FILES}
    assert len(NETWORKS) >= 2


@pytest.mark.parametrize("entry", FILES, ids=lambda entry: entry["file"])
def test_checksum_size_and_licence(entry: dict[str, Any]) -> None:
    content = (MODELS / entry["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    assert len(content) == entry["bytes"] < MEGABYTE
    assert entry["licence"]
    assert entry["origin"]


@each_network
def test_reaches_its_stated_accuracy(entry: dict[str, Any]) -> None:
    images, labels = held_out()
    session = ort.InferenceSession(MODELS / entry["file"], providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"image": images})
    stated = entry["held_out_accuracy"]
    one_image = 1 / len(labels)
    assert (scores.argmax(axis=1) == labels).mean() == pytest.approx(stated["masked_and_tuned"], abs=1.01 * one_image)
    assert stated["trained"] >= 0.97
    assert stated["masked_and_tuned"] >= 0.95


@each_network
def test_the_commands_take_the_shipped_digits(entry: dict[str, Any], tmp_path: Path) -> None:
    network, digits = str(MODELS / entry["file"]), str(MODELS / "digits_test.npz")
    assert main(["evaluate", network, digits, "--json", str(tmp_path / "found.json"), "-q"]) == 0
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["top1"] == pytest.approx(entry["held_out_accuracy"]["masked_and_tuned"], abs=0.003)
    assert main(["verify", network, network, "--inputs", digits, "-q"]) == 0


def zero_input_channels(W: NDArray[Any]) -> NDArray[np.bool_]:
    """Which input channels of W: (C_out, C_in, ...) have no weight but zero, as bool (C_in,)."""
    return ~W.any(axis=tuple(axis for axis in range(W.ndim) if axis != 1))


@each_network
def test_each_layer_has_given_up_the_stated_share(entry: dict[str, Any]) -> None:
    model = onnx.load(MODELS / entry["file"])
    onnx.checker.check_model(model, full_check=True)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    layers = [node.input[1] for node in model.graph.node if node.op_type in {"Conv", "Gemm"}]
    assert len(layers) >= 6
    for name in layers[1:]:  # the first one reads the image
        zero = zero_input_channels(weights[name])
        assert zero.sum() == int(entry["masked_input_channels"] * zero.size), name


def test_readers_of_one_value_give_up_different_channels() -> None:
    """What makes the masks unconstrained, and the model worth compiling."""
    model = onnx.load(MODELS / "digits_inception_masked.onnx")
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    readers: dict[str, list[bytes]] = {}
    for node in model.graph.node:
        if node.op_type == "Conv":
            readers.setdefault(node.input[0], []).append(zero_input_channels(weights[node.input[1]]).tobytes())
    shared = [masks for masks in readers.values() if len(masks) > 1]
    assert len(shared) >= 3
    assert all(len(set(masks)) == len(masks) for masks in shared)


def test_test_digits_are_those_of_scikit_learn() -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn carries the digits")
    pixels, labels = datasets.load_digits(return_X_y=True)
    originals = {(tuple(row), int(label)) for row, label in zip(pixels, labels, strict=True)}
    images, digits = held_out()
    shipped = {(tuple(row), int(label)) for row, label in zip(images.reshape(-1, 64) * 16, digits, strict=True)}
    assert len(shipped) == len(digits) == 450
    assert shipped <= originals
