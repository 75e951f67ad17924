"""Masking a model by chained calls: first the importance, then the amount."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import onnx

from upscale_onnx.compat.arrays import named_inputs, to_array
from upscale_onnx.compat.importance import ChosenImportance, Importance
from upscale_onnx.compat.segments import MaskSegment, mask_segments
from upscale_onnx.compat.source import Model, open_source
from upscale_onnx.errors import ArgumentError, did_you_mean
from upscale_onnx.masks.criteria import WeightCriterion
from upscale_onnx.options import Method, Options, Side
from upscale_onnx.pruning.checks import check_masks
from upscale_onnx.pruning.criteria import criterion_of
from upscale_onnx.pruning.prune import prune


class MaskingManager:
    """Prunes a model by zeros in its weights: `MaskingManager(model).importance(LAMP()).mask(amount=0.25)`.

    A ModelProto or a torch module is changed in place. A file is not changed; the masked model is in `model`.

    side: whether the channels that layers read ("input") or create ("output") are pruned.
    method: "unconstrained" lets each layer choose its channels, "constrained" has all layers that share channels agree.
    is_global: whether the channels of all layers are ranked together. If not, each layer loses an equal share.
    inputs: the inputs to export a torch module with; one image of shape (1, 3, 224, 224) by default.

    Differences from the reference:
    - If all layers are ranked together, scores are divided by the mean of their layer first, except for criteria whose
      scores are comparable between layers, such as LAMP. The reference ranks scores as they are, and in a ResNet only
      from the second segment on.
    - Exactly int(amount * n) of n channels are pruned, of equal scores the first. The reference keeps all channels
      whose score equals the lowest one that is kept.
    - Layers that must agree score a channel by the mean of their normalised scores. The reference concatenates their
      weights and scores these.
    - A pruned output channel loses its bias too; in the reference it does not. The scale of a normalisation behind it
      stays.
    - A weight that shares a parameter of the module with others, such as two packed projections, is not pruned. It can
      be pruned in an ONNX model of the module.

    Raises:
        ArgumentError: an argument cannot be used.
        ModelError: the model cannot be read or exported.

    >>> from upscale_onnx.compat import LAMP, MaskingManager
    >>> manager = MaskingManager("models/digits_cnet_masked.onnx").importance(LAMP()).mask(amount=0.25)
    >>> manager.side, manager.method
    ('input', 'unconstrained')
    """

    def __init__(
        self,
        model: Model,
        side: Side = "input",
        method: Method = "unconstrained",
        is_global: bool = False,
        *,
        inputs: Sequence[Any] | None = None,
    ) -> None:
        for name, value, known in (("side", side, get_args(Side)), ("method", method, get_args(Method))):
            if value not in known:
                raise ArgumentError(f"{name} is {value!r}: use one of {', '.join(known)}{did_you_mean(value, known)}")
        self.side, self.method, self.is_global = side, method, is_global
        self._source = open_source(model, inputs)
        self._inputs = None if inputs is None else named_inputs(self._source.model, inputs)
        self._chosen = ChosenImportance.of()

    @property
    def model(self) -> onnx.ModelProto:
        """The model with the masks so far: the given ModelProto, or the one that was read or exported."""
        return self._source.model

    def segments(self) -> tuple[MaskSegment, ...]:
        """The segments: closed sets of layers, each with `layers`, `producers`, `consumers` and `siblings`."""
        return mask_segments(self._source, self.side, self._prune_weights)

    def importance(
        self,
        heuristic: Importance | str | WeightCriterion | None = None,
        calibration: str | Mapping[str, Any] | None = None,
    ) -> MaskingManager:
        """Score channels by `heuristic` from now on. Return the manager.

        heuristic: an importance, the name of a criterion, or a function of (weight, axis, generator). By default, the
            L2 norm.
        calibration: the path of an .npz, or arrays by input name, samples along the first axis, for criteria that need
            activations. By default, the manager's own inputs.
        """
        self._chosen = ChosenImportance.of(heuristic, calibration)
        return self

    def mask(self, amount: float = 0.5) -> MaskingManager:
        """Write zeros into the weights of the share `amount` of channels with the lowest scores. Return the manager.

        Raises: ArgumentError where `amount` is not in [0, 1), or data that the criterion needs is missing.
        """
        self._prune(self._chosen, amount=amount, scope="global" if self.is_global else "local")
        return self

    def _prune_weights(self, weights: Sequence[str], amount: float, chosen: ChosenImportance | None) -> None:
        """Prune the share `amount` of the channels of each of these weights, and no others."""
        self._prune(chosen or self._chosen, amounts=tuple((glob.escape(weight), amount) for weight in weights))

    def _prune(self, chosen: ChosenImportance, **how: Any) -> None:
        options = Options.of(side=self.side, method=self.method, masks="flat", ignore=self._ignored(), **how)
        check_masks(options)
        data = chosen.calibration
        if data is None and criterion_of(chosen.settings["criterion"]).needs_data:
            data = self._inputs
        if isinstance(data, Mapping):
            data = {name: to_array(value) for name, value in data.items()}
        self._source.replace(prune(self.model, options.replaced(calibration=data, **chosen.settings)).model)

    def _ignored(self) -> tuple[str, ...]:
        return tuple(glob.escape(weight) for weight in self._source.untouchable)
