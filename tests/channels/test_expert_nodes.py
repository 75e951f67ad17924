"""A mixture of experts as one node of onnxruntime's: MoE, and QMoE with weights of few bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from tests.channels.engine import Engine
from upscale_onnx.model.packing import packed
from upscale_onnx.types import Array

EXPERTS, TOKENS, FEATURES, WIDTH, HIDDEN = 3, 7, 5, 16, 32
FORMS: list[dict[str, Any]] = [
    {"normalize_routing_weights": 1, **form}  # without it, onnxruntime may compute zeros (1.31)
    for form in (
        {"activation_type": "relu"},
        {"activation_type": "gelu", "k": 2},
        {"activation_type": "silu", "k": 2},
        {"activation_type": "identity"},
        {"activation_type": "swiglu", "swiglu_fusion": 1, "k": 2},
    )
]
# Neurons of each expert that its last layer does not read.
GONE = [(0, 1, 2, 9), (5, 6, 7, 8, 9), (2, 7, 30, 31)]
LEFT = HIDDEN - 4


def mixture(form: dict[str, Any], biased: bool, dead: list[int]) -> dict[str, Array]:
    """Weights of experts, whose last layers do not read some neurons and do not make the channels `dead`."""
    rng = np.random.default_rng(0)
    rows = HIDDEN * (2 if form.get("swiglu_fusion") else 1)
    held = {"w1": rng.normal(size=(EXPERTS, rows, WIDTH)), "w2": rng.normal(size=(EXPERTS, WIDTH, HIDDEN))}
    held |= {"b1": rng.normal(size=(EXPERTS, rows)), "b2": rng.normal(size=(EXPERTS, WIDTH))} if biased else {}
    for expert, gone in enumerate(GONE):
        held["w2"][expert][:, list(gone)] = 0
    for name in ("w2", "b2") if biased else ("w2",):
        held[name][:, dead] = 0
    return {name: array.astype(np.float32) for name, array in held.items()}


def network(node: onnx.NodeProto, held: dict[str, Array], dead: list[int], unread: list[int]) -> onnx.ModelProto:
    """`node` reads `v` and `r`, of a layer that does not make the channels `dead`, and of a router. Behind it, a layer
    does not read the channels `unread`."""
    rng = np.random.default_rng(1)
    layers = {"wp": (FEATURES, WIDTH), "wr": (FEATURES, EXPERTS), "wc": (WIDTH, 3)}
    held = {**held, **{name: rng.normal(size=size).astype(np.float32) for name, size in layers.items()}}
    held["wp"][:, dead] = 0
    held["wc"][unread] = 0
    nodes = [
        helper.make_node("MatMul", ["x", "wp"], ["v"]),
        helper.make_node("MatMul", ["x", "wr"], ["r"]),
        node,
        helper.make_node("MatMul", ["o", "wc"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [TOKENS, FEATURES])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [TOKENS, 3])
    used = {name for one in nodes for name in one.input}
    weights = [numpy_helper.from_array(array, name) for name, array in held.items() if name in used]
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], weights), opset_imports=opsets, ir_version=10)


def shapes(model: onnx.ModelProto, align: int = 1) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights that are left in the compiled model, which is shown equal."""
    result = upscale_onnx.compile(model, export="gather", align=align, race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    assert not result.report.refusals
    feed = {"x": np.random.default_rng(4).normal(size=(TOKENS, FEATURES)).astype(np.float32)}
    np.testing.assert_allclose(Engine(result.model).run(feed)[0], Engine(model).run(feed)[0], rtol=1e-4, atol=1e-4)
    return {tensor.name.split("_")[0]: tuple(tensor.dims) for tensor in result.model.graph.initializer}


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form["activation_type"])
def test_neurons_and_channels_leave(form: dict[str, Any], biased: bool) -> None:
    """Input and result have one number of channels for onnxruntime: the larger one of what is left."""
    names = ["v", "r", "w1", "b1" if biased else "", "w2", "b2" if biased else ""]
    node = helper.make_node("MoE", names, ["o"], domain="com.microsoft", **form)
    left = shapes(network(node, mixture(form, biased, [3]), [0, 1, 2, 15], [4, 5, 6]))
    gates = 2 if form.get("swiglu_fusion") else 1
    assert left["w1"] == (EXPERTS, gates * LEFT, WIDTH - 4)
    assert left["w2"] == (EXPERTS, WIDTH - 4, LEFT)
    assert left["wp"] == (FEATURES, WIDTH - 4)
    assert left["wc"] == (WIDTH - 4, 3)


def test_neurons_fill_blocks() -> None:
    node = helper.make_node("MoE", ["v", "r", "w1", "", "w2"], ["o"], domain="com.microsoft")
    held = mixture({}, False, [])
    held["w2"][:, :, :9] = 0
    assert shapes(network(node, held, [], []), align=8)["w2"] == (EXPERTS, WIDTH, 24)


def test_an_expert_without_neurons_keeps_some() -> None:
    """It is routed to nevertheless, and makes its bias."""
    node = helper.make_node("MoE", ["v", "r", "w1", "b1", "w2", "b2"], ["o"], domain="com.microsoft")
    held = mixture({}, True, [])
    held["w2"][1] = 0
    assert shapes(network(node, held, [], []))["w2"] == (EXPERTS, WIDTH, LEFT)


def test_weights_the_other_way_round_are_left_alone() -> None:
    node = helper.make_node("MoE", ["v", "r", "w1", "", "w2"], ["o"], domain="com.microsoft")
    held = {name: array.swapaxes(1, 2).copy() for name, array in mixture({}, False, []).items()}
    report = upscale_onnx.compile(network(node, held, [0], []), race=False).report
    assert [refusal.op_type for refusal in report.refusals] == ["MoE"]


def quantised(array: Array, bits: int, block: int, points: bool) -> dict[str, Array]:
    """The weight in few bits, by the last letters of the names of its parts: zeros are exact."""
    experts, rows, columns = array.shape
    size = block or columns
    blocks = array.reshape(experts, rows, columns // size, size)
    top = 1 << bits - 1
    scales = np.abs(blocks).max(-1) / (top - 1) + 1e-3
    middle = np.full(scales.shape, top - 1 if points else top)
    steps = np.clip(np.round(blocks / scales[..., None]) + middle[..., None], 0, 2 * top - 1).astype(np.uint8)
    parts = {"w": packed(steps.reshape(experts, rows, columns), bits), "s": scales.astype(np.float32), "p": middle}
    if not block:
        parts |= {"s": parts["s"][..., 0], "p": middle[..., 0]}
    parts["p"] = packed(parts["p"].astype(np.uint8), bits)
    return parts if points else {name: parts[name] for name in "ws"}


@pytest.mark.parametrize("points", [False, True])
@pytest.mark.parametrize("block", [0, 16])
@pytest.mark.parametrize("bits", [4, 8])
def test_neurons_of_few_bits_leave(bits: int, block: int, points: bool) -> None:
    """Bytes, or blocks, stay whole, and so do the channels of the input and the result."""
    form = {"activation_type": "swiglu", "swiglu_fusion": 1}
    held = mixture(form, True, [])
    for expert, dead in enumerate((slice(16), slice(16, 32), slice(16))):
        held["w2"][expert][:, dead] = 0
    parts = {f"{part}{i}": array for i in "12" for part, array in quantised(held[f"w{i}"], bits, block, points).items()}
    names = ["v", "r", "w1", "s1", "b1", "w2", "s2", "b2", *(["", "", "", "p1", "p2"] if points else [])]
    attrs = {**form, "expert_weight_bits": bits, **({"block_size": block} if block else {})}
    node = helper.make_node("QMoE", names, ["o"], domain="com.microsoft", **attrs)
    left = shapes(network(node, {**held, **parts}, [0], [1]))
    neurons = 16  # of the first expert, which has the most of them
    assert left["w1"] == (EXPERTS, 2 * neurons, WIDTH * bits // 8)
    assert left["w2"] == (EXPERTS, WIDTH, neurons * bits // 8)
    assert left["b1"] == (EXPERTS, 2 * neurons)
    assert left["wp"] == (FEATURES, WIDTH)
