"""The evidence that channels are scored by: a model and calibration data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx

from upscale_onnx.masks.criteria import WeightCriterion
from upscale_onnx.masks.mask_model import weight_array
from upscale_onnx.masks.pools import Scores
from upscale_onnx.masks.prunable import prunable_targets
from upscale_onnx.masks.targets import MaskTarget, constant_tensors
from upscale_onnx.options import Options, Side
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.types import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Evidence:
    """A model whose channels are to be scored as `options` say.

    batches: the calibration data. labels: a class for each sample of all batches, where there are any.
    """

    model: onnx.ModelProto
    options: Options
    batches: Sequence[Inputs] = ()
    labels: IntArray | None = None

    @property
    def side(self) -> Side:
        """The side whose channels are scored: "input" for those that layers read, "output" for those they create."""
        return self.options.prune.side

    @property
    def threads(self) -> int:
        """The number of threads that models are run with."""
        return self.options.target.threads

    @cached_property
    def targets(self) -> dict[str, MaskTarget]:
        """The mask targets that an amount applies to, by weight, in graph order."""
        return {target.weight: target for target in prunable_targets(self.model, self.side)}

    def weight_scores(self, function: WeightCriterion) -> Scores:
        """The scores of each weight by `function`.

        Raises: ModelError where a weight's external data was not loaded.
        """
        rng, tensors = np.random.default_rng(self.options.prune.seed), constant_tensors(self.model)
        found: dict[str, FloatArray] = {}
        for weight, target in self.targets.items():
            axis = target.axis(self.side)
            assert axis is not None
            found[weight] = function(target.turned(weight_array(tensors[weight]), self.side), axis, rng)
        return found
