"""The learned values of a model as tensors: loaded, held where they must not change, and written back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from upscale_onnx.masks.mask_model import weight_array
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.torch_backend.values import Tensor, array, from_array
from upscale_onnx.training.learned import learned_constants
from upscale_onnx.training.norms import EPSILON, Norm, norm_nodes, unfoldable
from upscale_onnx.training.settings import Norms
from upscale_onnx.types import Array, BoolArray

_SCALE, _MEAN, _VARIANCE = "\0scale", "\0mean", "\0variance"  # of these norms, behind the name of their weight


class Parameters:
    """What training changes in `model`, as tensors by name: `trained` have gradients, `statistics` follow the batches.

    unfolded: norms that stand behind convolutions only while training, by the name of the convolution's weight.
    """

    def __init__(self, model: onnx.ModelProto, norms: Norms) -> None:
        self.model = model
        self.learned = learned_constants(model, norms=norms != "freeze")
        self.trained: dict[str, Tensor] = {}
        self.statistics: dict[str, Tensor] = {}
        self.unfolded: dict[str, Norm] = {}
        tensors = constant_tensors(model)
        for name, each in self.learned.items():
            (self.statistics if each.is_statistic else self.trained)[name] = _tensor(weight_array(tensors[name]))
        self._norms = [
            self._of_node(n.input[1:5]) for n in norm_nodes(model) if set(n.input[1:5]) <= self.learned.keys()
        ]
        if norms == "unfold":
            self._unfold()
        for value in self.trained.values():
            value.requires_grad_()
        self._train_norms = norms != "freeze"
        self._never = {name: ~each.free for name, each in self.learned.items() if each.free is not None}
        self._held: dict[str, tuple[Tensor, Tensor]] = {}
        self.hold()

    def _of_node(self, names: list[str]) -> Norm:
        scale, shift, mean, variance = names
        return Norm(shift, self.trained[scale], self.statistics[mean], self.statistics[variance])

    def _unfold(self) -> None:
        for weight, bias in unfoldable(self.model, self.learned).items():
            norm = Norm.new(bias, self.trained[bias].shape[0])
            self.unfolded[weight] = norm
            self._norms.append(norm)
            self.trained[weight + _SCALE] = norm.scale
            self.statistics |= {weight + _MEAN: norm.mean, weight + _VARIANCE: norm.variance}

    @property
    def weights(self) -> dict[str, Tensor]:
        """The tensors with gradients that are constants of the model."""
        return {name: value for name, value in self.trained.items() if "\0" not in name}

    @property
    def live(self) -> dict[str, Tensor]:
        """All tensors that stand in place of constants of the model."""
        return self.weights | {name: value for name, value in self.statistics.items() if "\0" not in name}

    def free(self, name: str) -> Tensor | None:
        """Which entries of a constant may change; None is all."""
        each = self.learned.get(name)
        return None if each is None or each.free is None else from_array(each.free)

    def replace(self, weights: Mapping[str, Array], kept: Mapping[str, BoolArray] | None) -> None:
        """Give weights other values. kept: by name, the entries that may change from now on; None changes nothing.

        Channels that are constant then must stay the constants that they are.
        """
        with torch.no_grad():
            for name, values in weights.items():
                self.trained[name].copy_(from_array(values))
        if kept is not None:
            self.learned = learned_constants(self.written(), norms=self._train_norms, kept=kept)
        self.hold()

    def hold(self) -> None:
        """Take the present values of entries that must not change for those that they keep.

        A channel that is constant for any input leaves a norm as a constant, too. It has no statistics worth following,
        so it is held by a scale of 0 and a shift of that constant while training.
        """
        with torch.no_grad():
            for norm in self._norms:
                level = self.learned[norm.shift].level
                if level is not None:
                    constant, shift = from_array(np.isfinite(level)), self.trained[norm.shift]
                    norm.scale.mul_(~constant)
                    shift.copy_(torch.where(constant, from_array(level), shift))
            held = {name: (self.free(name), value.detach().clone()) for name, value in self.trained.items()}
        self._held = {name: (free, value) for name, (free, value) in held.items() if free is not None}

    def keep_held(self) -> None:
        """Put entries that must not change back to their values, after a step of the optimiser."""
        with torch.no_grad():
            for name, (free, held) in self._held.items():
                value = self.trained[name]
                value.copy_(torch.where(free, value, held))

    def written(self) -> onnx.ModelProto:
        """A copy of the model with the present values, of the same names, shapes and types."""
        found = onnx.ModelProto()
        found.CopyFrom(self.model)
        tensors = constant_tensors(found)
        values = {name: array(value) for name, value in self.live.items()}
        for name, made in (values | self._folded(values)).items():
            old = tensors[name]
            own = weight_array(old)
            never = self._never.get(name)
            free = self.learned[name].free
            if never is not None and free is not None:  # what could not change at any time is as it was
                made = np.where(never & ~free, own, made)
            new = numpy_helper.from_array(np.ascontiguousarray(made).astype(own.dtype).reshape(own.shape), old.name)
            new.doc_string = old.doc_string
            old.CopyFrom(new)
        return found

    def _folded(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Weights and biases of convolutions with the norms behind them folded in."""
        found = {}
        for weight, norm in self.unfolded.items():
            scale, mean, variance = (array(part) for part in (norm.scale, norm.mean, norm.variance))
            factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + EPSILON)
            found[norm.shift] = values[norm.shift] - mean * factor
            found[weight] = values[weight] * factor.reshape(-1, *[1] * (values[weight].ndim - 1))
        return found

    def state(self) -> dict[str, dict[str, Tensor]]:
        """All values, and which entries of them may change, in memory of the processor."""
        free = {name: self.free(name) for name in self.learned}
        return {
            "values": {name: value.detach().cpu() for name, value in (self.trained | self.statistics).items()},
            "free": {name: mask.cpu() for name, mask in free.items() if mask is not None},
        }

    def restore(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take what `state` returned."""
        with torch.no_grad():
            for name, value in (self.trained | self.statistics).items():
                value.copy_(state["values"][name])
        masks = {name: array(mask) for name, mask in state["free"].items()}
        # Norms hold their constants already.
        self.learned = {n: replace(each, free=masks.get(n), level=None) for n, each in self.learned.items()}
        self.hold()


def _tensor(weight: Array) -> Tensor:
    value = from_array(weight.astype(np.float32)).clone()
    return value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value.contiguous()
