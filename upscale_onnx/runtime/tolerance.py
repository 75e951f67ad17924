"""How far two floating-point evaluations of the same function may differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from onnx import ModelProto, NodeProto, TensorProto

from upscale_onnx.model import Shape, infer_shapes
from upscale_onnx.model.operators import CONTRACTIONS, RECURRENT
from upscale_onnx.model.protos import node_graphs, nodes_within

# These operators sum many terms, whatever they multiply.
_SUMS = CONTRACTIONS | RECURRENT | {"Attention", "Einsum"}
# These operators round values to a grid. The least rounding error moves a value halfway between two steps to either.
_QUANTISERS = frozenset(("QuantizeLinear", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"))
_QUANTISED_PREFIX = "QLinear"
# Unit roundoff: half the distance from 1 to the next number.
_UNITS: dict[int, float] = {
    TensorProto.DOUBLE: 2.0**-53,
    TensorProto.FLOAT: 2.0**-24,
    TensorProto.FLOAT16: 2.0**-11,
    TensorProto.BFLOAT16: 2.0**-8,
}
_WIDE_GROWTH = 16.0
_NARROW_GROWTH = 4.0
_DEEPEST = 109
_CANCELLED_UNITS = 4.0
# Noise of the model itself raises a limit at most to this, or to some steps if the model quantises to eight bits.
_NOISIEST = 1e-3
_STEP = 1 / 127
_MOST_STEPS = 8


@dataclass(frozen=True)
class Tolerance:
    """How much an output may differ, relative to its largest magnitude.

    limit: the difference that rounding alone explains.
    most: the highest limit for a model that amplifies rounding.
    step: one step of the coarsest quantiser in front of the output; 0 without a quantiser.
    cancelled: the difference that rounding explains in a small channel in which large terms cancel, and round at their
    own scale.
    whole: the output is judged as a whole, not channel by channel.
    """

    limit: float
    most: float
    step: float = 0.0
    cancelled: float = 0.0
    whole: bool = False


def tolerance(model: ModelProto) -> float:
    """The largest difference of any output, relative to its scale, that another order of summation alone explains."""
    return max((found.limit for found in tolerances(model)), default=_WIDE_GROWTH * _UNITS[TensorProto.FLOAT])


def tolerances(model: ModelProto, shapes: Mapping[str, Shape] | None = None) -> tuple[Tolerance, ...]:
    """How much each output of `model` may differ.

    Let u be the unit roundoff. Another order of the K terms of a sum changes the sum by about sqrt(K) u of its scale
    (errors of random sign), and L layers in sequence change it by sqrt(L) times that. The kernels sum in blocks, for
    which K = 256 stands: the limit is 16 u sqrt(L) in float32 and float64. In half precision, the kernels sum in
    float32 and round each layer's result once: the limit is 4 u sqrt(L). L is the number of contractions that an
    output depends on, from 1 to 109, so that the limit of float32 stays below 1e-5. u belongs to the type in which
    most of these contractions compute.

    Source: Higham, Accuracy and Stability of Numerical Algorithms, sections 2.8 and 4.2 (statistical
    estimates of rounding errors, errors of sums).
    """
    types = {name: shape.dtype for name, shape in (infer_shapes(model) if shapes is None else shapes).items()}
    makers = {name: (i, node) for i, node in enumerate(model.graph.node) for name in node.output}
    varying = _varying(model)
    return tuple(_tolerance(value.name, types, makers, varying) for value in model.graph.output)


def _tolerance(
    output: str, types: dict[str, int], makers: dict[str, tuple[int, NodeProto]], varying: frozenset[str]
) -> Tolerance:
    nodes = [node for node in _upstream(output, makers) if any(name in varying for name in node.output)]
    contractions = [inner for node in nodes for inner in nodes_within([node]) if inner.op_type in _SUMS]
    depth = math.sqrt(min(max(len(contractions), 1), _DEEPEST))
    computed = [types.get(name, 0) for node in contractions or nodes for name in node.output]
    passed = [types.get(name, 0) for node in nodes for name in (*node.input, *node.output) if name in varying]
    usual = _commonest([kind for kind in computed if kind in _UNITS] or [types.get(output, 0)])
    narrowest = max((kind for kind in [*passed, usual] if kind in _UNITS), key=_UNITS.__getitem__)
    limit = _growth(usual) * depth
    step = _STEP if any(_quantises(inner) for node in nodes for inner in nodes_within([node])) else 0.0
    most = max(_NOISIEST, limit, _growth(narrowest) * depth, _MOST_STEPS * step)
    return Tolerance(limit, most, step, _CANCELLED_UNITS * _UNITS[usual])


def _growth(kind: int) -> float:
    unit = _UNITS[kind]
    return (_NARROW_GROWTH if unit > _UNITS[TensorProto.FLOAT] else _WIDE_GROWTH) * unit


def _commonest(kinds: list[int]) -> int:
    """The most frequent floating-point type, the narrowest of several; float32 if there is none."""
    known = [kind for kind in kinds if kind in _UNITS] or [int(TensorProto.FLOAT)]
    return max(set(known), key=lambda kind: (known.count(kind), _UNITS[kind]))


def _quantises(node: NodeProto) -> bool:
    return node.op_type in _QUANTISERS or node.op_type.startswith(_QUANTISED_PREFIX)


def _varying(model: ModelProto) -> frozenset[str]:
    """The values that depend on the inputs of the model."""
    weights = {tensor.name for tensor in model.graph.initializer}
    found = {value.name for value in model.graph.input} - weights
    for node in model.graph.node:
        inner = bool(node_graphs(node))  # values that it captures may vary
        if inner or any(name in found for name in node.input):
            found.update(node.output)
    return frozenset(found)


def _upstream(output: str, makers: dict[str, tuple[int, NodeProto]]) -> list[NodeProto]:
    """The nodes that `output` depends on."""
    pending, seen = [output], {output}
    nodes: dict[int, NodeProto] = {}
    while pending:
        index, node = makers.get(pending.pop(), (-1, None))
        if node is None or index in nodes:
            continue
        nodes[index] = node
        read = {name for inner in nodes_within([node]) for name in inner.input} - seen
        seen |= read
        pending += read
    return list(nodes.values())
