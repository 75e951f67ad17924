"""Values in pieces: when that is planned, which groups can be, and that it is exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plan.models import Net, assert_same, operators
from tests.plan.prices import Prices
from tests.thorough import examples
from upscale_onnx.channels.analysis import analyse
from upscale_onnx.export.draft import Draft
from upscale_onnx.export.export import export, make
from upscale_onnx.export.planned import planned_values
from upscale_onnx.export.recipes import Making, recipes
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.plan.splitting import ValueSplit, plan_splits
from upscale_onnx.racing.decisions import decisions
from upscale_onnx.racing.refinement import in_pieces
from upscale_onnx.runtime.place import Place

C = 16
DEAR = Prices(copy=1e9)
PLANNED = recipes(1)["planned"]
IN_PIECES = replace(PLANNED, splits=True)
HALVES = (range(8), range(8, 16))


def fork(*reads: Sequence[int], through: str = "Relu", rows: int = 5) -> Net:
    """A convolution, what `through` makes of it, and a consumer for each of `reads`."""
    net = Net()
    value = net.op(through, net.conv("x", "shared", net.matrix(C, 3, 1, 1)), "value")
    for number, channels in enumerate(reads):
        net.conv(value, f"out{number}", net.matrix(rows, C, 1, 1, reads=list(channels)))
    return net


def finished(net: Net, *more: str) -> onnx.ModelProto:
    """The model with all consumers as outputs, and `more`."""
    outs = [node.output[0] for node in net.nodes if node.output[0].startswith("out")]
    return net.model([*outs, *more], x=(1, 3, 4, 4))


def planned(
    model: onnx.ModelProto, costs: Prices = DEAR, without: frozenset[str] = frozenset()
) -> tuple[ValueSplit, ...]:
    shapes = infer_shapes(model)
    return plan_splits(analyse(import_graph(model), shapes), shapes, costs, without)


def test_halves_are_two_pieces_that_cost_nothing() -> None:
    (split,) = planned(finished(fork(*HALVES)))
    assert split.values == ("shared", "value")
    assert [piece.tolist() for piece in split.pieces] == [list(range(8)), list(range(8, 16))]
    assert [(read.pieces, read.lowering) for read in split.reads] == [((0,), "split"), ((1,), "split")]
    assert split.saved_ms == 2 * 8 * 5


def test_selections_that_are_cheaper_are_not_replaced() -> None:
    assert planned(finished(fork(*HALVES)), Prices()) == ()


def test_joining_and_adding_cost() -> None:
    reads = (range(12), range(4, 16))
    (added,) = planned(finished(fork(*reads, rows=1)), Prices(copy=1e9, per_channel=0.5, macs=2.0))
    assert {read.lowering for read in added.reads} == {"split+add"}
    # A sum of many channels is written once more for every piece; two pieces of few are joined for less.
    (joined,) = planned(finished(fork(*reads, rows=100)), Prices(copy=1e9, per_channel=0.5, macs=2.0))
    assert {read.lowering for read in joined.reads} == {"split+concat"}
    assert planned(finished(fork(*reads)), Prices(copy=1e9, join=1e3)) == ()


def test_pieces_fill_blocks() -> None:
    (split,) = planned(finished(fork(range(10), range(6, 16))), replace(DEAR, align=4))
    assert sorted(piece.size for piece in split.pieces) == [4, 4, 8]
    assert sorted(np.concatenate(split.pieces)) == list(range(16))


def test_a_value_left_out_stays_whole() -> None:
    assert planned(finished(fork(*HALVES)), without=frozenset({"value"})) == ()


def _output() -> onnx.ModelProto:
    return finished(fork(*HALVES), "value")


def _merged() -> onnx.ModelProto:
    """A convolution of the value is added to it again."""
    net = fork(*HALVES)
    net.conv(
        net.op("Add", ["value", net.conv("value", "again", net.matrix(C, C, 1, 1))], "sum"),
        "out",
        net.matrix(2, C, 1, 1),
    )
    return finished(net)


def _crowd() -> onnx.ModelProto:
    return finished(fork(*(HALVES[number % 2] for number in range(9))))


def _shuffled() -> onnx.ModelProto:
    """One operand of the sum is no value of its own convolution's channels."""
    net = Net()
    wide = net.conv("x", "wide", net.matrix(2 * C, 3, 1, 1))
    left, right = f"{wide}_left", f"{wide}_right"
    net.nodes.append(onnx.helper.make_node("Split", [wide], [left, right], name="node_split", axis=1))
    value = net.op("Relu", net.op("Add", [left, right], "sum"), "value")
    for number, reads in enumerate(HALVES):
        net.conv(value, f"out{number}", net.matrix(5, C, 1, 1, reads=reads))
    return finished(net)


@pytest.mark.parametrize("build", [_output, _merged, _crowd, _shuffled])
def test_what_cannot_be_in_pieces_stays_whole(build: object) -> None:
    assert callable(build)
    model = build()
    assert planned(model) == ()
    assert_same(model, make(IN_PIECES, model, infer_shapes(model), DEAR))


def test_a_residual_stream_is_in_pieces_throughout() -> None:
    net = Net()
    stream = net.conv("x", "first", net.matrix(C, 3, 1, 1))
    for number, reads in enumerate(HALVES):
        inner = net.op("Relu", net.conv(stream, f"in{number}", net.matrix(4, C, 1, 1, reads=reads)), f"relu{number}")
        stream = net.op("Add", [net.conv(inner, f"back{number}", net.matrix(C, 4, 1, 1)), stream], f"sum{number}")
    net.conv(stream, "out", net.matrix(3, C, 1, 1, reads=range(4)))
    model = finished(net)
    (split,) = planned(model)
    assert split.values == ("first", "back0", "sum0", "back1", "sum1")
    compiled = make(IN_PIECES, model, infer_shapes(model), DEAR)
    assert_same(model, compiled)
    assert not {"Concat", "Slice", "Gather"} & set(operators(compiled))


def test_only_one_of_two_groups_that_share_a_node() -> None:
    net = fork(*HALVES)
    net.op("Relu", "out0", "next")
    for number, reads in enumerate((range(3), range(2, 5))):
        net.conv("next", f"out_of_next{number}", net.matrix(7, 5, 1, 1, reads=reads))
    model = net.model(["out1", "out_of_next0", "out_of_next1"], x=(1, 3, 4, 4))
    assert [split.values[-1] for split in planned(model)] == ["value"]


@settings(max_examples=examples(25))
@given(
    st.lists(st.sets(st.integers(0, C - 1), min_size=1), min_size=2, max_size=5),
    st.sampled_from(("Relu", "Neg")),
    st.floats(0, 4),
    st.sampled_from((1, 4)),
)
def test_pieces_hold_what_is_demanded_and_compute_the_same(
    reads: list[set[int]], through: str, per_channel: float, align: int
) -> None:
    model = finished(fork(*(sorted(found) for found in reads), through=through))
    costs = Prices(1e9, per_channel, align=align)
    for split in planned(model, costs):
        assert split.saved_ms > 0
        assert sorted(np.concatenate(split.pieces)) == list(range(C))
        for read in split.reads:
            held = np.concatenate([split.pieces[index] for index in read.pieces])
            assert np.isin(read.item.positions, held).all()
    assert_same(model, make(replace(recipes(align)["planned"], splits=True), model, infer_shapes(model), costs))


def test_decisions_tell_how_pieces_are_read() -> None:
    model = finished(fork(range(12), range(4, 16), [0, 5, 9]))
    shapes = infer_shapes(model)
    planned = planned_values(Draft(model, shapes), Making(PLANNED, DEAR))
    analysis, plans, splits = planned.analysis, planned.plans, planned.splits()
    assert splits
    compiled = make(IN_PIECES, model, shapes, DEAR)
    (found,) = decisions(analysis, plans, frozenset(), (), compiled, (), splits)
    assert set(found.lowerings) <= {"split", "split+add", "split+concat"}
    assert found.predicted_ms == sum(handed * 5 for handed in found.handed) < 3 * C * 5
    (whole,) = decisions(analysis, plans, frozenset(), (), make(PLANNED, model, shapes, DEAR), ())
    assert (whole.lowerings, whole.handed) == (("keep",) * 3, (16,) * 3)


def heavy(size: int = 56) -> onnx.ModelProto:
    """Consumers of halves that take nearly all of the time."""
    net = Net()
    value = net.op("Relu", net.conv("x", "shared", net.matrix(128, 3, 1, 1)), "value")
    for number, reads in enumerate((range(64), range(64, 128))):
        small = net.conv(value, f"big{number}", net.matrix(128, 128, 3, 3, reads=reads), pads=[1, 1, 1, 1])
        net.op("ReduceMax", small, f"out{number}", axes=[2, 3], keepdims=0)
    return net.model(["out0", "out1"], x=(1, 3, size, size))


def test_a_race_decides_whether_values_are_in_pieces() -> None:
    model = heavy()
    draft = Draft(model, infer_shapes(model))
    making = Making(PLANNED, DEAR)
    trial = in_pieces(draft, planned_values(draft, making), export(making, draft), Place("cpu"))
    assert trial.making == Making(IN_PIECES, DEAR)
    assert_same(model, trial.model)


def test_nothing_to_compute_in_pieces() -> None:
    model = finished(fork(range(16), range(16)))
    draft = Draft(model, infer_shapes(model))
    making = Making(PLANNED, DEAR)
    best = export(making, draft)
    assert in_pieces(draft, planned_values(draft, making), best, Place("cpu")) is best
