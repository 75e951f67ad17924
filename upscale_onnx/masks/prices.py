"""What a choice of masks has to know about the target: times of operators."""

from __future__ import annotations

from typing import Protocol

from upscale_onnx.channels.channel_map import Dims
from upscale_onnx.channels.op import Op


class Prices(Protocol):
    """Times in milliseconds. `align` is the channel count that the target's kernels work in."""

    @property
    def align(self) -> int: ...

    def contraction_ms(self, op: Op, channels_in: int, channels_out: int) -> float:
        """One Conv, ConvTranspose, Gemm or MatMul with these channel counts in place of its own."""
        ...

    def selection_ms(self, dims: Dims, axis: int, picked: int, contiguous: bool) -> float:
        """A Slice (`contiguous`) or Gather of `picked` channels of a value of `dims`."""
        ...


class Remembered:
    """`prices` whose contractions are looked up once each: a price reads the node's weight, which is decoded anew
    every time, and a choice of masks asks for the same ones over and over."""

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._known: dict[tuple[Op, int, int], float] = {}

    @property
    def align(self) -> int:
        return self._prices.align

    def contraction_ms(self, op: Op, channels_in: int, channels_out: int) -> float:
        """As `Prices` says."""
        key = (op, channels_in, channels_out)
        if key not in self._known:
            self._known[key] = self._prices.contraction_ms(*key)
        return self._known[key]

    def selection_ms(self, dims: Dims, axis: int, picked: int, contiguous: bool) -> float:
        """As `Prices` says."""
        return self._prices.selection_ms(dims, axis, picked, contiguous)
