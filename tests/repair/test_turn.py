"""Linear streams in other bases: which there are, that nothing changes, and that pruning costs less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.repair.axes import cheap_axes
from upscale_onnx.repair.choose import obs_scores
from upscale_onnx.repair.streams import linear_streams
from upscale_onnx.repair.turn import turned
from upscale_onnx.runtime.activations import batches_of
from upscale_onnx.runtime.sessions import make_session, run


def _inverted_residuals(*, relu_on_stream: bool = False, stream_is_output: bool = False) -> onnx.ModelProto:
    """A stem, two inverted residuals around a stream of 12 channels, and a 3x3 convolution that reads it too."""
    rng = np.random.default_rng(0)
    tensors: dict[str, NDArray[Any]] = {}
    nodes = []

    def conv(source: str, name: str, shape: tuple[int, ...], bias: bool = True, **attributes: Any) -> str:
        tensors[f"{name}_w"] = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        given = [source, f"{name}_w"]
        if bias:
            tensors[f"{name}_b"] = rng.normal(size=shape[0]) / 4
            given.append(f"{name}_b")
        nodes.append(helper.make_node("Conv", given, [name], name, **attributes))
        return name

    stream = conv("x", "stem", (12, 3, 1, 1))
    if relu_on_stream:
        nodes.append(helper.make_node("Relu", [stream], ["rectified"]))
        stream = "rectified"
    for block in (1, 2):
        nodes.append(helper.make_node("Relu", [conv(stream, f"e{block}", (24, 12, 1, 1))], [f"h{block}"]))
        depthwise = conv(f"h{block}", f"d{block}", (24, 1, 3, 3), group=24, pads=[1, 1, 1, 1])
        nodes.append(helper.make_node("Relu", [depthwise], [f"k{block}"]))
        made = conv(f"k{block}", f"p{block}", (12, 24, 1, 1), bias=block == 1)
        nodes.append(helper.make_node("Add", [stream, made], [f"s{block}"]))
        stream = f"s{block}"
    conv(stream, "y", (6, 12, 3, 3), pads=[1, 1, 1, 1])
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    if stream_is_output:
        outputs.append(helper.make_tensor_value_info("s1", TensorProto.FLOAT, None))
    graph = helper.make_graph(
        nodes,
        "inverted_residuals",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 3, 8, 8))],
        outputs,
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _perceptron() -> onnx.ModelProto:
    """Two matrix products and a Gemm whose values nothing stands between."""
    rng = np.random.default_rng(0)
    tensors = {"a": (5, 8), "a_b": (8,), "b": (8, 5), "c": (8, 3), "c_b": (3,)}
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["m"]),
        helper.make_node("Add", ["m", "a_b"], ["z"]),
        helper.make_node("MatMul", ["z", "b"], ["u"]),
        helper.make_node("Relu", ["u"], ["v"]),
        helper.make_node("Gemm", ["z", "c", "c_b"], ["w"]),
    ]
    graph = helper.make_graph(
        nodes,
        "perceptron",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 5))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("v", "w")],
        [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), name) for name, s in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _data(shape: tuple[int, ...] = (64, 3, 8, 8), seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _names(model: onnx.ModelProto) -> list[tuple[list[str], list[str]]]:
    return [([m.weight for m in s.makers], [r.weight for r in s.readers]) for s in linear_streams(model)]


def test_the_streams_of_inverted_residuals() -> None:
    assert _names(_inverted_residuals()) == [(["stem_w", "p1_w", "p2_w"], ["e1_w", "e2_w", "y_w"])]
    assert _names(_perceptron()) == [(["a"], ["b", "c"])]


def test_what_others_see_is_no_stream() -> None:
    assert _names(_inverted_residuals(relu_on_stream=True)) == []
    assert _names(_inverted_residuals(stream_is_output=True)) == []
    shared = _inverted_residuals()
    shared.graph.node[-1].input[1] = "e1_w"
    assert _names(shared) == []


@pytest.mark.parametrize("model", [_inverted_residuals(), _perceptron()], ids=["convolutions", "products"])
def test_a_turned_model_computes_the_same(model: onnx.ModelProto) -> None:
    before = model.SerializeToString()
    x = {"x": _data() if "inverted" in model.graph.name else _data((64, 5))}
    found = turned(model, batches_of(x, 16), 0.3)
    assert model.SerializeToString() == before
    assert found.SerializeToString() != before
    for a, b in zip(run(make_session(model), x), run(make_session(found), x), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-4)


def test_without_streams_the_model_is_handed_back() -> None:
    model = _inverted_residuals(relu_on_stream=True)
    assert turned(model, batches_of({"x": _data()}, 16), 0.3) is model


def test_channels_of_a_turned_model_cost_less() -> None:
    model, batches = _inverted_residuals(), batches_of({"x": _data()}, 16)
    found = turned(model, batches, 0.3)
    before, after = obs_scores(model, batches), obs_scores(found, batches)
    for weight in ("e2_w", "y_w"):  # what e1 reads is of rank 3 in any basis
        least = [float(np.square(np.sort(scores[weight])[:3]).sum()) for scores in (before, after)]
        assert least[1] < 0.7 * least[0]


def test_one_reader_gets_the_best_approximation_of_its_rank() -> None:
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(6, 6))
    covariance, weight = mixed @ mixed.T, rng.normal(size=(6, 9))
    basis, inverse = cheap_axes([covariance], [weight @ weight.T], [2])
    np.testing.assert_allclose(basis @ inverse, np.eye(6), atol=1e-9)
    root = np.linalg.cholesky(covariance)
    least = np.square(np.linalg.svd(root.T @ weight, compute_uv=False))[-2:].sum()
    kept = inverse @ covariance @ inverse.T
    np.testing.assert_allclose(kept, np.diag(np.diag(kept)), atol=1e-9)
    lost = sorted((basis.T @ weight @ weight.T @ basis).diagonal() * np.diag(kept))[:2]
    np.testing.assert_allclose(sum(lost), least, rtol=1e-9)


def test_each_of_several_readers_can_do_without_other_axes() -> None:
    first, second = np.diag([0.0, 0, 1, 1, 1, 1]), np.diag([1.0, 1, 1, 1, 0, 0])
    mixing = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    metrics = [mixing @ m @ mixing.T for m in (first, second)]
    basis, inverse = cheap_axes([np.eye(6)] * 2, metrics, [2, 2])
    for metric in metrics:
        each = (basis.T @ metric @ basis).diagonal() * np.square(inverse).sum(axis=1)
        np.testing.assert_allclose(np.sort(each)[:2], 0, atol=1e-6)


@pytest.mark.slow
def test_mobilenet_is_turned(corpus: Path) -> None:
    model = onnx.load(corpus / "trained" / "mobilenet_v2_dequantized_fp32.onnx")
    assert [s.channels for s in linear_streams(model)] == [16, 24, 32, 64, 96, 160, 320]
    x = {"input": _data((8, 3, 224, 224))}
    found = turned(model, batches_of(x, 4), 0.3)
    (expected,), (made,) = (run(make_session(m), x) for m in (model, found))
    np.testing.assert_allclose(made, expected, atol=1e-3 * np.abs(expected).max())
