"""Random networks of integer weights: convolutions of all kinds, joins, selections, gates, several heads.

A network is grown value by value; every value is `(N, channels, size, size)`. All numbers are small integers
or, behind gates and poolings, small binary fractions, so that float32 sums are exact in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.types import Array

_OPSET = 18
# Beyond this a value is brought back to small numbers, so that no product of sums leaves the exact range.
_LARGEST = 2.0**9
_LONGEST = 9
_MOST_CHANNELS = 16


@dataclass(frozen=True)
class Value:
    """A value of the network: name, channel count, height and width, and a bound on its magnitude."""

    name: str
    channels: int
    size: int
    bound: float
    # Values are multiples of this.
    grain: float = 1.0


@dataclass
class Grown:
    """A network on its way: nodes and weights so far, and the values that may be read."""

    draw: st.DrawFn
    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    values: list[Value] = field(default_factory=list)

    def node(self, op: str, inputs: list[str], outputs: int = 1, **attrs: Any) -> list[str]:
        """A new node's outputs."""
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"{op}{len(self.nodes)}", **attrs))
        return names

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """The name of a new weight."""
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(values, dtype)
        return name

    def pick(self) -> Value:
        """Any value so far, the latest by preference."""
        return self.values[-1 - self.draw(st.integers(0, len(self.values) - 1))]

    def channels(self, count: int) -> list[int]:
        """A third of `count` channels or fewer, none in the simplest case; now and then all."""
        everything = self.draw(st.integers(0, 15)) == 15
        chosen = st.sets(st.integers(0, count - 1), max_size=count // 3)
        return list(range(count)) if everything else sorted(self.draw(chosen))

    def integers(self, *shape: int) -> Array:
        """Weights from -1 to 1, none of them zero."""
        return self.rng.choice(np.array([-1, 1], np.float32), shape)

    def keep(self, value: Value) -> None:
        """Let a value be read, small again where it has grown."""
        if value.bound > _LARGEST or value.grain < 2.0**-6:
            value = small(self, value)
        self.values.append(value)


def small(net: Grown, value: Value) -> Value:
    """The value rounded and clipped to -2 … 2."""
    (rounded,) = net.node("Round", [value.name])
    low, high = net.constant(-2.0), net.constant(2.0)
    (name,) = net.node("Clip", [rounded, low, high])
    return Value(name, value.channels, value.size, 2.0)


def conv(net: Grown) -> None:
    """Any group count, with or without padding, bias, rows of zeros, columns of zeros."""
    source = net.pick()
    groups = net.draw(st.sampled_from([g for g in (1, 1, 1, 2, 4, source.channels) if source.channels % g == 0]))
    per_group = net.draw(st.integers(1, max(1, 8 // groups)))
    wide = per_group * groups
    kernel = net.draw(st.sampled_from([k for k in (1, 3) if k <= source.size]))
    pad = net.draw(st.sampled_from([0, kernel // 2]))
    weight = net.integers(wide, source.channels // groups, kernel, kernel)
    weight[:, net.channels(source.channels // groups)] = 0
    weight[net.channels(wide)] = 0
    inputs = [source.name, net.constant(weight)]
    biased = net.draw(st.booleans())
    if biased:
        bias = net.rng.integers(-2, 3, wide).astype(np.float32)
        bias[net.channels(wide)] = 0
        inputs.append(net.constant(bias))
    (name,) = net.node("Conv", inputs, group=groups, pads=[pad] * 4, kernel_shape=[kernel, kernel])
    bound = source.bound * source.channels // groups * kernel**2 + 2 * biased
    net.keep(Value(name, wide, source.size + 2 * pad - kernel + 1, bound + source.bound, source.grain))


def transposed_conv(net: Grown) -> None:
    source = net.pick()
    if source.size > 4:
        return
    wide = net.draw(st.integers(1, 8))
    weight = net.integers(source.channels, wide, 2, 2)
    weight[net.channels(source.channels)] = 0
    weight[:, net.channels(wide)] = 0
    (name,) = net.node("ConvTranspose", [source.name, net.constant(weight)], strides=[2, 2])
    net.keep(Value(name, wide, 2 * source.size, source.bound * source.channels, source.grain))


def batch_normalization(net: Grown) -> None:
    """Scales of powers of two, variance one."""
    source = net.pick()
    count = source.channels
    scale, shift = net.rng.choice([-1.0, 1.0, 2.0], count), net.rng.integers(-2, 3, count)
    scale[net.channels(count)] = 0
    mean = net.rng.integers(-1, 2, count)
    parameters = [net.constant(values) for values in (scale, shift, mean, np.ones(count))]
    (name,) = net.node("BatchNormalization", [source.name, *parameters], epsilon=0.0)
    net.keep(Value(name, count, source.size, 2 * source.bound + 4, source.grain))


def unary(net: Grown) -> None:
    source = net.pick()
    op = net.draw(st.sampled_from(["Relu", "Abs", "Neg", "Identity", "Sign", "Floor"]))
    (name,) = net.node(op, [source.name])
    net.keep(Value(name, source.channels, source.size, source.bound + 1, source.grain if op != "Floor" else 1.0))


def gate(net: Grown) -> None:
    """A value times a hard sigmoid of itself or of its squeezed self, which is a multiple of an eighth."""
    source = small(net, net.pick())
    gated, read = source, source.name
    if net.draw(st.booleans()):
        (pooled,) = net.node("GlobalMaxPool", [source.name])
        hidden = net.draw(st.integers(1, 4))
        first, second = net.integers(hidden, source.channels, 1, 1), net.integers(source.channels, hidden, 1, 1)
        first[:, net.channels(source.channels)] = 0
        second[net.channels(source.channels)] = 0
        (squeezed,) = net.node("Conv", [pooled, net.constant(first)])
        (bent,) = net.node("Relu", [squeezed])
        bias = net.constant(net.rng.choice([-9, 0, 1, 2], source.channels))
        (read,) = net.node("Conv", [bent, net.constant(second), bias])
    (opened,) = net.node("HardSigmoid", [read], alpha=0.125, beta=0.5)
    (name,) = net.node("Mul", [gated.name, opened])
    net.keep(Value(name, source.channels, source.size, gated.bound, gated.grain / 8))


def join(net: Grown) -> None:
    """An Add, Sub, Max or Mul of two values of one shape, or of one and a constant per channel."""
    left = net.pick()
    partners = [v for v in net.values if (v.channels, v.size) == (left.channels, left.size)]
    op = net.draw(st.sampled_from(["Add", "Add", "Sub", "Max", "Mul"]))
    right = net.draw(st.sampled_from([*partners, None]))
    if op == "Mul":
        left = small(net, left)
        right = None if right is None else small(net, right)
    if right is None:
        values = net.rng.integers(-2, 3, (left.channels, 1, 1))
        values[net.channels(left.channels)] = 0
        right = Value(net.constant(values), left.channels, left.size, 2.0)
    (name,) = net.node(op, [left.name, right.name])
    net.keep(Value(name, left.channels, left.size, left.bound + right.bound + 4, min(left.grain, right.grain)))


def concat(net: Grown) -> None:
    first = net.pick()
    partners = [v for v in net.values if v.size == first.size]
    parts = [first, *net.draw(st.lists(st.sampled_from(partners), min_size=1, max_size=2))]
    if sum(part.channels for part in parts) > _MOST_CHANNELS:
        return
    (name,) = net.node("Concat", [part.name for part in parts], axis=1)
    bound, grain = max(part.bound for part in parts), min(part.grain for part in parts)
    net.keep(Value(name, sum(part.channels for part in parts), first.size, bound, grain))


def split(net: Grown) -> None:
    source = net.pick()
    if source.channels < 2:
        return
    cut = net.draw(st.integers(1, source.channels - 1))
    sizes = net.constant([cut, source.channels - cut], np.int64)
    names = net.node("Split", [source.name, sizes], 2, axis=1)
    for name, count in zip(names, (cut, source.channels - cut), strict=True):
        net.keep(Value(name, count, source.size, source.bound, source.grain))


def select(net: Grown) -> None:
    """A Slice by any step or a Gather of any indices along channels."""
    source = net.pick()
    if net.draw(st.booleans()):
        index = net.draw(st.lists(st.integers(0, source.channels - 1), min_size=1, max_size=8))
        (name,) = net.node("Gather", [source.name, net.constant(index, np.int64)], axis=1)
        count = len(index)
    else:
        start, step = net.draw(st.integers(0, source.channels - 1)), net.draw(st.sampled_from([1, 2, -1]))
        stop = source.channels if step > 0 else -source.channels - 1
        bounds = [net.constant([number], np.int64) for number in (start, stop, 1, step)]
        (name,) = net.node("Slice", [source.name, *bounds])
        count = len(range(start, source.channels, step)) if step > 0 else start + 1
    net.keep(Value(name, count, source.size, source.bound, source.grain))


def pad(net: Grown) -> None:
    """Zeros or ones around the places, or channels of them."""
    source = net.pick()
    if net.draw(st.booleans()) and source.size < 6:
        before, after, count, size = [0, 0, 1, 0], [0, 0, 0, 1], source.channels, source.size + 1
    else:
        more = net.draw(st.integers(0, 2))
        before, after, count, size = [0, more, 0, 0], [0, 1, 0, 0], source.channels + more + 1, source.size
    value = net.constant(net.draw(st.sampled_from([0.0, 1.0])))
    (name,) = net.node("Pad", [source.name, net.constant(before + after, np.int64), value])
    net.keep(Value(name, count, size, source.bound + 1, source.grain))


def pool(net: Grown) -> None:
    source = net.pick()
    if source.size < 2 or source.size % 2:
        return
    op = net.draw(st.sampled_from(["MaxPool", "AveragePool"]))
    (name,) = net.node(op, [source.name], kernel_shape=[2, 2], strides=[2, 2])
    net.keep(Value(name, source.channels, source.size // 2, source.bound, source.grain / 4))


def shuffle(net: Grown) -> None:
    source = net.pick()
    groups = net.draw(st.sampled_from([g for g in (2, 3, 4) if source.channels % g == 0] or [1]))
    apart = net.constant([0, groups, source.channels // groups, source.size, source.size], np.int64)
    together = net.constant([0, source.channels, source.size, source.size], np.int64)
    (grid,) = net.node("Reshape", [source.name, apart])
    (turned,) = net.node("Transpose", [grid], perm=[0, 2, 1, 3, 4])
    (name,) = net.node("Reshape", [turned, together])
    net.keep(Value(name, source.channels, source.size, source.bound, source.grain))


def pixel_shuffle(net: Grown) -> None:
    source = net.pick()
    if source.channels % 4 or source.size > 3:
        return
    mode = net.draw(st.sampled_from(["DCR", "CRD"]))
    (name,) = net.node("DepthToSpace", [source.name], blocksize=2, mode=mode)
    net.keep(Value(name, source.channels // 4, 2 * source.size, source.bound, source.grain))


def channels_last(net: Grown) -> None:
    """A MatMul over channels between two Transposes."""
    source = net.pick()
    wide = net.draw(st.integers(1, 8))
    weight = net.integers(source.channels, wide)
    weight[net.channels(source.channels)] = 0
    weight[:, net.channels(wide)] = 0
    (turned,) = net.node("Transpose", [source.name], perm=[0, 2, 3, 1])
    (product,) = net.node("MatMul", [turned, net.constant(weight)])
    (name,) = net.node("Transpose", [product], perm=[0, 3, 1, 2])
    net.keep(Value(name, wide, source.size, source.bound * source.channels, source.grain))


def quantised_conv(net: Grown) -> None:
    """A Conv of integers, between QuantizeLinear and DequantizeLinear; scales are powers of two."""
    source = net.pick()
    wide = net.draw(st.integers(1, 8))
    weight = net.integers(wide, source.channels, 1, 1).astype(np.int8)
    weight[:, net.channels(source.channels)] = 0
    weight[net.channels(wide)] = 0
    one, zero = net.constant(1.0), net.constant(0, np.int8)
    (steps,) = net.node("QuantizeLinear", [source.name, one, zero])
    (given,) = net.node("DequantizeLinear", [steps, one, zero])
    (matrix,) = net.node("DequantizeLinear", [net.constant(weight, np.int8), net.constant(0.5), zero])
    (name,) = net.node("Conv", [given, matrix])
    net.keep(Value(name, wide, source.size, min(source.bound, 128) * source.channels, 0.5))


def contracted(net: Grown) -> None:
    """An Einsum over channels."""
    source = net.pick()
    wide = net.draw(st.integers(1, 8))
    weight = net.integers(wide, source.channels)
    weight[:, net.channels(source.channels)] = 0
    weight[net.channels(wide)] = 0
    (name,) = net.node("Einsum", [source.name, net.constant(weight)], equation="nchw,dc->ndhw")
    net.keep(Value(name, wide, source.size, source.bound * source.channels, source.grain))


GROWTH: tuple[Callable[[Grown], None], ...] = (
    conv, conv, unary, join, concat, batch_normalization, split, select, pad, pool, gate, shuffle, channels_last,
    pixel_shuffle, transposed_conv, quantised_conv, contracted,
)  # fmt: skip


def gemm_head(net: Grown, source: Value) -> str:
    """Flatten and Gemm, with columns of zeros."""
    width = source.channels * source.size**2
    weight = net.integers(3, width)
    for channel in net.channels(source.channels):
        weight[:, channel * source.size**2 : (channel + 1) * source.size**2] = 0
    (flat,) = net.node("Flatten", [source.name])
    bias = net.constant(net.rng.integers(-2, 3, 3))
    return net.node("Gemm", [flat, net.constant(weight), bias], transB=1)[0]


@st.composite
def networks(draw: st.DrawFn) -> onnx.ModelProto:
    """A checked model with one input `x` of `(N, 3, 6, 6)` and one to three outputs."""
    net = Grown(draw, np.random.default_rng(draw(st.integers(0, 99))))
    net.values.append(Value("x", 3, 6, 3.0))
    conv(net)
    for grow in draw(st.lists(st.sampled_from(GROWTH), max_size=_LONGEST)):
        grow(net)
    conv(net)
    outputs = [gemm_head(net, net.values[-1]) if draw(st.booleans()) else net.values[-1].name]
    outputs += [v.name for v in draw(st.lists(st.sampled_from(net.values[1:]), max_size=2)) if v.name not in outputs]
    return _model(net, list(dict.fromkeys(outputs)))


def _model(net: Grown, outputs: list[str]) -> onnx.ModelProto:
    shape = ["N", 3, 6, 6]
    graph = helper.make_graph(
        net.nodes,
        "grown",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in net.weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    inferred = {v.name: v for v in onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output}
    for value in model.graph.output:
        value.CopyFrom(inferred[value.name])
    onnx.checker.check_model(model, full_check=True)
    return model
