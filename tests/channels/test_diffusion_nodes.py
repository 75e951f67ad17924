"""Operators that onnxruntime fuses in diffusion models. It has no kernels of them for CPUs, so that ONNX's operators
take their places in both models."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from tests.channels.engine import Engine
from upscale_onnx.types import Array

MS, FEATURES, WIDTH, GROUPS = "com.microsoft", 4, 24, 4
SIZE = WIDTH // GROUPS
make = helper.make_node


def compiled(nodes: list[onnx.NodeProto], held: dict[str, Array], image: bool) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights left of a model `x` to `y`, which is shown equal by nodes of ONNX."""
    places = [2, 3, 5] if image else [2, 5]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [*places, FEATURES])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [*places, 3])
    weights = [numpy_helper.from_array(v if v.dtype == np.int64 else v.astype(np.float32), k) for k, v in held.items()]
    opsets = [helper.make_opsetid("", 24), helper.make_opsetid(MS, 1)]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y], weights), opset_imports=opsets, ir_version=10)
    result = upscale_onnx.compile(model, export="gather", align=1, race=False, verify=False)
    assert not result.report.refusals
    small = result.model
    feed = {"x": np.random.default_rng(7).normal(size=(*places, FEATURES)).astype(np.float32)}
    expected, found = (Engine(with_standard(one)).run(feed)[0] for one in (model, small))
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    return {tensor.name.split("_")[0]: tuple(tensor.dims) for tensor in small.graph.initializer}


def with_standard(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with nodes of ONNX in place of onnxruntime's."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    del plain.graph.node[:]
    for node in model.graph.node:
        attrs = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        plain.graph.node.extend([node] if node.domain != MS else STANDARD[node.op_type](node, attrs))
    return plain


def _group_norm(node: onnx.NodeProto, attrs: dict[str, Any]) -> list[onnx.NodeProto]:
    name, source = node.output[0], node.input[0]
    nodes = []
    if node.op_type == "SkipGroupNorm":
        source = node.output[1] if len(node.output) > 1 else f"{name}_sum"
        nodes = [make("Sum", [node.input[0], *node.input[3:]], [source])]
    last = attrs.get("channels_last", 1)
    return [
        *nodes,
        make("Transpose", [source], [f"{name}_first"], perm=[0, 3, 1, 2] if last else [0, 1, 2, 3]),
        make("GroupNormalization", [f"{name}_first", *node.input[1:3]], [f"{name}_made"], num_groups=attrs["groups"]),
        make("Transpose", [f"{name}_made"], [f"{name}_back"], perm=[0, 2, 3, 1] if last else [0, 1, 2, 3]),
        make("Swish" if attrs.get("activation") else "Identity", [f"{name}_back"], [name]),
    ]


def _split_gelu(node: onnx.NodeProto, attrs: dict[str, Any]) -> list[onnx.NodeProto]:
    name = node.output[0]
    return [
        make("Add", node.input, [f"{name}_sum"]),
        make("Split", [f"{name}_sum"], [f"{name}_left", f"{name}_right"], axis=-1, num_outputs=2),
        make("Gelu", [f"{name}_right"], [f"{name}_gelu"]),
        make("Mul", [f"{name}_left", f"{name}_gelu"], [name]),
    ]


def _bias_add(node: onnx.NodeProto, attrs: dict[str, Any]) -> list[onnx.NodeProto]:
    return [make("Sum", node.input, node.output)]


STANDARD = {
    "GroupNorm": _group_norm,
    "SkipGroupNorm": _group_norm,
    "BiasSplitGelu": _split_gelu,
    "BiasAdd": _bias_add,
}


def layers(**sizes: tuple[int, ...]) -> dict[str, Array]:
    """Random weights."""
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=size) for name, size in sizes.items()}


@pytest.mark.parametrize("activation", [0, 1])
@pytest.mark.parametrize("skip", ["", "image", "vector"])
def test_groups_leave(skip: str, activation: int) -> None:
    """A group of zeros becomes the bias of the normalisation; one that is not read leaves, too."""
    held = layers(w1=(FEATURES, WIDTH), w0=(FEATURES, WIDTH), g=(WIDTH,), b=(WIDTH,), c=(WIDTH,), w2=(WIDTH, 3))
    for name in ("w1", "w0", "c", "b"):
        held[name][..., :SIZE] = 0
    held["w2"][2 * SIZE : 3 * SIZE] = 0
    nodes = [make("MatMul", ["x", "w1"], ["u"])]
    names = ["u", "g", "b"]
    if skip:
        nodes += [make("MatMul", ["x", "w0"], ["s" if skip == "image" else "t"])]
        nodes += [] if skip == "image" else [make("ReduceMean", ["t", "places"], ["s"], keepdims=1)]
        names += ["s", "c"]
    op = "SkipGroupNorm" if skip else "GroupNorm"
    nodes += [
        make(op, names, ["n"], domain=MS, groups=GROUPS, activation=activation),
        make("MatMul", ["n", "w2"], ["y"]),
    ]
    if skip == "vector":
        held["places"] = np.asarray([1, 2])
    used = {name for node in nodes for name in node.input}
    left = compiled(nodes, {name: array for name, array in held.items() if name in used}, image=True)
    assert left["w1"] == (FEATURES, WIDTH - 2 * SIZE)
    assert left["g"] == (WIDTH - 2 * SIZE,)
    assert left["w2"] == (WIDTH - 2 * SIZE, 3)


def test_channels_first() -> None:
    held = layers(w1=(FEATURES, WIDTH), g=(WIDTH,), b=(WIDTH,), w2=(WIDTH, 3))
    held["w2"][:SIZE] = 0
    nodes = [
        make("MatMul", ["x", "w1"], ["u"]),
        make("Transpose", ["u"], ["v"], perm=[0, 3, 1, 2]),
        make("GroupNorm", ["v", "g", "b"], ["n"], domain=MS, groups=GROUPS, channels_last=0),
        make("Transpose", ["n"], ["m"], perm=[0, 2, 3, 1]),
        make("MatMul", ["m", "w2"], ["y"]),
    ]
    assert compiled(nodes, held, image=True)["w1"] == (FEATURES, WIDTH - SIZE)


def test_halves_of_a_gated_layer_leave_together() -> None:
    held = layers(w1=(FEATURES, WIDTH), b=(WIDTH,), w2=(WIDTH // 2, 3))
    held["w2"][[0, 5]] = 0
    for name in ("w1", "b"):
        held[name][..., [3, WIDTH // 2 + 7]] = 0
    nodes = [
        make("MatMul", ["x", "w1"], ["u"]),
        make("BiasSplitGelu", ["u", "b"], ["n"], domain=MS),
        make("MatMul", ["n", "w2"], ["y"]),
    ]
    left = compiled(nodes, held, image=False)
    assert (left["w1"], left["b"], left["w2"]) == ((FEATURES, WIDTH - 8), (WIDTH - 8,), (WIDTH // 2 - 4, 3))


def test_a_bias_and_a_skipped_value_are_cut() -> None:
    held = layers(w1=(FEATURES, WIDTH), w0=(FEATURES, WIDTH), b=(WIDTH,), w2=(WIDTH, 3))
    for name in ("w0", "w1", "b"):
        held[name][..., [2, 9]] = 0
    held["w2"][4] = 0
    nodes = [
        make("MatMul", ["x", "w1"], ["u"]),
        make("MatMul", ["x", "w0"], ["s"]),
        make("BiasAdd", ["u", "b", "s"], ["n"], domain=MS),
        make("MatMul", ["n", "w2"], ["y"]),
    ]
    left = compiled(nodes, held, image=False)
    assert (left["w0"], left["b"], left["w2"]) == ((FEATURES, WIDTH - 3), (WIDTH - 3,), (WIDTH - 3, 3))
