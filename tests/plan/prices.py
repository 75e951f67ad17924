"""Costs that are told, so that what a planner ought to decide can be worked out."""

from __future__ import annotations

from dataclasses import dataclass

from upscale_onnx.channels.op import Op
from upscale_onnx.types import Dims


@dataclass(frozen=True)
class Prices:
    """A contraction costs `macs` per pair of channels; a selection `copy` and `per_channel` of what it picks."""

    copy: float = 0.0
    per_channel: float = 0.0
    macs: float = 1.0
    align: int = 1
    join: float = 0.0

    def contraction_ms(self, op: Op, channels_in: int, channels_out: int) -> float:
        return self.macs * channels_in * channels_out

    def selection_ms(self, dims: Dims, axis: int, picked: int, contiguous: bool, itemsize: int = 4) -> float:
        return self.copy + self.per_channel * picked * itemsize / 4

    def join_ms(self, dims: Dims, axis: int, joined: int, itemsize: int = 4) -> float:
        return self.join + self.per_channel * joined * itemsize / 4


FREE = Prices()
DEAR = Prices(copy=1e12)
