"""Graphs run in PyTorch against onnxruntime: operators one by one, and whole networks where there is a corpus."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.types import Array

torch = pytest.importorskip("torch")

from upscale_onnx.errors import ArgumentError  # noqa: E402
from upscale_onnx.model import load_model  # noqa: E402
from upscale_onnx.runtime.inputs import random_inputs  # noqa: E402
from upscale_onnx.torch_backend.network import RULES, TorchNetwork  # noqa: E402

FOLDER = Path(os.environ.get("UPSCALE_CORPUS", Path(__file__).resolve().parents[3] / "shared" / "corpus"))
FEW = (
    "trained/cifar10_resnet20", "trained/fastestdet", "trained/hyperlpr_cls_96", "trained/mlperf_tiny_resnet8_cifar10",
    "trained/mnist_conv_cntk", "trained/ultraface_slim_320", "trained/yunet_120x160",
)  # fmt: skip


def _ints(*values: int) -> Array:
    return np.asarray(values, np.int64)


def _floats(*values: float) -> Array:
    return np.asarray(values, np.float32)


def _random(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def _one(op: str, shape: tuple[int, ...], opset: int, constants: tuple[Array | None, ...], **attributes: Any) -> Any:
    """A model of one node, of a first input x and constants."""
    names = ["" if value is None else f"c{i}" for i, value in enumerate(constants)]
    count = int(attributes.pop("count", 1))
    node = helper.make_node(op, ["x", *names], [f"y{i}" for i in range(count)], "node", **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in node.output],
        [numpy_helper.from_array(v, n) for n, v in zip(names, constants, strict=True) if v is not None],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


IMAGE = (2, 4, 7, 6)
PLAIN = (
    "Abs", "Atan", "Celu", "Cos", "Elu", "Erf", "Exp", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Mish",
    "Neg", "Reciprocal", "Relu", "Selu", "Sigmoid", "Sin", "Softplus", "Softsign", "Tanh", "ThresholdedRelu",
    "GlobalAveragePool", "GlobalMaxPool", "LpNormalization", "LogSoftmax", "Softmax", "Flatten", "Transpose", "Dropout",
)  # fmt: skip
CASES: list[tuple[str, tuple[int, ...], int, tuple[Array | None, ...], dict[str, Any]]] = [
    *((op, IMAGE, 18, (), {}) for op in PLAIN),
    *((op, IMAGE, 18, (_random(4, 1, 6),), {}) for op in ("Add", "Div", "Max", "Min", "Mean", "Mul", "Sub", "Sum")),
    *(
        (op, IMAGE, 18, (axes,), {"keepdims": keep})
        for op in ("ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
                   "ReduceSum", "ReduceSumSquare")
        for axes, keep in ((_ints(-1, 1), 0), (None, 1))
    ),
    ("ReduceMean", IMAGE, 13, (), {"axes": [2, 3], "keepdims": 0}),
    ("Cast", IMAGE, 18, (), {"to": TensorProto.FLOAT}),
    ("Clip", IMAGE, 18, (_floats(-0.5).reshape(()), None), {}),
    ("Clip", IMAGE, 6, (), {"min": -0.5, "max": 0.25}),
    ("Gelu", IMAGE, 20, (), {}),
    ("Gelu", IMAGE, 20, (), {"approximate": "tanh"}),
    ("Pow", IMAGE, 18, (_floats(2.0),), {}),
    ("PRelu", IMAGE, 18, (_random(4, 1, 1),), {}),
    ("Softmax", IMAGE, 11, (), {"axis": 2}),
    ("Conv", IMAGE, 18, (_random(5, 4, 3, 2), _random(5)), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    ("Conv", IMAGE, 18, (_random(4, 1, 3, 3),), {"group": 4, "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", IMAGE, 18, (_random(2, 4, 3, 3),), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    ("Conv", (2, 4, 9), 18, (_random(5, 4, 3),), {"dilations": [2], "pads": [2, 2]}),
    ("Conv", (1, 2, 5, 5, 5), 18, (_random(3, 2, 3, 3, 3),), {}),
    ("ConvTranspose", IMAGE, 18, (_random(4, 3, 3, 3), _random(3)), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("ConvTranspose", IMAGE, 18, (_random(4, 3, 2, 2),), {"strides": [2, 2], "output_padding": [1, 1], "group": 2}),
    ("ConvTranspose", IMAGE, 18, (_random(4, 3, 3, 3),), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ("ConvTranspose", IMAGE, 18, (_random(4, 3, 3, 3),), {"strides": [2, 2], "output_shape": [14, 13]}),
    ("Gemm", (3, 4), 18, (_random(5, 4), _random(5)), {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", (4, 3), 18, (_random(4, 5),), {"transA": 1}),
    ("MatMul", (2, 3, 4), 18, (_random(4, 5),), {}),
    ("Einsum", (2, 3, 4), 18, (_random(4, 5),), {"equation": "bij,jk->bik"}),
    ("MaxPool", IMAGE, 18, (), {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1, "pads": [1, 0, 1, 1]}),
    ("MaxPool", IMAGE, 18, (), {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ("AveragePool", IMAGE, 18, (), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("AveragePool", IMAGE, 19, (), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1, "count_include_pad": 1}),
    ("BatchNormalization", IMAGE, 15, (_random(4), _random(4), _random(4), _floats(1, 2, 3, 4)), {"epsilon": 1e-3}),
    ("InstanceNormalization", IMAGE, 18, (_random(4), _random(4)), {}),
    ("LayerNormalization", IMAGE, 18, (_random(7, 6), _random(7, 6)), {"axis": 2}),
    ("GroupNormalization", IMAGE, 21, (_random(4), _random(4)), {"num_groups": 2}),
    ("GroupNormalization", IMAGE, 18, (_random(2), _random(2)), {"num_groups": 2}),
    ("RMSNormalization", IMAGE, 23, (_random(7, 6),), {"axis": 2}),
    ("ReduceLogSum", (2, 3), 18, (_ints(1),), {}),
    ("Swish", IMAGE, 24, (), {"alpha": 1.5}),
    ("LRN", IMAGE, 18, (), {"size": 3, "alpha": 0.1, "bias": 2.0}),
    ("Reshape", IMAGE, 18, (_ints(0, -1, 3),), {}),
    ("Squeeze", (2, 1, 3), 18, (_ints(1),), {}),
    ("Squeeze", (2, 1, 3), 11, (), {"axes": [-2]}),
    ("Unsqueeze", (2, 3), 18, (_ints(-1, 0),), {}),
    ("Concat", IMAGE, 18, (_random(2, 3, 7, 6),), {"axis": 1}),
    ("Split", IMAGE, 18, (_ints(1, 3),), {"axis": 1, "count": 2}),
    ("Split", IMAGE, 18, (), {"axis": 2, "count": 2, "num_outputs": 2}),
    ("Slice", IMAGE, 18, (_ints(-1, 1), _ints(-100, 5), _ints(2, 3), _ints(-2, 2)), {}),
    ("Slice", IMAGE, 9, (), {"starts": [1], "ends": [1000], "axes": [2]}),
    ("Gather", IMAGE, 18, (np.array([[0, -1], [1, 1]], np.int64),), {"axis": 1}),
    ("Expand", (2, 1, 3), 18, (_ints(4, 1, 5, 1),), {}),
    ("Tile", (2, 3), 18, (_ints(2, 3),), {}),
    ("Pad", IMAGE, 18, (_ints(0, 1, 2, 0, 0, 2, -1, 1), _floats(0.5).reshape(())), {}),
    ("Pad", IMAGE, 18, (_ints(0, 0, 2, 1, 0, 0, 1, 2),), {"mode": "reflect"}),
    ("Pad", IMAGE, 18, (_ints(2, 1), None, _ints(-1)), {"mode": "edge"}),
    ("DepthToSpace", IMAGE, 18, (), {"blocksize": 2}),
    ("DepthToSpace", IMAGE, 18, (), {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", (1, 3, 4, 6), 18, (), {"blocksize": 2}),
    ("Upsample", IMAGE, 9, (_floats(1, 1, 2, 3),), {"mode": "nearest"}),
    ("Upsample", IMAGE, 9, (_floats(1, 1, 2, 2),), {"mode": "linear"}),
    *(
        ("Resize", IMAGE, 18, (None, None, _ints(2, 4, 11, 4)), {
            "mode": mode, "coordinate_transformation_mode": where, "nearest_mode": rounding,
        })
        for mode in ("nearest", "linear")
        for where in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")
        for rounding in ("round_prefer_floor", "floor", "ceil", "round_prefer_ceil")
        if mode == "nearest" or rounding == "floor"
    ),
    ("Resize", IMAGE, 13, (None, _floats(1, 1, 1.7, 0.6)), {"mode": "linear"}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "shape", "opset", "constants", "attributes"), CASES)
def test_an_operator_computes_what_onnxruntime_does(
    op: str, shape: tuple[int, ...], opset: int, constants: tuple[Array | None, ...], attributes: dict[str, Any]
) -> None:
    model = _one(op, shape, opset, constants, **attributes)
    x = {"x": _random(*shape)}
    options = ort.SessionOptions()
    options.log_severity_level = 4
    expected = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, x)
    leaf = torch.tensor(x["x"], requires_grad=True)
    found = TorchNetwork(model).run(x, lambda name, value, reader: leaf if name == "x" and not reader else value)
    for array, value in zip(expected, found.values(), strict=True):
        assert value.requires_grad
        assert value.shape == array.shape
        np.testing.assert_allclose(value.detach().numpy(), array, rtol=2e-5, atol=2e-6)


def test_most_operators_are_tested() -> None:
    tested = {case[0] for case in CASES}
    elsewhere = {"DequantizeLinear", "QuantizeLinear"}  # test_quantisers.py
    assert sorted(RULES.keys() - tested - elsewhere) == ["Log", "Shape", "Sqrt", "Where"]  # in the graphs below


def test_what_no_gradient_flows_through_is_computed_all_the_same() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]> tiny (float[N, 6] x) => (float[N, M] y) {
            shape = Shape(x)  zero = Constant<value = int64[1] {0}>()  first = Gather<axis = 0>(shape, zero)
            rest = Constant<value = int64[2] {2, 3}>()  wanted = Concat<axis = 0>(first, rest)
            r = Reshape(x, wanted)  l = Log(x)  s = Sqrt(x)  big = Greater(l, s)  w = Where(big, l, s)
            f = Flatten(r)  y = Add(f, w) }"""
    )
    x = {"x": np.abs(_random(4, 6)) + 0.5}
    expected = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, x)[0]
    found = TorchNetwork(model).run(x)["y"]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_an_operator_without_gradient_is_said() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]> tiny (float[2, 3] x) => (float[2, 3] y) {
            y = CumSum<exclusive = 0>(x, one) }"""
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(1, np.int64), "one"))
    leaf = torch.ones((2, 3), requires_grad=True)
    with pytest.raises(ArgumentError, match="CumSum 'y' has no gradient here"):
        TorchNetwork(model).run({"x": _random(2, 3)}, lambda name, value, reader: leaf if name == "x" else value)
    np.testing.assert_allclose(TorchNetwork(model).run({"x": leaf.detach().numpy()})["y"], [[1, 2, 3]] * 2)


@pytest.mark.parametrize("name", FEW)
def test_a_network_computes_what_onnxruntime_does(name: str) -> None:
    path = FOLDER / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"{path} is not there: set UPSCALE_CORPUS to the folder of networks")
    model = load_model(path)
    inputs = random_inputs(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = TorchNetwork(model).run(inputs)
    for array, value in zip(session.run(None, dict(inputs)), found.values(), strict=True):
        np.testing.assert_allclose(value.numpy(), array, atol=1e-5 * max(float(np.abs(array).max()), 1e-3))
