"""Seeded random inputs for models, with shapes that the model accepts and values that it can read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto

from upscale_onnx.errors import ModelError
from upscale_onnx.model import Shape, infer_shapes, tensor_shape
from upscale_onnx.model.protos import element_count
from upscale_onnx.runtime.budget import check_input_bytes, check_result_bytes
from upscale_onnx.runtime.draws import Drawing, booleans, floats, integers
from upscale_onnx.runtime.roles import InputRole, input_roles
from upscale_onnx.runtime.sizes import Sizes, TensorSpec, candidate_sizes, default_sizes, shape_of
from upscale_onnx.types import Array, Dim

Inputs = dict[str, Array]

# The ranges of integers that are neither indices nor sizes, both ends included.
_RANGES = {Drawing.UNIT: (0, 1), Drawing.CHANNELS: (-128, 127), Drawing.WIDE: (0, 65535), Drawing.NEGATIVE: (-32768, 0)}
_USUAL_RANGE = (0, 255)
# Elements of an input. Images and volumes of the sizes that are tried first have fewer.
_LARGE = 2**22


@dataclass(frozen=True)
class InputSpec:
    """A graph input that a caller feeds.

    dtype: its element type; None if it is no tensor.
    dims: per axis a size, a name, or None if neither is declared; None if the rank is open.
    """

    name: str
    dtype: np.dtype[Any] | None
    dims: tuple[Dim, ...] | None


def input_specs(model: ModelProto) -> tuple[InputSpec, ...]:
    """The inputs of `model` that a caller feeds: those without an initializer."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
    return tuple(_spec(value) for value in graph.input if value.name not in weights)


class InputSource:
    """Draws random inputs for one model.

    dims: sizes for open dimensions, by their names.
    shapes: the shapes of the model's values; None infers them.
    """

    def __init__(
        self,
        model: ModelProto,
        seed: int = 0,
        dims: Mapping[str, int] | None = None,
        shapes: Mapping[str, Shape] | None = None,
    ) -> None:
        self._model, self._seed = model, seed
        self._dims = tuple((dims or {}).items())
        self._specs = tuple(_tensor_spec(spec) for spec in input_specs(model))
        self._roles = _roles(model, self._specs, shapes)
        self._good: Sizes | None = None

    def draw(self, trial: int, sizes: Sizes, draw: Drawing = Drawing.NORMAL) -> Inputs:
        """Random values for every input.

        Raises:
            ModelError: the inputs, or values whose sizes some inputs set, would take too much memory.
        """
        rng = np.random.default_rng((self._seed, trial))
        named = dict(sizes.named)
        shapes = [shape_of(spec, spec.dims, sizes, named) for spec in self._specs]
        check_input_bytes(self._specs, shapes)
        inputs: Inputs = {}
        way = draw
        for spec, shape in zip(self._specs, shapes, strict=True):
            role = self._roles.get(spec.name, InputRole())
            if role.size is not None:
                inputs[spec.name] = _sizes(spec, shape, role, sizes, named, trial)
                continue
            inputs[spec.name] = _values(rng, way, spec, shape, role, sizes, trial)
            if trial % 2 == 0:  # inputs after the first are states and conditions more often than data
                way = Drawing.NORMAL
        given = {name: inputs[name] for name, role in self._roles.items() if role.size is not None}
        check_result_bytes(self._model, inputs, given)
        return inputs

    def feasible(
        self, run: Callable[[Inputs], object], trial: int = 0, batch: int | None = None, draw: Drawing = Drawing.NORMAL
    ) -> Inputs:
        """Random inputs on which `run`, a function that runs the model, raises no ModelError.

        Sizes that differ between trials are tried first, and those that make large inputs of many open dimensions last.
        If the model accepts only one size, all trials use it.
        `batch` fixes the size of dynamic batch axes.

        Raises:
            ModelError: the model runs with none of the sizes tried; the message holds the first failure.
        """
        failure: Exception | None = None
        candidates = sorted(candidate_sizes(self._specs, trial, batch, self._dims), key=self._is_large)
        if self._good is not None and trial > 1:  # the first two trials have tried to vary the sizes
            candidates = [self._good, *candidates]
        for sizes in candidates:
            try:
                inputs = self.draw(trial, sizes, draw)
                run(inputs)
            except (ModelError, MemoryError) as error:  # a smaller size may need less memory
                failure = failure or error
                continue
            if self._good is None:
                self._good = sizes
            return inputs
        raise ModelError(
            f"no input was found on which the model runs; give inputs of your own ({failure})"
        ) from failure

    def _is_large(self, sizes: Sizes) -> bool:
        named = dict(sizes.named)
        return any(element_count(shape_of(spec, spec.dims, sizes, named)) > _LARGE for spec in self._specs)


def random_inputs(model: ModelProto, *, seed: int = 0, trial: int = 0, sizes: Sizes | None = None) -> Inputs:
    """Seeded random values for every input: normally distributed floats, and integers that their readers accept.

    Dimensions of the same name have the same size. Without `sizes`, odd trials use other sizes than even ones.

    Raises:
        ModelError: an input is no tensor of known rank, or would take too much memory.
    """
    return InputSource(model, seed).draw(trial, sizes or default_sizes(trial))


def feasible_inputs(
    run: Callable[[Inputs], object],
    model: ModelProto,
    *,
    seed: int = 0,
    trial: int = 0,
    batch: int | None = None,
) -> Inputs:
    """Random inputs on which `run`, a function that runs `model`, raises no ModelError: see `InputSource.feasible`.

    Raises:
        ModelError: the model runs with none of the sizes tried; the message holds the first failure.
    """
    return InputSource(model, seed).feasible(run, trial, batch)


def _spec(value: onnx.ValueInfoProto) -> InputSpec:
    data_type = value.type.tensor_type.elem_type
    if data_type == TensorProto.UNDEFINED:
        return InputSpec(value.name, None, None)
    shape = tensor_shape(value.type)
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(data_type))
    return InputSpec(value.name, dtype, None if shape is None else shape.dims)


def _tensor_spec(spec: InputSpec) -> TensorSpec:
    if spec.dtype is None or spec.dims is None:
        raise ModelError(f"input '{spec.name}' is no tensor of known rank, so no values can be drawn for it")
    return TensorSpec(spec.name, spec.dtype, spec.dims)


def _roles(
    model: ModelProto, specs: tuple[TensorSpec, ...], shapes: Mapping[str, Shape] | None
) -> dict[str, InputRole]:
    """The roles of inputs that may be indices or sizes: integers, and floats of rank 0 or 1."""
    names = frozenset(s.name for s in specs if s.is_integer or (s.dtype.kind == "f" and len(s.dims) < 2))
    if not names:
        return {}
    return input_roles(model, names, infer_shapes(model) if shapes is None else shapes)


def _values(
    rng: np.random.Generator,
    draw: Drawing,
    spec: TensorSpec,
    shape: tuple[int, ...],
    role: InputRole,
    sizes: Sizes,
    trial: int,
) -> Array:
    if spec.dtype.kind == "O":
        words: Array = np.array([f"text {value}" for value in rng.integers(0, 100, shape).ravel()], dtype=object)
        return words.reshape(shape)
    if spec.dtype.kind == "b":
        return booleans(rng, trial, shape)
    if not spec.is_integer:
        return floats(rng, draw, shape).astype(spec.dtype)
    if spec.is_single and role.below is None and spec.dtype.itemsize > 1:
        return np.full(shape, sizes.integer, spec.dtype)
    low, high = _range(draw, spec, role, sizes)
    return integers(rng, draw, shape, low, high).astype(spec.dtype)


def _range(draw: Drawing, spec: TensorSpec, role: InputRole, sizes: Sizes) -> tuple[int, int]:
    """The smallest and the largest integer that an input may hold."""
    legal = np.iinfo(spec.dtype)
    if role.below is not None:
        return 0, min(role.below, sizes.integers_below or role.below) - 1
    if spec.dtype.itemsize == 1:
        return int(legal.min), int(legal.max)
    if sizes.integers_below is not None:
        return 0, sizes.integers_below - 1
    low, high = _RANGES.get(draw, _USUAL_RANGE)
    return max(low, int(legal.min)), min(high, int(legal.max))


def _sizes(
    spec: TensorSpec, shape: tuple[int, ...], role: InputRole, sizes: Sizes, named: dict[str, int], trial: int
) -> Array:
    """Values for an input that holds sizes: near the sizes of the value that it resizes, or small."""
    count = math.prod(shape)
    enlarged = 2 if trial % 2 == 0 else 1
    spatial = np.array([enlarged if i > 1 else 1 for i in range(count)])
    if role.size == "start":
        values = np.zeros(count)
    elif role.size == "factor":
        values = spatial
    elif role.size == "margin":
        values = np.array([1 if i % (count // 2 or 1) > 1 else 0 for i in range(count)])
    elif role.size in ("shape", "extent") and role.like is not None and len(role.like) == count:
        values = np.array(shape_of(spec, role.like, sizes, named), int)
        values = values * spatial if role.size == "extent" else values
    else:
        values = np.full(count, sizes.integer)
    return values.reshape(shape).astype(spec.dtype)
