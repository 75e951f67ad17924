"""Positions within channel maps, against plain loops."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from upscale_onnx.channels.grid import (
    axis_positions,
    coordinates,
    even_out,
    full_emission,
    is_full,
    locate,
    rectangle,
    rows_along,
    take,
    without_axis,
)
from upscale_onnx.types import BoolArray

_MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))


def is_even(kept: BoolArray) -> bool:
    """Whether what is kept is rectangular: rows in use have as many entries as any other, at every axis."""
    if kept.ndim == 1:
        return True
    used = [row for row in kept if row.any()]
    shapes = set()
    for row in used:
        if not is_even(row):
            return False
        shapes.add(extent(row))
    return len(shapes) <= 1


def extent(kept: BoolArray) -> tuple[int, ...]:
    """The sides of a rectangle."""
    if kept.ndim == 1:
        return (int(kept.sum()),)
    used = [row for row in kept if row.any()]
    return (len(used), *extent(used[0]))


@given(_MASKS)
def test_evened_out_is_a_rectangular_superset(kept: BoolArray) -> None:
    grown = even_out(kept)
    assert (grown >= kept).all()
    assert is_even(grown)
    assert rectangle(np.nonzero(grown), grown.shape) is not None
    if is_even(kept):
        assert np.array_equal(grown, kept)


@given(hnp.arrays(bool, st.tuples(st.integers(1, 3), st.integers(1, 4))))
def test_no_smaller_rectangle_holds_a_matrix(kept: BoolArray) -> None:
    spare = np.argwhere(~kept)
    sizes = []
    for choice in product((False, True), repeat=len(spare)):
        candidate = kept.copy()
        candidate[tuple(spare[np.array(choice, bool)].T)] = True
        if is_even(candidate):
            sizes.append(int(candidate.sum()))
    assert even_out(kept).sum() == min(sizes)


@given(_MASKS, st.data())
def test_take_picks_what_the_emission_holds(kept: BoolArray, data: st.DataObject) -> None:
    grown = even_out(kept)
    shape = grown.shape
    if not grown.any():
        return
    emission = np.flatnonzero(grown).reshape(extent(grown))
    sizes = [data.draw(st.sampled_from([1, size])) for size in shape]
    lead = data.draw(st.integers(0, len(shape)))
    array = np.arange(int(np.prod(sizes[lead:]))).reshape(sizes[lead:])
    channels = tuple(shape)
    wide = np.broadcast_to(array, channels).ravel()
    picked = take(array, emission, channels)
    assert np.array_equal(np.broadcast_to(picked, emission.shape), wide[emission])


def test_take_spreads_over_other_axes() -> None:
    array = np.arange(2 * 6 * 4).reshape(2, 6, 4)
    emission = np.array([5, 0, 3]).reshape(1, 3, 1)
    assert np.array_equal(take(array, emission, (1, 6, 1)), array[:, [5, 0, 3]])
    ragged = np.array([[0, 1], [4, 5]]).reshape(1, 2, 1, 2)
    scale = np.arange(3.0)
    assert take(scale, ragged, (1, 2, 1, 3)).tolist() == [[[0, 1]], [[1, 2]]]


def test_take_leaves_alone_what_holds_no_channels() -> None:
    array = np.arange(4).reshape(1, 4)
    assert take(array, np.array([[0], [2]]), (3, 1)) is array


@pytest.mark.parametrize("shape", [(1, 6, 1), (1, 2, 1, 3)])
def test_take_leaves_alone_what_is_kept_whole(shape: tuple[int, ...]) -> None:
    array = np.arange(6.0).reshape(shape)
    assert take(array, full_emission(shape), shape) is array


@given(st.lists(st.integers(0, 20), unique=True), st.lists(st.integers(0, 20)))
def test_locate_finds_positions(held: list[int], wanted: list[int]) -> None:
    found = locate(np.array(wanted, np.int64), np.array(held, np.int64))
    assert found.tolist() == [held.index(one) if one in held else -1 for one in wanted]


def test_full_emissions() -> None:
    assert is_full(full_emission((2, 1, 3)), (2, 1, 3))
    assert not is_full(full_emission((2, 1, 3))[:, :, ::-1], (2, 1, 3))
    assert not is_full(full_emission((2, 3)), (2, 4))


def test_positions_along_an_axis_of_a_product() -> None:
    emission = np.array([[1, 3], [9, 11]])
    assert axis_positions(emission, (3, 4), 0).tolist() == [0, 2]
    assert axis_positions(emission, (3, 4), 1).tolist() == [1, 3]
    with pytest.raises(ValueError, match="ragged"):
        axis_positions(np.array([[1, 3], [8, 11]]), (3, 4), 1)


def test_grids_along_an_axis() -> None:
    labels = np.arange(24).reshape(2, 3, 4)
    assert rows_along(labels, 1).shape == (2, 3, 4)
    assert rows_along(labels, 2).shape == (6, 4)
    assert without_axis(labels[:, :1], 1).shape == (2, 4)


@pytest.mark.parametrize("shape", [(20000,), (20000, 1), (1, 20000, 1), (2, 10000), (10000, 2)])
def test_coordinates_of_many_entries_are_right(shape: tuple[int, ...]) -> None:
    """numpy's own go wrong beyond its buffer of 8192 entries where the array has an axis of size 1 behind."""
    places = np.arange(20000).reshape(shape)
    found = coordinates(places, shape)
    assert all(index.shape == shape for index in found)
    np.testing.assert_array_equal(np.ravel_multi_index(tuple(i.ravel() for i in found), shape), places.ravel())
