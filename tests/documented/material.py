"""The files that documented commands name: a small classifier of colour images, and labelled images for it.

The README's commands run without Pillow, which `write_images` alone needs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MODELS = ("in", "net", "model", "a", "b", "NETWORK", "FOLDER/network", "FOLDER/vgg11_bn", "FOLDER/alexnet")
DATA = ("data", "test", "TRAIN", "TEST", "EVEN", "ODD", "FLICKR")
SHAPE = (3, 16, 16)
CLASSES = 10


def write_material(folder: Path) -> None:
    """Write every file that documented commands read into `folder`."""
    for name in MODELS:
        path = folder / f"{name}.onnx"
        path.parent.mkdir(exist_ok=True)
        onnx.save(classifier(), path)
    rng = np.random.default_rng(1)
    for count, name in enumerate(DATA, 128):
        images = rng.uniform(size=(count, *SHAPE)).astype(np.float32)
        np.savez(folder / f"{name}.npz", x=images, y=rng.integers(0, CLASSES, count))
    np.savez(folder / "inputs.npz", x=rng.uniform(size=(16, *SHAPE)).astype(np.float32))
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in classifier().graph.initializer}
    np.savez(folder / "channels.npz", w2=np.arange(32) % 4 != 0)
    np.savez(folder / "weights.npz", **{name: np.abs(weight) > 0.05 for name, weight in weights.items()})
    np.savez(folder / "scores.npz", w2=np.abs(weights["w2"]))
    (folder / "options.toml").write_text("amount = 0.3\nno-race = true\n", encoding="utf-8")


def write_images(folder: Path) -> None:
    """Write two images of 20 x 24 pixels of each class into `folder`, a folder for a class."""
    from PIL import Image

    rng = np.random.default_rng(2)
    for number in range(2 * CLASSES):
        path = folder / f"class{number % CLASSES}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8)).save(path)


def classifier() -> onnx.ModelProto:
    """x (N, 3, 16, 16) -> three convolutions, pooling, Gemm -> scores (N, 10)."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (32, 3, 3, 3), "w2": (64, 32, 3, 3), "w3": (64, 64, 3, 3), "fc": (CLASSES, 64)}
    weights = [numpy_helper.from_array(0.1 * rng.normal(size=s).astype(np.float32), n) for n, s in shapes.items()]
    nodes = []
    last = "x"
    for index in (1, 2, 3):
        nodes.append(helper.make_node("Conv", [last, f"w{index}"], [f"c{index}"], f"conv{index}", pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{index}"], [f"r{index}"], f"relu{index}"))
        last = f"r{index}"
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "fc"], ["scores"], "classifier", transB=1),
    ]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", *SHAPE))
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("N", CLASSES))
    graph = helper.make_graph(nodes, "classifier", [image], [scores], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
