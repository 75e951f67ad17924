"""Hypothesis strategies and seeded generators of demand families."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from upscale_onnx.types import BoolArray


@st.composite
def families(draw: st.DrawFn, max_n: int = 6, max_demands: int = 8) -> tuple[int, list[BoolArray]]:
    n = draw(st.integers(1, max_n))
    rows = draw(st.lists(st.integers(0, 2**n - 1), max_size=max_demands))
    return n, [np.array([row >> i & 1 for i in range(n)], dtype=np.bool_) for row in rows]


def bools(n: int, members: Any) -> BoolArray:
    demand = np.zeros(n, dtype=np.bool_)
    demand[list(members)] = True
    return demand


def hidden_intervals(rng: np.random.Generator, n: int, count: int) -> list[BoolArray]:
    """Demands that are all contiguous under one secret order."""
    secret = rng.permutation(n)
    result = []
    for _ in range(count):
        start, stop = sorted(rng.choice(n + 1, size=2, replace=False).tolist())
        result.append(bools(n, secret[start:stop]))
    return result


def random_masks(rng: np.random.Generator, n: int, count: int, keep: float = 0.7) -> list[BoolArray]:
    return [rng.random(n) < keep for _ in range(count)]


def correlated_masks(rng: np.random.Generator, n: int, count: int) -> list[BoolArray]:
    """What real consumers look like: most agree on what matters, each with some noise of its own."""
    importance = rng.random(n)
    return [importance + 0.05 * rng.random(n) > rng.uniform(0.2, 0.6) for _ in range(count)]
