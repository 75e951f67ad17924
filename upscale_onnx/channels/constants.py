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
from upscale_onnx.model.operators import MATRIX_PRODUCTS, STANDARD_DOMAINS
from upscale_onnx.model.protos import stored_bytes
from upscale_onnx.model.quantiser import QUANTISED_TYPES, QUANTISERS, computed
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
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
    results = {tensor.name for tensor in graph.outputs}
    for node in graph.nodes:
        if node.op in QUANTISERS:
            _quantise(found, node, results)
        elif node.op == "GatherBlockQuantized":
            _add_tables(found, node)
        else:
            _visit(found, node, dims, opset)
            _move_blocks(found, node)
    return found


def _quantise(found: Constants, node: Node, results: set[str]) -> None:
    """Record what a quantiser makes of a constant. Its types are rare ones that no other operator is followed for."""
    if node.domain not in (*STANDARD_DOMAINS, RUNTIME_DOMAIN) or len(node.outputs) != 1:
        return
    blocks, made = node.attrs.get("block_size", 0), node.outputs[0]
    if blocks and not _is_read_in_blocks(made, results):
        return  # a cut through blocks could only be stored as floating-point numbers
    readers = [_reader(found, tensor) for tensor in node.inputs]
    if not readers or any(reader is None for reader in readers):
        return

    def compute() -> Array | None:
        return computed(node.op, attrs, [None if reader is None else reader() for reader in readers])

    attrs = dict(node.attrs)
    found.add_computed(made.name, compute)
    rank = len(found.dims(made.name) or ())
    if blocks and rank:
        found.blocks[made.name] = (int(node.attrs.get("axis", 1)) % rank, int(blocks))


def _add_tables(found: Constants, node: Node) -> None:
    """Record the tables of an embedding, also of types that no other operator is followed for."""
    for tensor in node.inputs:
        lazy = encoded(tensor) if isinstance(tensor, Constant) and not isinstance(tensor, HeldConstant) else None
        if tensor.name not in found and lazy is not None and element_type(tensor) is not None:
            found.add_encoded(tensor.name, lazy)


def _is_read_in_blocks(made: Variable, results: set[str]) -> bool:
    """Whether all nodes that read a value, perhaps transposed, read it as a weight in whole blocks."""
    if made.name in results:
        return False
    for node in made.outputs:
        if node.op in ("Transpose", "Identity") and not _is_read_in_blocks(node.outputs[0], results):
            return False
        places = [place for place, tensor in enumerate(node.inputs) if tensor is made]
        if node.op not in ("Transpose", "Identity", "Conv", *MATRIX_PRODUCTS) or places not in ([0], [1]):
            return False
    return True


def _move_blocks(found: Constants, node: Node) -> None:
    """Note the blocks of a weight behind a Transpose or an Identity."""
    if node.op not in ("Transpose", "Identity") or not node.inputs or node.inputs[0].name not in found.blocks:
        return
    (axis, size), rank = found.blocks[node.inputs[0].name], len(found.dims(node.inputs[0].name) or ())
    perm = list(node.attrs.get("perm") or range(rank)[::-1]) if node.op == "Transpose" else list(range(rank))
    if axis in perm:
        found.blocks[node.outputs[0].name] = (perm.index(axis), size)


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
    if dtype is None:
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
