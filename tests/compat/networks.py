"""Small networks whose segments are known, and how models are run and looked at."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from tests.graphs import parse
from upscale_onnx.types import Array


def residual(seed: int = 0) -> onnx.ModelProto:
    """x (N, 3, 8, 8); a and b make the 16 channels of s = a + b, which c and d read; their sum leaves through e."""
    rng = np.random.default_rng(seed)

    def weight(*shape: int) -> Array:
        return rng.normal(size=shape).astype(np.float32)

    return parse(
        """(float[N, 3, 8, 8] x) => (float[N, 5, 8, 8] y) {
            a = Conv<pads=[1,1,1,1]>(x, wa, ba)
            b = Conv(x, wb)
            s = Add(a, b)
            r = Relu(s)
            c = Conv(r, wc)
            d = Conv<pads=[1,1,1,1]>(r, wd)
            t = Add(c, d)
            y = Conv(t, we)
        }""",
        wa=weight(16, 3, 3, 3),
        ba=weight(16),
        wb=weight(16, 3, 1, 1),
        wc=weight(12, 16, 1, 1),
        wd=weight(12, 16, 3, 3),
        we=weight(5, 12, 1, 1),
    )


def weights(model: onnx.ModelProto) -> dict[str, Array]:
    """The initializers."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def columns(model: onnx.ModelProto, name: str) -> list[int]:
    """The input channels of a Conv's weight that are all zero."""
    zero = ~weights(model)[name].any(axis=(0, 2, 3))
    return [int(index) for index in np.flatnonzero(zero)]


def rows(model: onnx.ModelProto, name: str) -> list[int]:
    """The output channels of a Conv's weight that are all zero."""
    zero = ~weights(model)[name].any(axis=(1, 2, 3))
    return [int(index) for index in np.flatnonzero(zero)]


def infer(model: onnx.ModelProto, *inputs: Array) -> list[Array]:
    """The outputs of the model."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return list(session.run(None, dict(zip(names, inputs, strict=True))))


def assert_same(expected: list[Array], actual: list[Array]) -> None:
    """Equal up to the rounding of sums in another order."""
    assert len(expected) == len(actual)
    for a, b in zip(expected, actual, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=2e-5 * max(float(np.abs(a).max()), 1e-6))
