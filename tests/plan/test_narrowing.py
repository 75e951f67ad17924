"""Producers whose rows are zero under an Add: narrowed where that is cheaper, exact in any case."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from tests.passes.apply import begun, edited
from tests.plan.models import Net, assert_same, operators, outputs_of, weight_shapes, whole_numbers
from tests.plan.prices import DEAR, FREE, Prices
from tests.thorough import examples
from upscale_onnx.channels.analysis import analyse
from upscale_onnx.costs.costs import Costs
from upscale_onnx.export.export import make
from upscale_onnx.export.recipes import recipes
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.passes.narrow_producers import NarrowProducers
from upscale_onnx.plan.narrowing import Narrowing, narrowings

C = 16
PLANNED = recipes(1)["planned"]


def residual(left: range | list[int], right: range | list[int]) -> onnx.ModelProto:
    """Two convolutions with these rows at zero, their sum, and a consumer of all of it."""
    net = Net()
    a = net.conv("x", "a", net.matrix(C, 4, 3, 3, zero=left), pads=[1, 1, 1, 1])
    b = net.conv("x", "b", net.matrix(C, 4, 1, 1, zero=right))
    total = net.op("Relu", net.op("Add", [a, b], "sum"), "total")
    return net.model([net.conv(total, "out", net.matrix(5, C, 1, 1))], x=(1, 4, 5, 5))


def found_in(model: onnx.ModelProto, costs: Costs) -> dict[str, Narrowing]:
    """Narrowings by node."""
    analysis = analyse(import_graph(model), infer_shapes(model))
    return {analysis.steps[item.step].op.name: item for item in narrowings(analysis, costs)}


def narrowed(model: onnx.ModelProto, costs: Costs = FREE) -> onnx.ModelProto:
    """The model after the pass alone, with the shapes that the pass tells."""
    edit = NarrowProducers(lambda now: narrowings(now.analysis, costs))
    result, done = edited(model, edit)
    assert done.edits == len(narrowings(begun(model).analysis, costs))
    inferred, told = infer_shapes(result), {**infer_shapes(model), **done.shapes}
    for node in result.graph.node:
        for name in node.output:
            assert inferred[name] == told[name]
    return result


def test_zero_rows_are_computed_once() -> None:
    model = residual(range(6), range(10, 16))
    found = found_in(model, FREE)
    assert found.keys() == {"node_a", "node_b"}
    left = found["node_a"]
    assert left.axis == 1
    assert left.rows.tolist() == [*range(6, 16), 0]
    assert left.spread.tolist() == [10] * 6 + list(range(10))
    # 16 rows become 11, for 4 channels read.
    assert left.saved_ms == 4 * 5
    result = narrowed(model)
    assert weight_shapes(result) == {"node_a": (11, 4, 3, 3), "node_b": (11, 4, 1, 1), "node_out": (5, C, 1, 1)}
    assert operators(result) == ["Conv", "Gather", "Conv", "Gather", "Add", "Relu", "Conv"]
    assert_same(model, result)


def test_dear_copies_narrow_nothing() -> None:
    model = residual(range(6), range(10, 16))
    assert found_in(model, DEAR) == {}
    assert operators(narrowed(model, DEAR)) == operators(model)
    assert weight_shapes(make(PLANNED, model, infer_shapes(model), DEAR))["node_a"] == (C, 4, 3, 3)


def test_the_one_that_pays_is_narrowed() -> None:
    # Of 15 live rows one side computes 2 and a row of zeros; a copy counts twice.
    found = found_in(residual(range(14), range(13, 16)), Prices(copy=10.0))
    assert found.keys() == {"node_a"}
    assert found["node_a"].saved_ms == 12 * 4 - 2 * 10.0


@pytest.mark.parametrize("zero", [[], [3]])
def test_one_row_of_zeros_stays(zero: list[int]) -> None:
    assert found_in(residual(zero, zero), FREE) == {}


def test_rows_that_are_constant_but_not_zero_are_kept() -> None:
    net = Net()
    bias = np.zeros(C)
    bias[[1, 2, 3]] = [5, -4, 7]
    a = net.conv("x", "a", net.matrix(C, 4, 1, 1, zero=range(8)), bias)
    b = net.conv("x", "b", net.matrix(C, 4, 1, 1))
    model = net.model([net.conv(net.op("Add", [a, b], "sum"), "out", net.matrix(5, C, 1, 1))], x=(1, 4, 3, 3))
    found = found_in(model, FREE)
    assert found.keys() == {"node_a"}
    assert found["node_a"].rows.tolist() == [1, 2, 3, *range(8, 16), 0]
    assert_same(model, narrowed(model))
    assert_same(model, make(PLANNED, model, infer_shapes(model), FREE))


def test_nothing_but_zero_rows_is_no_producer_to_narrow() -> None:
    assert "node_a" not in found_in(residual(range(C), range(4)), FREE)


def test_dead_channels_stay_dead() -> None:
    net = Net()
    a = net.conv("x", "a", net.matrix(C, 4, 1, 1, zero=range(8)))
    b = net.conv("x", "b", net.matrix(C, 4, 1, 1, zero=range(8, 16)))
    total = net.op("Add", [a, b], "sum")
    model = net.model([net.conv(total, "out", net.matrix(5, C, 1, 1, reads=range(0, C, 2)))], x=(1, 4, 3, 3))
    result = make(PLANNED, model, infer_shapes(model), FREE)
    # 8 channels are read, 4 of them are computed by each side.
    assert weight_shapes(result) == {"node_a": (5, 4, 1, 1), "node_b": (5, 4, 1, 1), "node_out": (5, 8, 1, 1)}
    assert_same(model, result)


def test_narrowed_producers_fill_blocks() -> None:
    found = found_in(residual(range(8), range(13, 16)), Prices(align=4))
    # 8 rows of its own and 1 of zeros grow to 12; 13 and 1 would grow to all 16.
    assert {name: item.rows.size for name, item in found.items()} == {"node_a": 12}
    model = residual(range(8), range(13, 16))
    result = make(recipes(4)["planned"], model, infer_shapes(model), Prices(align=4))
    assert weight_shapes(result)["node_a"] == (12, 4, 3, 3)
    assert_same(model, result)


def test_an_output_of_the_graph_keeps_all_its_channels() -> None:
    net = Net()
    a = net.conv("x", "a", net.matrix(C, 4, 1, 1, zero=range(4, 12)))
    model = net.model([a], x=(1, 4, 3, 3))
    assert found_in(model, FREE).keys() == {"node_a"}
    for result in (narrowed(model), make(PLANNED, model, infer_shapes(model), FREE)):
        assert_same(model, result)
        assert weight_shapes(result) == {"node_a": (9, 4, 1, 1)}
        assert [value.name for value in result.graph.output] == ["a"]


def test_several_readers_read_the_spread_value() -> None:
    net = Net()
    a = net.conv("x", "a", net.matrix(C, 4, 1, 1, zero=range(8)))
    b = net.conv("x", "b", net.matrix(C, 4, 1, 1, zero=range(8, 16)))
    total = net.op("Add", [a, b], "sum")
    again = net.op("Mul", [net.op("Sub", [a, b], "difference"), a], "product")
    outs = [net.conv(source, f"out_{source}", net.matrix(3, C, 1, 1)) for source in (total, again, a)]
    model = net.model(outs, x=(1, 4, 3, 3))
    assert found_in(model, FREE).keys() == {"node_a", "node_b"}
    assert_same(model, narrowed(model))
    assert_same(model, make(PLANNED, model, infer_shapes(model), FREE))


def test_weights_that_two_nodes_share_are_cut_for_each() -> None:
    net = Net()
    weight = net.weight("w", net.matrix(C, 4, 1, 1, zero=range(6)))
    a = net.op("Conv", ["x", weight], "a")
    b = net.op("Conv", ["z", weight], "b")
    # The second is read by weights that want none of its rows of zeros, the first is an output.
    model = net.model([a, net.conv(b, "out", net.matrix(3, C, 1, 1))], x=(1, 4, 3, 3), z=(1, 4, 3, 3))
    result = narrowed(model)
    assert_same(model, result)
    assert_same(model, make(PLANNED, model, infer_shapes(model), FREE))


def test_undeclared_values_are_narrowed_too() -> None:
    model = residual(range(6), range(10, 16))
    del model.graph.value_info[:]
    assert_same(model, narrowed(model))


def test_half_precision_keeps_its_type() -> None:
    net = Net()
    half = net.op("Cast", "x", "half", to=TensorProto.FLOAT16)
    names = [net.weight(n, net.matrix(C, 4, 1, 1, zero=z).astype(np.float16)) for n, z in (("v", range(8)), ("w", []))]
    a, b = (net.op("Conv", [half, name], f"y{name}") for name in names)
    model = net.model([net.op("Add", [a, b], "sum")], x=(1, 4, 3, 3))
    result = narrowed(model)
    assert operators(result).count("Gather") == 1
    assert_same(model, result)


Producer = Callable[[Net, str, str, list[int]], str]


def _conv1d(net: Net, source: str, name: str, zero: list[int]) -> str:
    return net.conv(source, name, net.matrix(C, 4, 3, zero=zero), pads=[1, 1])


def _conv3d(net: Net, source: str, name: str, zero: list[int]) -> str:
    return net.conv(source, name, net.matrix(C, 4, 1, 1, 1, zero=zero))


def _transposed(net: Net, source: str, name: str, zero: list[int]) -> str:
    weight = np.swapaxes(net.matrix(C, 4, 2, 2, zero=zero), 0, 1)
    bias = net.rng.integers(1, 4, C).astype(np.float32)
    bias[zero] = 0
    given = [source, net.weight(f"{name}_w", weight), net.weight(f"{name}_b", bias)]
    return net.op("ConvTranspose", given, name, strides=[2, 2])


def _gemm(net: Net, source: str, name: str, zero: list[int]) -> str:
    bias = net.rng.integers(1, 4, C).astype(np.float32)
    bias[zero] = 0
    given = [source, net.weight(f"{name}_w", net.matrix(C, 4, zero=zero)), net.weight(f"{name}_b", bias)]
    return net.op("Gemm", given, name, transB=1)


def _scaled_gemm(net: Net, source: str, name: str, zero: list[int]) -> str:
    bias = net.rng.integers(1, 4, (1, C)).astype(np.float32)
    bias[:, zero] = 0
    given = [source, net.weight(f"{name}_w", net.matrix(C, 4, zero=zero).T), net.weight(f"{name}_b", bias)]
    return net.op("Gemm", given, name, alpha=2.0, beta=4.0)


def _matmul(net: Net, source: str, name: str, zero: list[int]) -> str:
    return net.op("MatMul", [source, net.weight(f"{name}_w", net.matrix(C, 4, zero=zero).T)], name)


def _left_matmul(net: Net, source: str, name: str, zero: list[int]) -> str:
    return net.op("MatMul", [net.weight(f"{name}_w", net.matrix(C, 4, zero=zero)), source], name)


@pytest.mark.parametrize(
    ("producer", "dims", "axis"),
    [
        (_conv1d, (1, 4, 7), 1),
        (_conv3d, (1, 4, 2, 3, 2), 1),
        (_transposed, (1, 4, 3, 3), 1),
        (_gemm, (3, 4), 1),
        (_scaled_gemm, (3, 4), 1),
        (_matmul, (2, 5, 4), 2),
        (_left_matmul, (2, 4, 5), 1),
    ],
)
def test_every_kind_of_producer(producer: Producer, dims: tuple[int, ...], axis: int) -> None:
    net = Net()
    a = producer(net, "x", "a", [0, 3, 4, 9, 15])
    b = producer(net, "x", "b", [1, 2, 3, 8])
    model = net.model([net.op("Relu", net.op("Add", [a, b], "sum"), "out")], x=dims)
    found = found_in(model, FREE)
    assert {name: (item.axis, item.rows.size) for name, item in found.items()} == {
        "node_a": (axis, 12),
        "node_b": (axis, 13),
    }
    assert_same(model, narrowed(model))
    assert_same(model, make(PLANNED, model, infer_shapes(model), FREE))


def test_grouped_and_depthwise_convolutions_are_left_alone() -> None:
    net = Net()
    a = net.conv("x", "a", net.matrix(C, 2, 1, 1, zero=range(6)), group=2)
    b = net.conv("x", "b", net.matrix(C, 4, 1, 1, zero=range(4, 8)))
    d = net.conv(b, "d", net.matrix(C, 1, 3, 3, zero=range(4)), group=C, pads=[1, 1, 1, 1])
    model = net.model([net.op("Sum", [a, b, d], "sum")], x=(1, 4, 3, 3))
    assert found_in(model, FREE).keys() == {"node_b"}
    assert_same(model, narrowed(model))


@st.composite
def residual_nets(draw: st.DrawFn) -> onnx.ModelProto:
    """A stem and blocks that add to it, each with rows of zeros and consumers that read some channels."""
    net = Net(draw(st.integers(0, 99)))
    some = st.sets(st.integers(0, C - 1)).map(sorted)
    value = net.conv("x", "stem", net.matrix(C, 3, 1, 1, zero=draw(some)), net.rng.integers(0, 2, C))
    outputs = []
    for number in range(draw(st.integers(1, 3))):
        reads = draw(some) or [0]
        inner = net.conv(value, f"in{number}", net.matrix(6, C, 1, 1, reads=reads, zero=[1, 4]))
        inner = net.op("Sign", inner, f"act{number}")  # small numbers: sums stay exact
        branch = net.conv(inner, f"out{number}", net.matrix(C, 6, 1, 1, zero=draw(some)))
        value = net.op("Add", [value, branch], f"sum{number}")
        if draw(st.booleans()):
            value = net.op("Relu", value, f"relu{number}")
        if draw(st.booleans()):
            outputs.append(net.conv(value, f"side{number}", net.matrix(2, C, 1, 1, reads=draw(some) or [5])))
    last = net.conv(value, "last", net.matrix(3, C, 1, 1, reads=draw(some) or [2]), np.ones(3))
    return net.model([*outputs, last], x=(1, 3, 2, 2))


@settings(max_examples=examples(20))
@given(residual_nets(), st.sampled_from((FREE, Prices(copy=20.0), Prices(align=4), Prices(per_channel=0.5, align=8))))
def test_chains_of_adds_compute_the_same(model: onnx.ModelProto, costs: Prices) -> None:
    assert_equal_outputs(model, narrowed(model, costs))
    for name in ("planned", "upscale"):
        assert_equal_outputs(model, make(recipes(costs.align)[name], model, infer_shapes(model), costs))


def test_several_adds_with_blocks_of_sixteen() -> None:
    net = Net()
    wide = 64
    value = net.conv("x", "stem", net.matrix(wide, 3, 1, 1, zero=range(40)))
    for number in range(3):
        inner = net.conv(value, f"in{number}", net.matrix(16, wide, 1, 1, reads=range(50)))
        zero = range(20 * number, 20 * number + 24)
        branch = net.conv(net.op("Sign", inner, f"sign{number}"), f"out{number}", net.matrix(wide, 16, 1, 1, zero=zero))
        value = net.op("Add", [value, branch], f"sum{number}")
    model = net.model([net.conv(value, "last", net.matrix(4, wide, 1, 1))], x=(1, 3, 3, 3))
    result = make(recipes(16)["planned"], model, infer_shapes(model), Prices(align=16))
    shapes = weight_shapes(result)
    assert shapes["node_stem"][0] == 32
    # 40 own rows and a row of zeros fill 48.
    assert [shapes[f"node_out{n}"][0] for n in range(3)] == [48, 48, 48]
    assert_same(model, result)


def assert_equal_outputs(model: onnx.ModelProto, compiled: onnx.ModelProto) -> None:
    """As `assert_same`, for models whose outputs may be all zero by chance."""
    onnx.checker.check_model(compiled, full_check=True)
    feed = whole_numbers(model)
    for expected, actual in zip(outputs_of(model, feed), outputs_of(compiled, feed), strict=True):
        np.testing.assert_array_equal(actual, expected, strict=True)
