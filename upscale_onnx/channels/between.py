"""Products whose results only products along the same axis read: the first layer of two that mix places."""

from __future__ import annotations

from collections.abc import Callable

from upscale_onnx.model import Node
from upscale_onnx.model.operators import ELEMENTWISE, STANDARD_DOMAINS
from upscale_onnx.model.runtime_operators import FUSED_ELEMENTWISE

_MOST_NODES = 64


def is_between(node: Node, is_constant: Callable[[str], bool]) -> bool:
    """Whether elementwise operators alone lie between a MatMul by a constant and others along the same axis, which read
    all that it makes. So each result of the contracted axis is a neuron, for all channels on other axes alike."""
    side = _activation(node, is_constant)
    if side is None:
        return False
    inside, waiting = {node.outputs[0].name}, [node.outputs[0]]
    others: set[str] = set()
    while waiting:
        value = waiting.pop()
        if not value.outputs:
            return False  # a result of the model
        for reader in value.outputs:
            if _activation(reader, is_constant) == side:
                continue
            if not _is_elementwise(reader) or len(inside) > _MOST_NODES:
                return False
            others.update(tensor.name for tensor in reader.inputs if tensor.name and not is_constant(tensor.name))
            made = reader.outputs[0]
            if made.name not in inside:
                inside.add(made.name)
                waiting.append(made)
    return others <= inside


def _activation(node: Node, is_constant: Callable[[str], bool]) -> int | None:
    """The input of a MatMul that no constant is, if the other one is; None for all other nodes."""
    if node.op != "MatMul" or node.domain not in STANDARD_DOMAINS:
        return None
    constant = [is_constant(tensor.name) for tensor in node.inputs]
    return constant.index(False) if sorted(constant) == [False, True] else None


def _is_elementwise(node: Node) -> bool:
    return node.op in (ELEMENTWISE if node.domain in STANDARD_DOMAINS else FUSED_ELEMENTWISE)
