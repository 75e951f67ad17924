"""Layer-adaptive magnitude: a channel's norm over those of all channels that outlive it."""

from __future__ import annotations

import numpy as np

from upscale_onnx.masks.criteria import l2
from upscale_onnx.types import Array, FloatArray


def score(weight: Array, axis: int, rng: np.random.Generator) -> FloatArray:
    """LAMP score of every slice of `weight` along `axis`: its L2 norm over the sum of its own and all larger norms.

    weight: any shape; returns (weight.shape[axis],). Of equal norms the later counts as larger. Channels of norms
    1, 3 and 2 score 1/6, 1 and 2/5. Scores can be compared between layers.

    Source: Lee et al., "Layer-adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021, equation 1, with norms
    of channels in place of squares of single weights.
    """
    norms = l2.score(weight, axis, rng)
    order = np.argsort(norms, kind="stable")
    left = np.cumsum(norms[order][::-1])[::-1]
    scores = np.zeros(norms.shape)
    scores[order] = np.divide(norms[order], left, out=np.zeros(left.shape), where=left != 0)
    return scores
