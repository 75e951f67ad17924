"""Operators against masks that are written out, and schemes layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from tests.graphs import bias, parse, weight
from upscale_onnx.condensa import BlockPrune, Compose, FilterPrune, NeuronPrune, Prune
from upscale_onnx.condensa.layers import layer_weights, layers_of
from upscale_onnx.condensa.operators import block_prune, filter_prune, neuron_prune, prune
from upscale_onnx.condensa.schemes import Scheme
from upscale_onnx.errors import ArgumentError
from upscale_onnx.types import Array

MATRIX = np.array([[1, -4, 2], [3, 0.5, -6], [0.1, 0.2, 0.3]], np.float32)


def network() -> onnx.ModelProto:
    """Two convolutions, a hidden layer of neurons, and scores."""
    return parse(
        """(float[N, 3, 4, 4] x) => (float[N, 4] y) {
            a = Conv<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(x, w1, b1)
            b = Relu(a)
            c = Conv<kernel_shape=[1, 1]>(b, w2)
            d = GlobalAveragePool(c)
            e = Flatten(d)
            f = Gemm(e, w3, b3)
            g = Relu(f)
            y = Gemm<transB=1>(g, w4)
        }""",
        w1=weight(8, 3, 3, 3),
        b1=bias(*range(1, 9)),
        w2=weight(10, 8, 1, 1),
        w3=weight(10, 10),
        b3=bias(*range(1, 11)),
        w4=weight(4, 10),
    )


def compressed(scheme: Scheme, model: onnx.ModelProto) -> dict[str, Array]:
    layers = layers_of(model)
    return scheme.compress(layer_weights(model, layers), layers)


def test_prune_keeps_the_entries_of_highest_magnitude() -> None:
    assert prune(MATRIX, 4 / 9).tolist() == [[False, True, True], [True, False, True], [False, False, False]]


def test_filters_are_ranked_by_the_norm_asked_for() -> None:
    filters = np.array([[2, 2, 2], [0, 0, 5], [1, 1, 1]], np.float32).reshape(3, 1, 3, 1)
    assert filter_prune(filters, 1 / 3, norm="l1").any(axis=(1, 2, 3)).tolist() == [True, False, False]
    assert filter_prune(filters, 1 / 3, norm="l2").any(axis=(1, 2, 3)).tolist() == [False, True, False]
    assert filter_prune(filters, 0.5, axis=2, norm="l1").all(axis=(0, 1, 3)).tolist() == [False, True, True]


def test_neurons_are_rows_or_columns() -> None:
    assert neuron_prune(MATRIX, 1 / 3).all(axis=1).tolist() == [False, True, False]
    assert neuron_prune(MATRIX, 1 / 3, axis=1).all(axis=0).tolist() == [False, False, True]


def test_blocks_at_the_end_compete_by_their_mean() -> None:
    # Means of the magnitudes in blocks of two by two: 2.125, 4 | 0.15, 0.3.
    kept = block_prune(MATRIX, 0.5, (2, 2))
    assert kept.tolist() == [[True, True, True], [True, True, True], [False, False, False]]
    assert block_prune(MATRIX, 0.25, (2, 2)).tolist() == [[False, False, True]] * 2 + [[False] * 3]
    # Root mean squares in blocks of one row and three columns, along the other axis: 1.8, 2.3, 3.7.
    assert block_prune(MATRIX, 1 / 3, (1, 3), axis=1, norm="l2").all(axis=0).tolist() == [False, False, True]


def test_blocks_of_a_convolution_are_those_of_its_matrix() -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(size=(4, 3, 2, 2)).astype(np.float32)
    flat = block_prune(array.reshape(4, 12), 0.5, (2, 3))
    assert np.array_equal(block_prune(array, 0.5, (2, 3)), flat.reshape(array.shape))
    turned = block_prune(array.transpose(1, 0, 2, 3), 0.5, (2, 3), axis=1)
    assert np.array_equal(turned.transpose(1, 0, 2, 3), flat.reshape(array.shape))


def test_something_always_stays() -> None:
    assert np.count_nonzero(prune(MATRIX, 0.001)) == 1
    assert prune(MATRIX, 1.0).all()


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        (Prune(0.5), {"w1": 108, "w2": 40, "w3": 50, "w4": 20}),
        (FilterPrune(0.5), {"w1": 4 * 27, "b1": 4, "w2": 5 * 8}),
        (NeuronPrune(0.5), {"w3": 5 * 10, "b3": 5}),
        (BlockPrune(0.5, layers=("f",), block_size=(2, 5)), {"w3": 5 * 10}),
        (FilterPrune(0.25, layers=("c",)), {"w2": 2 * 8}),
        (Prune(0.5, layers=("w[12]",), ignore=("a",)), {"w2": 40}),
        (Compose([FilterPrune(0.5), NeuronPrune(0.2)]), {"w1": 4 * 27, "b1": 4, "w2": 5 * 8, "w3": 2 * 10, "b3": 2}),
        # A quarter of all entries is half of those that the filters leave.
        (Compose([FilterPrune(0.5), Prune(0.25, layers=("w1",))]), {"w1": 54, "b1": 4, "w2": 5 * 8}),
    ],
)
def test_a_scheme_compresses_its_layers(scheme: Scheme, expected: dict[str, int]) -> None:
    model = network()
    found = compressed(scheme, model)
    assert {name: np.count_nonzero(array) for name, array in found.items()} == expected
    given = layer_weights(model, layers_of(model))
    for name, array in found.items():
        assert np.array_equal(array, np.where(array != 0, given[name], 0)), name


def test_a_pruned_neuron_loses_its_bias() -> None:
    found = compressed(NeuronPrune(0.5), network())
    assert np.array_equal(found["b3"] != 0, (found["w3"] != 0).any(axis=0))


def test_the_search_decides_what_is_left_open() -> None:
    scheme = Compose([FilterPrune(), NeuronPrune(0.5)])
    assert scheme.is_open
    assert scheme.at(0.3) == Compose([FilterPrune(0.3), NeuronPrune(0.5)])
    assert not scheme.at(0.3).is_open


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Prune(0.0), "density is 0.0: it takes a share above 0 and at most 1"),
        (lambda: BlockPrune(0.5, block_size=(0, 2)), "block_size is (0, 2)"),
        (lambda: FilterPrune(0.5, norm="l3"), "norm is 'l3'"),  # type: ignore[arg-type]
        (lambda: Compose([]), "a composition takes schemes"),
        (lambda: compressed(Prune(), network()), "prune has no density"),
        (lambda: compressed(FilterPrune(0.5, layers=("w4",)), network()), "filter_prune: 'w4' is the name of no layer"),
        (lambda: compressed(Prune(0.5, ignore=("none",)), network()), "prune: 'none' is the name of no layer"),
        (lambda: compressed(Prune(0.5, ignore=("*",)), network()), "prune: the model has no layer that it can prune"),
        (lambda: filter_prune(MATRIX, 0.5), "has no filters"),
        (lambda: neuron_prune(np.ones((2, 2, 1)), 0.5), "has no neurons"),
        (lambda: block_prune(np.ones(3), 0.5, (1, 1)), "has no blocks"),
        (lambda: prune(MATRIX, 1.5), "density is 1.5"),
    ],
)
def test_what_cannot_be_used_is_said(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)
