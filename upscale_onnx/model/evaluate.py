"""Evaluating a node on known inputs with onnx's own reference implementation."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import NodeProto, helper

from upscale_onnx.types import Array

if TYPE_CHECKING:
    from onnx.reference import ReferenceEvaluator


def evaluate_node(node: NodeProto, opset: int, inputs: Sequence[Array | None]) -> list[Array] | None:
    """The outputs of one node of the default domain on `inputs`; None if they cannot be computed."""
    names = ["" if value is None else f"x{index}" for index, value in enumerate(inputs)]
    types = tuple(0 if value is None else _element_type(value) for value in inputs)
    if None in types:
        return None
    # Nodes that differ only in their names share an evaluator.
    alone = NodeProto(op_type=node.op_type, attribute=node.attribute)
    alone.input.extend(names)
    alone.output.extend(f"y{index}" for index in range(len(node.output)))
    try:
        run = _evaluator(alone.SerializeToString(deterministic=True), opset, types)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            feeds = {name: value for name, value in zip(names, inputs, strict=True) if name}
            return [np.asarray(value) for value in run.run(None, feeds)]
    # The evaluator raises errors of any kind on what it does not support. Then the outputs are unknown.
    except Exception:
        return None


def _element_type(value: Array) -> int | None:
    try:
        return int(helper.np_dtype_to_tensor_dtype(value.dtype))
    except (KeyError, ValueError, TypeError):
        return None


@functools.lru_cache(maxsize=512)
def _evaluator(node: bytes, opset: int, types: tuple[int, ...]) -> ReferenceEvaluator:
    from onnx.reference import ReferenceEvaluator  # slow to import, and not needed in the worker

    proto = NodeProto.FromString(node)
    inputs = [helper.make_tensor_value_info(n, t, None) for n, t in zip(proto.input, types, strict=True) if n]
    outputs = [onnx.ValueInfoProto(name=name) for name in proto.output]
    graph = helper.make_graph([proto], "one", inputs, outputs)
    return ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]))
