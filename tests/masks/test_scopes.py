"""How much each pool loses: ranked alone, together, and with those of the same structure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.pools import Pool, alone, pools, shared
from upscale_onnx.masks.reach import least_amount
from upscale_onnx.masks.scopes import Limits, by_structure, together
from upscale_onnx.masks.steps import rounds


def layer(name: str, *scores: float) -> Pool:
    return alone(name, np.array(scores))


def test_channels_are_ranked_across_layers() -> None:
    found = [layer("a", 1, 2, 3, 4), layer("b", 0.1, 0.2, 5, 6)]
    assert together(found, 0.5, False, Limits()) == [2, 2]
    assert together(found, 0.4, False, Limits()) == [1, 2]


def test_normalised_scores_forget_the_scale_of_a_layer() -> None:
    loud, quiet = layer("a", 100, 200, 300, 400), layer("b", 1, 2, 3, 4)
    assert together([loud, quiet], 0.5, False, Limits()) == [1, 3]
    assert together([loud, quiet], 0.5, True, Limits()) == [2, 2]


def test_the_best_channels_of_a_layer_are_passed_over() -> None:
    found = [layer("a", 1, 2, 3, 4), layer("b", 10, 20, 30, 40)]
    assert together(found, 0.5, False, Limits(least=2)) == [2, 2]
    assert together(found, 0.5, False, Limits()) == [3, 1]
    assert together(found, 0.99, False, Limits(least=9)) == [0, 0]


def test_kept_counts_are_rounded_up() -> None:
    limits = Limits(align=4)
    assert [limits.pruned(count, 10) for count in (0, 1, 2, 3, 6, 9)] == [0, 0, 2, 2, 6, 6]
    assert Limits(least=3, align=2).pruned(9, 10) == 6
    assert Limits(align=16).pruned(3, 6) == 0


def test_a_class_of_several_layers_counts_as_often() -> None:
    common = shared({"a": np.arange(4), "b": np.arange(4)}, {"a": np.arange(4.0), "b": np.arange(4.0)})
    single = layer("c", 9, 9, 9, 9)
    assert common.channels.tolist() == [2, 2, 2, 2]
    # 12 channels, of which a third are two classes of the first pool.
    assert together([common, single], 1 / 3, False, Limits()) == [2, 0]


def test_unknown_scores_go_last() -> None:
    assert together([layer("a", np.nan, np.inf, 1), layer("b", -np.inf, 2, 3)], 0.5, True, Limits()) == [1, 2]


def test_alike_layers_lose_an_amount_among_themselves() -> None:
    found = [layer("a", 1, 1, 1, 1), layer("b", 8, 8, 8, 8), layer("c", 5, 6, 7, 8)]
    alike = {"a": "conv", "b": "conv", "c": "fc"}
    assert by_structure(found, alike, 0.25, False, Limits()) == [2, 0, 1]
    assert by_structure(found, {}, 0.25, False, Limits()) == [1, 1, 1]


def test_pools_of_groups_and_of_layers_alone() -> None:
    scores = {name: np.arange(3.0) for name in "abcd"}
    ids = np.arange(3)
    found = pools(scores, [[("a", ids), ("b", ids)], [("b", ids), ("x", ids)]])
    assert [sorted(pool.members) for pool in found] == [["a", "b"], ["c"], ["d"]]
    found = pools(scores, [[("a", ids), ("b", ids)]], ignored={"a", "d"})
    assert [sorted(pool.members) for pool in found] == [["c"]]


def test_every_layer_of_a_pool_keeps_its_best() -> None:
    part = {"a": np.arange(4), "b": np.array([0, 1])}
    pool = shared(part, {"a": np.array([1.0, 2.0, 8.0, 9.0]), "b": np.array([0.2, 0.1])})
    assert pool.kept(3).tolist() == [True, False, False, True]
    assert pool.kept(3, 2).tolist() == [True, True, True, True]


@given(st.lists(arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 10)), min_size=1, max_size=5),
       st.floats(0, 0.99))  # fmt: skip
def test_no_more_than_the_amount_is_pruned_and_nothing_is_emptied(scores: list[np.ndarray], amount: float) -> None:
    found = [alone(str(number), values) for number, values in enumerate(scores)]
    counts = together(found, amount, False, Limits())
    total = sum(pool.size for pool in found)
    spare = sum(pool.size - 1 for pool in found)
    assert sum(counts) == min(int(amount * total + 1e-9), spare)
    assert all(count < pool.size for count, pool in zip(counts, found, strict=True))


def test_rounds_end_at_the_amount() -> None:
    assert [part.amount(0.75) for part in rounds(2, "geometric")] == pytest.approx([0.5, 0.75])
    assert [part.amount(0.6) for part in rounds(3, "linear")] == pytest.approx([0.2, 0.4, 0.6])
    assert rounds(4, "geometric")[-1].amount(0.3) == 0.3


def test_the_least_amount_that_reaches_a_size() -> None:
    def share(amount: float) -> float:
        return float(np.ceil((1 - amount) ** 2 * 100) / 100)

    amount = least_amount(0.25, share, "params")
    assert share(amount) <= 0.25
    assert share(amount - 0.01) > 0.25
    assert least_amount(1.0, share, "params") == 0.0


def test_a_size_out_of_reach_is_refused_unless_it_is_on_the_way() -> None:
    def share(amount: float) -> float:
        return max(1 - amount, 0.5)

    with pytest.raises(ArgumentError, match=r"macs 0.4 cannot be reached: pruning all that may go leaves 0\.500"):
        least_amount(0.4, share, "macs")
    assert least_amount(0.4, share, "macs", must=False) > 0.99
