"""Networks of two decisions whose accuracy depends on what is pruned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from tests.graphs import parse
from upscale_onnx.candidates.space import Space
from upscale_onnx.measures.measure import Top1
from upscale_onnx.options import Options
from upscale_onnx.reinforce.networks import Network
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.types import Array

CONSTRAINED = Options.of(method="constrained")


def graph(seed: int = 0, first: int = 8, batch: str = "N", classes: int = 5) -> onnx.ModelProto:
    """Two convolutions and a layer of `classes`; decisions of `first` and 12 channels."""

    def drawn(*shape: int) -> Array:
        return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)

    text = f"""(float[{batch}, 3, 6, 6] x) => (float[{batch}, {classes}] y) {{
        a = Conv<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(x, stem)
        b = Relu(a)
        c = Conv<kernel_shape=[3, 3], strides=[2, 2]>(b, body)
        d = Relu(c)
        e = GlobalAveragePool(d)
        f = Flatten(e)
        y = Gemm(f, fc)
    }}"""
    return parse(text, stem=drawn(first, 3, 3, 3), body=drawn(12, first, 3, 3), fc=drawn(12, classes))


@pytest.fixture(scope="session")
def network() -> Callable[..., Network]:
    """Makes a network whose images have the labels that it predicts itself, so that its accuracy is 1."""

    def made(seed: int = 0, first: int = 8, batch: str = "N", images: int = 64, classes: int = 5) -> Network:
        model = graph(seed, first, batch, classes)
        x = np.random.default_rng(seed).normal(size=(images, 3, 6, 6)).astype(np.float32)
        parts = [x] if batch == "N" else np.split(x, images // int(batch))
        session = make_session(model)
        batches = [({"x": part}, np.asarray(run(session, {"x": part})[0]).argmax(axis=1)) for part in parts]
        return Network.of(Space.of(model, CONSTRAINED), Top1.of(model, batches))

    return made
