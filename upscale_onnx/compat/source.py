"""A model to mask in place: a given ModelProto, one read from a path, or one exported from a torch module."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import numpy_helper

from upscale_onnx.compat.torch_export import Holder, export_module, is_module, parameter_arrays, write_parameters, zeros
from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.targets import constant_tensors, mask_targets
from upscale_onnx.model import load_model
from upscale_onnx.types import Array

Model: TypeAlias = Any  # a path, a ModelProto or a torch module. The last is Any, since torch need not be installed

IMAGE = (1, 3, 224, 224)
"""The shape (N, C, H, W) of the image that a torch module is exported with if no inputs are given."""


@dataclass(frozen=True, eq=False)
class Source:
    """A model, and the torch module that its weights come from.

    model: the analysed model.
    module: the torch module that it was exported from, None if there is none.
    holders: the initializer that holds each parameter of the module, by the parameter's name.
    """

    model: onnx.ModelProto
    module: Any = None
    holders: Mapping[str, Holder] = field(default_factory=dict)

    def initializer(self, name: str) -> str:
        """The name of the initializer called `name`, or of the one that holds the parameter called `name`."""
        return self.holders[name].initializer if name in self.holders else name

    @property
    def untouchable(self) -> tuple[str, ...]:
        """The weights of `model` that cannot be masked, since they or their biases are only parts of a parameter.

        For example, several projections may be packed into one parameter.
        """
        if self.module is None:
            return ()
        held = {holder.initializer for holder in self.holders.values()}
        tensors = constant_tensors(self.model)

        def is_held(name: str | None) -> bool:
            # The exporter adds a bias of zeros to a layer that has none.
            return name is None or name in held or not numpy_helper.to_array(tensors[name]).any()

        targets = mask_targets(self.model)
        return tuple(t.weight for t in targets if t.weight not in held or not is_held(t.bias))

    def replace(self, masked: onnx.ModelProto) -> None:
        """Copy the weights of `masked` into `model` and into the parameters of the module."""
        if masked is not self.model:
            self.model.CopyFrom(masked)
        if self.module is None:
            return
        tensors, before = constant_tensors(masked), parameter_arrays(self.module)
        fresh = {name: h.turned(numpy_helper.to_array(tensors[h.initializer])) for name, h in self.holders.items()}
        write_parameters(self.module, {name: _changed(before[name], array) for name, array in fresh.items()})

    def read(self, weight: str) -> Array:
        """A copy of the initializer called `weight`. It is read-only, since edits of a copy would have no effect."""
        array = np.array(numpy_helper.to_array(constant_tensors(self.model)[weight]))
        array.setflags(write=False)
        return array

    def write(self, weight: str, array: Array) -> None:
        """Replace the values of the initializer called `weight` with `array`.

        Raises: ArgumentError where the shapes differ.
        """
        tensor = constant_tensors(self.model)[weight]
        if tuple(array.shape) != tuple(tensor.dims):
            raise ArgumentError(f"{weight!r} has shape {tuple(tensor.dims)}, not {tuple(array.shape)}")
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(array, dtype), tensor.name))
        if self.module is not None:
            held = {name: h.turned(array) for name, h in self.holders.items() if h.initializer == weight}
            write_parameters(self.module, held)


def _changed(before: Array, after: Array) -> Array:
    """Return a copy of `before` with the values of `after` that differ from it.

    The model may hold a parameter in another precision. So values that no mask changed are taken from `before`.
    """
    same = before.astype(after.dtype) == after
    return np.where(same, before, after).astype(before.dtype)


def open_source(model: Model, inputs: Sequence[Any] | None = None) -> Source:
    """The source of `model`: a ModelProto is used itself, a path is read, a torch module is exported.

    inputs: the inputs to export a torch module with; one image of shape `IMAGE` by default.

    Raises:
        ModelError: it cannot be read or exported.
        ArgumentError: it is none of the three.
    """
    if is_module(model):
        exported = export_module(model, (zeros(model, IMAGE),) if inputs is None else inputs)
        return Source(exported.model, model, exported.holders)
    if not isinstance(model, str | os.PathLike | onnx.ModelProto):
        raise ArgumentError(f"a model is a path, an onnx.ModelProto or a torch module, not {type(model).__name__}")
    return Source(load_model(model))
