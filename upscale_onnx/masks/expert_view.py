"""A mixture of experts within one node (MoE, QMoE) as ordinary nodes, whose weights hold a matrix for each expert.

The neurons of an expert can stand in any order. In the view the least of each expert come first, so that what goes from
all experts at one index is a neuron of each expert's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.rules.experts import ROUTERS, Mixture, mixture_of
from upscale_onnx.masks.expert_weight import ExpertWeight
from upscale_onnx.masks.targets import FLOATS
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import Array, IntArray

_INPUTS = max(ROUTERS) + 1
_TYPES = FLOATS | {TensorProto.UINT8}
# The types of attributes that are no integers.
_KINDS = {
    "activation_type": bytes, "quant_type": bytes, "activation_alpha": float, "activation_beta": float,
    "swiglu_limit": float,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class ExpertsView:
    """nodes: those in place of the node. constants: what they read beside the `weights`, which can be masked."""

    nodes: Sequence[NodeProto]
    constants: Mapping[str, Array]
    weights: Mapping[str, ExpertWeight]


def experts_view(
    node: NodeProto, tensors: Mapping[str, TensorProto], uses: Mapping[str, int], known: Mapping[str, object] | None
) -> ExpertsView | None:
    """The view of a node; None where no rule looks through it, or where others read its weights. known: weights of an
    earlier view, if there was one: what it did not view is not viewed, and what it did is in the same order."""
    names = [*node.input, *[""] * (_INPUTS - len(node.input))]
    read = [name for index, name in enumerate(names) if index not in (0, *ROUTERS) and name]
    if any(uses[name] != 1 or name not in tensors or tensors[name].data_type not in _TYPES for name in read):
        return None
    attrs = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if any(not isinstance(value, _KINDS.get(name, int)) for name, value in attrs.items()):
        return None
    held = [numpy_helper.to_array(tensors[name]) if name in read else None for name in names]
    try:
        mixture = mixture_of(Op(node.op_type, attrs=attrs, constants=held, present=tuple(map(bool, names))))
    except Refused:
        return None
    if attrs.get("use_sparse_mixer") or not 1 <= attrs.get("k", 1) <= mixture.shape[0]:
        return None
    before = None if known is None else known.get(names[mixture.last.at])
    if known is not None and not isinstance(before, ExpertWeight):
        return None
    order = before.columns if isinstance(before, ExpertWeight) else _order(mixture)
    return _Writer(node, names, attrs, mixture, order).view()


def _order(mixture: Mixture) -> IntArray:
    """`(E, neurons)`: the neurons of each expert by what the last layer reads of them, the least first: it reads
    nothing of those that no first layer makes. Those of one unit stay beside each other."""
    last = mixture.last
    norms = np.abs(last.values).sum(1, np.float64)
    made = np.zeros(norms.shape, np.bool_)
    for stored, rows in mixture.first:
        made |= np.asarray(stored.values.any(2))[:, rows].any(2)
    norms[~made] = 0
    units = np.argsort(norms.reshape(len(norms), -1, last.unit).sum(-1), -1, kind="stable")
    return (units[:, :, None] * last.unit + np.arange(last.unit)).reshape(len(norms), -1)


class _Writer:
    """Writes the nodes of one view."""

    def __init__(
        self, node: NodeProto, names: Sequence[str], attrs: Mapping[str, Any], mixture: Mixture, order: IntArray
    ) -> None:
        self._node, self._names, self._attrs, self._mixture, self._order = node, names, attrs, mixture, order
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, Array] = {}
        self._weights: dict[str, ExpertWeight] = {}

    def view(self) -> ExpertsView:
        experts, _, channels = self._mixture.shape
        x = self._whole(self._names[0])
        tokens = self._made("Unsqueeze", x, self._ints(-3))
        hidden = list(self._hidden(tokens))
        last = ExpertWeight(self._mixture.last, _every(experts, channels), self._order, self._node, "output")
        shares = self._routed(x)
        # Weighted before the last layer, which then reads nothing of tokens that go to other experts.
        weighted = self._made("Mul", self._activated(hidden), shares)
        result = self._made("ReduceSum", self._layer(weighted, last, True, shares), self._ints(-3), keepdims=0)
        self._nodes.append(helper.make_node("Identity", [self._whole(result)], self._node.output[:1]))
        return ExpertsView(self._nodes, self._constants, self._weights)

    def _hidden(self, tokens: str) -> Iterator[str]:
        """What the first layers make: gates and what they are for, or one value."""
        experts, neurons, channels = self._mixture.shape
        for stored, rows in self._mixture.first:
            own = rows[self._order].swapaxes(1, 2).reshape(experts, -1)
            weight = ExpertWeight(stored, own, _every(experts, channels), self._node, "input")
            made = self._layer(tokens, weight, masked=not self._mixture.whole)
            if rows.shape[1] == 1:
                yield made
                continue
            parts = [f"{made}_gate", f"{made}_up"]
            self._nodes.append(helper.make_node("Split", [made, self._ints(neurons, neurons)], parts, axis=-1))
            yield from parts

    def _layer(self, value: str, weight: ExpertWeight, masked: bool, shares: str = "") -> str:
        """Products with a weight, which can be masked or is none that masks know, and its bias, times `shares` where
        the products are."""
        name = self._names[weight.stored.at]
        if masked:
            self._weights[name] = weight
        else:
            name = self._made("Neg", self._constant(-weight.values))
        made = self._made("MatMul", value, name)
        if weight.bias is None:
            return made
        bias = self._constant(weight.bias)
        return self._made("Add", made, self._made("Mul", shares, bias) if shares else bias)

    def _activated(self, hidden: Sequence[str]) -> str:
        kind, value = self._mixture.activation, hidden[0]
        if kind == "swiglu":
            return self._gated(value, hidden[1] if len(hidden) > 1 else None)
        if kind == "relu":
            made = self._made("Relu", value)
        elif kind == "gelu":
            made = self._made("FastGelu", value, domain=RUNTIME_DOMAIN)
        else:
            made = value if kind == "identity" else self._made("Mul", value, self._made("Sigmoid", value))
        return made if len(hidden) == 1 else self._made("Mul", made, hidden[1])

    def _gated(self, gate: str, up: str | None) -> str:
        limit = self._attrs.get("swiglu_limit")
        if limit is not None:
            gate = self._made("Min", gate, self._number(limit))
        alpha, beta = self._attrs.get("activation_alpha", 1.0), self._attrs.get("activation_beta", 0.0)
        open_ = self._made("Sigmoid", self._made("Mul", gate, self._number(alpha)))
        made = self._made("Mul", gate, open_)
        if up is None:
            return made
        if limit is not None:
            up = self._made("Max", self._made("Min", up, self._number(limit)), self._number(-limit))
        return self._made("Mul", made, self._made("Add", up, self._number(beta)))

    def _routed(self, x: str) -> str:
        """`(…, E, tokens, 1)`: by what the result of each expert is multiplied for each token."""
        shares = self._made("Softmax", self._names[ROUTERS[0]], axis=-1)
        best, which = f"{shares}_best", f"{shares}_which"
        count = self._ints(int(self._attrs.get("k", 1)))
        self._nodes.append(helper.make_node("TopK", [shares, count], [best, which], axis=-1))
        if weights := self._names[ROUTERS[1]]:
            best = self._made("GatherElements", weights, which, axis=-1)
        if self._attrs.get("normalize_routing_weights"):
            best = self._made("Div", best, self._made("ReduceSum", best, self._ints(-1), keepdims=1))
        none = self._made("Sub", shares, shares)
        spread = self._made("ScatterElements", none, which, best, axis=-1)
        sizes = self._made("Slice", self._made("Shape", x), self._ints(0), self._ints(-1))
        sizes = self._made("Concat", sizes, self._ints(self._mixture.shape[0]), axis=0)
        turned = self._made("Einsum", self._made("Reshape", spread, sizes), equation="...te->...et")
        return self._made("Unsqueeze", turned, self._ints(-1))

    def _whole(self, value: str) -> str:
        """The value, behind nodes that keep all of its channels if the experts do."""
        if not self._mixture.whole:
            return value
        return self._made("SequenceAt", self._made("SequenceConstruct", value), self._constant(np.asarray(0)))

    def _made(self, op_type: str, *inputs: str, domain: str = "", **attrs: Any) -> str:
        label = f"experts{len(self._nodes)}"
        made, name = f"{self._node.output[0]}__{label}", self._node.name and f"{self._node.name}/{label}"
        self._nodes.append(helper.make_node(op_type, list(inputs), [made], name, domain=domain, **attrs))
        return made

    def _constant(self, array: Array) -> str:
        name = f"{self._node.output[0]}__constant{len(self._constants)}"
        self._constants[name] = array
        return name

    def _ints(self, *numbers: int) -> str:
        return self._constant(np.asarray(numbers, np.int64))

    def _number(self, number: float) -> str:
        return self._constant(np.asarray(number, self._mixture.last.dtype))


def _every(experts: int, size: int) -> IntArray:
    return np.broadcast_to(np.arange(size), (experts, size))
