"""onnxruntime's operators with channels on the last axis, between a layer that makes dead channels and a reader."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from tests.channels.engine import Engine
from tests.channels.test_qlinear import DEAD, MS, WIDTH, Build, compiled
from upscale_onnx.model.runtime_layouts import with_standard_convolutions

FIRST, LAST = [0, 3, 1, 2], [0, 2, 3, 1]


class LastBuild(Build):
    """The same with channels on the last axis."""

    def conv(self, source: str, name: str, channels: tuple[int, int], dead: list[int], group: int = 1) -> str:
        """Add a convolution; return its output."""
        weight = self.weight(name, (channels[0], channels[1] // group, 3, 3), dead)
        inputs, attrs = f"{source} s z {weight} s z {name}b", {"kernel_shape": [3, 3], "group": group}
        return self.node("QLinearConv", inputs, f"{name}y", domain=MS, channels_last=1, pads=[1] * 4, **attrs)


def between(op: str, **attrs: Any) -> onnx.ModelProto:
    """The operator between two convolutions, of which the first one makes dead channels."""
    build = LastBuild()
    made = build.conv(build.node("Transpose", "q", "t", perm=LAST), "w1", (WIDTH, 4), DEAD)
    if op == "depthwise":
        made = build.conv(made, "d", (WIDTH, WIDTH), DEAD, group=WIDTH)
    elif op != "QLinearConv":
        made = build.node(op, f"{made} s z s z" if op.startswith("Q") else made, "made", domain=MS, **attrs)
    last = build.node("Transpose", build.conv(made, "w3", (6, WIDTH), []), "u", perm=FIRST)
    build.node("DequantizeLinear", f"{last} s z", "y")
    return build.model("y", [2, 4, 6, 6])


CASES: dict[str, dict[str, Any]] = {
    "QLinearConv": {},
    "depthwise": {},
    "NhwcMaxPool": {"kernel_shape": [2, 2], "pads": [1, 0, 1, 0]},
    "QLinearAveragePool": {"kernel_shape": [2, 2], "channels_last": 1},
    "QLinearGlobalAveragePool": {"channels_last": 1},
}


NO_KERNEL = ("NhwcConv", "NhwcFusedConv")


@pytest.mark.parametrize("op", CASES)
def test_channels_at_the_zero_point_leave(op: str) -> None:
    model = between(op, **CASES[op])
    small, held = compiled(model)
    assert held["w1"].shape == (WIDTH - len(DEAD), 4, 3, 3)
    assert held["w3"].shape == (6, WIDTH - len(DEAD), 3, 3)
    whole = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    np.testing.assert_array_equal(held["w3"], np.delete(whole["w3"], DEAD, 1))
    assert [node.op_type for node in small.graph.node] == [node.op_type for node in model.graph.node]


def test_channels_of_places_are_refused() -> None:
    """Here the channels of a layer lie on axis 1, which is an axis of places for the pool."""
    build = LastBuild()
    made = Build.conv(build, "q", "w1", (WIDTH, 4), DEAD)
    made = build.node("NhwcMaxPool", made, "made", domain=MS, kernel_shape=[2, 2])
    build.node("DequantizeLinear", f"{made} s z", "y")
    report = upscale_onnx.compile(build.model("y", [2, 4, 6, 6]), align=1, race=False).report
    assert [refusal.op_type for refusal in report.refusals] == ["NhwcMaxPool"]


def test_readers_are_handed_what_they_read() -> None:
    build = LastBuild()
    made = build.conv(build.node("Transpose", "q", "t", perm=LAST), "w1", (WIDTH, 4), [])
    for name, unread in (("w2", [0, 1, 2, 3]), ("w3", [4, 5, 6, 7])):
        build.conv(made, name, (6, WIDTH), [])
        build.held[name][:, unread] = 0
    build.node("DequantizeLinear", build.node("QLinearAdd", "w2y s z w3y s z s z", "sum", domain=MS) + " s z", "y")
    small, held = compiled(build.model("y", [2, 4, 6, 6]))
    assert held["w2"].shape == held["w3"].shape == (6, 4, 3, 3)
    selections = [node for node in small.graph.node if node.op_type in ("Split", "Slice", "Gather")]
    assert selections


@pytest.mark.parametrize("op", NO_KERNEL)
def test_without_a_kernel_the_same_leaves(op: str) -> None:
    """onnxruntime has no kernel of these for CPUs, so that ONNX's operators take their places in both models."""
    small = upscale_onnx.compile(floats(op), export="gather", align=1, race=False, verify=False).model
    held = {tensor.name.split("_")[0]: tuple(tensor.dims) for tensor in small.graph.initializer}
    assert (held["w1"], held["w2"]) == ((5, 4, 3, 3), (6, 5, 3, 3))
    feed = {"x": np.random.default_rng(0).normal(size=(2, 7, 7, 4)).astype(np.float32)}
    expected, found = (Engine(with_plain(model)).run(feed)[0] for model in (floats(op), small))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def floats(op: str) -> onnx.ModelProto:
    """Two convolutions. The first one makes dead channels; a FusedConv adds another one to it."""
    rng, fused = np.random.default_rng(1), op == "NhwcFusedConv"
    held = {
        name: rng.normal(size=shape) for name, shape in {"w1": (8, 4, 3, 3), "b1": (8,), "w2": (6, 8, 3, 3)}.items()
    }
    held |= {"w0": held["w1"][::-1].copy(), "b0": held["b1"][::-1].copy()}
    for name in ("w0", "b0", "w1", "b1"):
        held[name][DEAD] = 0
    first = {"domain": MS, "pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    added = [helper.make_node(op, ["x", "w0", "b0"], ["z"], **first)] if fused else []
    nodes = [
        *added,
        helper.make_node(op, ["x", "w1", "b1", *(["z"] if fused else [])], ["m"], **first,
                         **({"activation": "Relu"} if fused else {})),
        helper.make_node(op, ["m", "w2"], ["y"], domain=MS, strides=[2, 2], kernel_shape=[3, 3]),
    ]  # fmt: skip
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 7, 7, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3, 3, 6])
    used = {name for node in nodes for name in node.input}
    weights = [numpy_helper.from_array(v.astype(np.float32), name) for name, v in held.items() if name in used]
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MS, 1)]
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], weights), opset_imports=opsets, ir_version=10)


def with_plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with Conv, Add and Relu between Transposes in place of the convolutions."""
    nodes = []
    for node in model.graph.node:
        name = node.output[0]
        if node.domain != MS:
            nodes.append(node)
            continue
        conv = helper.make_node("Conv", [f"{name}_x", *node.input[1:3]], [f"{name}_c"])
        conv.attribute.extend(one for one in node.attribute if one.name != "activation")
        nodes += [helper.make_node("Transpose", node.input[:1], [f"{name}_x"], perm=FIRST), conv]
        nodes.append(helper.make_node("Transpose", [f"{name}_c"], [f"{name}_t"], perm=LAST))
        summed = [f"{name}_t", node.input[3]] if len(node.input) > 3 else [f"{name}_t"]
        nodes.append(helper.make_node("Sum", summed, [f"{name}_s"]))
        relu = any(one.name == "activation" for one in node.attribute)
        nodes.append(helper.make_node("Relu" if relu else "Identity", [f"{name}_s"], [name]))
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    del plain.graph.node[:]
    plain.graph.node.extend(nodes)
    return plain


def test_standard_convolutions_compute_the_same() -> None:
    model = between("depthwise")
    for tensor in model.graph.initializer:
        if tensor.name in ("w1", "d", "w3"):  # so small that no kernel saturates
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) // 8, tensor.name))
    plain = with_standard_convolutions(model)
    assert not any(node.domain == MS for node in plain.graph.node)
    feed = {"x": np.random.default_rng(0).normal(size=(2, 4, 6, 6)).astype(np.float32) * 9}
    np.testing.assert_array_equal(Engine(plain).run(feed)[0], Engine(model).run(feed)[0])
