"""Measures of variants: against numbers worked out beside them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import pytest

from tests.graphs import parse
from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.measures.data import unlabelled
from upscale_onnx.measures.measure import Distance, Top1


def _linear(w: Any, outputs: str = "float[N,3] y", more: str = "") -> onnx.ModelProto:
    return parse(f"(float[N,4] x) => ({outputs}) {{ y = MatMul(x, w) {more} }}", w=np.asarray(w, np.float32))


def _batches(count: int = 3) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [{"x": rng.standard_normal((5, 4)).astype(np.float32)} for _ in range(count)]


def test_the_distance_is_over_all_samples_together() -> None:
    rng = np.random.default_rng(1)
    w, v = rng.standard_normal((2, 4, 3)).astype(np.float32)
    measure = Distance.of(_linear(w), _batches())
    x = np.concatenate([batch["x"] for batch in _batches()]).astype(np.float64)
    expected = np.linalg.norm(x @ w - x @ v) / np.linalg.norm(x @ w)
    assert measure.value(_linear(v)) == pytest.approx(expected, rel=1e-5)
    assert (measure.value(_linear(w)), measure.baseline, measure.samples) == (0.0, 0.0, 15)
    assert measure.loss(0.3) == 0.3


def test_the_worst_output_counts_and_integers_count_by_entries() -> None:
    outputs, more = "float[N,3] y, int64[N] best", "best = ArgMax<axis=1, keepdims=0>(y)"
    w = np.eye(4, 3)
    measure = Distance.of(_linear(w, outputs, more), _batches())
    swapped = w[:, [1, 0, 2]]
    best = np.concatenate([batch["x"] @ w for batch in _batches()]).argmax(axis=1)
    other = np.concatenate([batch["x"] @ swapped for batch in _batches()]).argmax(axis=1)
    share = float((best != other).mean())
    assert share > 0
    assert measure.value(_linear(swapped, outputs, more)) >= math.sqrt(share) - 1e-6
    scaled = Distance.of(_linear(w, outputs, more), _batches()).value(_linear(w * 1.5, outputs, more))
    assert scaled == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_is_infinitely_far(bad: float) -> None:
    measure = Distance.of(_linear(np.ones((4, 3))), _batches())
    assert measure.value(_linear(np.full((4, 3), bad))) == math.inf
    zero = Distance.of(_linear(np.zeros((4, 3))), _batches())
    assert (zero.value(_linear(np.zeros((4, 3)))), zero.value(_linear(np.ones((4, 3))))) == (0.0, math.inf)


def test_outputs_of_other_shapes_are_infinitely_far() -> None:
    text = "(float[N,4] x) => (float[A,B] y) { z = MatMul(x, w) k = NonZero(z) y = Cast<to=1>(k) }"
    model, other = (parse(text, w=np.asarray(w, np.float32)) for w in (np.ones((4, 3)), np.zeros((4, 3))))
    assert Distance.of(model, _batches()).value(other) == math.inf


def test_memory_is_bounded() -> None:
    model = _linear(np.ones((4, 3)))
    assert Distance.of(model, _batches(9), held_bytes=3 * (5 * 4 + 5 * 3) * 4).samples == 15
    assert Distance.of(model, _batches(9), held_bytes=1).samples == 5


def test_accuracy_counts_labelled_samples_only() -> None:
    model = _linear(np.eye(4, 3))
    batches = [(batch, (batch["x"] @ np.eye(4, 3)).argmax(axis=1).astype(np.int64)) for batch in _batches()]
    batches[0][1][:2] = (batches[0][1][:2] + 1) % 3
    batches[2] = (batches[2][0], batches[2][1][:3])
    measure = Top1.of(model, batches)
    assert (measure.samples, measure.baseline) == (13, 11 / 13)
    assert measure.loss(0.5) == pytest.approx(11 / 13 - 0.5)
    with pytest.raises(ArgumentError, match="labels reach from 0 to 7, the model has 3 classes"):
        Top1.of(model, [(batches[0][0], np.array([0, 7, 1, 1, 2]))])


def test_random_inputs_are_seeded() -> None:
    model, other = _linear(np.ones((4, 3))), _linear(np.arange(12).reshape(4, 3))
    values = [unlabelled(model, limit=9, seed=seed).value(other) for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize(
    "text",
    [
        "(float[N,4] x) => (string[N,4] y) { y = Cast<to=8>(x) }",
        "(float[N,4] x) => (seq(float[N,4]) y) { y = SequenceConstruct(x) }",
    ],
)
def test_an_output_without_numbers_cannot_be_compared(text: str) -> None:
    with pytest.raises(ModelError, match="no output of numbers"):
        unlabelled(parse(text), limit=4)
