"""Values inside a model over calibration data, batch by batch, so that memory does not grow with the data."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TypeProto

from upscale_onnx.model import infer_shapes
from upscale_onnx.model.edit import captured_names
from upscale_onnx.model.protos import skeleton
from upscale_onnx.model.sizes import elements_of
from upscale_onnx.runtime.inputs import Inputs, input_specs
from upscale_onnx.runtime.sessions import input_names, make_session, run
from upscale_onnx.types import Array

_SPILL_BYTES = 2**29
_MEASURE_BYTES = 2**26


def batches_of(inputs: Mapping[str, Array], size: int) -> tuple[Inputs, ...]:
    """`inputs` cut along their first axis into pieces of `size` samples; the last one may be smaller.

    Arrays without a first axis are handed to every piece as they are.
    """
    count = max((array.shape[0] for array in inputs.values() if array.ndim), default=0)
    return tuple(
        {name: array[start : start + size] if array.ndim else array for name, array in inputs.items()}
        for start in range(0, count, size)
    )


def has_fixed_batch(model: ModelProto) -> bool:
    """Whether any input of `model` fixes its first axis, so that batches cannot be cut."""
    fed = {spec.name for spec in input_specs(model)}
    shapes = [value.type.tensor_type.shape.dim for value in model.graph.input if value.name in fed]
    return any(bool(dims) and dims[0].dim_value > 0 for dims in shapes)


def elements_of_all(model: ModelProto) -> int:
    """How many elements all values of `model` have together, at least 1; dynamic sizes count as 1."""
    return max(sum(_element_counts(model)), 1)


def sample_count(batches: Sequence[Mapping[str, Array]]) -> int:
    """How many samples all batches hold, along the first axis of their inputs."""
    return sum(max(array.shape[0] for array in batch.values() if array.ndim) for batch in batches)


def value_batches(
    model: ModelProto, names: Sequence[str], batches: Sequence[Mapping[str, Array]], threads: int = 1
) -> Iterator[dict[str, Array]]:
    """For each batch, the values called `names`, which may be any in the main graph of `model`.

    Raises:
        ModelError: onnxruntime cannot run the model on a batch.
    """
    inputs = {spec.name for spec in input_specs(model)}
    wanted = [name for name in dict.fromkeys(names) if name not in inputs]
    session, taken = None, tuple[str, ...]()
    if wanted:
        session = make_session(_part(model, model.graph.node, inputs, wanted, _types(model)), threads=threads)
        taken = input_names(session)
    for batch in batches:
        found = {name: batch[name] for name in names if name in inputs}
        if session is not None:
            fed = {name: array for name, array in batch.items() if name in taken}
            found.update(zip(wanted, run(session, fed, wanted), strict=True))
        yield found


def _part(
    model: ModelProto,
    nodes: Sequence[NodeProto],
    given: Collection[str],
    wanted: Sequence[str],
    types: Mapping[str, TypeProto],
) -> ModelProto:
    """A model of those of `nodes`, in their order, that compute the values `wanted` from the values `given`."""
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
    """Positions of the nodes of the main graph that compute from constants alone."""
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    found = set()
    for position, node in enumerate(model.graph.node):
        if reads(node) <= constants and not node.op_type.startswith("Random"):
            found.add(position)
            constants.update(node.output)
    return frozenset(found)


def _types(model: ModelProto) -> dict[str, TypeProto]:
    """Element types without shapes: a declared batch size would not hold for every batch."""
    types = {}
    for name, shape in infer_shapes(model).items():
        if shape.dtype:
            types[name] = TypeProto(tensor_type=TypeProto.Tensor(elem_type=shape.dtype))
    types.update((value.name, _open(value.type)) for value in model.graph.input)
    return types


def _open(value_type: TypeProto) -> TypeProto:
    if not value_type.HasField("tensor_type"):
        return value_type
    return TypeProto(tensor_type=TypeProto.Tensor(elem_type=value_type.tensor_type.elem_type))


class Walk:
    """A model run piece by piece over all batches, so that the weights of what has not run yet may still change.

    Between two pieces the values that later nodes read are held: in memory up to `spill_bytes`, beyond that in
    a temporary file. `keep`: values to hold until they are released, though no node reads them any more.
    """

    def __init__(
        self,
        model: ModelProto,
        batches: Sequence[Mapping[str, Array]],
        keep: Collection[str] = (),
        *,
        threads: int = 1,
        spill_bytes: int = _SPILL_BYTES,
    ) -> None:
        self._model = model
        self._threads = threads
        self._types = _types(model)
        self._constants = constant_nodes(model)
        self._constant_values = {tensor.name for tensor in model.graph.initializer}
        self._constant_values.update(name for i in self._constants for name in model.graph.node[i].output)
        self._keep = set(keep)
        self._done = 0
        self._held: list[dict[str, Array]] = [dict(batch) for batch in batches]
        self._store = _Store(spill_bytes)
        nodes = model.graph.node
        self._last_read = {value.name: len(nodes) for value in model.graph.output}
        for position, node in enumerate(nodes):
            for name in reads(node):
                self._last_read[name] = max(position, self._last_read.get(name, -1))

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.clear()
        self._store.close()

    def advance(self, position: int) -> None:
        """Run the nodes before `position` that have not run yet."""
        if position <= self._done:
            return
        everything = self._model.graph.node
        nodes = [everything[i] for i in range(self._done, position) if i not in self._constants]
        made = [name for node in nodes for name in node.output if name and self._is_live(name, position)]
        self._done = position
        if not made:  # constants alone, or what nobody reads: onnxruntime takes no graph without outputs
            for held in self._held:
                self._forget(held, position)
            return
        constants = [everything[i] for i in sorted(self._constants)]
        piece = _part(self._model, [*constants, *nodes], self._held[0].keys(), made, self._types)
        session = make_session(piece, threads=self._threads)
        taken = input_names(session)
        for held in self._held:
            found = run(session, {name: held[name] for name in taken}, made)
            self._forget(held, position)
            held.update((name, self._store.hold(array)) for name, array in zip(made, found, strict=True))

    def release(self, name: str) -> None:
        """Hold the value `name` no longer than nodes read it."""
        self._keep.discard(name)

    def values(self, name: str) -> Iterator[Array]:
        """The value `name`, batch by batch: a held one, or one that does not depend on the inputs."""
        if name not in self._constant_values:
            return (held[name] for held in self._held)
        constant = next(value_batches(self._model, [name], [{}], self._threads))[name]
        return repeat(constant, len(self._held))

    def _forget(self, held: dict[str, Array], position: int) -> None:
        """Let go of what no node from `position` on reads."""
        for name in [name for name in held if not self._is_live(name, position)]:
            self._store.release(held.pop(name))

    def _is_live(self, name: str, position: int) -> bool:
        return name in self._keep or self._last_read.get(name, -1) >= position


class _Store:
    """Arrays in memory, or in files where there are too many."""

    def __init__(self, spill_bytes: int) -> None:
        self._left = spill_bytes
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._count = 0

    def hold(self, array: Any) -> Any:
        if not isinstance(array, np.ndarray) or array.dtype.kind == "O":
            return array
        if array.nbytes <= self._left:
            self._left -= array.nbytes
            return array
        if not array.size:
            return array
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._count += 1
        path = Path(self._folder.name) / f"{self._count}.bin"
        mapped = np.memmap(path, array.dtype, "w+", shape=array.shape)
        mapped[...] = array
        return mapped

    def release(self, array: Any) -> None:
        if isinstance(array, np.memmap):
            if array.filename is not None:
                Path(array.filename).unlink(missing_ok=True)
        elif isinstance(array, np.ndarray):
            self._left += array.nbytes

    def close(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()


def batch_size(model: ModelProto, inputs: Mapping[str, Array], most: int = 64) -> int:
    """Samples per batch: what the model fixes, or as many as keep its largest value around 64 MB."""
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
    return int(np.clip(_MEASURE_BYTES // (4 * max(_element_counts(single), default=1)), 1, most))


def _element_counts(model: ModelProto) -> list[int]:
    """How many elements each value of `model` has; dynamic sizes count as 1."""
    return [elements_of(shape.dims) for shape in infer_shapes(model).values()]
