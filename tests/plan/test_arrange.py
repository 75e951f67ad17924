"""Orders of channels: sets that selections pick come to lie together."""

from __future__ import annotations

import numpy as np
import onnx

from tests.graphs import indices, parse, weight
from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.plan.arrange import arrange
from upscale_onnx.types import IntArray


def picking(*sets: tuple[int, ...], channels: int = 6) -> onnx.ModelProto:
    """One value of which each consumer is handed a set of channels."""
    lines = [f"s{i} = Gather<axis=1>(a, p{i}) y{i} = Conv(s{i}, w{i})" for i in range(len(sets))]
    outputs = ", ".join(f"float[1,2,4,4] y{i}" for i in range(len(sets)))
    constants = {f"p{i}": indices(*picks) for i, picks in enumerate(sets)}
    constants |= {f"w{i}": weight(2, len(picks), 1, 1) for i, picks in enumerate(sets)}
    text = f"(float[1,3,4,4] x) => ({outputs}, float[1,2,4,4] z) {{ a = Conv(x, v) {' '.join(lines)} z = Conv(a, w) }}"
    return parse(text, v=weight(channels, 3, 1, 1), w=weight(2, channels, 1, 1), **constants)


def ranks(model: onnx.ModelProto) -> tuple[Analysis, IntArray, IntArray]:
    """The analysis, the rank per class, and the rank per channel of `a`."""
    analysis = analyse(import_graph(model), infer_shapes(model))
    rank = arrange(analysis)
    return analysis, rank, rank[analysis.maps["a"].labels.ravel()]


def together(rank: IntArray, picks: tuple[int, ...]) -> bool:
    """Whether these channels are one range in the order of the ranks."""
    place = np.argsort(np.argsort(rank))[list(picks)]
    return int(place.max() - place.min()) == len(picks) - 1


def test_a_rank_is_a_permutation() -> None:
    _, rank, _ = ranks(picking((0, 2, 4), (1, 2, 5)))
    assert sorted(rank.tolist()) == list(range(rank.size))


def test_sets_that_can_all_be_ranges_are() -> None:
    sets = ((0, 2, 4), (2, 5), (0, 1, 2, 4))
    _, _, found = ranks(picking(*sets))
    assert all(together(found, picks) for picks in sets)


def test_where_not_all_can_be_ranges_the_heaviest_are() -> None:
    """With both large sets as ranges, 0 and 3 lie in the middle and 1 and 5 on either side of them."""
    sets = ((0, 1, 2, 3), (3, 4, 5, 0), (1, 5))
    _, _, found = ranks(picking(*sets))
    assert [together(found, picks) for picks in sets] == [True, True, False]


def test_nothing_to_gain_leaves_the_order() -> None:
    _, rank, _ = ranks(picking((0, 1, 2), (2, 3)))
    assert together(rank, (0, 1, 2))
    model = parse(
        "(float[1,3,4,4] x) => (float[1,2,4,4] y) { a = Conv(x, v) y = Conv(a, w) }",
        v=weight(6, 3, 1, 1),
        w=weight(2, 6, 1, 1, columns=[1]),
    )
    _, rank, _ = ranks(model)
    assert rank.tolist() == list(range(rank.size))


def test_fixed_channels_keep_their_order() -> None:
    model = parse(
        """(float[1,3,4,4] x) => (float[1,6,4,4] a, float[1,2,4,4] y) {
            a = Conv(x, v)
            s = Gather<axis=1>(a, p)
            y = Conv(s, w)
        }""",
        v=weight(6, 3, 1, 1),
        p=indices(0, 2, 4),
        w=weight(2, 3, 1, 1),
    )
    _, rank, _ = ranks(model)
    assert rank.tolist() == list(range(rank.size))
