"""Which tensors of a graph are known before it runs: weights, constants, and computed shapes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from upscale_onnx.channels.evaluate import evaluate
from upscale_onnx.model import Constant, Graph, Node
from upscale_onnx.model.constants import HeldConstant
from upscale_onnx.model.content import decoded, encoded, is_sparse
from upscale_onnx.model.folding_budget import FoldingBudget
from upscale_onnx.model.known import KINDS, Constants, constant_value
from upscale_onnx.model.protos import stored_bytes
from upscale_onnx.types import Array, Dims

# Weights of more bytes stay encoded; otherwise an analysis would need the memory of a second model.
_LARGEST_HELD = 1 << 16


def find_constants(graph: Graph, dims: Mapping[str, Dims], opset: int) -> Constants:
    """The constants of the main graph. `dims` are the inferred dimensions of its values."""
    found = Constants()
    for tensor in graph.tensors().values():
        if isinstance(tensor, Constant):
            _add_weight(found, tensor)
    found.budget = FoldingBudget(found.weight_bytes)
    for node in graph.nodes:
        _visit(found, node, dims, opset)
    return found


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
    return not is_sparse(tensor) and isinstance(tensor.dtype, np.dtype | type) and np.dtype(tensor.dtype).kind in KINDS


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
    compute = partial(evaluate, node.op, opset, attrs, outputs=len(outputs))
    attrs = attrs if value is None else {**attrs, "value": tensor}
    found.visit(node.op, attrs, [i.name for i in node.inputs], outputs, dims, compute)
