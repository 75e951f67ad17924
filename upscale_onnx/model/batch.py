"""The same model for another batch size, where its file fixes one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, numpy_helper

from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.model.fixpoint import fixpoint
from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.model.protos import constant_value
from upscale_onnx.model.shapes import Shape, infer_shapes
from upscale_onnx.types import Dim


@dataclass(frozen=True)
class _Change:
    """The new value of the shape operand of `node`."""

    node: NodeProto
    target: tuple[int, ...]


def rebatch(model: ModelProto, batch: int) -> ModelProto:
    """A copy of `model` whose inputs have `batch` as their first dimension; dynamic first dimensions stay.

    Constant target shapes of Reshape nodes that hold the old batch size are changed as well. If no first dimension is
    fixed, or all are `batch` already, `model` itself is returned. `model` is never changed.

    Raises:
        ModelError: the inputs have no common batch size, or an output would not grow with the batch.
    """
    inputs = _batched_inputs(model)
    sizes = {value.type.tensor_type.shape.dim[0].dim_value for value in inputs}
    if len(sizes) > 1:
        found = ", ".join(f"{v.name!r} {v.type.tensor_type.shape.dim[0].dim_value}" for v in inputs)
        raise ModelError(f"its inputs differ in their first dimensions ({found}), so none of them is the batch")
    if not sizes or sizes == {batch}:
        return model
    (size,) = sizes
    before = infer_shapes(model)
    resized = ModelProto()
    resized.CopyFrom(model)
    del resized.graph.value_info[:]
    for value in _batched_inputs(resized):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    for output in resized.graph.output:
        _forget_dims(output)
    after = infer_shapes(resized)

    def changes_targets() -> bool:
        nonlocal after
        changes = list(_changes(resized, before, after, size, batch))
        for change in changes:
            _set_target(resized, change)
        if changes:
            after = infer_shapes(resized)
        return bool(changes)

    fixpoint(changes_targets, len(resized.graph.node) + 1, "the target shapes")  # each round settles at least one
    _check_outputs(resized, before, after, size, batch)
    return resized


def check_batch(model: ModelProto, batch: int) -> None:
    """Check that `model` takes batches of size `batch`.

    Raises:
        ArgumentError: `batch` is below 1, or the model fixes another batch size.
    """
    if batch < 1:
        raise ArgumentError(f"batch is {batch}: it must be at least 1")
    sizes = sorted({value.type.tensor_type.shape.dim[0].dim_value for value in _batched_inputs(model)})
    if sizes and batch not in sizes:
        raise ArgumentError(f"batch is {batch}: the model takes batches of {sizes[0]} only, so leave it out")


def _batched_inputs(model: ModelProto) -> list[ValueInfoProto]:
    """The inputs that a caller feeds which have at least two dimensions and a fixed first dimension."""
    weights = {tensor.name for tensor in model.graph.initializer}
    found = (value for value in model.graph.input if value.name not in weights)
    return [value for value in found if _has_fixed_batch(value.type)]


def _has_fixed_batch(value_type: TypeProto) -> bool:
    if not value_type.HasField("tensor_type"):
        return False
    dims = value_type.tensor_type.shape.dim
    return len(dims) > 1 and dims[0].HasField("dim_value") and dims[0].dim_value > 0


def _forget_dims(output: ValueInfoProto) -> None:
    """Remove the fixed sizes of `output`, which shape inference finds anew. The rank and dynamic sizes stay."""
    if not output.type.HasField("tensor_type"):
        return
    for dim in output.type.tensor_type.shape.dim:
        if dim.HasField("dim_value"):
            dim.ClearField("value")


def _changes(
    model: ModelProto, before: dict[str, Shape], after: dict[str, Shape], size: int, batch: int
) -> Iterator[_Change]:
    """The changes of target shapes that hold the old batch size.

    Nodes that depend on a changed node are skipped: their shapes are not right until it is changed.
    """
    constants = _small_constants(model)
    misled: set[str] = set()
    for node in model.graph.node:
        if not misled.isdisjoint(node.input):
            misled.update(node.output)
            continue
        target = _wanted_target(node, constants, before, after, size, batch)
        if target is not None:
            misled.update(node.output)
            yield _Change(node, target)


def _wanted_target(
    node: NodeProto,
    constants: dict[str, TensorProto],
    before: dict[str, Shape],
    after: dict[str, Shape],
    size: int,
    batch: int,
) -> tuple[int, ...] | None:
    """The target shape that the Reshape `node` needs at the new batch size; None if the present one is right."""
    if node.op_type != "Reshape" or node.domain not in STANDARD_DOMAINS or node.input[1] not in constants:
        return None
    old_data, new_data = _sizes(before, node.input[0]), _sizes(after, node.input[0])
    old_result = _sizes(before, node.output[0])
    if old_data is None or new_data is None or old_result is None:
        return None
    axis = _grown_axis(old_data, new_data, size, batch)
    if axis is None:
        return None
    target = numpy_helper.to_array(constants[node.input[1]]).astype(np.int64).ravel()
    place = _same_place(old_data, axis, old_result)
    if place is None or target.size != len(old_result) or old_result[place] * batch % size:
        raise ModelError(f"Reshape {node.name!r} puts the batch where it cannot be told from other dimensions")
    grown = old_result[place] * batch // size
    if target[place] == -1 or target[place] == grown or (target[place] == 0 and place == axis):
        return None
    target[place] = grown
    return tuple(int(value) for value in target)


def _grown_axis(old: tuple[int, ...], new: tuple[int, ...], size: int, batch: int) -> int | None:
    """The axis whose size changed in proportion to the batch size; None unless this is the only one that changed."""
    grown = [axis for axis, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
    return grown[0] if len(grown) == 1 and new[grown[0]] * size == old[grown[0]] * batch else None


def _same_place(data: tuple[int, ...], axis: int, result: tuple[int, ...]) -> int | None:
    """The axis of `result` that starts where `axis` of `data` does: the product of the sizes before both is equal."""
    stride = math.prod(data[:axis])
    return next((place for place in range(len(result)) if math.prod(result[:place]) == stride), None)


def _set_target(model: ModelProto, change: _Change) -> None:
    """Give the node a new constant, since the old one may have other readers."""
    taken = {tensor.name for tensor in model.graph.initializer} | set(_values(model))
    name = f"{change.node.output[0]}_shape"
    while name in taken:
        name += "_"
    model.graph.initializer.append(numpy_helper.from_array(np.array(change.target, np.int64), name))
    change.node.input[1] = name


def _values(model: ModelProto) -> Iterable[str]:
    yield from (value.name for value in model.graph.input)
    for node in model.graph.node:
        yield from node.output


def _small_constants(model: ModelProto) -> dict[str, TensorProto]:
    """The constants of at most one dimension, by name. Target shapes are among them."""
    found = {tensor.name: tensor for tensor in model.graph.initializer if len(tensor.dims) <= 1}
    for node in model.graph.node:
        value = constant_value(node)
        if value is not None and len(value.dims) <= 1:
            found[node.output[0]] = value
    return found


def _sizes(shapes: dict[str, Shape], name: str) -> tuple[int, ...] | None:
    shape = shapes.get(name)
    return None if shape is None else shape.sizes


def _check_outputs(model: ModelProto, before: dict[str, Shape], after: dict[str, Shape], size: int, batch: int) -> None:
    for output in model.graph.output:
        old, new = _sizes(before, output.name), _sizes(after, output.name)
        if old is None or new is None or math.prod(new) * size == math.prod(old) * batch:
            continue
        raise ModelError(
            f"output {output.name!r} has shape {_shown(old)} at batch {size} and would have {_shown(new)} at {batch}"
        )


def _shown(dims: Iterable[Dim]) -> str:
    return "x".join(str(dim) for dim in dims) or "()"
