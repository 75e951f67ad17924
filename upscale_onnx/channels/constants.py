"""Which tensors of a graph are known before it runs: weights, constants, and computed shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

from upscale_onnx.channels.evaluate import evaluate
from upscale_onnx.model import Constant, Graph, Node, Variable
from upscale_onnx.model.constants import HeldConstant
from upscale_onnx.model.content import decoded, element_type, encoded, is_sparse, values_of
from upscale_onnx.model.folding_budget import FoldingBudget
from upscale_onnx.model.known import KINDS, Constants, constant_value
from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.model.protos import stored_bytes
from upscale_onnx.model.quantiser import QUANTISED_TYPES, QUANTISERS, computed
from upscale_onnx.types import Array, Dims

# Weights of more bytes stay encoded; otherwise an analysis would need the memory of a second model.
_LARGEST_HELD = 1 << 16
_INFERENCE_BY_DEFAULT = 7  # the first version in which a Dropout drops nothing unless it is told to


def find_constants(graph: Graph, dims: Mapping[str, Dims], opset: int) -> Constants:
    """The constants of the main graph. `dims` are the inferred dimensions of its values."""
    found = Constants()
    for tensor in graph.tensors().values():
        if isinstance(tensor, Constant):
            _add_weight(found, tensor)
    found.budget = FoldingBudget(found.weight_bytes)
    for node in graph.nodes:
        if node.op in QUANTISERS:
            _quantise(found, node)
        else:
            _visit(found, node, dims, opset)
    return found


def _quantise(found: Constants, node: Node) -> None:
    """Record what a quantiser makes of a constant. Its types are rare ones that no other operator is followed for."""
    if node.domain not in STANDARD_DOMAINS or len(node.outputs) != 1:
        return
    if node.attrs.get("block_size", 0):
        return  # a cut through blocks could only be stored as floating-point numbers
    readers = [_reader(found, tensor) for tensor in node.inputs]
    if not readers or any(reader is None for reader in readers):
        return

    def compute() -> Array | None:
        return computed(node.op, attrs, [None if reader is None else reader() for reader in readers])

    attrs = dict(node.attrs)
    found.add_computed(node.outputs[0].name, compute)


def _reader(found: Constants, tensor: Constant | Variable) -> Callable[[], Array | None] | None:
    """A function that returns the value of an input of a node, None for one that is left out. None where the input
    is computed at run time."""
    if not tensor.name:
        return lambda: None
    if isinstance(tensor, HeldConstant):
        return None
    if tensor.name in found:
        return partial(found.array, tensor.name)
    if isinstance(tensor, Constant) and not is_sparse(tensor) and element_type(tensor) is not None:
        return partial(values_of, tensor)
    return None


def _add_weight(found: Constants, tensor: Constant) -> None:
    if isinstance(tensor, HeldConstant) or not _is_numeric(tensor):
        return
    lazy = encoded(tensor)
    size = tensor.values.nbytes if lazy is None else stored_bytes(lazy.tensor)
    found.weight_bytes += size
    if lazy is None:
        found.add(tensor.name, tensor.values)
    elif size > _LARGEST_HELD:
        found.add_encoded(tensor.name, lazy)
    else:
        found.add(tensor.name, decoded(lazy))


def _is_numeric(tensor: Constant) -> bool:
    """Whether the values of a constant can be read: those of sparse tensors and of rare types are not."""
    dtype = None if is_sparse(tensor) else element_type(tensor)
    if dtype is None or dtype.name == "bfloat16":
        return False
    return dtype.kind in KINDS or (dtype.name in QUANTISED_TYPES and math.prod(tensor.shape) <= _LARGEST_HELD)


def _visit(found: Constants, node: Node, dims: Mapping[str, Dims], opset: int) -> None:
    if node.domain not in (None, "", "ai.onnx") or not node.outputs:
        return
    attrs, outputs = node.attrs, [value.name for value in node.outputs]
    if any(isinstance(value, Graph) for value in attrs.values()):
        return
    value = attrs.get("value")
    tensor: Array | None = value.values if isinstance(value, Constant) and _is_numeric(value) else None
    if node.op == "Constant":
        known = constant_value(attrs, tensor)
        if known is not None:
            found.add(outputs[0], known)
        return
    if node.op == "Dropout" and opset < _INFERENCE_BY_DEFAULT:
        return
    compute = partial(evaluate, node.op, opset, attrs, outputs=len(outputs))
    attrs = attrs if value is None else {**attrs, "value": tensor}
    found.visit(node.op, attrs, [i.name for i in node.inputs], outputs, dims, compute)
