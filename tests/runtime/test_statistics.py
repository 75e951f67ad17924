from __future__ import annotations

import numpy as np
import pytest

from upscale_onnx.runtime.statistics import Ratio, median_ratio


def test_disturbances_of_whole_rounds_cancel() -> None:
    reference = np.array([1.0, 9.0, 2.0, 1.0, 5.0])
    assert median_ratio(list(reference * 0.5), list(reference)) == Ratio(0.5, 0.5, 0.5)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(200):
        own, reference = 0.8 * rng.lognormal(0, 0.1, 25), rng.lognormal(0, 0.1, 25)
        found = median_ratio(list(own), list(reference), seed=seed)
        assert found.low <= found.value <= found.high
        hits += found.low <= 0.8 <= found.high
    assert 180 <= hits <= 199


def test_more_rounds_narrow_the_interval_and_the_same_seed_repeats_it() -> None:
    rng = np.random.default_rng(2)
    own, reference = rng.lognormal(0, 0.2, 400), rng.lognormal(0, 0.2, 400)
    few, many = median_ratio(list(own[:20]), list(reference[:20])), median_ratio(list(own), list(reference))
    assert many.high - many.low < 0.5 * (few.high - few.low)
    assert median_ratio(list(own), list(reference)) == many


def test_unpaired_measurements_are_refused() -> None:
    with pytest.raises(ValueError, match="2 measurements cannot be paired with 1"):
        median_ratio([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="0 measurements"):
        median_ratio([], [])
