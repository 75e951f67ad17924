"""What grouped convolutions that share channels keep, so that the groups of each stay of one size."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from tests.graphs import parse, weight
from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.export.planned import prepared_analysis
from upscale_onnx.model import infer_shapes
from upscale_onnx.plan.even_groups import even_groups
from upscale_onnx.types import BoolArray

GROUPS, CHANNELS = 3, 12


def shuffle_unit() -> Analysis:
    """Two grouped convolutions with a shuffle between."""
    model = parse(
        f"""(float[1,3,4,4] x) => (float[1,2,4,4] y) {{
            s = Conv(x, w0)
            a = Conv<group={GROUPS}>(s, w1)
            b = Reshape(a, split)
            c = Transpose<perm=[0,2,1,3,4]>(b)
            d = Reshape(c, join)
            e = Conv<group={GROUPS}>(d, w2)
            y = Conv(e, w3)
        }}""",
        w0=weight(12, 3, 1, 1), w1=weight(CHANNELS, 4, 1, 1), w2=weight(CHANNELS, 4, 1, 1),
        w3=weight(2, CHANNELS, 1, 1), split=np.asarray([1, GROUPS, 4, 4, 4]), join=np.asarray([1, CHANNELS, 4, 4]),
    )  # fmt: skip
    return prepared_analysis(model, infer_shapes(model))


def around(analysis: Analysis) -> BoolArray:
    """What is kept: all that the first convolution reads and the second one makes."""
    kept = np.zeros(analysis.live.size, np.bool_)
    kept[np.concatenate([analysis.maps[name].labels.ravel() for name in "se"])] = True
    return kept


def widths(row: BoolArray) -> list[set[int]]:
    """How many channels the groups in front of the shuffle keep, and those behind it."""
    grid = row.reshape(GROUPS, -1)
    return [set(grid.sum(1).tolist()), set(grid.T.reshape(GROUPS, -1).sum(1).tolist())]


@pytest.mark.parametrize("align", [1, 2, 8])
@pytest.mark.parametrize("seed", range(6))
def test_the_fewest_channels_are_added(align: int, seed: int) -> None:
    analysis, rng = shuffle_unit(), np.random.default_rng(seed)
    (between,) = even_groups(analysis)
    labels = analysis.maps["a"].labels.ravel()
    kept = around(analysis)
    kept[rng.choice(labels, 4, replace=False)] = True
    before, others = kept[labels], int(kept.sum()) - 4
    kept[between.missing(kept, align)] = True

    def fits(row: BoolArray) -> bool:
        return all(len(each) == 1 for each in widths(row)) and (row.all() or row.sum() % align == 0)

    assert fits(kept[labels])
    assert kept.sum() == kept[labels].sum() + others
    spare = np.flatnonzero(~before)
    fewer = range(int(kept[labels].sum() - before.sum()))
    smaller = (before | np.isin(np.arange(CHANNELS), some) for count in fewer for some in combinations(spare, count))
    assert not any(map(fits, smaller))


def test_the_worthiest_are_added() -> None:
    analysis = shuffle_unit()
    (between,) = even_groups(analysis)
    kept, labels = around(analysis), analysis.maps["a"].labels.ravel()
    kept[labels[[0, 5]]] = True  # of the last group, channels 10 and 11 would be read by the last group behind
    worth = np.zeros(kept.size)
    worth[labels[11]] = 1.0
    assert between.missing(kept, 1, worth).tolist() == [labels[11]]
    assert between.missing(kept, 1).tolist() == [labels[10]]


def test_groups_that_are_gone_stay_gone() -> None:
    analysis = shuffle_unit()
    (between,) = even_groups(analysis)
    kept, labels = np.zeros(analysis.live.size, np.bool_), analysis.maps["a"].labels.ravel()
    assert between.missing(kept, 8).size == 0
    kept[labels[[0, 5]]] = True
    assert between.missing(kept, 1).size == 0


def test_groups_that_share_no_channels_are_left_to_others() -> None:
    model = parse(
        "(float[1,4,4] x) => (float[1,4,4] y) { a = Conv<group=2>(x, w1) b = Conv(a, w2) y = Conv<group=2>(b, w1) }",
        w1=weight(4, 2, 1), w2=weight(4, 4, 1),
    )  # fmt: skip
    assert even_groups(prepared_analysis(model, infer_shapes(model))) == ()
