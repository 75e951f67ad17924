"""Divergence of classes: what it is, of logits and of probabilities, and what has none."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from scipy.special import rel_entr, softmax

from tests.graphs import parse
from upscale_onnx.errors import ArgumentError
from upscale_onnx.pruning.judging import harm_on
from upscale_onnx.sensitivity.measures import Distance, Divergence

DATA = np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32)
BATCHES = [{"x": DATA[:8]}, {"x": DATA[8:]}]


def _classifier(weight: NDArray[np.float32], last: str = "Identity") -> onnx.ModelProto:
    return parse(f"(float[N, 6] x) => (float[N, 4] y) {{ z = MatMul(x, w) y = {last}(z) }}", w=weight)


def _weight(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(6, 4)).astype(np.float32)


@pytest.mark.parametrize("last", ["Identity", "Softmax"])
def test_it_is_the_mean_relative_entropy(last: str) -> None:
    measure = Divergence.of(_classifier(_weight(1), last), BATCHES)
    assert measure.samples == 12
    assert measure.value(_classifier(_weight(1), last)) == pytest.approx(0.0, abs=1e-9)
    wanted, made = (softmax(DATA.astype(np.float64) @ _weight(seed), axis=1) for seed in (1, 2))
    expected = rel_entr(wanted, made).sum(axis=1).mean()
    assert measure.value(_classifier(_weight(2), last)) == pytest.approx(expected, rel=1e-4)


def test_outputs_that_are_no_numbers_are_as_far_as_can_be() -> None:
    measure = Divergence.of(_classifier(_weight(1)), BATCHES)
    assert measure.value(_classifier(np.full((6, 4), np.nan, np.float32))) == np.inf


@pytest.mark.parametrize(
    "text",
    [
        "(float[N, 6] x) => (float[N, 6] y, float[N, 6] z) { y = Relu(x) z = Neg(x) }",
        "(float[N, 6] x) => (float[N, 1] y) { y = ReduceSum<keepdims = 1>(x, axes) }",
        "(float[N, 6] x) => (float[N, 6, 1] y) { y = Unsqueeze(x, two) }",
    ],
)
def test_what_is_no_classifier_is_judged_by_its_distance(text: str) -> None:
    model = parse(text, axes=np.array([1]), two=np.array([2]))
    with pytest.raises(ArgumentError, match=r"\(samples, classes\)"):
        Divergence.of(model, BATCHES)
    harm = harm_on(model, BATCHES)
    scaled = onnx.ModelProto()
    scaled.CopyFrom(model)
    scaled.graph.node[0].input[0] = "x2"
    scaled.graph.node.insert(0, onnx.helper.make_node("Mul", ["x", "x"], ["x2"]))
    assert harm(model) == 0.0
    assert harm(scaled) == pytest.approx(Distance.of(model, BATCHES).value(scaled) ** 2)
    assert harm(scaled) > 0.1


def test_classifiers_are_judged_by_their_classes() -> None:
    model, other = _classifier(_weight(1)), _classifier(_weight(2))
    assert harm_on(model, BATCHES)(other) == Divergence.of(model, BATCHES).value(other)
