"""One form of one operator, and the models it is tested in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.model.runtime_operators import set_apart
from upscale_onnx.types import Array

# Channels of every producer are computed from this many features.
FEATURES = 3


@dataclass(frozen=True)
class Tracked:
    """An operand whose channel axes are known: it is made by a MatMul, a bias, a Reshape and a Transpose.

    dynamic: axes that the model declares by a name. through: elementwise operators behind the producer,
    to bring its values into the operator's domain. dtype: what it is cast to behind them.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...] = (1,)
    dynamic: tuple[int, ...] = ()
    through: tuple[str, ...] = ()
    dtype: int = TensorProto.FLOAT

    @property
    def channels(self) -> int:
        """Number of channels, over all channel axes."""
        return int(np.prod([self.shape[a] for a in self.axes]))

    @property
    def others(self) -> list[int]:
        """Axes beside the channel axes."""
        return [a for a in range(len(self.shape)) if a not in self.axes]

    @property
    def map_shape(self) -> tuple[int, ...]:
        """Shape of its channel map."""
        return tuple(size if a in self.axes else 1 for a, size in enumerate(self.shape))


@dataclass(frozen=True)
class Plain:
    """An operand that is a graph input: nothing is known of its channels."""

    shape: tuple[int, ...]
    dtype: int = TensorProto.FLOAT
    dynamic: tuple[int, ...] = ()


Operand = Tracked | Plain | Array | None


@dataclass(frozen=True, eq=False)
class Case:
    """One form of an operator.

    exact: whether outputs are bit-equal whatever channels are dropped. refused: whether no rule looks
    through this form. whole: whether dead channels may stay (the form ties them, evens them out or
    hides them by a constant). ranks: of the outputs, where they differ from that of the first operand with channels
    and inference does not know them.
    """

    op: str
    operands: tuple[Operand, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 21
    note: str = ""
    outputs: int = 1
    exact: bool = True
    refused: bool = False
    whole: bool = False
    domain: str = ""
    ranks: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.domain}{self.op}-{self.opset}-{self.note}" if self.note else f"{self.op}-{self.opset}"

    @property
    def names(self) -> list[str]:
        """Names of the operator's inputs."""
        return ["" if operand is None else f"a{i}" for i, operand in enumerate(self.operands)]

    @property
    def results(self) -> list[str]:
        """Names of the operator's outputs."""
        return [f"y{i}" for i in range(self.outputs)]

    @property
    def tracked(self) -> dict[int, Tracked]:
        """The operands with channels, by index."""
        return {i: operand for i, operand in enumerate(self.operands) if isinstance(operand, Tracked)}


@dataclass(frozen=True, eq=False)
class Producer:
    """Integer weights of one tracked operand: value = x @ weight + bias, channels last."""

    weight: Array
    bias: Array

    @classmethod
    def random(cls, operand: Tracked, rng: np.random.Generator, silent: float = 0.0) -> Producer:
        """Weights of which a share `silent` of the channels is constant, half of those at zero."""
        count = operand.channels
        weight = rng.integers(1, 4, (FEATURES, count)) * rng.choice([-1, 1], (FEATURES, count))
        bias = rng.integers(-3, 4, count)
        constant = rng.random(count) < silent
        weight[:, constant] = 0
        bias[constant & (rng.random(count) < 0.5)] = 0
        return cls(weight.astype(np.float32), bias.astype(np.float32))


def bare_model(case: Case) -> onnx.ModelProto:
    """The operator alone; its operands are the graph's inputs."""
    inputs, constants = [], []
    for name, operand in zip(case.names, case.operands, strict=True):
        if isinstance(operand, Tracked | Plain):
            inputs.append(helper.make_tensor_value_info(name, operand.dtype, operand.shape))
        elif operand is not None:
            constants.append(numpy_helper.from_array(operand, name))
    return finish(case, [operator(case)], inputs, constants, [(name, 0) for name in case.results])


def operator(case: Case) -> onnx.NodeProto:
    """The node under test."""
    names = case.names
    while names and not names[-1]:
        names.pop()
    return helper.make_node(case.op, names, case.results, name="probed", domain=case.domain, **case.attrs)


def produced(case: Case, producers: Mapping[int, Producer]) -> tuple[list[Any], list[Any], list[Any]]:
    """Nodes, inputs and constants that make the operands."""
    nodes: list[Any] = []
    inputs: list[Any] = []
    constants: list[Any] = []
    for index, (name, operand) in enumerate(zip(case.names, case.operands, strict=True)):
        if isinstance(operand, Tracked):
            _produce(index, name, operand, producers[index], nodes, inputs, constants)
        elif isinstance(operand, Plain):
            dims = [f"d{index}_{a}" if a in operand.dynamic else s for a, s in enumerate(operand.shape)]
            inputs.append(helper.make_tensor_value_info(name, operand.dtype, dims))
        elif operand is not None:
            constants.append(numpy_helper.from_array(operand, name))
    return nodes, inputs, constants


def _produce(
    index: int,
    name: str,
    operand: Tracked,
    producer: Producer,
    nodes: list[Any],
    inputs: list[Any],
    constants: list[Any],
) -> None:
    others = operand.others
    dims: list[int | str] = ["N" if a in operand.dynamic else operand.shape[a] for a in others]
    inputs.append(helper.make_tensor_value_info(f"x{index}", TensorProto.FLOAT, [*dims, FEATURES]))
    constants.append(numpy_helper.from_array(producer.weight, f"w{index}"))
    constants.append(numpy_helper.from_array(producer.bias, f"b{index}"))
    value = f"v{index}"

    def step(op: str, *more: str, **attrs: Any) -> None:
        nonlocal value
        last, value = value, f"{value}_"
        nodes.append(helper.make_node(op, [last, *more], [value], name=f"make{index}_{len(nodes)}", **attrs))

    leading = [] if others else [1]
    if not others:
        # A MatMul needs a row: (1, K) by (K, C), reshaped away below.
        inputs[-1] = helper.make_tensor_value_info(f"x{index}", TensorProto.FLOAT, [1, FEATURES])
    nodes.append(helper.make_node("MatMul", [f"x{index}", f"w{index}"], [value], name=f"make{index}"))
    step("Add", f"b{index}")
    if len(operand.axes) != 1 or leading:
        shape = [*[0] * len(others), *[operand.shape[a] for a in operand.axes]]
        constants.append(numpy_helper.from_array(np.asarray(shape, np.int64), f"s{index}"))
        step("Reshape", f"s{index}")
    order = [*others, *operand.axes]
    perm = [order.index(a) for a in range(len(order))]
    if perm != list(range(len(order))):
        step("Transpose", perm=perm)
    for op in operand.through:
        step(op)
    if operand.dtype != TensorProto.FLOAT:
        step("Cast", to=operand.dtype)
    nodes[-1].output[0] = name


def finish(
    case: Case,
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    constants: Sequence[Any],
    outputs: Sequence[tuple[str, int]],
) -> onnx.ModelProto:
    """A checked model; output types of 0 are inferred."""
    declared = [helper.make_tensor_value_info(n, t, None) if t else onnx.ValueInfoProto(name=n) for n, t in outputs]
    graph = helper.make_graph(list(nodes), "case", list(inputs), declared, list(constants))
    opsets = [helper.make_opsetid("", case.opset), *([helper.make_opsetid(case.domain, 1)] if case.domain else ())]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    known = {v.name: v for v in inferred.graph.output}
    for value, rank in zip_longest(model.graph.output, case.ranks):
        value.CopyFrom(known[value.name])
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param.startswith("unk__"):
                dim.Clear()
        if not value.type.tensor_type.HasField("shape"):
            # Inference does not know every operator; none of those changes the rank.
            first = next(operand for operand in case.operands if isinstance(operand, Tracked))
            dims = [None] * (rank or len(first.shape))
            value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, dims))
    check(model)
    return model


def check(model: onnx.ModelProto) -> None:
    """Check that a model is valid; onnxruntime's own operators are none of the checker's business."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    onnx.checker.check_model(set_apart(copy), full_check=True)


def random_operand(operand: Tracked | Plain, rng: np.random.Generator) -> Array:
    """Values for the operand in the bare model, as its producer and what lies behind it would give."""
    values: Array = (rng.integers(1, 7, operand.shape) * rng.choice([-1, 1], operand.shape)).astype(np.float32)
    through = operand.through if isinstance(operand, Tracked) else ()
    for op in through:
        values = _THROUGH[op](values)
    return np.asarray(values, helper.tensor_dtype_to_np_dtype(operand.dtype))


_THROUGH: dict[str, Any] = {
    "Sigmoid": lambda x: (1 / (1 + np.exp(-x))).astype(np.float32),
    "Abs": np.abs,
    "Tanh": np.tanh,
    "Exp": np.exp,
    "Relu": lambda x: np.maximum(x, 0),
    "Sign": np.sign,
}
