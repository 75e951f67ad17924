"""The goal of each layer of a pruned network: the value that is compared with that of the unpruned network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.model.bodies import flat_graphs
from upscale_onnx.repair.fit import Tail
from upscale_onnx.repair.layers import placed_nodes
from upscale_onnx.repair.linear import LinearLayer
from upscale_onnx.runtime.activations import reads
from upscale_onnx.types import Array, BoolArray, FloatArray

_NO_BOUNDS = (-np.inf, np.inf)
_BYTES = (np.uint8, np.int8)
# An output that a BatchNormalization scales by less than this share of the largest scale is ignored.
_LEAST_SCALE = 1e-6


@dataclass(frozen=True, eq=False)
class FitGoal:
    """The value at which the outputs of a layer are compared.

    value: the output of the layer, or of a BatchNormalization, or of an Add behind it, possibly behind quantisers.
    position: the position of the node that makes `value`, as that of a `LinearLayer`.
    skip: the other operand of the Add, an earlier value, or None. The layer makes up for the error of `skip`, too.
    scale, shift: (outputs,), those of the BatchNormalization; 1 and 0 without one.
    low, high: the bounds to which the activation or the quantiser behind `value` clips.
    """

    value: str
    position: int
    skip: str | None
    scale: FloatArray
    shift: FloatArray
    low: float
    high: float

    def tail(self, group: int) -> tuple[Tail, BoolArray]:
        """The tail of the layer, and a mask of the outputs, (group, 1, M), that are not scaled to almost nothing.

        The scale of all other outputs is replaced by 1.
        """
        scale = self.scale.reshape(group, 1, -1)
        carries = np.abs(scale) > _LEAST_SCALE * np.abs(scale).max(initial=0.0)
        return Tail(np.where(carries, scale, 1.0).astype(np.float32), self.low, self.high), carries


class Goals:
    """Finds the goals of layers of one model."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._tensors = constant_tensors(model)
        self._outputs = {value.name for graph in flat_graphs(model) for value in graph.output}
        self._made = {
            name: (place, each.position) for place, each in enumerate(placed_nodes(model)) for name in each.node.output
        }
        self._readers: dict[str, list[NodeProto]] = {}
        for graph in flat_graphs(model):
            for node in graph.node:
                for name in reads(node):
                    self._readers.setdefault(name, []).append(node)

    def goal(self, layer: LinearLayer) -> FitGoal:
        """The goal of `layer`."""
        name = layer.output
        scale, shift = np.ones(layer.outputs), np.zeros(layer.outputs)
        node = None if layer.is_batched else self._only_reader(name)
        if node is not None and node.op_type == "BatchNormalization" and node.input[0] == name:
            parameters = [self._array(value) for value in node.input[1:5]]
            if all(array is not None for array in parameters):
                scale, shift = _affine(node, parameters)
                name = node.output[0]
        read = self._behind_quantisers(name)
        skip = self._skip(read, layer.place)
        if skip is not None:
            name = self._readers[read][0].output[0]
        low, high = self._bounds(name)
        return FitGoal(name, self._made[name][1], skip, scale, shift, low, high)

    def _only_reader(self, name: str) -> NodeProto | None:
        found = self._readers.get(name, [])
        return found[0] if len(found) == 1 and name not in self._outputs else None

    def _behind_quantisers(self, name: str) -> str:
        """What a QuantizeLinear and a DequantizeLinear make of `name` if nothing else reads it, else `name`."""
        found = name
        for op_type in ("QuantizeLinear", "DequantizeLinear"):
            node = self._only_reader(found)
            if node is None or node.op_type != op_type or node.input[0] != found:
                return name
            found = node.output[0]
        return found

    def _skip(self, name: str, place: int) -> str | None:
        """The other operand of the Add that alone reads `name`, if it is computed before the layer, else None."""
        node = self._only_reader(name)
        if node is None or node.op_type != "Add":
            return None
        others = [value for value in node.input if value != name]
        if len(others) != 1 or others[0] in self._tensors:
            return None
        return others[0] if self._made.get(others[0], (-1, -1))[0] < place else None

    def _bounds(self, name: str) -> tuple[float, float]:
        found = {self._clips(node) for node in self._readers.get(name, [])}
        return found.pop() if len(found) == 1 and name not in self._outputs else _NO_BOUNDS

    def _clips(self, node: NodeProto) -> tuple[float, float]:
        if node.op_type == "Relu":
            return 0.0, np.inf
        if node.op_type == "QuantizeLinear":
            return self._range(node)
        if node.op_type != "Clip":
            return _NO_BOUNDS
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        bounds = [float(attributes.get("min", -np.inf)), float(attributes.get("max", np.inf))]
        for place, value in enumerate(node.input[1:3]):
            array = self._array(value)
            if value and (array is None or array.size != 1):
                return _NO_BOUNDS
            if array is not None:
                bounds[place] = float(array.reshape(()))
        return bounds[0], bounds[1]

    def _range(self, node: NodeProto) -> tuple[float, float]:
        """The numbers between which a QuantizeLinear to integers of eight bits clips, with one constant scale."""
        scale, point = (self._array(name) for name in [*node.input[1:], ""][:2])
        if scale is None or point is None or {scale.size, point.size} != {1}:
            return _NO_BOUNDS
        if point.dtype not in _BYTES or not scale > 0:
            return _NO_BOUNDS
        zero, step, ends = int(point.reshape(())), float(scale.reshape(())), np.iinfo(point.dtype)
        return (ends.min - zero) * step, (ends.max - zero) * step

    def _array(self, name: str) -> Array | None:
        return numpy_helper.to_array(self._tensors[name]) if name in self._tensors else None


def _affine(node: NodeProto, parameters: list[Any]) -> tuple[FloatArray, FloatArray]:
    """The factor and the offset, (C,) each, of a BatchNormalization with constant parameters."""
    gamma, beta, mean, variance = (array.astype(np.float64) for array in parameters)
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    scale = gamma / np.sqrt(variance + epsilon)
    return scale, beta - mean * scale
