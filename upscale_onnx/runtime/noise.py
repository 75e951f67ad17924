"""How much the outputs of a model change when nothing but rounding changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from upscale_onnx.errors import ModelError
from upscale_onnx.model import infer_shapes
from upscale_onnx.model.on_disk import in_memory
from upscale_onnx.model.protos import inner_graphs, iter_nodes
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.runtime.providers import Device
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.types import Array

if TYPE_CHECKING:
    import onnxruntime as ort

_NUDGES = 3
_STEP = 2.0**-23  # from 1 to the next number of float32
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
_LAYERS = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "Add", "LSTM", "GRU", "RNN"))


def noisy_runs(
    model: ModelProto, session: ort.InferenceSession, feeds: Sequence[Inputs], provider: Device, seed: int
) -> Iterator[list[list[Any]]]:
    """The outputs of `model` in every trial, once for each of several ways to change the rounding.

    The first way is to run without onnxruntime's optimisations, the second with weights that are moved by one unit in
    the last place: it tells of layers whose results hardly depend on the inputs. The third moves what layers make: it
    tells of large results of which differences matter. The others use `session`, on inputs that are moved.
    """
    try:
        plain = make_session(model, provider=provider, exact=True, optimize=False)
        yield [run(plain, feed) for feed in feeds]
        moved = make_session(_with_moved_weights(model, seed), provider=provider, exact=True, optimize=False)
        yield [run(moved, feed) for feed in feeds]
        rounded = make_session(_with_moved_results(model, seed), provider=provider, exact=True, optimize=False)
        yield [run(rounded, feed) for feed in feeds]
    except ModelError:
        pass  # some models run only when optimised; the other ways remain
    if not any(_is_float(array) for feed in feeds for array in feed.values()):
        return
    for number in range(_NUDGES):
        rng = np.random.default_rng((seed, number))
        try:
            yield [run(session, {name: _nudged(rng, array) for name, array in feed.items()}) for feed in feeds]
        except ModelError:
            continue


def _with_moved_weights(model: ModelProto, seed: int) -> ModelProto:
    """A copy of which the weights and vectors that layers read are nudged."""
    copy = ModelProto()
    copy.CopyFrom(in_memory(model))
    read = {name for node in iter_nodes(copy.graph) if node.op_type in _LAYERS for name in node.input[1:]}
    rng = np.random.default_rng((seed, _NUDGES))
    graphs = (copy.graph, *inner_graphs(copy.graph))
    for tensor in (tensor for graph in graphs for tensor in graph.initializer):
        if tensor.name in read and tensor.data_type in _FLOATS:
            tensor.CopyFrom(numpy_helper.from_array(_nudged(rng, numpy_helper.to_array(tensor)), tensor.name))
    return copy


def _with_moved_results(model: ModelProto, seed: int) -> ModelProto:
    """A copy in which each number of float32 that a layer makes is multiplied by one of its own next to 1, or by 1."""
    copy = ModelProto()
    copy.CopyFrom(in_memory(model))
    types = {name: shape.dtype for name, shape in infer_shapes(model).items()}
    nodes: list[NodeProto] = []
    for number, node in enumerate(copy.graph.node):
        nodes.append(node)
        name = node.output[0] if node.output else ""
        if node.op_type not in _LAYERS or types.get(name) != TensorProto.FLOAT:
            continue
        exact, factor = f"{name}__exact", f"{name}__factor"
        node.output[0] = exact
        near: dict[str, Any] = {"low": 1 - _STEP, "high": 1 + _STEP, "seed": float(seed + number)}
        nodes.append(helper.make_node("RandomUniformLike", [exact], [factor], **near))
        nodes.append(helper.make_node("Mul", [exact, factor], [name]))
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def _nudged(rng: np.random.Generator, array: Array) -> Array:
    """`array` with each value replaced by the next larger or the next smaller one, at random; zeros stay."""
    if not _is_float(array):
        return array
    towards = np.where(rng.random(array.shape) < 0.5, -np.inf, np.inf).astype(array.dtype)
    return np.where(array == 0, array, np.nextafter(array, towards))


def _is_float(array: Array) -> bool:
    return bool(array.dtype.kind == "f")
