"""The layers of a model that schemes compress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from upscale_onnx.masks.prunable import prunable_targets
from upscale_onnx.masks.targets import constant_tensors, mask_targets
from upscale_onnx.types import Array
from upscale_onnx.unstructured.parameters import Parameter, parameters
from upscale_onnx.unstructured.zeros import read


@dataclass(frozen=True)
class Layer:
    """A layer by its weight.

    axis: of the weight, along which the channels lie that the layer makes; 0 where there is no such axis.
    bias: the name of the bias that only this layer has, if there is one.
    is_prunable: whether channels that the layer makes may be pruned: it makes no output of the model, and its channels
        are its own.
    """

    parameter: Parameter
    axis: int
    bias: str | None
    is_prunable: bool

    @property
    def weight(self) -> str:
        """The name of the weight."""
        return self.parameter.name

    def has(self, *op_types: str) -> bool:
        """Whether one of these operators uses the weight."""
        return not set(op_types).isdisjoint(self.parameter.op_types)


def layers_of(model: onnx.ModelProto) -> tuple[Layer, ...]:
    """The layers whose weights have two axes or more, in the order of the graph."""
    biases = {target.weight: target.bias for target in mask_targets(model)}
    prunable = {target.weight for target in prunable_targets(model, "output")}
    return tuple(
        Layer(one, one.output_axis or 0, biases.get(one.name), one.name in prunable)
        for one in parameters(model)
        if one.kind == "weight" and len(one.shape) >= 2
    )


def layer_weights(model: onnx.ModelProto, layers: Sequence[Layer]) -> dict[str, Array]:
    """The weights of `layers` in `model`, and the biases that they have, by name.

    Raises: ModelError where the data of one was not loaded.
    """
    tensors = constant_tensors(model)
    names = [name for layer in layers for name in (layer.weight, layer.bias) if name is not None]
    return {name: read(tensors[name], name) for name in names}
