"""Layers that make the graph's outputs are not pruned on the output side, whatever stands behind them."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.graphs import parse, weight
from tests.pruned import pruned
from upscale_onnx.compat import MaskingManager
from upscale_onnx.masks.prunable import prunable_targets
from upscale_onnx.options import Options


def _node(op_type: str, *inputs: str, **attributes: Any) -> onnx.NodeProto:
    """A link of a chain: it reads what the link before it makes, and `inputs`."""
    return helper.make_node(op_type, ["", *inputs], [""], **attributes)


def _model(*behind: onnx.NodeProto) -> onnx.ModelProto:
    """first (3 -> 16), Relu, last (16 -> 12) with a skip connection beside it, and the chain behind last that ends
    in the graph's output."""
    rng = np.random.default_rng(0)
    arrays = {
        "first": rng.normal(size=(16, 3, 3, 3)),
        "last": rng.normal(size=(12, 16, 1, 1)),
        "beside": rng.normal(size=(12, 16, 1, 1)),
        "depthwise": rng.normal(size=(12, 1, 3, 3)),
        "another": rng.normal(size=(12, 9, 1, 1)),
        "scale": rng.normal(size=12),
        "spread": rng.random(12) + 1,
        "slope": rng.random((12, 1, 1)),
    }
    indices = {"flat": [0, -1], "grid": [1, 2, 6, 16], "three": [3], "axes": [2, 3], "channels": [1]}
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["c"], "first"),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "last"], ["v0"], "last"),
    ]
    if any("skip" in node.input for node in behind):
        nodes.append(helper.make_node("Conv", ["r", "beside"], ["skip"], "beside"))
    for number, node in enumerate(behind):
        link = onnx.NodeProto.FromString(node.SerializeToString())
        link.input[0], link.output[0] = f"v{number}", f"v{number + 1}"
        nodes.append(link)
    nodes.append(helper.make_node("Cast", [f"v{len(behind)}"], ["y"], to=TensorProto.FLOAT))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 6, 6))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
        + [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in indices.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def _left(model: onnx.ModelProto) -> list[str]:
    return [target.weight for target in prunable_targets(model, "output")]


POOLED = (_node("GlobalAveragePool"), _node("Reshape", "flat"))
BEHIND = {
    "nothing": (),
    "Relu": (_node("Relu"),),
    "Identity": (_node("Identity"), _node("Identity")),
    "pooling": (_node("AveragePool", kernel_shape=[2, 2]), _node("GlobalMaxPool")),
    "Flatten": (_node("GlobalAveragePool"), _node("Flatten")),
    "Reshape": POOLED,
    "Softmax": (*POOLED, _node("Softmax", axis=1)),
    "Softmax over channels of an image": (_node("Softmax", axis=1),),
    "LogSoftmax": (*POOLED, _node("LogSoftmax", axis=-1)),
    "Hardmax": (*POOLED, _node("Hardmax", axis=-1)),
    "ArgMax": (*POOLED, _node("ArgMax", axis=1)),
    "TopK": (*POOLED, _node("TopK", "three", axis=1)),
    "Transpose": (_node("Transpose", perm=[0, 2, 3, 1]), _node("Sigmoid")),
    "Squeeze": (_node("GlobalAveragePool"), _node("Squeeze", "axes")),
    "BatchNormalization": (_node("BatchNormalization", "scale", "scale", "scale", "spread"), _node("Relu")),
    "LayerNormalization": (*POOLED, _node("LayerNormalization", "scale", "scale", axis=-1)),
    "InstanceNormalization": (_node("InstanceNormalization", "scale", "scale"),),
    "PRelu": (_node("PRelu", "slope"),),
    "depthwise convolution": (_node("Conv", "depthwise", group=12), _node("Relu")),
    "channels on two axes": (_node("Reshape", "grid"), _node("Transpose", perm=[0, 2, 1, 3])),
    "mean over channels": (_node("ReduceMean", "channels"),),
    "operator of another domain": (_node("Softmax", axis=1), _node("Mystery", domain="com.example")),
    "Add": (_node("Add", "skip"), _node("Clip")),
    "gate": (_node("Mul", "skip"), _node("Softmax", axis=1)),
    "Concat": (_node("Concat", "skip", axis=1), _node("LogSoftmax", axis=1)),
}


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
def test_a_layer_that_makes_the_outputs_is_left_alone(behind: tuple[onnx.NodeProto, ...]) -> None:
    model = _model(*behind)
    assert _left(model) == ["first"]
    assert "last" in {target.weight for target in prunable_targets(model, "input")}


def test_a_layer_behind_another_is_not() -> None:
    assert _left(_model(_node("Relu"), _node("ConvTranspose", "another"), _node("Softmax", axis=1))) == [
        "first",
        "last",
    ]


def test_a_product_of_activations_contracts_channels() -> None:
    """Features that are compared are no output; the scores are."""
    model = parse(
        """(float[4, 12] x) => (float[4, 4] y)
        { a = MatMul(x, p)  b = MatMul(x, q)  t = Transpose<perm = [1, 0]>(b)  y = MatMul(a, t) }""",
        p=weight(12, 16),
        q=weight(12, 16),
    )
    assert _left(model) == ["p", "q"]


def test_what_only_lends_its_size_is_no_output() -> None:
    model = parse(
        """(float[4, 12] x) => (float[4, 16] y)
        { a = MatMul(x, p)  s = Shape(a)  b = MatMul(x, q)  y = Expand(b, s) }""",
        p=weight(12, 16),
        q=weight(12, 16),
    )
    assert _left(model) == ["p"]


def test_a_shared_weight_is_left_alone_where_any_of_its_uses_makes_outputs() -> None:
    model = parse(
        """(float[4, 16] x) => (float[4, 16] y)
        { a = MatMul(x, p)  b = Relu(a)  c = MatMul(b, q)  d = Relu(c)  e = MatMul(d, p)  y = Softmax(e) }""",
        p=weight(16, 16),
        q=weight(16, 16),
    )
    assert _left(model) == ["q"]


@pytest.mark.parametrize("method", ["unconstrained", "constrained"])
@pytest.mark.parametrize("how", [{"amount": 0.5}, {"amount": 0.5, "scope": "global"}, {"profile": "random"}])
def test_class_scores_keep_their_rows(method: str, how: dict[str, object]) -> None:
    model = _model(*BEHIND["Softmax"])
    masked, count = pruned(model, Options.of(side="output", method=method, masks="flat", **how))  # type: ignore[arg-type]
    rows = {t.name: numpy_helper.to_array(t) for t in masked.graph.initializer}
    assert count > 0
    assert np.array_equal(rows["last"], numpy_helper.to_array(model.graph.initializer[1]))
    assert not rows["first"].any(axis=(1, 2, 3)).all()


def test_the_references_interface_leaves_class_scores_alone_too() -> None:
    model = _model(*BEHIND["Softmax"])
    MaskingManager(model, side="output").importance().mask(0.5)
    assert numpy_helper.to_array(model.graph.initializer[1]).any(axis=(1, 2, 3)).all()


def test_squeezenets_classifier_is_left_alone(corpus: Path) -> None:
    model = runpy.run_path(str(corpus / "materialize.py"))["materialize"](
        corpus / "skeletons" / "tv__squeezenet1_1.onnx"
    )
    everything = [target.weight for target in prunable_targets(model, "input")]
    assert len(everything) == 25
    assert [w for w in everything if w not in _left(model)] == everything[-1:]
