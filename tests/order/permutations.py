"""What orders are: permutations."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def is_permutation(order: ArrayLike) -> bool:
    """Whether `order` holds every index from 0 on exactly once."""
    indices = np.asarray(order)
    return indices.ndim == 1 and bool(np.array_equal(np.sort(indices), np.arange(indices.size)))
