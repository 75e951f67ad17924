"""Costs with a cache: the choice of masks asks for the same ones again and again."""

from __future__ import annotations

from upscale_onnx.channels.op import Op
from upscale_onnx.costs.costs import FLOAT_BYTES, Costs
from upscale_onnx.types import Dims


class Remembered:
    """`costs` that compute each contraction's time once."""

    def __init__(self, costs: Costs) -> None:
        self._costs = costs
        self._known: dict[tuple[Op, int, int], float] = {}

    @property
    def align(self) -> int:
        return self._costs.align

    def contraction_ms(self, op: Op, channels_in: int, channels_out: int) -> float:
        """As `Costs` says."""
        key = (op, channels_in, channels_out)
        if key not in self._known:
            self._known[key] = self._costs.contraction_ms(*key)
        return self._known[key]

    def selection_ms(self, dims: Dims, axis: int, picked: int, contiguous: bool, itemsize: int = FLOAT_BYTES) -> float:
        """As `Costs` says."""
        return self._costs.selection_ms(dims, axis, picked, contiguous, itemsize)

    def join_ms(self, dims: Dims, axis: int, joined: int, itemsize: int = FLOAT_BYTES) -> float:
        """As `Costs` says."""
        return self._costs.join_ms(dims, axis, joined, itemsize)
