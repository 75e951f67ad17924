"""Masks, chained: importance, then an amount."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import onnx

from upscale_onnx.compat.arrays import named_inputs, to_array
from upscale_onnx.compat.importance import HRank, Importance, Magnitude
from upscale_onnx.compat.segments import MaskSegment, mask_segments
from upscale_onnx.compat.source import Model, open_source
from upscale_onnx.errors import ArgumentError, did_you_mean
from upscale_onnx.masks.criteria import WeightCriterion
from upscale_onnx.options import Method, Options, Side
from upscale_onnx.prune.checks import check_masks
from upscale_onnx.prune.criteria import criterion_of
from upscale_onnx.prune.prune import prune


class MaskingManager:
    """Prunes a model by zeros in its weights: `MaskingManager(model).importance(LAMP()).mask(amount=0.25)`.

    A ModelProto and a torch module are changed in place; a file is not, the masked model is in `model`.

    side: whether what layers read ("input") or what they create ("output") is pruned. method: "unconstrained" lets
    each layer choose for itself, "constrained" has all that share channels agree. is_global: whether the channels
    of all layers are ranked together instead of an equal share of each. inputs: what a torch module is called
    with, one image of 1x3x224x224 by default.

    Ranked together, scores are divided by their layer's mean first, where the criterion does not make them
    comparable by itself, as LAMP does; the reference ranks them as they are, from the second segment on in a ResNet.
    Exactly int(amount * n) of n channels go, the first of equal ones first; the reference keeps all that are equal
    to the lowest that stays. Layers that must agree score a channel by the mean of their normalised scores, where
    the reference scores their weights side by side. An output channel loses its bias as well, which the reference
    leaves where it is, and the scale of a normalisation behind it stays. Weights that a module packs into one
    parameter with others, such as two projections, are left alone in it; they can be masked in an ONNX model of it.

    Raises: ArgumentError where an argument cannot be used; ModelError where the model cannot be read or exported.
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
        self._settings: dict[str, Any] = dict(Magnitude().settings())
        self._calibration: str | Mapping[str, Any] | None = None

    @property
    def model(self) -> onnx.ModelProto:
        """The model with the masks so far: the ModelProto that was given, or what was read or exported."""
        return self._source.model

    def segments(self) -> tuple[MaskSegment, ...]:
        """The segments: closed sets of layers, each with `layers`, `producers` and `consumers`."""
        return mask_segments(self._source, self.side, self._prune_weights)

    def importance(
        self,
        heuristic: Importance | str | WeightCriterion | None = None,
        calibration: str | Mapping[str, Any] | None = None,
    ) -> MaskingManager:
        """Score channels by `heuristic` from now on, by their L2 norm where it is left out; itself.

        heuristic: an importance, the name of a criterion, or a function of (weight, axis, generator). calibration:
        the path of an .npz or arrays by input name, samples along the first axis, for those that need
        activations; the manager's own inputs where it is left out.
        """
        chosen = Magnitude() if heuristic is None else heuristic
        self._settings = dict(chosen.settings() if isinstance(chosen, Importance) else {"criterion": chosen})
        own = chosen.calibration if isinstance(chosen, HRank) else None
        self._calibration = calibration if calibration is not None else own
        return self

    def mask(self, amount: float = 0.5) -> MaskingManager:
        """Write zeros into the `amount` of channels that score lowest; itself.

        Raises: ArgumentError where `amount` is not in [0, 1), or the criterion needs data that is not there.
        """
        self._prune(amount=amount, scope="global" if self.is_global else "local")
        return self

    def _prune_weights(self, weights: Sequence[str], amount: float) -> None:
        """Prune these weights only, each by `amount`."""
        self._prune(amounts=tuple((glob.escape(weight), amount) for weight in weights))

    def _prune(self, **how: Any) -> None:
        options = Options.of(side=self.side, method=self.method, masks="flat", ignore=self._ignored(), **how)
        check_masks(options)
        data = self._calibration
        if data is None and criterion_of(self._settings["criterion"]).needs_data:
            data = self._inputs
        if isinstance(data, Mapping):
            data = {name: to_array(value) for name, value in data.items()}
        chosen = options.replaced(calibration=data, **self._settings)
        self._source.replace(prune(self.model, chosen).model)

    def _ignored(self) -> tuple[str, ...]:
        return tuple(glob.escape(weight) for weight in self._source.untouchable)
