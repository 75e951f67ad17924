"""Files that onnxruntime has optimised: they compile like the files that they were made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import upscale_onnx
from tests.traps.net import net, vector, weight


def optimised(model: onnx.ModelProto, level: str, folder: Path) -> onnx.ModelProto:
    """What onnxruntime makes of `model` at a level of its optimiser, as it saves it."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimised.onnx")


def images() -> onnx.ModelProto:
    """Convolutions with activations and a sum; of 8 channels the first producers compute 5, 6 and 5."""
    return net(
        "(float[1,3,6,6] x) => (float y)",
        """a = Conv<pads=[1,1,1,1]>(x, w1, b1)
        r = Relu(a)
        b = Conv<pads=[1,1,1,1]>(r, w2, b2)
        l = LeakyRelu<alpha=0.5>(b)
        c = Conv<pads=[1,1,1,1]>(l, w3, b3)
        t = Tanh(c)
        y = Conv(t, w4)""",
        w1=weight(8, 3, 3, 3, silent=(0, 1, 2)), b1=vector(8), w2=weight(8, 8, 3, 3, silent=(4, 5), seed=1),
        b2=2 * vector(8), w3=weight(8, 8, 3, 3, dead=(7,), seed=2), b3=3 * vector(8),
        w4=weight(4, 8, 1, 1, dead=(0, 2, 5)),
    )  # fmt: skip


def tokens() -> onnx.ModelProto:
    """Scaled products of queries and keys, and a layer with Gelu behind a normalised sum."""
    return net(
        "(float[2,5,8] x) => (float y)",
        """q = MatMul(x, w1)
        k = MatMul(x, w2)
        kt = Transpose<perm=[0,2,1]>(k)
        s = MatMul(q, kt)
        d = Div(s, four)
        p = Softmax(d)
        v = MatMul(p, x)
        a = Add(x, v)
        n = LayerNormalization(a, scale, shift)
        u = MatMul(n, w3)
        b = Add(u, bias)
        f = Div(b, root)
        e = Erf(f)
        g = Add(e, one)
        h = Mul(b, g)
        m = Mul(h, half)
        y = MatMul(m, w4)""",
        w1=weight(8, 8).T.copy(), w2=weight(8, 8, silent=(1, 6), seed=1).T.copy(), four=np.float32(4).reshape(()),
        scale=np.ones(8, np.float32), shift=np.zeros(8, np.float32), w3=weight(8, 8, silent=(2, 3), seed=3).T.copy(),
        bias=vector(8), root=np.sqrt(np.float32(2)).reshape(()), one=np.float32(1).reshape(()),
        half=np.float32(0.5).reshape(()), w4=weight(4, 8, dead=(7,)).T.copy(),
    )  # fmt: skip


FILES = {"images": (images(), {"FusedConv"}), "tokens": (tokens(), {"FusedMatMul", "SkipLayerNormalization"})}


@pytest.mark.parametrize("level", ["BASIC", "EXTENDED"])
@pytest.mark.parametrize("name", FILES)
def test_an_optimised_file_compiles_like_its_source(name: str, level: str, tmp_path: Path) -> None:
    model, fused = FILES[name]
    found = optimised(model, level, tmp_path)
    assert level == "BASIC" or fused <= {node.op_type for node in found.graph.node}
    gone = []
    for source in (model, found):
        report = upscale_onnx.compile(source, export="gather", align=1, race=False).report
        assert report.verification is not None
        assert report.verification.equal
        assert not report.refusals
        gone.append(report.before.parameters - report.after.parameters)
    assert gone[0] == gone[1] > 0
