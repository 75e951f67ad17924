"""The task of every strategy: to choose the channels of a model to prune."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import onnx

from upscale_onnx.masks.float_view import FloatView
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.masks.pools import Masks, Scores
from upscale_onnx.masks.unread import without_unread
from upscale_onnx.options import Options
from upscale_onnx.types import Progress

Judge: TypeAlias = Callable[[onnx.ModelProto], float]
"""Returns how far the outputs of a masked model, repaired if asked for, are from the unpruned ones. Lower is better."""

Masked: TypeAlias = tuple[onnx.ModelProto, int]
"""A model with channels zeroed, and how many."""


@dataclass(frozen=True, eq=False)
class Task:
    """A model, and the options by which to prune it. score: returns scores of channels by weight, also for a model that
    is partly pruned. judge: rates masked models. harm: makes a function that rates them without repair, on a few
    samples. Both are None without calibration data. progress: is told how far a long choice is."""

    model: onnx.ModelProto
    options: Options
    score: Callable[[onnx.ModelProto], Scores]
    judge: Judge | None = None
    view: FloatView | None = None
    harm: Callable[[], Judge] | None = None
    progress: Progress | None = None

    @cached_property
    def scores(self) -> Scores:
        """The scores of the model as it is."""
        return self.score(self.model)

    def masked(self, masks: Masks) -> Masked:
        """The model with these masks, of the side that is pruned."""
        asked = self.options.prune
        masked, count = write_masks(self.model, masks, asked.side)
        return (masked if asked.is_exact or asked.side == "output" else without_unread(masked, masks)), count
