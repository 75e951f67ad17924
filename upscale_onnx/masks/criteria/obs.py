"""Optimal brain surgeon over channels: what removing one costs once all other weights have been re-fitted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from upscale_onnx.types import Array, BoolArray, FloatArray

_RIDGE = 1e-6
# Rows of removed channels are dropped where less than this share is left: copying is dear, and so are dead rows.
_SPARSE = 0.85


def score(covariance: Array, matrix: Array, channels: int, block: int) -> FloatArray:
    """Root of the squared output error that the removal of each channel adds, the others being re-fitted every time.

    covariance: (K, K), the sum over positions of x x^T, x being what one output position reads; matrix: (K, M),
    the weights; channel c has rows c * block to (c + 1) * block, and rows behind the last channel stay (a bias).
    Returns (channels,): channels are removed one by one, always the one whose removal adds least, and no score is
    below that of a channel removed before, so that scores keep the order. As with a norm, squares of scores add up.

    Source: Hassibi and Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon", NIPS 1992,
    equation 5, with a block of rows in place of one weight: removing the rows B adds
    tr(W_B^T (H^-1)_BB^-1 W_B) to the error and -H^-1_:B (H^-1)_BB^-1 W_B to the weights.
    """
    scores = np.zeros(channels)
    last = 0.0
    for channel, added in _removals(covariance, matrix, channels, block):
        last = float(np.nextafter(max(np.sqrt(max(added, 0.0)), last), np.inf))
        scores[channel] = last
    return scores


def keep(covariance: Array, matrix: Array, channels: int, block: int, count: int) -> BoolArray:
    """Which channels stay, (channels,), when the `count` are pruned that `score` scores lowest; at least one stays."""
    kept = np.ones(channels, np.bool_)
    removals = _removals(covariance, matrix, channels, block)
    for _ in range(min(count, channels - 1)):
        kept[next(removals)[0]] = False
    return kept


def _removals(covariance: Array, matrix: Array, channels: int, block: int) -> Iterator[tuple[int, float]]:
    """Channels in the order of their removal, and the squared error that each adds."""
    size = covariance.shape[0]
    weights = np.array(matrix, np.float64)
    damping = _RIDGE * float(np.trace(covariance)) / max(size, 1) + float(np.finfo(np.float64).tiny)
    inverse = np.linalg.inv(np.asarray(covariance, np.float64) + damping * np.eye(size))
    names, alive = np.arange(channels), np.ones(channels, np.bool_)
    for _ in range(channels):
        if np.count_nonzero(alive) < _SPARSE * alive.size:
            stay = np.concatenate([np.repeat(alive, block), np.ones(len(weights) - alive.size * block, np.bool_)])
            inverse, weights, names = inverse[np.ix_(stay, stay)], weights[stay], names[alive]
            alive = np.ones(names.size, np.bool_)
        added = np.where(alive, _added(inverse, weights, alive.size, block), np.inf)
        place = int(np.argmin(added))
        yield int(names[place]), float(added[place])
        alive[place] = False
        b = slice(place * block, (place + 1) * block)
        change = np.linalg.solve(inverse[b, b], np.concatenate([weights[b], inverse[b]], axis=1))
        column = inverse[:, b].copy()
        weights -= column @ change[:, : weights.shape[1]]
        inverse -= column @ change[:, weights.shape[1] :]
        inverse[b, b] = np.eye(block)  # zero but for rounding by now, and not to be looked at again


def _added(inverse: Array, weights: Array, channels: int, block: int) -> FloatArray:
    """The squared error that the removal of each channel adds."""
    found: FloatArray
    if block == 1:
        found = np.einsum("km,km->k", weights[:channels], weights[:channels]) / inverse.diagonal()[:channels]
        return found
    own = weights[: channels * block].reshape(channels, block, -1)
    rows = np.arange(channels * block).reshape(channels, block)
    middle = inverse[rows[:, :, None], rows[:, None, :]]
    found = np.einsum("lbm,lbm->l", own, np.linalg.solve(middle, own))
    return found
