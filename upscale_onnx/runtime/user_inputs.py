"""Inputs that the user gives, checked against the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from onnx import ModelProto

from upscale_onnx.errors import ArgumentError
from upscale_onnx.runtime.inputs import Inputs, input_specs
from upscale_onnx.runtime.naming import arrays_of, samples_in
from upscale_onnx.types import Array, Data, Dim


def load_inputs(data: Data, model: ModelProto) -> Inputs:
    """The arrays in `data`, one for each input of `model`; labels are left out (see `naming`).

    Raises:
        ArgumentError: it cannot be read, or its arrays do not fit the inputs.
    """
    named, where = arrays_of(data)
    arrays = samples_in(named, [spec.name for spec in input_specs(model)])
    check_inputs(arrays, model, where)
    return arrays


def check_inputs(arrays: Mapping[str, Array], model: ModelProto, where: str = "the given inputs") -> None:
    """Check that `arrays` holds one array for each input, with the type and shape of the input.

    Raises:
        ArgumentError: it does not; the message starts with `where`.
    """
    specs = {spec.name: spec for spec in input_specs(model)}
    if missing := [name for name in specs if name not in arrays]:
        raise ArgumentError(f"{where}: lacks {_quoted(missing)}; the model's inputs are {_quoted(specs)}")
    if extra := [name for name in arrays if name not in specs]:
        raise ArgumentError(f"{where}: {_quoted(extra)} is no input; the model's inputs are {_quoted(specs)}")
    named: dict[str, int] = {}
    for name, spec in specs.items():
        if spec.dtype is None:
            continue
        array = np.asarray(arrays[name])
        if array.dtype != spec.dtype and not (spec.dtype.kind == "O" and array.dtype.kind in "UO"):
            raise ArgumentError(f"{where}: '{name}' is {array.dtype}, the model takes {spec.dtype}")
        if spec.dims is not None and not _fits(array.shape, spec.dims, named):
            wanted = ", ".join("?" if dim is None else str(dim) for dim in spec.dims)
            raise ArgumentError(f"{where}: '{name}' has shape {array.shape}, the model takes ({wanted})")


def check_dims(dims: Mapping[str, int], model: ModelProto) -> None:
    """Check that `dims` gives sizes to open dimensions of `model`, by their names.

    Raises:
        ArgumentError: the model has no open dimension of a name, or a size is below 1.
    """
    names = dict.fromkeys(dim for spec in input_specs(model) for dim in spec.dims or () if isinstance(dim, str))
    for name, size in dims.items():
        if name not in names:
            raise ArgumentError(f"dims: '{name}' is no open dimension; the model's are {_quoted(names) or 'none'}")
        if size < 1:
            raise ArgumentError(f"dims: '{name}' is {size}: it must be at least 1")


def _fits(shape: tuple[int, ...], dims: tuple[Dim, ...], named: dict[str, int]) -> bool:
    if len(shape) != len(dims):
        return False
    for size, dim in zip(shape, dims, strict=True):
        wanted = named.setdefault(dim, size) if isinstance(dim, str) else dim
        if wanted is not None and wanted != size:
            return False
    return True


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
