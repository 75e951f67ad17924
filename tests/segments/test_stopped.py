"""What nodes that are left alone cost."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.graphs import parse, weight
from upscale_onnx.channels.analysis import analyse
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.segments import priced_refusals
from upscale_onnx.segments.stopped import idle_slices


def costs(model: onnx.ModelProto) -> list[tuple[str, int, int]]:
    refusals = priced_refusals(analyse(import_graph(model), infer_shapes(model)))
    return [(refusal.node, refusal.channels, refusal.bytes) for refusal in refusals]


def left_alone(model: onnx.ModelProto, *outputs: str) -> onnx.ModelProto:
    """The model with the nodes that make `outputs` in a domain that nobody knows."""
    for node in model.graph.node:
        if node.output[0] in outputs:
            node.domain = "custom"
    model.opset_import.add(domain="custom", version=1)
    return model


def test_a_node_costs_the_zero_channels_that_only_it_demands() -> None:
    """Channels 1 and 3 of `a` are zero: two rows of w1, 2 * 3 floats, stay for `y` alone."""
    text = "(float[1,3,4,4] x) => (float[1,4,4,4] y) { a = Conv(x, w1)  y = Relu(a) }"
    assert costs(left_alone(parse(text, w1=weight(4, 3, 1, 1, rows=[1, 3])), "y")) == [("y", 2, 2 * 3 * 4)]


def test_channels_that_others_demand_too_are_not_its_cost() -> None:
    text = "(float[1,3,4,4] x) => (float[1,4,4,4] y, float[1,4,4,4] z) { a = Conv(x, w1)  y = Relu(a)  z = Tanh(a) }"
    assert costs(left_alone(parse(text, w1=weight(4, 3, 1, 1, rows=[1, 3])), "y")) == [("y", 0, 0)]


def test_zeros_of_its_own_weights_and_of_its_readers_are_its_cost() -> None:
    """`a` has two zero rows of 5 floats; w2 reads channels 1 and 2 of its result by zeros only, 2 * 4 floats."""
    model = parse(
        "(float[1,5,4,4] x) => (float[1,4,4,4] y) { a = Conv(x, own)  y = Conv(a, w2) }",
        own=weight(4, 5, 1, 1, rows=[0, 2]),
        w2=weight(4, 4, 1, 1, columns=[1, 2]),
    )
    model.graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, [1, 4, 4, 4]))
    assert costs(left_alone(model, "a")) == [("a", 2 + 2, 2 * 5 * 4 + 2 * 4 * 4)]


def test_the_most_expensive_comes_first() -> None:
    model = parse(
        """(float[1,3,4,4] x) => (float[1,4,4,4] y, float[1,4,4,4] z) {
            a = Conv(x, w1)  y = Relu(a)  b = Conv(x, w2)  z = Relu(b)
        }""",
        w1=weight(4, 3, 1, 1, rows=[1]),
        w2=weight(4, 3, 1, 1, rows=[1, 2]),
    )
    assert costs(left_alone(model, "y", "z")) == [("z", 2, 24), ("y", 1, 12)]


def test_every_one_of_many_nodes_is_priced() -> None:
    lines = "".join(f"a{i} = Conv(x, w)  y{i} = Relu(a{i}) " for i in range(250))
    results = ", ".join(f"float[1,4,4,4] y{i}" for i in range(250))
    model = parse(f"(float[1,3,4,4] x) => ({results}) {{ {lines} }}", w=weight(4, 3, 1, 1, rows=[1, 3]))
    found = costs(left_alone(model, *(f"y{i}" for i in range(250))))
    assert [item[1:] for item in found] == [(2, 24)] * 250


def test_slices_of_zeros_are_counted_along_all_axes() -> None:
    array = np.ones((4, 5), np.float32)
    array[1], array[:, :2] = 0, 0
    assert idle_slices(array) == (3, 4 * (4 * 5 - 3 * 3))
    assert idle_slices(np.zeros(7, np.float32)) == (0, 0)


@pytest.mark.parametrize("operator", ["Softmax<axis=1>", "LogSoftmax<axis=1>", "Hardmax<axis=1>"])
def test_a_softmax_over_channels_counts_zeros(operator: str) -> None:
    """Channels 1 and 3 of `a` are zero, and nothing reads their shares: two rows of w1, 2 * 3 floats."""
    text = f"(float[1,3,4,4] x) => (float[1,2,4,4] y) {{ a = Conv(x, w1)  p = {operator}(a)  y = Conv(p, w2) }}"
    weights = {"w1": weight(4, 3, 1, 1, rows=[1, 3]), "w2": weight(2, 4, 1, 1, columns=[1, 3])}
    assert costs(parse(text, **weights)) == [("p", 2, 2 * 3 * 4)]
    assert costs(parse(text, **weights | {"w1": weight(4, 3, 1, 1)})) == []
    assert costs(parse(text.replace("axis=1", "axis=2"), **weights)) == []


@pytest.mark.parametrize("node", ["i = ArgMax<axis=1>(a)", "v, i = TopK<axis=1>(a, two)"])
def test_what_returns_places_of_channels_is_left_alone(node: str) -> None:
    text = f"(float[1,3,4,4] x) => (int64[1,N,4,4] i) {{ a = Conv(x, w1)  {node} }}"
    model = parse(text, w1=weight(4, 3, 1, 1, rows=[1, 3]), two=np.array([2]))
    assert [cost[1:] for cost in costs(model)] == [(2, 2 * 3 * 4)]
