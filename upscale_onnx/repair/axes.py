"""Finds a basis of channels in which each reader can lose some channels at the least cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from upscale_onnx.types import Array, BoolArray

_LEAST_VARIANCE = 1e-6
_LEAST_COST = 1e-4
_ROUNDS = 50


def cheap_axes(covariances: Sequence[Array], metrics: Sequence[Array], counts: Sequence[int]) -> tuple[Array, Array]:
    """The basis B, (K, K), with x = B z, and its inverse, (K, K). Reader r loses little without counts[r] of the z.

    covariances[r]: (K, K), the covariance of the x that reader r reads.
    metrics[r]: (K, K), W W^T of the weight W of reader r, relative to the variance of its output, so that an error e
    of x costs e^T metrics[r] e.
    The cost of an axis is split evenly between the variance of its z and the size of the readers' weights B^T W. So
    layers that make z, and criteria that see weights alone, know which axes matter.

    If the z are uncorrelated and of variance 1, the costs of losing axes add up. Bases with such z differ by a
    rotation, and the search alternates between two steps. First, each reader picks the axes that cost it least. Then
    axes that the same readers picked form a set, and every two sets are rotated in the space that they span so that
    the sum of their costs is least; the eigenvectors of the difference of their readers' metrics give this rotation.
    The sum of all costs never grows.

    Source: for one reader this is the truncation-aware whitening of Wang et al., "SVD-LLM", ICLR 2025, section 3.1;
    that a stream may be turned at all is from Ashkboos et al., "SliceGPT", ICLR 2024, section 3.2.
    """
    mean = np.mean([c / max(float(np.trace(c)), 1e-30) for c in covariances], axis=0)
    values, vectors = np.linalg.eigh(mean)
    if not values[-1] > 0:
        return np.eye(len(mean)), np.eye(len(mean))
    spread = np.sqrt(np.maximum(values, _LEAST_VARIANCE * values[-1]))
    costs = np.stack([_between(vectors * spread, metric) for metric in metrics])
    turn = _rotation(costs, counts)
    total = np.einsum("ia,rij,ja->a", turn, costs, turn)
    scale = np.maximum(total, max(_LEAST_COST * total.max(), 1e-30)) ** 0.25
    return (vectors * spread) @ turn / scale, scale[:, None] * (turn.T @ (vectors / spread).T)


def _rotation(costs: Array, counts: Sequence[int]) -> Array:
    """The orthogonal matrix, (K, K), whose columns are the axes; costs: (readers, K, K)."""
    turn = np.linalg.eigh(costs.sum(axis=0))[1]
    least = np.inf
    for _ in range(_ROUNDS):
        each = np.einsum("ia,rij,ja->ra", turn, costs, turn)
        picked = np.zeros(each.shape, np.bool_)
        for row, order, count in zip(picked, np.argsort(each, axis=1, kind="stable"), counts, strict=True):
            row[order[:count]] = True
        cost = float(each[picked].sum())
        if not cost < least * (1 - 1e-4):
            break
        least = cost
        turn = _apart(costs, turn, picked)
    return turn


def _apart(costs: Array, turn: Array, picked: BoolArray) -> Array:
    """`turn`, (K, K), with the axes of every two sets rotated so that the sum of their costs is least.

    A set holds the axes that the same readers picked; picked: (readers, K).
    """
    turn = turn.copy()
    readers, place = np.unique(picked, axis=1, return_inverse=True)
    sets = [np.flatnonzero(place.ravel() == s) for s in range(readers.shape[1])]
    for first, second in combinations(range(len(sets)), 2):
        both = np.concatenate([sets[first], sets[second]])
        weights = readers[:, first].astype(np.float64) - readers[:, second]
        difference = np.tensordot(weights, costs, axes=1)
        turn[:, both] = turn[:, both] @ np.linalg.eigh(_between(turn[:, both], difference))[1]
    return turn


def _between(basis: Array, metric: Array) -> Array:
    return basis.T @ metric @ basis
