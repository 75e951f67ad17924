"""Makes the cuts of a schedule while a model is trained."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import onnx
import torch

from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.mask_model import weight_array
from upscale_onnx.masks.prunable import prunable_targets
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.measures.measure import Top1
from upscale_onnx.pruning.criteria import criterion_of
from upscale_onnx.pruning.prune import prune
from upscale_onnx.sensitivity.scan import scan_layers
from upscale_onnx.training.dropout import kept_of_dropout
from upscale_onnx.training.images import only_input
from upscale_onnx.training.pruning import Pruning
from upscale_onnx.training.schedules import SCHEDULES, Cut, Setting
from upscale_onnx.training.trainer import Trainer
from upscale_onnx.types import Array

_SAMPLES = 256  # that criteria and the sensitivity of layers are measured on
_SCANNED, _TOLERATED = (0.1, 0.3, 0.5, 0.7), 0.02


class Pruner:
    """Makes the cuts of `pruning` while `model` is trained by `trainer`.

    Raises: ArgumentError where there is nothing to prune, or too little training for all cuts.
    """

    def __init__(self, model: onnx.ModelProto, pruning: Pruning, trainer: Trainer) -> None:
        self._model, self._pruning, self._trainer = model, pruning, trainer
        self._schedule = SCHEDULES[pruning.schedule]
        self._layers = {t.weight: t.channels(pruning.side) for t in prunable_targets(model, pruning.side)}
        if not self._layers:
            raise ArgumentError(f"the model has no layer whose {pruning.side} channels could be pruned")
        needs = criterion_of(pruning.criterion or self._schedule.criterion).needs
        self._looks = not {"activations", "gradients", "labels"}.isdisjoint(needs)

    def before(self, step: int) -> None:
        """Make the cut that is due before `step`, if there is one."""
        cut, trainer = self._cuts.get(step), self._trainer
        if cut is not None:
            calibration = self._calibration(step) if self._looks else None
            options = self._pruning.options(cut, calibration, trainer.settings.seed)
            self._zero(prune(trainer.model(), options).model, stays=not cut.returns)
        if self._schedule.scales_dropout and (cut is not None or not trainer.kept_by_dropout):
            trainer.kept_by_dropout.update(kept_of_dropout(self._model, trainer.model()))

    def counts(self, epoch: int) -> bool:
        """Whether all cuts are made by the end of `epoch`."""
        return max(self._cuts) < (epoch + 1) * self._trainer.data.steps

    def _zero(self, pruned: onnx.ModelProto, *, stays: bool) -> None:
        """Write the zeros of `pruned` into the weights. stays: whether they may not change from now on."""
        trainer, tensors = self._trainer, constant_tensors(pruned)
        weights = [name for name, each in trainer.parameters.learned.items() if each.kind == "weight"]
        kept = {name: weight_array(tensors[name]) != 0 for name in weights}
        now = trainer.weights()
        trainer.replace({name: now[name] * mask for name, mask in kept.items()}, kept if stays else None)

    @cached_property
    def _cuts(self) -> Mapping[int, Cut]:
        """The cuts by the step before which each is made."""
        epochs, steps = self._trainer.settings.epochs, self._trainer.data.steps
        p = self._pruning
        setting = Setting(p.amount, epochs, steps, self._layers, lambda: self._tolerated, p.rounds, p.updates)
        cuts = self._schedule.cuts(setting)
        if max(cuts) >= setting.steps:
            raise ArgumentError(
                f"the last cut would be before step {max(cuts) + 1}, and there are {setting.steps}: train for more "
                "epochs, or give fewer rounds or updates"
            )
        return cuts

    @cached_property
    def _tolerated(self) -> dict[str, float]:
        """The largest amount that each layer of the unpruned model tolerates by itself."""
        if not self._trainer.data.is_labelled:
            raise ArgumentError("schedule 'han' measures what layers tolerate, which takes data with labels")
        calibration = self._calibration(0)
        batches = [({name: x}, calibration["y"]) for name, x in calibration.items() if name != "y"]
        options = self._pruning.options(Cut(), calibration if self._looks else None, self._trainer.settings.seed)
        found = scan_layers(self._model, Top1.of(self._model, batches), _SCANNED, options, tolerated=_TOLERATED)
        return {layer.weight: layer.largest_amount for layer in found.layers}

    def _calibration(self, step: int) -> dict[str, Array]:
        """Some training samples as inputs, drawn for that step, with labels where there are any."""
        data, spec = self._trainer.data, only_input(self._model)
        rng = np.random.default_rng((self._trainer.settings.seed, step))
        rows = torch.from_numpy(np.sort(rng.permutation(len(data.labels))[:_SAMPLES]))
        found: dict[str, Array] = {spec.name: data.inputs(rows).contiguous().numpy().astype(spec.dtype or np.float32)}
        return found | {"y": data.labels[rows].numpy()} if data.is_labelled else found
