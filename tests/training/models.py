"""Small models and samples for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.types import Array


def samples(path: Path, count: int = 64, size: int = 8, classes: int = 4, seed: int = 0) -> str:
    """An .npz of images whose class is the brightest quarter, (N, size, size, 3) uint8."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    images: NDArray[np.uint8] = rng.integers(0, 120, (count, size, size, 3)).astype(np.uint8)
    half = size // 2
    for image, label in zip(images, labels, strict=True):
        image[(label // 2) * half :, (label % 2) * half :][:half, :half] += 90
    np.savez(path, x=images, y=labels)
    return str(path)


def network(text: str, shapes: dict[str, tuple[int, ...]], seed: int = 0, dtype: type = np.float32) -> onnx.ModelProto:
    """The graph of `text` with random initializers; those called v… (variances) are positive."""
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(seed)
    for name, shape in shapes.items():
        fan = max(int(np.prod(shape[1:])), 1)
        values = rng.normal(0, 1.4 / np.sqrt(fan), shape) if len(shape) > 1 else 0.3 * rng.normal(0, 1, shape)
        if name.startswith("v"):
            values = 0.5 + np.abs(values)
        if name.startswith("s"):
            values = 1 + values
        model.graph.initializer.append(numpy_helper.from_array(values.astype(dtype), name))
    return model


HEADER = '<ir_version: 8, opset_import: ["" : 17]> net'


def chain(seed: int = 0) -> onnx.ModelProto:
    """Conv, norm, Relu, Conv, Relu, Conv, pooling, Gemm."""
    return network(
        f"""{HEADER} (float[N, 3, 8, 8] x) => (float[N, 4] y) {{
            a = Conv<pads = [1, 1, 1, 1]>(x, w1)  b = BatchNormalization(a, s1, b1, m1, v1)  c = Relu(b)
            d = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(c, w2, c2)  e = Relu(d)
            f = Conv(e, w3, c3)  g = Relu(f)  p = GlobalAveragePool(g)  q = Flatten(p)
            y = Gemm<transB = 1>(q, w4, c4) }}""",
        {
            "w1": (12, 3, 3, 3), "s1": (12,), "b1": (12,), "m1": (12,), "v1": (12,),
            "w2": (16, 12, 3, 3), "c2": (16,), "w3": (16, 16, 1, 1), "c3": (16,), "w4": (4, 16), "c4": (4,),
        },
        seed,
    )  # fmt: skip


def residual(seed: int = 0) -> onnx.ModelProto:
    """A stem, two residual blocks with norms, and a classifier."""
    text, shapes = [f"{HEADER} (float[N, 3, 8, 8] x) => (float[N, 4] y) {{"], {}

    def conv(made: str, read: str, key: str, c_out: int, c_in: int, relu: bool = True) -> None:
        text.append(f"  {made}_c = Conv<pads = [1, 1, 1, 1]>({read}, w{key})")
        normed = f"{made}_n" if relu else made
        text.append(f"  {normed} = BatchNormalization({made}_c, s{key}, b{key}, m{key}, v{key})")
        if relu:
            text.append(f"  {made} = Relu({made}_n)")
        shapes.update({f"w{key}": (c_out, c_in, 3, 3), **{f"{kind}{key}": (c_out,) for kind in "sbmv"}})

    conv("t0", "x", "0", 16, 3)
    for block in (1, 2):
        conv(f"h{block}", f"t{block - 1}", f"{block}a", 12, 16)
        conv(f"r{block}", f"h{block}", f"{block}b", 16, 12, relu=False)
        text.append(f"  z{block} = Add(r{block}, t{block - 1})  t{block} = Relu(z{block})")
    text.append("  p = GlobalAveragePool(t2)  q = Flatten(p)  y = Gemm<transB = 1>(q, w4, c4) }")
    return network("\n".join(text), {**shapes, "w4": (4, 16), "c4": (4,)}, seed)


def arrays(model: onnx.ModelProto) -> dict[str, Array]:
    """All constants by name."""
    return {name: numpy_helper.to_array(tensor) for name, tensor in constant_tensors(model).items()}
