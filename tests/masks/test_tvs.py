"""The criterion "tvs": against numerical integration, on classes of known distributions, and through a model."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from scipy import integrate, stats

from tests.graphs import parse, weight
from tests.pruned import pruned
from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.criteria import tvs
from upscale_onnx.options import Options
from upscale_onnx.pruning.class_scores import tvs_scores
from upscale_onnx.pruning.evidence import Evidence
from upscale_onnx.types import FloatArray


def _integrals(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    """Squared Hellinger and total variation distance of two normal distributions (mean, deviation), integrated."""
    p, q = stats.norm(*a), stats.norm(*b)
    ends = [mean + sign * 12 * deviation for mean, deviation in (a, b) for sign in (-1, 1)]
    grid = np.linspace(min(ends), max(ends), 200001)
    overlap = integrate.simpson(np.sqrt(p.pdf(grid) * q.pdf(grid)), x=grid)
    return 1 - overlap, integrate.simpson(np.abs(p.pdf(grid) - q.pdf(grid)), x=grid) / 2


def _sums(values: list[FloatArray]) -> tvs.Sums:
    """Of one channel; values: those of each class."""
    classes = np.repeat(np.arange(len(values)), [v.size for v in values])
    return tvs.measure(np.concatenate(values)[:, None], classes, len(values))


@pytest.mark.parametrize(
    ("a", "b"),
    [((0.0, 1.0), (1.0, 1.0)), ((0.0, 1.0), (0.0, 3.0)), ((-2.0, 0.5), (1.0, 2.0)), ((5.0, 0.1), (5.05, 0.1))],
)
def test_the_score_is_the_hellinger_bound_on_the_total_variation(
    a: tuple[float, float], b: tuple[float, float]
) -> None:
    # Two samples at mean +- deviation / sqrt(2) have just this mean and this (unbiased) variance.
    values = [np.array([m - d / np.sqrt(2), m + d / np.sqrt(2)]) for m, d in (a, b)]
    hellinger, variation = _integrals(a, b)
    found = 1 - np.exp(-tvs.score(_sums(values))[0])
    np.testing.assert_allclose(found, hellinger, rtol=1e-4)
    assert found <= variation


def test_a_channel_is_as_good_as_the_pair_of_classes_it_separates_least() -> None:
    groups = [stats.norm(mean).ppf((np.arange(500) + 0.5) / 500) for mean in (0.0, 6.0, 7.0)]
    pairs = [tvs.score(_sums([p, q]))[0] for p, q in itertools.combinations(groups, 2)]
    np.testing.assert_allclose(tvs.score(_sums(groups))[0], min(pairs), rtol=1e-3)  # the ridge is of all classes
    assert np.argmin(pairs) == 2
    np.testing.assert_allclose(min(pairs), 1 / 8, rtol=0.02)


def test_batches_add_up_and_positions_are_averaged() -> None:
    rng = np.random.default_rng(1)
    maps, classes = rng.normal(size=(30, 4, 3, 5)), np.arange(30) % 3
    whole = tvs.measure(maps, classes, 3)
    parts = tvs.measure(maps[:7], classes[:7], 3) + tvs.measure(maps[7:], classes[7:], 3)
    for name in ("count", "first", "second"):
        np.testing.assert_allclose(getattr(whole, name), getattr(parts, name), rtol=1e-12)
    np.testing.assert_allclose(whole.first[1], maps[classes == 1].mean(axis=(2, 3)).sum(axis=0), rtol=1e-12)


def test_what_is_constant_tells_nothing_and_classes_of_one_sample_are_left_out() -> None:
    maps = np.zeros((6, 2))
    maps[:, 1] = [0, 1, 8, 9, 500, 0]
    found = tvs.score(tvs.measure(maps, np.array([0, 0, 1, 1, 2, 3]), 5))
    np.testing.assert_allclose(found, [0, tvs.score(tvs.measure(maps[:4], np.array([0, 0, 1, 1]), 2))[1]])
    assert found[1] > 1
    np.testing.assert_array_equal(tvs.score(tvs.measure(maps, np.zeros(6, np.int64), 1)), [0, 0])


def _network() -> ModelProto:
    return parse(
        "(float[N, 8] x) => (float[N, 2] out) { h = MatMul(x, w)  r = Relu(h)  out = MatMul(r, v) }",
        w=np.eye(8, dtype=np.float32),
        v=weight(8, 2),
    )


def _data(folder: Path, **labels: NDArray[np.int64]) -> str:
    rng = np.random.default_rng(2)
    x = np.abs(rng.normal(10, 1, (60, 8))).astype(np.float32)
    x[:30] += np.arange(8, dtype=np.float32)  # the later a channel, the farther apart are the classes
    np.savez(folder / "data.npz", x=x, **labels)
    return str(folder / "data.npz")


def test_the_channels_that_tell_least_are_pruned(tmp_path: Path) -> None:
    data = _data(tmp_path, labels=np.repeat([7, 3], 30))
    options = Options.of(amount=0.5, criterion="tvs", calibration=data, masks="flat")
    masked, count = pruned(_network(), options)
    for tensor in masked.graph.initializer:
        kept = numpy_helper.to_array(tensor).any(axis=1)
        np.testing.assert_array_equal(kept, [False] * 4 + [True] * 4)
    assert count == 8


def test_without_labels_the_models_own_classes_are_taken(tmp_path: Path) -> None:
    x = np.random.default_rng(3).normal(size=(40, 8)).astype(np.float32)
    model = _network()
    hidden = np.maximum(x, 0) @ weight(8, 2)
    expected = tvs_scores(Evidence(model, Options(), [{"x": x}], hidden.argmax(axis=1)))
    found = tvs_scores(Evidence(model, Options(), [{"x": x[:25]}, {"x": x[25:]}], None))
    np.testing.assert_allclose(found["v"], expected["v"], rtol=1e-9)
    assert np.unique(hidden.argmax(axis=1)).size == 2


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    data = _data(tmp_path, y=np.zeros(60, np.int64))
    with pytest.raises(ArgumentError, match="at least two classes with two samples each"):
        pruned(_network(), Options.of(amount=0.5, criterion="tvs", calibration=data, masks="flat"))
    dense = parse("(float[N, 8, 4] x) => (float[N, 8, 8] out) { out = MatMul(x, w) }", w=weight(4, 8))
    with pytest.raises(ArgumentError, match="is not \\(samples, classes\\): add labels"):
        tvs_scores(Evidence(dense, Options(), [{"x": np.zeros((4, 8, 4), np.float32)}], None))
