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

Model: TypeAlias = Any  # a path, a ModelProto or a torch module, which is not named here: torch need not be there

IMAGE = (1, 3, 224, 224)
"""The shape of the image that a torch module is exported with where no inputs are given."""


@dataclass(frozen=True, eq=False)
class Source:
    """A model, and where its weights come from.

    model: the analysed model. module: the torch module it was exported from, if any. holders: by name of a parameter of
    the module, the initializer that holds it.
    """

    model: onnx.ModelProto
    module: Any = None
    holders: Mapping[str, Holder] = field(default_factory=dict)

    def initializer(self, name: str) -> str:
        """The name of the initializer for `name`, which may be the name of a parameter."""
        return self.holders[name].initializer if name in self.holders else name

    @property
    def untouchable(self) -> tuple[str, ...]:
        """Weights of `model` that cannot be masked, since no parameter of the module holds just them, or just their
        bias: for example, projections that are packed into one parameter."""
        if self.module is None:
            return ()
        held = {holder.initializer for holder in self.holders.values()}
        tensors = constant_tensors(self.model)

        def is_held(name: str | None) -> bool:
            # The exporter makes up a bias of zeros where a layer has none.
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
        """A copy of the initializer called `weight`; it is read-only, so that no edit of it is lost in silence."""
        array = np.array(numpy_helper.to_array(constant_tensors(self.model)[weight]))
        array.setflags(write=False)
        return array

    def write(self, weight: str, array: Array) -> None:
        """Put `array` in place of the initializer called `weight`.

        Raises: ArgumentError where its shape is another.
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
    """Return `before` with the values that differ in `after`. The model may hold a parameter in another precision, so
    values that no mask changed are kept from `before`."""
    same = before.astype(after.dtype) == after
    return np.where(same, before, after).astype(before.dtype)


def open_source(model: Model, inputs: Sequence[Any] | None = None) -> Source:
    """The source of `model`: a ModelProto is used itself, a path is read, a torch module is exported.

    inputs: what a torch module is called with, one image of shape `IMAGE` by default.

    Raises: ModelError where it cannot be read or exported; ArgumentError where it is nothing of the kind.
    """
    if is_module(model):
        exported = export_module(model, (zeros(model, IMAGE),) if inputs is None else inputs)
        return Source(exported.model, model, exported.holders)
    if not isinstance(model, str | os.PathLike | onnx.ModelProto):
        raise ArgumentError(f"a model is a path, an onnx.ModelProto or a torch module, not {type(model).__name__}")
    return Source(load_model(model))
