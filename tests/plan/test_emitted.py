"""What values emit: what is demanded, rectangular where it must be, whole blocks."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.graphs import parse, weight
from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.channels.flow import Even
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.plan.emitted import Emitted, emitted_classes, make_even


def analysed(model: onnx.ModelProto) -> Analysis:
    return analyse(import_graph(model), infer_shapes(model))


def held(analysis: Analysis, emitted: Emitted, name: str) -> list[int]:
    """The channels that a value still holds."""
    return [int(i) for i in np.flatnonzero(emitted.kept[analysis.maps[name].labels.ravel()])]


def chain(dead: list[int], channels: int = 8) -> onnx.ModelProto:
    return parse(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w1)
            b = Relu(a)
            y = Conv(b, w2)
        }""",
        w1=weight(channels, 3, 1, 1),
        w2=weight(2, channels, 1, 1, columns=dead),
    )


@pytest.mark.parametrize(
    ("align", "expected"),
    [(1, [2, 4, 7]), (2, [0, 2, 4, 7]), (3, [2, 4, 7]), (4, [0, 2, 4, 7]), (8, list(range(8))), (16, list(range(8)))],
)
def test_blocks_are_filled_with_the_first_dead_channels(align: int, expected: list[int]) -> None:
    analysis = analysed(chain([0, 1, 3, 5, 6]))
    emitted = emitted_classes(analysis, align)
    assert held(analysis, emitted, "a") == held(analysis, emitted, "b") == expected
    assert np.flatnonzero(emitted.live[analysis.maps["a"].labels.ravel()]).tolist() == [2, 4, 7]


@given(dead=st.sets(st.integers(0, 11), max_size=11), align=st.integers(1, 16))
def test_no_block_more_than_needed(dead: set[int], align: int) -> None:
    analysis = analysed(chain(sorted(dead), 12))
    emitted = emitted_classes(analysis, align)
    live = 12 - len(dead)
    assert len(held(analysis, emitted, "a")) == min(-(-live // align) * align, 12)
    assert set(held(analysis, emitted, "a")) >= set(range(12)) - dead


def test_what_no_live_result_reads_is_left_out_through_any_depth() -> None:
    model = parse(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w1)
            b = Conv(a, w2)
            y = Conv(b, w3)
        }""",
        w1=weight(3, 3, 1, 1),
        w2=weight(4, 3, 1, 1) * np.asarray([[1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1]], np.float32)[..., None, None],
        w3=weight(2, 4, 1, 1, columns=[2, 3]),
    )
    analysis = analysed(model)
    emitted = emitted_classes(analysis)
    assert (held(analysis, emitted, "b"), held(analysis, emitted, "a")) == ([0, 1], [0])


@pytest.mark.parametrize("align", [1, 4])
def test_groups_keep_equally_many(align: int) -> None:
    """Groups of 4: three live in the first, one in the second."""
    model = parse(
        """(float[1,4,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w1)
            b = Conv<group=2>(a, w2)
            y = Conv(b, w3)
        }""",
        w1=weight(8, 4, 1, 1),
        w2=weight(8, 4, 1, 1),
        w3=weight(2, 8, 1, 1, columns=[0, 4, 5, 7]),
    )
    analysis = analysed(model)
    emitted = emitted_classes(analysis, align)
    kept = held(analysis, emitted, "b")
    assert set(kept) >= {1, 2, 3, 6}
    assert [sum(i // 4 == group for i in kept) for group in (0, 1)] == ([3, 3] if align == 1 else [4, 4])


def test_a_group_that_nobody_reads_goes_with_its_input() -> None:
    model = parse(
        """(float[1,4,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w1)
            b = Conv<group=2>(a, w2)
            y = Conv(b, w3)
        }""",
        w1=weight(8, 4, 1, 1),
        w2=weight(8, 4, 1, 1),
        w3=weight(2, 8, 1, 1, columns=[0, 1, 2, 3]),
    )
    analysis = analysed(model)
    emitted = emitted_classes(analysis)
    assert held(analysis, emitted, "a") == held(analysis, emitted, "b") == [4, 5, 6, 7]


def test_a_contraction_of_nothing_keeps_one_channel() -> None:
    analysis = analysed(chain(list(range(8))))
    emitted = emitted_classes(analysis)
    assert len(held(analysis, emitted, "a")) == 1
    assert not emitted.live[analysis.maps["a"].labels].any()


def test_rows_that_share_pairs_are_filled_once() -> None:
    """Two rows hold the same pairs, so that what fills the first one fills the second."""
    kept = np.array([True, False, True, True])
    make_even(Even((np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3]]),)), kept)
    assert kept.all()
