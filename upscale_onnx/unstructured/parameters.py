"""The weights and biases of a model's layers, and how to choose some by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import onnx

from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.targets import FLOATS, constant_tensors, mask_targets
from upscale_onnx.model.bodies import all_nodes
from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.model.protos import element_count
from upscale_onnx.options import Side

Kind = Literal["weight", "bias"]

# Per operator: the kind of the input at each position. Running means and variances are statistics, not parameters.
_LAYER: Mapping[int, Kind] = {1: "weight", 2: "bias"}
_OPERANDS: Mapping[str, Mapping[int, Kind]] = {
    "Conv": _LAYER,
    "ConvTranspose": _LAYER,
    "Gemm": {0: "weight", **_LAYER},
    "MatMul": {0: "weight", 1: "weight"},
    "RNN": {1: "weight", 2: "weight", 3: "bias"},
    "GRU": {1: "weight", 2: "weight", 3: "bias"},
    "LSTM": {1: "weight", 2: "weight", 3: "bias"},
    "BatchNormalization": _LAYER,
    "InstanceNormalization": _LAYER,
    "LayerNormalization": _LAYER,
    "GroupNormalization": _LAYER,
}


@dataclass(frozen=True)
class Parameter:
    """A constant floating-point tensor that layers use.

    name: the name of its initializer, or of the output of its Constant node.
    kind: what it is for the first node that uses it.
    nodes: the nodes that use it as a weight or bias, by name, or by their first output if they have no name.
    op_types: the operators of these nodes.
    input_axis, output_axis: the axes of `shape` along which the channels lie that the first node reads or makes; None
    if there is no such axis.
    """

    name: str
    kind: Kind
    nodes: tuple[str, ...]
    op_types: tuple[str, ...]
    shape: tuple[int, ...]
    input_axis: int | None
    output_axis: int | None

    @property
    def size(self) -> int:
        """The number of entries."""
        return element_count(self.shape)

    def axis(self, side: Side) -> int | None:
        """The channel axis on `side`, or None."""
        return self.input_axis if side == "input" else self.output_axis

    def matches(self, pattern: str) -> bool:
        """Whether the glob `pattern` matches the name of the tensor or of a node that uses it."""
        return any(fnmatchcase(name, pattern) for name in (self.name, *self.nodes))


def parameters(model: onnx.ModelProto) -> tuple[Parameter, ...]:
    """The weights and biases of the layers, each once, in the order of their first use.

    Layers are convolutions, matrix products with a constant, recurrent layers and normalisations. Identity nodes
    between a tensor and its use are followed. Nodes in bodies are looked at where the bodies are parts of the flat
    graph.
    """
    tensors = constant_tensors(model)
    axes = {target.weight: (target.input_axis, target.output_axis) for target in mask_targets(model)}
    uses: dict[str, list[tuple[onnx.NodeProto, Kind]]] = {}
    for node, name, kind in _operands(all_nodes(model), tensors):
        if tensors[name].data_type in FLOATS and tensors[name].dims:
            uses.setdefault(name, []).append((node, kind))
    return tuple(_parameter(tensors[name], name, found, axes) for name, found in uses.items())


def choose(
    found: Sequence[Parameter],
    layers: Sequence[str] = (),
    ignore: Sequence[str] = (),
    kinds: Sequence[Kind] = ("weight",),
) -> tuple[Parameter, ...]:
    """The entries of `found` of the given `kinds` that match a glob in `layers`, if there is any, and none in `ignore`.

    Raises: ArgumentError if a pattern matches nothing in `found`, or nothing is left.
    """
    for pattern in (*layers, *ignore):
        if not any(parameter.matches(pattern) for parameter in found):
            raise ArgumentError(f"{pattern!r} is the name of no layer, weight or bias of the model")
    chosen = tuple(
        p
        for p in found
        if p.kind in kinds
        and (not layers or any(p.matches(pattern) for pattern in layers))
        and not any(p.matches(pattern) for pattern in ignore)
    )
    if not chosen:
        raise ArgumentError(f"the model has no constant floating-point {' or '.join(kinds)} that was asked for")
    return chosen


def _operands(
    nodes: Iterable[onnx.NodeProto], tensors: Mapping[str, onnx.TensorProto]
) -> Iterator[tuple[onnx.NodeProto, str, Kind]]:
    """The constant operands of layers, each as the node, the name of the constant, and its kind."""
    roots = {name: name for name in tensors}
    for node in nodes:
        if node.domain not in STANDARD_DOMAINS:
            continue
        if node.op_type == "Identity" and node.input[0] in roots:
            roots[node.output[0]] = roots[node.input[0]]
        kinds = _OPERANDS.get(node.op_type, {})
        found = [(roots[name], kinds[i]) for i, name in enumerate(node.input) if i in kinds and name in roots]
        if len(found) < len(node.input):  # if all its inputs are constant, so is the node
            yield from ((node, name, kind) for name, kind in found)


def _parameter(
    tensor: onnx.TensorProto,
    name: str,
    uses: Sequence[tuple[onnx.NodeProto, Kind]],
    axes: Mapping[str, tuple[int | None, int | None]],
) -> Parameter:
    input_axis, output_axis = axes.get(name, (None, None))
    return Parameter(
        name=name,
        kind=uses[0][1],
        nodes=tuple(dict.fromkeys(node.name or node.output[0] for node, _ in uses)),
        op_types=tuple(dict.fromkeys(node.op_type for node, _ in uses)),
        shape=tuple(tensor.dims),
        input_axis=input_axis,
        output_axis=output_axis,
    )
