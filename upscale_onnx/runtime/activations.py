"""Values inside of a model over calibration data, batch by batch, so that memory does not grow with the data."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TypeProto

from upscale_onnx.model import Shape, infer_shapes
from upscale_onnx.model.edit import captured_names
from upscale_onnx.model.protos import skeleton
from upscale_onnx.model.sizes import elements_of
from upscale_onnx.runtime.inner_values import with_inner_values
from upscale_onnx.runtime.inputs import Inputs, input_specs
from upscale_onnx.runtime.sessions import input_names, make_session, run
from upscale_onnx.types import Array

_MEASURE_BYTES = 2**26
_MOST_SAMPLES = 64


def batches_of(inputs: Mapping[str, Array], size: int) -> tuple[Inputs, ...]:
    """`inputs` cut along their first axis into batches of `size` samples; the last one may be smaller.

    Scalars are part of every batch.
    """
    count = max((array.shape[0] for array in inputs.values() if array.ndim), default=0)
    return tuple(
        {name: array[start : start + size] if array.ndim else array for name, array in inputs.items()}
        for start in range(0, count, size)
    )


def has_fixed_batch(model: ModelProto) -> bool:
    """Whether any input of `model` fixes the size of its first axis, so that the batch size cannot be chosen."""
    fed = {spec.name for spec in input_specs(model)}
    shapes = [value.type.tensor_type.shape.dim for value in model.graph.input if value.name in fed]
    return any(bool(dims) and dims[0].dim_value > 0 for dims in shapes)


def elements_of_all(model: ModelProto) -> int:
    """The number of elements of all values of `model` together, at least 1; dynamic sizes count as 1."""
    return max(sum(_element_counts(model)), 1)


def sample_count(batches: Sequence[Mapping[str, Array]]) -> int:
    """The number of samples in all batches, along the first axis of their inputs."""
    return sum(max(array.shape[0] for array in batch.values() if array.ndim) for batch in batches)


def value_batches(
    model: ModelProto, names: Sequence[str], batches: Sequence[Mapping[str, Array]], threads: int = 1
) -> Iterator[dict[str, Array]]:
    """For each batch, the values called `names`; these may be any values of `model`. For a value in a body, what all
    rounds made is in one array, along its first axis; it is empty where the body was not run.

    Raises:
        ModelError: onnxruntime cannot run the model on a batch.
    """
    inputs = {spec.name for spec in input_specs(model)}
    wanted = [name for name in dict.fromkeys(names) if name not in inputs]
    session, taken = None, tuple[str, ...]()
    model, inner = with_inner_values(model, wanted)
    made = [inner[name].name if name in inner else name for name in wanted]
    if wanted:
        session = make_session(part_of(model, model.graph.node, inputs, made, value_types(model)), threads=threads)
        taken = input_names(session)
    for batch in batches:
        found = {name: batch[name] for name in names if name in inputs}
        if session is not None:
            fed = {name: array for name, array in batch.items() if name in taken}
            values = zip(wanted, run(session, fed, made), strict=True)
            found.update((name, inner[name].samples(array) if name in inner else array) for name, array in values)
        yield found


def part_of(
    model: ModelProto,
    nodes: Sequence[NodeProto],
    given: Collection[str],
    wanted: Sequence[str],
    types: Mapping[str, TypeProto],
) -> ModelProto:
    """A model that computes the values `wanted` from the values `given`, with those of `nodes` that it needs."""
    needed = set(wanted)
    chosen: list[NodeProto] = []
    for node in reversed(nodes):
        if any(name in needed for name in node.output):
            chosen.append(node)
            needed.update(reads(node))
    chosen.reverse()
    found = ModelProto(ir_version=model.ir_version)
    found.opset_import.extend(model.opset_import)
    found.functions.extend(model.functions)
    graph = found.graph
    graph.name = "part"
    graph.node.extend(chosen)
    graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in needed)
    graph.sparse_initializer.extend(t for t in model.graph.sparse_initializer if t.values.name in needed)
    for name in sorted((needed - {name for node in chosen for name in node.output}) & set(given)):
        graph.input.add(name=name).type.CopyFrom(types.get(name, TypeProto()))
    for name in wanted:
        graph.output.add(name=name).type.CopyFrom(types.get(name, TypeProto()))
    return found


def reads(node: NodeProto) -> set[str]:
    """The values that `node` and its subgraphs read."""
    return {name for name in node.input if name} | captured_names([node])


def constant_nodes(model: ModelProto) -> frozenset[int]:
    """Positions of the nodes in the main graph that depend on constants alone."""
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    found = set()
    for position, node in enumerate(model.graph.node):
        if reads(node) <= constants and not node.op_type.startswith("Random"):
            found.add(position)
            constants.update(node.output)
    return frozenset(found)


def value_types(model: ModelProto, shapes: Mapping[str, Shape] | None = None) -> dict[str, TypeProto]:
    """The types of all values without their shapes: a declared batch size would not hold for every batch. shapes: those
    of the model's values, where they are known."""
    types = {}
    for name, shape in (infer_shapes(model) if shapes is None else shapes).items():
        if shape.dtype:
            types[name] = TypeProto(tensor_type=TypeProto.Tensor(elem_type=shape.dtype))
    types.update((value.name, _open(value.type)) for value in model.graph.input)
    return types


def _open(value_type: TypeProto) -> TypeProto:
    if not value_type.HasField("tensor_type"):
        return value_type
    return TypeProto(tensor_type=TypeProto.Tensor(elem_type=value_type.tensor_type.elem_type))


def batch_size(model: ModelProto, inputs: Mapping[str, Array]) -> int:
    """Samples per batch: the size that the model fixes, else at most 64, so that no value is larger than 64 MB."""
    fixed = [
        value.type.tensor_type.shape.dim[0].dim_value
        for value in model.graph.input
        if value.name in inputs
        if value.type.tensor_type.shape.dim
    ]
    if any(size > 0 for size in fixed):
        return int(max(fixed))
    single = skeleton(model)
    for value in single.graph.input:
        if value.name in inputs and value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_value = 1
    return int(np.clip(_MEASURE_BYTES // (4 * max(_element_counts(single), default=1)), 1, _MOST_SAMPLES))


def _element_counts(model: ModelProto) -> list[int]:
    """The number of elements of each value of `model`; dynamic sizes count as 1."""
    return [elements_of(shape.dims) for shape in infer_shapes(model).values()]
