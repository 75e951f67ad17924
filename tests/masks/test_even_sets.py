"""Sets of channels of which every group holds as many."""

from __future__ import annotations

import numpy as np
import pytest

from upscale_onnx.masks.even_sets import even_sets
from upscale_onnx.types import IntArray


def held(grid: IntArray, some: IntArray) -> set[int]:
    """How many of some channels the rows of a grid hold."""
    return set(np.isin(grid, some).sum(1).tolist())


def shuffled(channels: IntArray, groups: int) -> IntArray:
    """The groups that read `channels` of as many groups behind a shuffle."""
    return channels.reshape(groups, -1).T.reshape(groups, -1)


@pytest.mark.parametrize(("groups", "width"), [(2, 6), (3, 20), (3, 7), (4, 8), (8, 3), (5, 5)])
def test_behind_a_shuffle_a_set_takes_one_channel_of_each_group_on_both_sides(groups: int, width: int) -> None:
    channels = np.arange(groups * width)
    grids = [channels.reshape(groups, width), shuffled(channels, groups)]
    sets = even_sets(grids, np.ones(channels.size))
    assert len(sets) == width
    np.testing.assert_array_equal(np.sort(np.concatenate(sets)), channels)
    assert all(held(grid, some) == {1} for grid in grids for some in sets)


def test_the_first_of_every_group_come_together() -> None:
    order = np.asarray([4, 2, 3, 1, 8, 6, 7, 5], np.float64)
    sets = even_sets([np.arange(8).reshape(2, 4)], order)
    assert [sorted(some.tolist()) for some in sets] == [[3, 7], [1, 5], [2, 6], [0, 4]]


@pytest.mark.parametrize("seed", range(5))
def test_channels_that_are_pruned_evenly_are_in_sets_of_their_own(seed: int) -> None:
    channels, rng = np.arange(48), np.random.default_rng(seed)
    grids = [channels.reshape(3, -1), shuffled(channels, 3)]
    order = rng.uniform(0.5, 1.0, channels.size)
    chosen = rng.choice(16, 8, replace=False)
    gone = np.concatenate([some for number, some in enumerate(even_sets(grids, order)) if number in chosen])
    order[gone] = 0.0
    kept = [some for some in even_sets(grids, order) if order[some].any()]
    assert len(kept) == 8
    np.testing.assert_array_equal(np.sort(np.concatenate(kept)), np.setdiff1d(channels, gone))


def test_grids_without_common_channels_are_told_apart() -> None:
    sets = even_sets([np.arange(6).reshape(2, 3), np.arange(6, 12).reshape(3, 2)], np.ones(12))
    assert sorted(some.size for some in sets) == [2, 2, 2, 3, 3]


@pytest.mark.parametrize(("groups", "first", "width"), [(3, 24, 240), (2, 24, 200), (8, 24, 384)])
def test_groups_of_a_concatenation_take_parts_of_several_layers(groups: int, first: int, width: int) -> None:
    """The first stages of a ShuffleNet: a stage begins with the channels of the one before, and adds its own."""
    before, added, doubled = np.split(np.arange(2 * width), [first, width])
    rows = [added, np.concatenate([before, added]), doubled, np.concatenate([before, added, doubled])]
    grids = [row.reshape(groups, -1) for row in rows]
    sets = even_sets(grids, np.ones(2 * width))
    np.testing.assert_array_equal(np.sort(np.concatenate(sets)), np.arange(2 * width))
    assert all(len(held(grid, some)) == 1 for grid in grids for some in sets)
    assert len(sets) >= 24  # fine enough to choose among
