"""A model that is run piece by piece, so that the weights of what has not run yet may still change."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from upscale_onnx.errors import ModelError
from upscale_onnx.model import infer_shapes
from upscale_onnx.runtime.activations import constant_nodes, part_of, reads, value_batches, value_types
from upscale_onnx.runtime.inner_values import inner_positions, with_inner_values
from upscale_onnx.runtime.sessions import input_names, make_session, run
from upscale_onnx.types import Array

_SPILL_BYTES = 2**29


class Walk:
    """Runs a model over all batches, a few nodes at a time, so that weights of later nodes may change meanwhile.

    Values that later nodes read are held: up to `spill_bytes` in memory, the others in temporary files. The values
    called `keep` are held until they are released, even if no node reads them any more. Values in bodies are made anew
    whenever they are asked for, from what their node reads, which must be held.
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
        self._shapes = infer_shapes(model)
        self._types = value_types(model, self._shapes)
        self._inner = inner_positions(model)
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
        if not made:  # only constants, or values that nobody reads: onnxruntime takes no graph without outputs
            for held in self._held:
                self._forget(held, position)
            return
        constants = [everything[i] for i in sorted(self._constants)]
        piece = part_of(self._model, [*constants, *nodes], self._held[0].keys(), made, self._types)
        session = make_session(piece, threads=self._threads)
        taken = input_names(session)
        for held in self._held:
            found = run(session, {name: held[name] for name in taken}, made)
            self._forget(held, position)
            held.update((name, self._store.hold(array)) for name, array in zip(made, found, strict=True))

    def release(self, name: str) -> None:
        """Hold the value `name` only as long as nodes read it."""
        self._keep.discard(name)

    def values(self, name: str) -> Iterator[Array]:
        """The value `name`, batch by batch. It must be held or be independent of the inputs. For a value in a body,
        what all rounds made is in one array, along its first axis; it is empty where the body was not run.

        Raises: ModelError for a value in a body that onnxruntime cannot return.
        """
        if name in self._inner:
            return self._inner_values(name)
        if name not in self._constant_values:
            return (held[name] for held in self._held)
        constant = next(value_batches(self._model, [name], [{}], self._threads))[name]
        return repeat(constant, len(self._held))

    def _inner_values(self, name: str) -> Iterator[Array]:
        everything = self._model.graph.node
        nodes = [everything[i] for i in sorted({*self._constants, self._inner[name]})]
        wanted = list(filter(None, everything[self._inner[name]].output))
        piece = part_of(self._model, nodes, self._held[0].keys(), wanted, self._types)
        piece, inner = with_inner_values(piece, [name], self._shapes)
        if name not in inner:
            raise ModelError(f"the rank of {name!r} in a body is not known")
        del piece.graph.output[:]
        piece.graph.output.add(name=inner[name].name)
        session = make_session(piece, threads=self._threads)
        taken = input_names(session)
        for held in self._held:
            (found,) = run(session, {each: held[each] for each in taken}, [inner[name].name])
            yield inner[name].samples(found)

    def _forget(self, held: dict[str, Array], position: int) -> None:
        """Drop the values that no node from `position` on reads."""
        for name in [name for name in held if not self._is_live(name, position)]:
            self._store.release(held.pop(name))

    def _is_live(self, name: str, position: int) -> bool:
        return name in self._keep or self._last_read.get(name, -1) >= position


class _Store:
    """Holds arrays: up to `spill_bytes` in memory, the others in temporary files."""

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
