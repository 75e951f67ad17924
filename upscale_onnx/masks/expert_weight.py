"""The weight of experts within one node as a weight of the view, with the neurons of each expert in another order."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from onnx import NodeProto

from upscale_onnx.channels.rules.expert_weights import Weights
from upscale_onnx.masks.stored_weights import Tensors, replace_values
from upscale_onnx.options import Side
from upscale_onnx.types import Array, BoolArray, IntArray


@dataclass(frozen=True, eq=False)
class ExpertWeight:
    """A weight `(E, inputs, outputs)` of the view. stored: how the node holds it. rows, columns: `(E, outputs)` and
    `(E, inputs)`, where the view's outputs and inputs stand there. node: the node of the model. outer: the side whose
    channels are those of the node's input or result, and not hidden neurons."""

    stored: Weights
    rows: IntArray
    columns: IntArray
    node: NodeProto
    outer: Side

    @property
    def values(self) -> Array:
        """The weight of the view."""
        values = np.take_along_axis(self.stored.values, self.rows[:, :, None], 1)
        return np.ascontiguousarray(np.take_along_axis(values, self.columns[:, None], 2).swapaxes(1, 2))

    @property
    def bias(self) -> Array | None:
        """`(E, 1, outputs)`."""
        bias = self.stored.bias
        return None if bias is None else np.take_along_axis(bias, self.rows, 1)[:, None]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of the tensors that zeros are written into, that of the weight and of its bias."""
        names, stored = self.node.input, self.stored
        return (names[stored.at], *(() if stored.bias is None else [names[stored.bias_at]]))

    def ordered(self, costs: Array) -> ExpertWeight:
        """With its inputs in another order: by `costs` `(E, inputs)`, the least first. Those of one unit stay beside
        each other."""
        unit = self.stored.unit
        units = np.argsort(costs.reshape(len(costs), -1, unit).sum(-1), -1, kind="stable")
        places = (units[:, :, None] * unit + np.arange(unit)).reshape(costs.shape)
        return replace(self, columns=np.take_along_axis(self.columns, places, 1))

    def viewed(self, kept: BoolArray, side: Side) -> BoolArray:
        """`(E, channels)`: a mask of the view, for one of the weight as it is stored, `(channels,)` or as large."""
        places = self.columns if side == "input" else self.rows
        return np.take_along_axis(np.broadcast_to(kept, places.shape), places, 1)

    def used(self, side: Side) -> BoolArray:
        """`(E, channels)`: which channels of the weight as it is stored hold a value other than zero."""
        return np.asarray(self.stored.values.any(1 if side == "input" else 2))

    def holding(self, values: Array) -> ExpertWeight:
        """With the nearest numbers to `values` `(E, inputs, outputs)` that the node can hold."""
        there = np.empty(self.stored.shape, values.dtype)
        there[self._places] = values
        return replace(self, stored=self.stored.holding(there))

    def write(self, tensors: Tensors, values: Array) -> None:
        """Store the nearest numbers to `values` `(E, inputs, outputs)`."""
        replace_values(tensors[self.tensors[0]], self.holding(values).stored.content)

    def write_zeros(self, tensors: Tensors, gone: BoolArray, exactly: bool) -> None:
        """Store zeros where entries are `gone` `(E, inputs, outputs)`: `exactly`, or as far as the node can shrink."""
        there = np.zeros(self.stored.shape, np.bool_)
        there[self._places] = gone
        for index, array in self.stored.emptied(there, exactly).items():
            replace_values(tensors[self.node.input[index]], array)

    @property
    def _places(self) -> tuple[IntArray, IntArray, IntArray]:
        """Where the entries `(E, inputs, outputs)` of the view are stored."""
        return np.arange(len(self.rows))[:, None, None], self.rows[:, None], self.columns[:, :, None]
