"""Criteria against independent implementations: plain loops over random tensors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from upscale_onnx.masks.criteria import (
    WeightCriterion,
    apoz,
    bn_scale,
    fpgm,
    hrank,
    l1,
    l2,
    lamp,
    mean_activation,
    minimum,
    obs,
    random,
    wanda,
)

SHAPES = [((5, 7), 0), ((6, 4, 3, 3), 1), ((4, 6, 3), 0), ((3, 8, 1, 1), -3)]


def _weight(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _channels(weight: NDArray[np.float32], axis: int) -> list[list[float]]:
    return [[float(v) for v in np.take(weight, c, axis).ravel()] for c in range(weight.shape[axis])]


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_lamp_divides_by_what_outlives_the_channel(shape: tuple[int, ...], axis: int) -> None:
    weight = _weight(shape)
    norms = [sum(v * v for v in channel) ** 0.5 for channel in _channels(weight, axis)]
    expected = [norm / sum(other for other in norms if other >= norm) for norm in norms]
    np.testing.assert_allclose(lamp.score(weight, axis, _rng()), expected, rtol=1e-6)


def test_lamp_gives_each_score_to_its_own_channel() -> None:
    scores = lamp.score(np.array([[1.0], [3.0], [2.0]]), 0, _rng())
    np.testing.assert_allclose(scores, [1 / 6, 1, 2 / 5], rtol=1e-12)
    # Un-sorting by the sorting permutation itself, in place of its inverse, gives them to others.
    descending = np.array([1, 2, 0])
    np.testing.assert_allclose(scores[descending][np.argsort(descending)], scores)
    assert not np.allclose(scores[descending][descending], scores)


def _lamp_gathered_twice(norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """What upscale.masking.importance.LAMP (apple-upscale 0.1.1) computes: the scores of the sorted norms, gathered
    by the permutation that sorted them, where they had to be scattered by it."""
    descending = np.argsort(-norms)
    ordered = norms[descending] / np.cumsum(norms[descending])
    return np.asarray(ordered[descending])


def test_lamp_differs_from_scores_that_went_to_other_channels() -> None:
    norms = np.array([1.0, 3.0, 2.0])
    np.testing.assert_allclose(lamp.score(norms[:, None], 0, _rng()), [1 / 6, 1, 2 / 5], rtol=1e-12)
    np.testing.assert_allclose(_lamp_gathered_twice(norms), [2 / 5, 1 / 6, 1], rtol=1e-12)
    # The channel of the largest norm would be the first to be pruned; a permutation that undoes itself hides it.
    assert np.argmin(_lamp_gathered_twice(norms)) == np.argmax(norms)
    swapped = np.array([2.0, 3.0, 1.0])
    np.testing.assert_allclose(_lamp_gathered_twice(swapped), lamp.score(swapped[:, None], 0, _rng()), rtol=1e-12)


def test_lamp_of_nothing_is_nothing() -> None:
    np.testing.assert_array_equal(lamp.score(np.zeros((3, 2)), 0, _rng()), [0, 0, 0])


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_fpgm_sums_distances(shape: tuple[int, ...], axis: int) -> None:
    weight = _weight(shape)
    channels = _channels(weight, axis)
    expected = [sum(sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) ** 0.5 for b in channels) for a in channels]
    np.testing.assert_allclose(fpgm.score(weight, axis, _rng()), expected, rtol=1e-6)


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_minimum_is_the_smallest_magnitude(shape: tuple[int, ...], axis: int) -> None:
    weight = _weight(shape)
    expected = [min(abs(v) for v in channel) for channel in _channels(weight, axis)]
    np.testing.assert_allclose(minimum.score(weight, axis, _rng()), expected, rtol=1e-7)


def test_bn_scale_has_no_sign() -> None:
    np.testing.assert_array_equal(bn_scale.score(np.array([-2.0, 0.5], np.float32)), [2, 0.5])


def _elimination_rank(rows: list[list[float]]) -> int:
    rank = 0
    for column in range(len(rows[0])):
        pivot = max(range(rank, len(rows)), key=lambda r: abs(rows[r][column]), default=None)
        if pivot is None or abs(rows[pivot][column]) < 1e-9:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for r in range(rank + 1, len(rows)):
            factor = rows[r][column] / rows[rank][column]
            rows[r] = [a - factor * b for a, b in zip(rows[r], rows[rank], strict=True)]
        rank += 1
    return rank


def test_hrank_is_the_mean_rank_over_all_batches() -> None:
    rng = np.random.default_rng(3)
    maps = rng.integers(-2, 3, (6, 4, 5, 4)).astype(np.float32)
    maps[:, 1, 2:] = maps[:, 1, :1]  # a rank of at most 2
    maps[:, 2] = 0
    maps[::2, 3] = 1
    expected = [np.mean([_elimination_rank(maps[n, c].tolist()) for n in range(6)]) for c in range(4)]
    total = hrank.measure(maps[:4]) + hrank.measure(maps[4:])
    np.testing.assert_array_equal(hrank.score(total, 6), expected)
    assert expected[2] == 0 < expected[1] <= 2


def test_activation_statistics_are_those_of_loops() -> None:
    rng = np.random.default_rng(4)
    maps = np.maximum(rng.normal(size=(5, 3, 4, 2)), 0).astype(np.float32)
    weight = _weight((6, 3, 1, 1))
    cells = [[float(v) for v in maps[:, c].ravel()] for c in range(3)]
    share = [sum(v != 0 for v in values) / len(values) for values in cells]
    mean = [sum(abs(v) for v in values) / len(values) for values in cells]
    norm = [sum(v * v for v in values) ** 0.5 for values in cells]
    magnitude = [sum(abs(v) for v in channel) for channel in _channels(weight, 1)]
    halves = (maps[:2], maps[2:])
    np.testing.assert_allclose(apoz.score(sum(map(apoz.measure, halves), np.zeros(3)), 5), share, rtol=1e-6)
    measured = sum(map(mean_activation.measure, halves), np.zeros(3))
    np.testing.assert_allclose(mean_activation.score(measured, 5), mean, rtol=1e-6)
    found = wanda.score(weight, 1, sum(map(wanda.measure, halves), np.zeros(3)))
    np.testing.assert_allclose(found, np.multiply(magnitude, norm), rtol=1e-6)


def _refit_error(x: NDArray[np.float64], y: NDArray[np.float64], rows: list[int]) -> float:
    fitted = x[:, rows] @ np.linalg.lstsq(x[:, rows], y, rcond=None)[0]
    return float(np.square(y - fitted).sum())


def test_obs_scores_are_the_errors_that_a_refit_adds() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(400, 13)) @ rng.normal(size=(13, 13))
    x[:, -1] = 1.0
    matrix = rng.normal(size=(13, 5))
    y = x @ matrix
    left, expected, before, most = list(range(4)), np.zeros(4), 0.0, 0.0
    while left:  # the best channel to remove next, by solving each least squares problem anew
        errors = {
            c: _refit_error(x, y, [*itertools.chain(*(range(3 * o, 3 * o + 3) for o in left if o != c)), 12])
            for c in left
        }
        best = min(errors, key=lambda c: errors[c])
        left.remove(best)
        most = max(most, errors[best] - before)
        expected[best], before = most, errors[best]
    np.testing.assert_allclose(np.square(obs.score(x.T @ x, matrix, 4, 3)), expected, rtol=1e-3)


def test_obs_prefers_to_remove_what_others_can_replace() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(300, 4))
    x[:, 2] = x[:, 0] + 1e-3 * rng.normal(size=300)  # large weights, but a copy
    matrix = np.array([[5.0], [0.2], [5.0], [1.0]])
    scores = obs.score(x.T @ x, matrix, 4, 1)
    assert np.argmin(scores) in (0, 2)
    assert len(set(scores)) == 4


def test_obs_orders_channels_that_cost_nothing() -> None:
    scores = obs.score(np.zeros((4, 4)), np.ones((4, 2)), 4, 1)
    assert len(set(scores)) == 4


@pytest.mark.parametrize("score", [fpgm.score, l1.score, l2.score, lamp.score, minimum.score, random.score])
def test_the_generator_is_the_only_source_of_chance(score: WeightCriterion) -> None:
    weight = _weight((6, 4, 3, 3))
    np.testing.assert_array_equal(score(weight, 1, _rng()), score(weight.copy(), 1, _rng()))
