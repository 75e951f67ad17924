"""What every strategy is asked: which channels of a model go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import onnx

from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.masks.pools import Masks, Scores
from upscale_onnx.options import Options

Judge: TypeAlias = Callable[[onnx.ModelProto], float]
"""How far a masked model, repaired where that is asked for, is from what it was; the least is the best."""

Masked: TypeAlias = tuple[onnx.ModelProto, int]
"""A model with channels zeroed, and how many."""


@dataclass(frozen=True, eq=False)
class Task:
    """What `options` are to prune of `model`. score: scores channels by weight, of a model that may be pruned already.
    judge: tells which of several masks is best, where there is calibration data."""

    model: onnx.ModelProto
    options: Options
    score: Callable[[onnx.ModelProto], Scores]
    judge: Judge | None = None

    @cached_property
    def scores(self) -> Scores:
        """The scores of the model as it is."""
        return self.score(self.model)

    def masked(self, masks: Masks) -> Masked:
        """The model with these masks, of the side that is pruned."""
        return write_masks(self.model, masks, self.options.prune.side)
