"""Trials: the points of the grid of options for masks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from upscale_onnx.options import Method, Scope, Side


@dataclass(frozen=True)
class Trial:
    """One way to choose masks. Its fields are the pruning options of the same names."""

    side: Side
    method: Method
    criterion: str
    scope: Scope
    amount: float

    def __str__(self) -> str:
        return f"{self.side} {self.method} {self.criterion} {self.amount:g}"


def grid(
    sides: Iterable[Side],
    methods: Iterable[Method],
    criteria: Iterable[str],
    amounts: Iterable[float],
    scope: Scope = "local",
) -> tuple[Trial, ...]:
    """One trial for every combination, without duplicates; amounts change fastest."""
    every = itertools.product(sides, methods, criteria, amounts)
    return tuple(dict.fromkeys(Trial(side, method, name, scope, amount) for side, method, name, amount in every))
