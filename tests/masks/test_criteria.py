"""Criteria on arrays whose scores are known by hand."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import numpy as np
import pytest

from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks import criteria
from upscale_onnx.masks.criteria import WeightCriterion, fpgm, l1, l2, lamp, minimum, random
from upscale_onnx.pruning.criteria import CRITERIA, criterion_of

OF_WEIGHTS: dict[str, WeightCriterion] = {
    "fpgm": fpgm.score,
    "l1": l1.score,
    "l2": l2.score,
    "lamp": lamp.score,
    "minimum": minimum.score,
    "random": random.score,
}

# (C_out=2, C_in=3, k=2)
WEIGHT = np.array([[[1, -2], [0, 0], [3, 0]], [[2, 0], [0, -1], [0, 4]]], dtype=np.float32)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_l1_sums_magnitudes_over_every_other_axis() -> None:
    np.testing.assert_array_equal(l1.score(WEIGHT, 1, _rng()), [5, 1, 7])
    np.testing.assert_array_equal(l1.score(WEIGHT, 0, _rng()), [6, 7])
    np.testing.assert_array_equal(l1.score(WEIGHT, -1, _rng()), [6, 7])


def test_l2_is_the_root_of_the_sum_of_squares() -> None:
    np.testing.assert_allclose(l2.score(WEIGHT, 1, _rng()), [3, 1, 5], rtol=1e-15)
    np.testing.assert_allclose(l2.score(WEIGHT, 0, _rng()), np.sqrt([14, 21]), rtol=1e-15)
    np.testing.assert_allclose(l2.score(WEIGHT, -1, _rng()), np.sqrt([14, 21]), rtol=1e-15)


def test_l1_and_l2_order_channels_differently() -> None:
    weight = np.array([[3.0, 0.0], [2.0, 2.0]])
    assert np.argmin(l1.score(weight, 0, _rng())) == 0
    assert np.argmin(l2.score(weight, 0, _rng())) == 1


def test_random_depends_on_the_generator_alone() -> None:
    first = random.score(WEIGHT, 1, _rng(7))
    np.testing.assert_array_equal(first, random.score(WEIGHT * 0, 1, _rng(7)))
    assert first.shape == (3,)
    assert (first != random.score(WEIGHT, 1, _rng(8))).any()


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_half_precision_is_summed_in_double(name: str) -> None:
    weight = np.full((1, 70000), 1.0, dtype=np.float16)  # the sum is beyond the largest float16
    expected = 70000 if name == "l1" else np.sqrt(70000)
    np.testing.assert_allclose(OF_WEIGHTS[name](weight, 0, _rng()), [expected], rtol=1e-12)


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_a_channel_with_a_nan_or_an_infinity_scores_it(name: str) -> None:
    weight = np.array([[1.0, 2.0], [np.nan, 1.0], [np.inf, 1.0]])
    scores = OF_WEIGHTS[name](weight, 0, _rng())
    assert np.isfinite(scores[0])
    assert np.isnan(scores[1])
    assert np.isposinf(scores[2])


def test_l2_neither_overflows_nor_underflows() -> None:
    weight = np.array([[3e200, 4e200], [3e-200, 4e-200], [0.0, 0.0]])
    np.testing.assert_allclose(l2.score(weight, 0, _rng()), [5e200, 5e-200, 0], rtol=1e-14)


@pytest.mark.parametrize("name", OF_WEIGHTS)
def test_a_weight_without_elements_has_scores(name: str) -> None:
    assert OF_WEIGHTS[name](np.zeros((3, 0), np.float32), 0, _rng()).shape == (3,)


def test_every_criterion_of_weights_is_tried_here() -> None:
    assert {name for name, known in CRITERIA.items() if known.needs == ("weights",)} == OF_WEIGHTS.keys()


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(criteria.__path__)])
def test_every_criterion_names_its_source(name: str) -> None:
    text = inspect.getsource(importlib.import_module(f"{criteria.__name__}.{name}"))
    assert "Source:" in text or name == "activation"


def test_an_unknown_criterion_is_answered_with_the_names() -> None:
    with pytest.raises(ArgumentError, match=r"'l3'.*l1, l2, random"):
        criterion_of("l3")
