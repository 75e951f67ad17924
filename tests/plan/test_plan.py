"""Plans: which order every value takes, and what happens where operands cannot take one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.graphs import check, indices, parse, weight
from upscale_onnx.channels.analysis import analyse
from upscale_onnx.model import cleanup, export_graph, import_graph, infer_shapes
from upscale_onnx.passes.remove_channels import RemoveChannels
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.plan.emitted import emitted_classes
from upscale_onnx.plan.plan import Plan, make_plan
from upscale_onnx.types import Array

JOIN = parse(
    """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
        a = Conv(x, w1)
        b = Conv(x, w2)
        c = Concat<axis=1>(a, b)
        d = Conv(x, w3)
        e = Add(c, d)
        y = Conv(e, w4)
    }""",
    w1=weight(3, 3, 1, 1),
    w2=weight(3, 3, 1, 1, seed=1),
    w3=weight(6, 3, 1, 1),
    w4=weight(2, 6, 1, 1),
)
TURNED = parse(
    """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z) {
        a = Conv(x, w1)
        b = Gather<axis=1>(a, turned)
        c = Add(a, b)
        d = Conv(x, w1)
        y = Conv(c, w2)
        z = Conv(d, w3)
    }""",
    w1=weight(4, 3, 1, 1),
    turned=indices(3, 2, 1, 0),
    w2=weight(2, 4, 1, 1),
    w3=weight(2, 4, 1, 1, columns=[2]),
)
OUTPUT = parse(
    """(float[1,3,4,4] x) => (float[1,4,4,4] a, float[1,2,4,4] z) {
        a = Conv(x, w1)
        b = Conv(x, w1)
        z = Conv(b, w2)
    }""",
    w1=weight(4, 3, 1, 1),
    w2=weight(2, 4, 1, 1),
)


def planned(model: onnx.ModelProto, rank: Array | None) -> tuple[Plan, onnx.ModelProto]:
    """A plan under `rank` (by position, over all classes), and the model that it makes."""
    graph = import_graph(model)
    analysis = analyse(graph, infer_shapes(model))
    full = None if rank is None else np.resize(rank, analysis.live.size)
    plan = make_plan(analysis, emitted_classes(analysis), full)
    RemoveChannels(lambda _: plan)(Rewrite(graph, {}))
    cleanup(graph)
    return plan, export_graph(graph, model, plan.changed)


def emission(plan: Plan, name: str) -> list[int]:
    return [int(i) for i in plan.emissions[name].ravel()]


def reversed_rank(model: onnx.ModelProto) -> Array:
    return np.arange(analyse(import_graph(model), infer_shapes(model)).live.size)[::-1].copy()


def test_without_a_rank_nothing_moves() -> None:
    plan, made = planned(JOIN, None)
    assert not plan.changed
    assert made == JOIN


def test_free_values_take_the_order_of_the_rank() -> None:
    plan, made = planned(OUTPUT, reversed_rank(OUTPUT))
    assert emission(plan, "b") == [3, 2, 1, 0]
    assert emission(plan, "a") == [0, 1, 2, 3]  # a graph output keeps its order
    assert plan.changed == {"b"}
    check(OUTPUT, made)


def test_operands_that_do_not_line_up_give_up_their_order() -> None:
    """The Concat emits its parts one after the other, the producer beside it would emit all reversed."""
    plan, made = planned(JOIN, reversed_rank(JOIN))
    assert emission(plan, "c") == emission(plan, "d") == list(range(6))
    check(JOIN, made)


def test_an_order_that_keeps_parts_together_is_taken() -> None:
    analysis = analyse(import_graph(JOIN), infer_shapes(JOIN))
    rank = np.arange(analysis.live.size)
    for part in ("a", "b"):
        labels = analysis.maps[part].labels.ravel()
        rank[labels] = rank[labels][::-1]
    plan, made = planned(JOIN, rank)
    assert emission(plan, "c") == emission(plan, "d") == [2, 1, 0, 5, 4, 3]
    check(JOIN, made)


def test_only_what_is_misaligned_gives_up_its_order() -> None:
    plan, made = planned(TURNED, reversed_rank(TURNED))
    assert emission(plan, "a") == emission(plan, "b") == [0, 1, 2, 3]
    assert emission(plan, "d") == [3, 1, 0]
    check(TURNED, made)


@pytest.mark.parametrize("model", [JOIN, TURNED, OUTPUT], ids=["join", "turned", "output"])
@given(order=st.permutations(range(24)))
def test_any_rank_computes_the_same(model: onnx.ModelProto, order: list[int]) -> None:
    _, made = planned(model, np.asarray(order))
    check(model, made)
