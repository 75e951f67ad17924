"""Union-find against sets that are merged one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from upscale_onnx.channels.classes import Classes, occurrences

_PAIRS = st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40)


def merged(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """The least member of everyone's set."""
    owner = list(range(count))
    for left, right in pairs:
        low, high = sorted((owner[left], owner[right]))
        owner = [low if one == high else one for one in owner]
    return owner


@given(st.lists(_PAIRS, max_size=4))
def test_roots_are_the_least_members(batches: list[list[tuple[int, int]]]) -> None:
    classes = Classes()
    labels = classes.fresh(30)
    for batch in batches:
        if batch:
            left, right = np.array(batch).T
            classes.unite(labels[left], labels[right])
    expected = merged(30, [pair for batch in batches for pair in batch])
    assert classes.roots().tolist() == expected
    assert classes.find(labels.reshape(5, 6)).ravel().tolist() == expected


def test_ids_go_on_where_they_stopped_when_the_forest_grows() -> None:
    classes = Classes()
    first, second = classes.fresh(700), classes.fresh(3000)
    classes.unite(first[:5], second[-5:])
    assert len(classes) == 3700
    assert second[0] == 700
    assert classes.find(second[-5:]).tolist() == [0, 1, 2, 3, 4]


def test_shapes_broadcast() -> None:
    classes = Classes()
    grid, column = classes.fresh(6).reshape(2, 3), classes.fresh(2).reshape(2, 1)
    classes.unite(grid, column)
    assert classes.find(grid).tolist() == [[0, 0, 0], [3, 3, 3]]


@given(st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), max_size=5), st.sets(st.integers(0, 9)))
def test_occurrences_are_counted_row_by_row(rows: list[list[int]], ids: set[int]) -> None:
    grid, wanted = np.array(rows, np.int64).reshape(len(rows), 2, 2), np.array(sorted(ids), np.int64)
    assert occurrences(grid, wanted).tolist() == [[row.count(one) for one in sorted(ids)] for row in rows]
