"""Random networks over sequences: recurrent layers, attention, normalisations, experts, weights of few bits, bodies.

    python -m tests.properties.sequences --count 1000    # networks from seed 0, or --first; prints what differs

A network is grown value by value; every value is `(2, 5, width)`. Weights have rows and columns of zeros.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from tests.channels.engine import Engine
from upscale_onnx.errors import UpscaleError
from upscale_onnx.model.packing import packed
from upscale_onnx.types import Array

MS = "com.microsoft"
BATCH, LENGTH, FEATURES = 2, 5, 6
EXPORTS = ("keep", "gather", "upscale", "planned")
_WIDTHS = (4, 8, 12, 16, 32)
_BLOCK = 16
_LONGEST = 9


@dataclass(frozen=True)
class Value:
    """A value of the network: its name and its width."""

    name: str
    width: int


@dataclass
class Grown:
    """A network on its way: nodes and weights so far, and the values that may be read."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    values: list[Value] = field(default_factory=list)
    names: int = 0

    def node(self, op: str, *inputs: str, outputs: int = 1, **attrs: Any) -> str:
        """The first output of a new node."""
        self.names += 1
        made = [f"v{self.names}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, made, name=f"{op}{self.names}", **attrs))
        return made[0]

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """The name of a new weight."""
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(values, dtype)
        return name

    def pick(self) -> Value:
        """Any value so far, the latest by preference."""
        return self.values[-1 - int(self.rng.geometric(0.5) - 1) % len(self.values)]

    def some(self, count: int) -> Array:
        """A third of `count` channels, or none; now and then all."""
        share = self.rng.choice([0.0, 0.3, 0.3, 0.6, 1.0], p=[0.3, 0.3, 0.2, 0.15, 0.05])
        return self.rng.random(count) < share

    def matrix(self, *shape: int) -> Array:
        """Weights `(…, inputs, outputs)` with columns and rows of zeros."""
        array = self.rng.normal(size=shape) / np.sqrt(shape[-2])
        array[..., self.some(shape[-1])] = 0
        array[..., self.some(shape[-2]), :] = 0
        return array

    def shape(self, *sizes: int) -> str:
        """A constant for a Reshape."""
        return self.constant(sizes, np.int64)

    def one_of(self, *choices: Any) -> Any:
        """Any of the choices."""
        return choices[int(self.rng.integers(len(choices)))]


def dense(net: Grown) -> None:
    source, width = net.pick(), net.one_of(*_WIDTHS)
    name = net.node("MatMul", source.name, net.constant(net.matrix(source.width, width)))
    if net.one_of(True, False):
        bias = net.rng.normal(size=width)
        bias[net.some(width)] = 0
        name = net.node("Add", name, net.constant(bias))
    net.values.append(Value(name, width))


def contracted(net: Grown) -> None:
    source, width = net.pick(), net.one_of(*_WIDTHS)
    name = net.node("Einsum", source.name, net.constant(net.matrix(source.width, width)), equation="nlc,cd->nld")
    net.values.append(Value(name, width))


def of_few_bits(net: Grown) -> None:
    source, width = net.pick(), net.one_of(*_WIDTHS)
    if source.width % _BLOCK:
        return
    blocks = source.width // _BLOCK
    steps = net.rng.integers(0, 16, (width, blocks, _BLOCK))
    steps[net.some(width)] = 8
    steps[:, net.some(blocks)] = 8
    weight, scales = packed(steps, 4), net.rng.uniform(0.02, 0.05, (width, blocks))
    attrs = {"N": width, "K": source.width, "bits": 4, "block_size": _BLOCK}
    inputs = (source.name, net.constant(weight, np.uint8), net.constant(scales))
    net.values.append(Value(net.node("MatMulNBits", *inputs, domain=MS, **attrs), width))


def activation(net: Grown) -> None:
    source = net.pick()
    name = net.node(net.one_of("Relu", "Tanh", "Sigmoid", "Gelu", "Abs", "HardSwish"), source.name)
    net.values.append(Value(name, source.width))


def join(net: Grown) -> None:
    left = net.pick()
    partners = [value for value in net.values if value.width == left.width]
    right = net.one_of(*partners)
    net.values.append(Value(net.node(net.one_of("Add", "Add", "Mul", "Sub"), left.name, right.name), left.width))


def concat(net: Grown) -> None:
    left, right = net.pick(), net.pick()
    net.values.append(Value(net.node("Concat", left.name, right.name, axis=2), left.width + right.width))


def gate(net: Grown) -> None:
    """The halves of a value multiplied."""
    source = net.pick()
    if source.width % 2:
        return
    left = net.node("Split", source.name, outputs=2, axis=2, num_outputs=2)
    right = left[:-1] + "1"
    name = net.node("Mul", left, net.node("Sigmoid", right))
    net.values.append(Value(name, source.width // 2))


def normalised(net: Grown) -> None:
    source = net.pick()
    scale = net.rng.normal(size=source.width)
    scale[net.some(source.width)] = 0
    op = net.one_of("RMSNormalization", "LayerNormalization")
    shift = [] if op == "RMSNormalization" else [net.constant(net.rng.normal(size=source.width))]
    name = net.node(op, source.name, net.constant(scale), *shift, axis=-1, epsilon=1e-3)
    net.values.append(Value(name, source.width))


def normalised_in_groups(net: Grown) -> None:
    source = net.pick()
    if source.width % 4:
        return
    vectors = [net.constant(net.rng.normal(size=source.width)) for _ in range(2)]
    turned = net.node("Transpose", source.name, perm=[0, 2, 1])
    made = net.node("GroupNormalization", turned, *vectors, num_groups=4, epsilon=1e-3)
    net.values.append(Value(net.node("Transpose", made, perm=[0, 2, 1]), source.width))


def recurrent(net: Grown) -> None:
    source, hidden = net.pick(), net.one_of(3, 4, 8)
    op, both = net.one_of("LSTM", "GRU", "RNN"), net.one_of(True, False)
    gates, ways = {"LSTM": 4, "GRU": 3, "RNN": 1}[op], 1 + both
    weight = net.matrix(ways, source.width, gates * hidden).swapaxes(1, 2)
    again, bias = net.matrix(ways, hidden, gates * hidden).swapaxes(1, 2), net.rng.normal(size=(ways, 2, gates, hidden))
    gone = net.some(hidden)
    for array, size in ((weight, source.width), (again, hidden)):
        array.reshape(ways, gates, hidden, size)[:, :, gone] = 0
    bias[..., gone] = 0
    steps = net.node("Transpose", source.name, perm=[1, 0, 2])
    inputs = [net.constant(array) for array in (weight, again, bias.reshape(ways, -1))]
    direction = "bidirectional" if both else "forward"
    made = net.node(op, steps, *inputs, hidden_size=hidden, direction=direction)
    turned = net.node("Transpose", made, perm=[2, 0, 1, 3])
    net.values.append(Value(net.node("Reshape", turned, net.shape(0, 0, ways * hidden)), ways * hidden))


def attention(net: Grown) -> None:
    source = net.pick()
    heads, size = net.one_of(2, 4), net.one_of(4, 8)
    groups = net.one_of(heads, heads // 2)
    parts = []
    for count in (heads, groups, groups):
        matrix = net.matrix(source.width, count * size)
        matrix.reshape(source.width, count, size)[:, net.some(count)] = 0
        parts.append(net.node("MatMul", source.name, net.constant(matrix)))
    if net.one_of(True, False):
        tables = [net.constant(net.rng.uniform(-1, 1, (BATCH, LENGTH, size // 2))) for _ in range(2)]
        for index, count in ((0, heads), (1, groups)):
            parts[index] = net.node("RotaryEmbedding", parts[index], *tables, num_heads=count)
    attrs = {"q_num_heads": heads, "kv_num_heads": groups, "is_causal": net.one_of(0, 1)}
    net.values.append(Value(net.node("Attention", *parts, **attrs), heads * size))


def experts(net: Grown) -> None:
    """A matrix for each part of the channels."""
    source, count = net.pick(), 2
    if source.width % count:
        return
    width, made = source.width // count, net.one_of(3, 4, 8)
    parts = net.node("Reshape", source.name, net.shape(0, 0, count, width))
    turned = net.node("Transpose", parts, perm=[0, 2, 1, 3])
    matrices = np.stack([net.matrix(width, made) for _ in range(count)])
    product = net.node("MatMul", turned, net.constant(matrices))
    back = net.node("Transpose", product, perm=[0, 2, 1, 3])
    net.values.append(Value(net.node("Reshape", back, net.shape(0, 0, count * made)), count * made))


def branches(net: Grown) -> None:
    """An If with a layer in each branch, by the sign of an element."""
    source, width = net.pick(), net.one_of(*_WIDTHS)
    top = net.node("ReduceMax", source.name, net.shape(0, 1, 2), keepdims=0)
    sign = net.node("Greater", top, net.constant(0.5))
    bodies = {}
    for name in ("then_branch", "else_branch"):
        made, weight = f"{sign}_{name}", net.constant(net.matrix(source.width, width))
        node = helper.make_node("MatMul", [source.name, weight], [made])
        result = helper.make_tensor_value_info(made, TensorProto.FLOAT, [BATCH, LENGTH, width])
        bodies[name] = helper.make_graph([node], name, [], [result])
    net.values.append(Value(net.node("If", sign, **bodies), width))


def rounds(net: Grown) -> None:
    """A Loop of two rounds of one layer."""
    source = net.pick()
    width, name = source.width, f"loop{net.names}"
    matrix = net.matrix(width, width)
    gone = net.some(width)
    matrix[gone] = 0
    matrix[:, gone] = 0
    weight = net.constant(matrix)
    value = [BATCH, LENGTH, width]
    nodes = [
        helper.make_node("MatMul", [f"{name}_in", weight], [f"{name}_product"]),
        helper.make_node("Tanh", [f"{name}_product"], [f"{name}_out"]),
        helper.make_node("Identity", [f"{name}_more"], [f"{name}_on"]),
    ]
    given = [
        helper.make_tensor_value_info(f"{name}_round", TensorProto.INT64, []),
        helper.make_tensor_value_info(f"{name}_more", TensorProto.BOOL, []),
        helper.make_tensor_value_info(f"{name}_in", TensorProto.FLOAT, value),
    ]
    handed = [
        helper.make_tensor_value_info(f"{name}_on", TensorProto.BOOL, []),
        helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, value),
    ]
    body = helper.make_graph(nodes, name, given, handed)
    inputs = (net.constant(2, np.int64), net.constant(True, np.bool_), source.name)
    net.values.append(Value(net.node("Loop", *inputs, body=body), width))


GROWTH: tuple[Callable[[Grown], None], ...] = (
    dense, dense, dense, contracted, of_few_bits, activation, activation, join, join, concat, gate, normalised,
    normalised_in_groups, recurrent, attention, experts, branches, rounds,
)  # fmt: skip


def network(seed: int) -> onnx.ModelProto:
    """A checked model with one input `x` of `(2, 5, 6)` and one or two outputs."""
    net = Grown(np.random.default_rng(seed))
    net.values.append(Value("x", FEATURES))
    dense(net)
    for _ in range(int(net.rng.integers(2, _LONGEST))):
        net.one_of(*GROWTH)(net)
    dense(net)
    names = dict.fromkeys([net.values[-1].name, net.one_of(*net.values[1:]).name][: net.one_of(1, 2)])
    widths = {value.name: value.width for value in net.values}
    graph = helper.make_graph(
        net.nodes,
        "grown",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [BATCH, LENGTH, FEATURES])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, LENGTH, widths[name]]) for name in names],
        [numpy_helper.from_array(values, name) for name, values in net.weights.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 23), helper.make_opsetid(MS, 1)], ir_version=10
    )


def judged(seed: int) -> str:
    """What became of a network: "smaller", "same", or what went wrong."""
    model, rng = network(seed), np.random.default_rng(seed)
    export, align = EXPORTS[seed % len(EXPORTS)], int(rng.choice([1, 1, 4]))
    feed = {"x": rng.normal(size=(BATCH, LENGTH, FEATURES)).astype(np.float32)}
    try:
        result = upscale_onnx.compile(model, export=export, align=align, race=False)
    except UpscaleError as error:
        return f"refused: {error}"
    except Exception as error:
        return f"crashed: {error!r}"
    for one, other in zip(Engine(model).run(feed), Engine(result.model).run(feed), strict=True):
        scale = np.abs(one[np.isfinite(one)]).max(initial=1e-3)
        if not np.allclose(one, other, rtol=0, atol=1e-4 * scale, equal_nan=True):
            return f"wrong: by {np.abs(one - other).max() / scale:.1e} of the scale"
    return "smaller" if result.report.after.parameters < result.report.before.parameters else "same"


def main() -> int:
    """Judge networks and print; the exit code."""
    parser = argparse.ArgumentParser(description="compile random networks over sequences, and compare")
    parser.add_argument("--count", type=int, default=100, metavar="N", help="networks (default: 100)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="seed of the first one (default: 0)")
    args = parser.parse_args()
    kinds: Counter[str] = Counter()
    for seed in range(args.first, args.first + args.count):
        found = judged(seed)
        kind = found.partition(":")[0]
        kinds[kind] += 1
        if kind != found:
            print(seed, found, flush=True)
    print(dict(kinds))
    return int(kinds["wrong"] + kinds["refused"] + kinds["crashed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
