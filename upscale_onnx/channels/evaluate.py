"""Evaluation of an operator on constants.

Contents of channels are never computed by formulas of our own: onnx's reference evaluator knows every
operator, its attributes and its meaning at each opset.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from onnx import NodeProto

from upscale_onnx.model import Node, Variable
from upscale_onnx.model.content import node_proto
from upscale_onnx.model.evaluate import evaluate_node
from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import Array

# The operators of the default domain that onnxruntime's own compute, one after the other. Each takes the result
# before it as its first input, and sums the further inputs of the node with it.
_NEWEST = 24
_CHAINS: Mapping[tuple[str, str], tuple[tuple[str, Mapping[str, Any]], ...]] = {
    (RUNTIME_DOMAIN, "Gelu"): (("Gelu", {}),),
    (RUNTIME_DOMAIN, "BiasAdd"): (("Sum", {}),),
    (RUNTIME_DOMAIN, "BiasGelu"): (("Add", {}), ("Gelu", {})),
    (RUNTIME_DOMAIN, "QuickGelu"): (("Swish", {"alpha": 1.702}),),
    (RUNTIME_DOMAIN, "FastGelu"): (("Add", {}), ("Gelu", {"approximate": "tanh"})),
}


def evaluate(
    op_type: str,
    opset: int,
    attrs: Mapping[str, Any],
    inputs: Sequence[Array | None],
    outputs: int = 1,
    domain: str = "",
) -> list[Array] | None:
    """The outputs of one node on `inputs`; None where it cannot be computed."""
    if domain not in STANDARD_DOMAINS:
        steps = _CHAINS.get((domain, op_type), ())
        own = [(name, {key: attrs.get(key, value) for key, value in fixed.items()}) for name, fixed in steps]
        return _evaluate_chain(own, inputs)
    plain = tuple((name, type(value), value) for name, value in attrs.items() if isinstance(value, int | float | str))
    proto = _plain_proto(op_type, plain, outputs) if len(plain) == len(attrs) else _proto(op_type, attrs, outputs)
    return evaluate_node(proto, opset, inputs)


def _proto(op_type: str, attrs: Mapping[str, Any], outputs: int) -> NodeProto:
    results = [Variable(f"y{index}") for index in range(outputs)]
    return node_proto(Node(op_type, attrs=dict(attrs), outputs=results))


@functools.lru_cache(maxsize=512)
def _plain_proto(op_type: str, attrs: tuple[tuple[str, type, Any], ...], outputs: int) -> NodeProto:
    """The node that `_proto` makes. Types are given since 1, 1.0 and True are equal."""
    return _proto(op_type, {name: value for name, _, value in attrs}, outputs)


def _evaluate_chain(
    chain: Sequence[tuple[str, Mapping[str, Any]]], inputs: Sequence[Array | None]
) -> list[Array] | None:
    result, behind = list(inputs[:1]), [value for value in inputs[1:] if value is not None]
    for op_type, attrs in chain:
        if op_type == "Add" and not behind:
            continue
        operands = [*result, *(behind if op_type in ("Add", "Sum") else ())]
        found = evaluate(op_type, _NEWEST, attrs, operands)
        if found is None:
            return None
        result = list(found)
    return [value for value in result if value is not None] if chain else None
