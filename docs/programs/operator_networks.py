"""Graphs between layers with dead channels, and ONNX's own tests of operators as such networks."""

from __future__ import annotations

import importlib
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
Feeds = Mapping[str, Array]
EXPANDED = r"_expanded(_ver\d+|_function)?"  # behind the name of a test, for the nodes that define its operator
_READ = 3  # rows of the layers that read results
_IMAGES = range(3, 6)  # ranks that a convolution takes


@dataclass(frozen=True)
class Network:
    """A test between two layers. feeds: its inputs, twice. idle: whether any channel is zero, or not read."""

    name: str
    model: onnx.ModelProto
    feeds: tuple[Feeds, ...]
    idle: bool


def networks(words: Sequence[str] = (), modules: Sequence[str] = ()) -> Iterator[Network]:
    """The networks of all tests with one of `words` in their names, of all modules or of those of these names."""
    for test in _tests(words, modules):
        for axis in (1, -1):
            for every in (False, True):
                found = _between(test, axis, every)
                if found is not None:
                    yield found


def alone(words: Sequence[str] = ()) -> Iterator[Network]:
    """The tests with one of `words` in their names whose values are arrays, as they are."""
    for test in _tests(words):
        if _is_plain(test):
            given = zip((value.name for value in test.model.graph.input), test.data_sets[0][0], strict=True)
            yield Network(test.name, test.model, (dict(given),), idle=False)


def _tests(words: Sequence[str] = (), modules: Sequence[str] = ()) -> list[Any]:
    """ONNX's tests. A module makes its tests when it is imported, which takes seconds for all of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case import node

        for module in modules:
            importlib.import_module(f"{node.__name__}.{module}")
        tests = node._NodeTestCases if modules else node.collect_testcases()
    return [test for test in tests if not words or any(word in test.name for word in words)]


def _is_plain(test: Any) -> bool:
    """Whether all its values are arrays, one for each input and result."""
    given, results = test.data_sets[0]
    arrays = all(isinstance(value, np.ndarray) for value in (*given, *results))
    return arrays and len(given) == len(test.model.graph.input)


def _between(test: Any, axis: int, every: bool) -> Network | None:
    """The test between layers, with channels of `every` input or of the first one only; None where there is none."""
    domains = {entry.domain for entry in test.model.opset_import}
    if domains - {"", "ai.onnx"} or not _is_plain(test):
        return None
    given, results = test.data_sets[0]
    arrays = dict(zip((value.name for value in test.model.graph.input), given, strict=True))
    chosen = inputs_with_channels(arrays, axis)[: None if every else 1]
    if not chosen or (every and len(chosen) == 1):
        return None
    if axis == -1 and all(arrays[name].ndim == 2 for name in chosen):
        return None  # the last axis is axis 1
    name = f"{test.name}, axis {axis}, {'all inputs' if every else 'one input'}"
    rng = np.random.default_rng(zlib.crc32(re.sub(EXPANDED, "", name).encode()))
    return between_layers(name, test.model, arrays, results, chosen, axis, rng)


def inputs_with_channels(arrays: Feeds, axis: int) -> list[str]:
    """The names of those inputs that a layer can make, whose channels are on `axis`."""
    # Infinity times a weight of zero is no number.
    return [name for name, array in arrays.items() if _has_channels(array, axis) and np.isfinite(array).all()]


def between_layers(
    name: str,
    inner: onnx.ModelProto,
    arrays: Feeds,
    results: Sequence[Array],
    chosen: Sequence[str],
    axis: int,
    rng: np.random.Generator,
) -> Network:
    """The graph of `inner` with a layer in front of each input in `chosen`, and one behind each result with channels.

    arrays: all inputs; those not in `chosen` become constants. results: what the outputs may be, for their shapes.
    Some channels that the layers make are zero, and some that they are given are not read.
    """
    model = onnx.ModelProto.FromString(inner.SerializeToString())
    graph = model.graph
    nodes: list[onnx.NodeProto] = []
    idle = False
    kept = [value for value in graph.input if value.name in chosen]
    graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in arrays.items() if key not in chosen)
    for value in kept:
        size = arrays[value.name].shape[axis]
        rows = np.eye(size, dtype=np.float32) * (rng.random(size) < 0.5)
        idle |= not rows.any(1).all()
        nodes.append(_layer(f"{value.name}_given", value.name, arrays[value.name].ndim, axis, rows, graph))
        value.name += "_given"
    del graph.input[:]
    graph.input.extend(kept)
    read = []
    for value, array in zip(list(graph.output), results, strict=True):
        if _has_channels(array, axis):
            columns = rng.integers(1, 4, (_READ, array.shape[axis])) * (rng.random(array.shape[axis]) < 0.5)
            idle |= not columns.any(0).all()
            made = f"{value.name}_read"
            read.append(_layer(value.name, made, array.ndim, axis, columns.astype(np.float32), graph))
            value.CopyFrom(helper.make_tensor_value_info(made, TensorProto.FLOAT, [None] * array.ndim))
    between = [*nodes, *graph.node, *read]
    del graph.node[:]
    graph.node.extend(between)
    feeds = {f"{key}_given": arrays[key] for key in chosen}
    shuffled = {key: rng.permutation(array.ravel()).reshape(array.shape) for key, array in feeds.items()}
    return Network(name, model, (feeds, shuffled), idle)


def _has_channels(array: Array, axis: int) -> bool:
    return array.dtype == np.float32 and array.ndim > 1 and array.shape[axis] > 1 and array.size > 0


def _layer(source: str, made: str, rank: int, axis: int, weight: Array, graph: onnx.GraphProto) -> onnx.NodeProto:
    """The node by which a layer with this weight, `(C_out, C_in)`, makes a value of another."""
    image = axis == 1 and rank in _IMAGES
    stored = weight.reshape(*weight.shape, *(1,) * (rank - 2)) if image else weight.T
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(stored), f"{made}_weight"))
    return helper.make_node("Conv" if image else "MatMul", [source, f"{made}_weight"], [made], name=f"{made}_layer")
