"""A mixture of experts whose weights lie in one array, `(experts, inputs, outputs)`."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from upscale_onnx.types import BoolArray

EXPERTS, TOKENS, WIDTH, HIDDEN = 4, 5, 6, 8


def mixture(kept: BoolArray, gated: bool, spread: bool) -> onnx.ModelProto:
    """Experts of two layers, summed by gates. kept: `(experts, hidden)`, neurons whose second weight is not zero.

    spread: whether tokens are copied for each expert, as exporters do, and not multiplied by broadcasting.
    """
    rng = np.random.default_rng(0)
    node = helper.make_node
    last = rng.normal(size=(EXPERTS, HIDDEN, WIDTH))
    last[~kept] = 0
    constants = {
        "up": rng.normal(size=(EXPERTS, WIDTH, HIDDEN)), "bias": rng.normal(size=(EXPERTS, 1, HIDDEN)), "down": last,
        "router": rng.normal(size=(WIDTH, EXPERTS)), "side": rng.normal(size=(EXPERTS, WIDTH, HIDDEN)),
    }  # fmt: skip
    ints = {"zero": [0], "all": [EXPERTS, 1, 1], "minus": [-1], "first": [0]}
    hidden = [node("MatMul", ["t", "up"], ["u"]), node("Add", ["u", "bias"], ["v"]), node("Relu", ["v"], ["h"])]
    if gated:
        hidden = [
            node("MatMul", ["t", "up"], ["u"]),
            node("MatMul", ["t", "side"], ["s"]),
            node("Sigmoid", ["u"], ["g"]),
            node("Mul", ["g", "s"], ["h"]),
        ]
    nodes = [
        node("Unsqueeze", ["x", "zero"], ["one"]),
        node("Expand", ["one", "all"], ["t"]) if spread else node("Identity", ["one"], ["t"]),
        *hidden,
        node("MatMul", ["h", "down"], ["o"]),
        node("MatMul", ["x", "router"], ["r"]),
        node("Softmax", ["r"], ["p"], axis=-1),
        node("Transpose", ["p"], ["q"], perm=[1, 0]),
        node("Unsqueeze", ["q", "minus"], ["w"]),
        node("Mul", ["o", "w"], ["m"]),
        node("ReduceSum", ["m", "first"], ["y"], keepdims=0),
    ]
    used = {name for one in nodes for name in one.input}
    tensors = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in constants.items() if k in used]
    tensors += [numpy_helper.from_array(np.asarray(v, np.int64), k) for k, v in ints.items() if k in used]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [TOKENS, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [TOKENS, WIDTH])],
        tensors,
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("alike", [False, True])
def test_dead_neurons_of_experts_leave(spread: bool, gated: bool, alike: bool) -> None:
    """Each expert loses neurons of its own; as many leave as the expert with the most neurons can do without."""
    kept = np.ones((EXPERTS, HIDDEN), bool)
    for expert, gone in enumerate(
        [(0, 1, 2), (0, 1, 2), (0, 1, 2), (0, 1, 2)] if alike else [(0, 1), (5,), (2, 7), (3,)]
    ):
        kept[expert, list(gone)] = False
    result = upscale_onnx.compile(mixture(kept, gated, spread), export="gather", align=1, race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    sizes = sorted(tuple(t.dims) for t in result.model.graph.initializer if len(t.dims) == 3 and t.dims[1] > 1)
    left = int(kept.sum(1).max())
    assert sizes == sorted([(EXPERTS, WIDTH, left)] * (2 if gated else 1) + [(EXPERTS, left, WIDTH)])
